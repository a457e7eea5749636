//! What one key of an answer holds, now or as of a log index.

use quorate_core::{
    entry::Operation,
    position::{LogIndex, Micros},
    state_tree::{Query, StateLeaf},
};
use quorate_proto::convert::ItemParts;

use super::{
    errors::Problem,
    proofs::{Held, Prover, misplaced},
};
use crate::store::state::AsOf;

/// Reads keys through one prover.
pub(crate) struct Reader {
    pub(crate) prover: Prover,
    /// As of which log index; `None`: the present of the view.
    pub(crate) at: Option<LogIndex>,
    /// A value that has expired by this time is left out. With proofs it is the earliest time by which a client may
    /// judge: a value too many does no harm, it is not believed; one too few would be.
    pub(crate) expired_by: Micros,
    /// Whether what was written comes along.
    pub(crate) contents: bool,
}

/// The answer for a key.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// `None` if it was never written.
    pub(crate) item: Option<ItemParts>,
    /// Whether the item itself shows what came after it.
    pub(crate) is_superseded: bool,
}

impl Reader {
    /// What a key holds.
    pub(crate) fn read(&mut self, key: &[u8]) -> Result<Answer, Problem> {
        let Some(at) = self.at else {
            let newest = self.prover.ledger().newest(key)?;
            let item = newest.map(|newest| self.present(&newest)).transpose()?;
            return Ok(Answer { item, is_superseded: false });
        };
        let then = self.prover.ledger().as_of(key, at)?;
        let item = self.as_of(key, &then)?;
        let item = match (&then.write, &then.next) {
            (Some(write), None) if self.prover.proves() => {
                Some(ItemParts { written: Some(self.prover.showing(write.index(), key)?), ..item })
            }
            (None, None) => None,
            _ => Some(item),
        };
        Ok(Answer { item, is_superseded: then.next.is_some() })
    }

    /// What a key holds of which this is the newest write.
    pub(crate) fn present(&mut self, write: &StateLeaf) -> Result<ItemParts, Problem> {
        let mut item = ItemParts {
            key: write.key().to_vec(),
            index: Some(write.index()),
            operation: write.op().to_vec(),
            ..ItemParts::default()
        };
        let operation = Operation::decode(write.op()).map_err(|error| misplaced(write.index(), error))?;
        if !self.contents || operation.is_expired_at(self.expired_by) {
            return Ok(item);
        }
        match self.prover.held(write.index(), write.key())? {
            Held::Nothing => {}
            Held::Value(contents) => item.contents = Some(contents),
            Held::Erased(by) => item.erased_by = Some(self.prover.showing(by, write.key())?),
        }
        Ok(item)
    }

    /// What a key held, and what shows that: the write and the next one, where there is a next one.
    pub(crate) fn as_of(&mut self, key: &[u8], then: &AsOf) -> Result<ItemParts, Problem> {
        let mut item = match &then.write {
            Some(write) => self.present(write)?,
            None => ItemParts { key: key.to_vec(), ..ItemParts::default() },
        };
        if let Some(next) = then.next.as_ref().filter(|_| self.prover.proves()) {
            item.superseded_by = Some(self.prover.showing(next.index(), key)?);
            if let Some(write) = &then.write {
                item.written = Some(self.prover.showing(write.index(), key)?);
            }
        }
        Ok(item)
    }

    /// The state proof of a query at the view's size.
    pub(crate) fn state_proof(&self, query: &Query) -> Result<Vec<u8>, Problem> {
        Ok(self.prover.ledger().state_proof(query)?)
    }
}
