//! A stored block in, the effects it once had out.
//!
//! Contract: [`replay`] gives, for a block as an archive has it, what [`apply`](crate::apply::apply) gave when the block
//! was applied, so that a store that is filled by it is the store of a node that applied every block. It checks what
//! the block says about the state before it: revisions and previous indexes, times, requests that are executed once,
//! and the state root. That leaves decode, that operations lead to their `ops_root`, and that contents open their
//! digests, the caller has checked.
//!
//! A put whose contents are not there any more has `None` for them; that an operation erased them is for the caller
//! to see to.

use std::sync::Arc;

use quorate_core::{
    entry::{CommitLeaf, Operation, TransactionLeaf},
    position::LogIndex,
};

use crate::{
    apply::ApplyError,
    effects::{LedgerEffects, TransactionRecord},
    open_ledger::OpenLedger,
    trie::Tries,
    view::{LeafSource, LedgerHead, View},
};

/// What one block added to a ledger.
#[derive(Debug, Clone)]
pub struct StoredBlock {
    /// Its transactions, in log order.
    pub transactions: Vec<StoredTransaction>,
    /// Its commit leaf.
    pub commit: CommitLeaf,
}

/// A transaction as it is stored.
#[derive(Debug, Clone)]
pub struct StoredTransaction {
    /// Its leaf.
    pub leaf: TransactionLeaf,
    /// Its operations.
    pub operations: Vec<Operation>,
    /// All that a store keeps of it.
    pub record: TransactionRecord,
}

/// Why a block cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError<E> {
    /// The store or its state tree.
    #[error(transparent)]
    Apply(#[from] ApplyError<E>),
    /// The block does not follow from those before it.
    #[error("leaf {index}: {problem}")]
    Contradiction {
        /// Where.
        index: LogIndex,
        /// What.
        problem: String,
    },
}

/// Replays a block in the ledger whose head is `head`; `None`: its first one, which gives birth to `newborn`.
///
/// # Errors
/// [`ReplayError`]; the state trees must not be used again then.
pub fn replay<V>(
    view: &V,
    tries: &mut Tries,
    head: Option<Arc<LedgerHead>>,
    newborn: impl FnOnce() -> LedgerHead,
    block: StoredBlock,
) -> Result<LedgerEffects, ReplayError<<V as View>::Error>>
where
    V: View + LeafSource<Error = <V as View>::Error>,
{
    let born = head.is_none();
    let head = head.unwrap_or_else(|| Arc::new(newborn()));
    if born {
        tries.create(head.id);
    }
    let commit = block.commit;
    let mut ledger = OpenLedger::new(view, head, born, commit.time);
    for transaction in block.transactions {
        ledger.replay(tries, transaction)?;
    }
    let effects = ledger.close(tries, commit.epoch).map_err(ApplyError::from)?;
    if effects.commit_leaf != commit.encode() {
        let index = commit.index().unwrap_or(commit.first_index);
        let problem =
            "the state, the time or the number of transactions before it lead to another commit leaf";
        return Err(ReplayError::Contradiction { index, problem: problem.to_owned() });
    }
    Ok(effects)
}
