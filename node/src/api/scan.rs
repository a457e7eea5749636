//! Scan: one page of the keys of a range, complete.
//!
//! The state tree is proven as it is now, so a page covers a stretch of the range *completely as it is now*: every
//! key ever written in it is on the page. As of an earlier index (which every page but the first is, if something
//! was written meanwhile) keys written since carry the proof of what they held then. Keys are never taken out of
//! the state tree, so none that existed then is missing.

use std::sync::Arc;

use prost::Message;
use quorate_core::{
    answer::{Direction, KeyRange},
    position::LogIndex,
    state_tree::{self, StateLeaf},
};
use quorate_proto::{convert::ItemParts, v1};

use super::{
    bounds::{self, Options, ScanQuestion},
    errors::Problem,
    interface::{Api, Deadline, blocking, check_index},
    item::Reader,
    page_token::{ScanToken, unreadable},
    proofs::{Prover, misplaced, time_of},
};
use crate::store::state::{self, LedgerView};

/// Bytes of items after which a page ends.
pub(crate) const PAGE_BYTES: usize = 2 << 20;

/// A page before it becomes a response.
struct Page {
    items: Vec<v1::Item>,
    covered: KeyRange,
    next: Option<Vec<u8>>,
    state_proof: Vec<u8>,
}

impl Api {
    /// One page of a scan.
    pub(super) async fn answer_scan(
        &self,
        request: v1::ScanRequest,
        deadline: Deadline,
    ) -> Result<v1::ScanResponse, Problem> {
        let mut question = bounds::scan(&request)?;
        let token = ScanToken::read(&request)?;
        let ledger = self.open(&question.ledger, &question.options, &deadline).await?;
        if let Some(token) = &token {
            check_index(&ledger, Some(token.at), "page_token")?;
            question.range = rest(&question, &token.next)?;
        }
        let at = token.map(|token| token.at).or(question.options.at).or(ledger.size().last_index());
        let at = at.ok_or_else(|| misplaced(LogIndex::default(), "a ledger has leaves"))?;
        let reader = self.scan_reader(&ledger, &question, at)?;
        let (options, view) = (question.options, Arc::clone(&ledger));
        let page = blocking(move || page(reader, &view, &question, at)).await?;
        Ok(v1::ScanResponse {
            checkpoint: self.checkpoint_of(&ledger, &options, &deadline).await?,
            state_proof: page.state_proof.into(),
            covered: Some(page.covered.into()),
            items: page.items,
            next_page_token: page.next.map(|next| ScanToken { at, next }.write(&request)).unwrap_or_default(),
            size: ledger.size().get(),
            at: at.get(),
        })
    }

    fn scan_reader(
        &self,
        ledger: &Arc<LedgerView>,
        question: &ScanQuestion,
        at: LogIndex,
    ) -> Result<Reader, Problem> {
        let Options { prove, at: asked, .. } = question.options;
        let expired_by = match asked {
            None if !prove => self.expired_by(ledger, &question.options)?,
            _ => time_of(ledger, at)?,
        };
        Ok(Reader {
            prover: Prover::new(Arc::clone(ledger), prove.then(|| ledger.size())),
            at: Some(at),
            expired_by,
            contents: !question.keys_only,
        })
    }
}

/// What is left of the range where a page begins at `next`.
fn rest(question: &ScanQuestion, next: &[u8]) -> Result<KeyRange, Problem> {
    let range = &question.range;
    let outside = || Problem::from(unreadable("it begins outside the range asked for"));
    let within = next >= range.first() && range.end().is_none_or(|end| next <= end);
    let rest = match question.direction {
        Direction::Ascending => KeyRange::new(next.to_vec(), range.end().map(<[u8]>::to_vec)),
        Direction::Descending => KeyRange::new(range.first().to_vec(), Some(next.to_vec())),
    };
    rest.ok().filter(|_| within).ok_or_else(outside)
}

fn page(
    mut reader: Reader,
    ledger: &LedgerView,
    question: &ScanQuestion,
    at: LogIndex,
) -> Result<Page, Problem> {
    let range = state_tree::KeyRange {
        first: question.range.first().to_vec(),
        end: question.range.end().map(<[u8]>::to_vec),
    };
    let direction = match question.direction {
        Direction::Ascending => state::Direction::Ascending,
        Direction::Descending => state::Direction::Descending,
    };
    let mut leaves = ledger.state_leaves(&range, direction, ledger.size())?;
    let mut items: Vec<v1::Item> = Vec::new();
    let mut bytes = 0_usize;
    let mut seen = 0_usize;
    let (mut last, mut beyond) = (None, None);
    for leaf in &mut leaves {
        let leaf = leaf?;
        if seen >= question.limit || bytes >= PAGE_BYTES {
            beyond = Some(leaf.key().to_vec());
            break;
        }
        seen = seen.saturating_add(1);
        last = Some(leaf.key().to_vec());
        if let Some(item) = item(&mut reader, &leaf, at)? {
            let item = v1::Item::from(item);
            bytes = bytes.saturating_add(item.encoded_len());
            items.push(item);
        }
    }
    let (covered, next) = cover(&question.range, question.direction, last, beyond);
    let state_proof = if reader.prover.proves() { reader.state_proof(&covered.query())? } else { Vec::new() };
    Ok(Page { items, covered, next, state_proof })
}

/// The item of a key whose newest write is `newest`; without proofs, none for a key that had not been written then.
fn item(reader: &mut Reader, newest: &StateLeaf, at: LogIndex) -> Result<Option<ItemParts>, Problem> {
    if newest.index() <= at {
        return reader.present(newest).map(Some);
    }
    let then = reader.prover.ledger().as_of(newest.key(), at)?;
    if then.write.is_none() && !reader.prover.proves() {
        return Ok(None);
    }
    reader.as_of(newest.key(), &then).map(Some)
}

/// What a page covers whose last key is `last`, and where the next page begins: `beyond` is the first key that is not
/// on it.
fn cover(
    range: &KeyRange,
    direction: Direction,
    last: Option<Vec<u8>>,
    beyond: Option<Vec<u8>>,
) -> (KeyRange, Option<Vec<u8>>) {
    let covered = match (direction, last, beyond) {
        (Direction::Ascending, _, Some(beyond)) => {
            KeyRange::new(range.first().to_vec(), Some(beyond.clone())).map(|covered| (covered, Some(beyond)))
        }
        (Direction::Descending, Some(last), Some(_)) => {
            KeyRange::new(last.clone(), range.end().map(<[u8]>::to_vec)).map(|covered| (covered, Some(last)))
        }
        _ => return (range.clone(), None),
    };
    // A key of the range lies within it, so what is covered is never empty.
    covered.unwrap_or_else(|_| (range.clone(), None))
}
