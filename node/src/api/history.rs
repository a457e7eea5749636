//! History: one page of the writes of a key, each naming the one before it.
//!
//! Every page carries the state proof of the key's newest write at the page's own checkpoint; pages are joined by the
//! chain of writes, which never changes, so they need no common size. As of a log index the chain ends at the write
//! before it, and the next write shows that none is left out there.

use std::sync::Arc;

use prost::Message;
use quorate_core::{
    answer::Direction,
    entry::Operation,
    position::{LogIndex, Revision},
    state_tree::{Query, StateLeaf},
};
use quorate_proto::v1;

use super::{
    bounds::{self, Options},
    errors::{Problem, Reason},
    interface::{Api, Deadline, blocking},
    page_token::HistoryToken,
    proofs::{Prover, misplaced},
    scan::PAGE_BYTES,
};
use crate::store::state::{AsOf, LedgerView};

/// A page of a history that is asked for.
struct Asked {
    key: Vec<u8>,
    direction: Direction,
    limit: usize,
    at: Option<LogIndex>,
    /// The revision with which the page begins; `None`: the first page.
    start: Option<Revision>,
}

/// A page before it becomes a response.
#[derive(Default)]
struct Page {
    state_proof: Vec<u8>,
    superseded_by: Option<v1::Transaction>,
    writes: Vec<v1::Transaction>,
    erasures: Vec<v1::Transaction>,
    next: Option<Revision>,
}

impl Api {
    /// One page of the writes of a key.
    pub(super) async fn answer_history(
        &self,
        request: v1::HistoryRequest,
        deadline: Deadline,
    ) -> Result<v1::HistoryResponse, Problem> {
        let (name, limit, options) = bounds::history(&request)?;
        let token = HistoryToken::read(&request)?;
        let ledger = self.open(&name, &options, &deadline).await?;
        let asked = Asked {
            key: request.key.to_vec(),
            direction: if request.oldest_first { Direction::Ascending } else { Direction::Descending },
            limit,
            at: options.at,
            start: token.map(|token| token.next),
        };
        let view = Arc::clone(&ledger);
        let page = blocking(move || page(&view, &asked, &options)).await?;
        Ok(v1::HistoryResponse {
            checkpoint: self.checkpoint_of(&ledger, &options, &deadline).await?,
            state_proof: page.state_proof.into(),
            superseded_by: page.superseded_by,
            writes: page.writes,
            erasures: page.erasures,
            next_page_token: page.next.map(|next| HistoryToken { next }.write(&request)).unwrap_or_default(),
            size: ledger.size().get(),
        })
    }
}

fn page(ledger: &Arc<LedgerView>, asked: &Asked, options: &Options) -> Result<Page, Problem> {
    let mut prover = Prover::new(Arc::clone(ledger), options.prove.then(|| ledger.size()));
    let then = match asked.at {
        Some(at) => ledger.as_of(&asked.key, at)?,
        None => AsOf { write: ledger.newest(&asked.key)?, next: None },
    };
    let mut page = Page::default();
    if options.prove {
        page.state_proof = ledger.state_proof(&Query::Key(asked.key.clone()))?;
        if let Some(next) = &then.next {
            page.superseded_by = Some(prover.showing(next.index(), &asked.key)?.into());
        }
    }
    if let Some(newest) = then.write {
        fill(&mut page, &mut prover, asked, revision_of(&newest)?)?;
    }
    Ok(page)
}

/// Adds the writes from where the page begins, up to its limit; `newest` is the last revision there is.
fn fill(page: &mut Page, prover: &mut Prover, asked: &Asked, newest: Revision) -> Result<(), Problem> {
    let mut next = match (asked.direction, asked.start) {
        (_, Some(start)) if start > newest => {
            let problem = format!("it begins at revision {start}, and there are {newest} here");
            return Err(Reason::IndexBeyondEnd.of("page_token", problem).into());
        }
        (_, Some(start)) => Some(start),
        (Direction::Ascending, None) => Some(Revision::FIRST),
        (Direction::Descending, None) => Some(newest),
    };
    let mut bytes = 0_usize;
    while let Some(revision) = next {
        if page.writes.len() >= asked.limit || bytes >= PAGE_BYTES {
            break;
        }
        let index = prover.ledger().revision_index(&asked.key, revision)?;
        let index = index.ok_or_else(|| {
            misplaced(
                LogIndex::default(),
                format!("revision {revision} of a key that has later ones is missing"),
            )
        })?;
        let (write, erased) = prover.write(index, &asked.key)?;
        let (write, erased) = (v1::Transaction::from(write), erased.map(v1::Transaction::from));
        bytes = bytes.saturating_add(write.encoded_len());
        page.writes.push(write);
        page.erasures.extend(erased);
        next = match asked.direction {
            Direction::Ascending => revision.next().filter(|next| *next <= newest),
            Direction::Descending => revision.previous().filter(|next| *next >= Revision::FIRST),
        };
    }
    page.next = next;
    Ok(())
}

fn revision_of(write: &StateLeaf) -> Result<Revision, Problem> {
    let operation = Operation::decode(write.op()).map_err(|error| misplaced(write.index(), error))?;
    Ok(operation.revision)
}
