//! What was stored of a block, replayed, has the effects the block had; and blocks that do not follow are refused.

use std::sync::Arc;

use quorate_core::{
    entry::{CommitLeaf, Leaf, Operation, TransactionLeaf},
    hash::Hash,
    position::{LogIndex, Micros, Revision},
    tree::Frontier,
};
use quorate_ledger::{
    effects::{Effects, LedgerEffects},
    replay::{ReplayError, StoredBlock, StoredTransaction, replay},
    view::LedgerHead,
};

use super::support::{
    replica::{Replica, START, block},
    requests::{delete, put, request},
    store::ReadFailed,
};

fn commit_of(effects: &LedgerEffects) -> CommitLeaf {
    match Leaf::decode(&effects.commit_leaf).unwrap() {
        Leaf::Commit(commit) => commit,
        other => panic!("no commit leaf: {other:?}"),
    }
}

fn leaf_of(bytes: &[u8]) -> TransactionLeaf {
    match Leaf::decode(bytes).unwrap() {
        Leaf::Transaction(leaf) => leaf,
        other => panic!("no transaction leaf: {other:?}"),
    }
}

/// A block as it is stored.
pub(crate) fn stored(effects: &LedgerEffects) -> StoredBlock {
    let transactions = effects.transactions.iter().map(|record| StoredTransaction {
        leaf: leaf_of(&record.leaf),
        operations: record.operations.iter().map(|bytes| Operation::decode(bytes).unwrap()).collect(),
        record: record.clone(),
    });
    StoredBlock { transactions: transactions.collect(), commit: commit_of(effects) }
}

/// Replays what a block did on a replica that is where the other one was before it; gives what it did here.
pub(crate) fn replay_all(replica: &mut Replica, effects: &Effects) -> Vec<LedgerEffects> {
    let replayed = effects.ledgers.iter().map(|one| replay_one(replica, one, stored(one)).unwrap());
    let replayed = replayed.collect();
    replica.store.write(effects);
    replayed
}

fn replay_one(
    replica: &mut Replica,
    effects: &LedgerEffects,
    block: StoredBlock,
) -> Result<LedgerEffects, ReplayError<ReadFailed>> {
    let head = replica.store.heads.get(&effects.head.name).cloned();
    let newborn = || LedgerHead {
        frontier: Frontier::new(),
        time: block.commit.time,
        state_root: Hash::ZERO,
        ..effects.head.clone()
    };
    let newborn = newborn();
    replay(&replica.store, &mut replica.tries, head.map(|head| Arc::new((*head).clone())), || newborn, block)
}

/// What must be said, and the lie that it is about.
type Lie = (&'static str, fn(&mut StoredBlock));

#[test]
fn a_block_that_does_not_follow_is_refused() {
    let at = Micros::new(START + 60_000_000);
    let mut original = Replica::with_ledgers(0, &["a"]);
    original.apply(&block(START, [request("a", "1", at, [put(b"k", b"one"), put(b"l", b"two")])]));
    let twin = || {
        let mut twin = Replica::with_ledgers(0, &["a"]);
        twin.apply(&block(START, [request("a", "1", at, [put(b"k", b"one"), put(b"l", b"two")])]));
        twin
    };
    let writes = [put(b"k", b"three"), delete(b"l")];
    let mut next = original.apply(&block(START + 5, [request("a", "2", at, writes)]));
    let effects = next.ledgers.remove(0);
    assert_eq!(replay_one(&mut twin(), &effects, stored(&effects)).unwrap(), effects);

    let lies: [Lie; 8] = [
        ("revision or previous index", |block| {
            block.transactions[0].operations[0].revision = Revision::new(3);
        }),
        ("revision or previous index", |block| {
            block.transactions[0].operations[0].prev_index = Some(LogIndex::new(0));
        }),
        ("deletes a key that does not exist", |block| {
            let operation = &mut block.transactions[0].operations[1];
            (operation.key, operation.revision, operation.prev_index) =
                (b"z".to_vec(), Revision::FIRST, None);
        }),
        ("erases a revision that there is not", |block| {
            let operation = &mut block.transactions[0].operations[1];
            operation.kind = quorate_core::entry::OpKind::Erase;
            operation.revision = Revision::new(7);
        }),
        ("executed before", |block| {
            let known = quorate_core::entry::request_id("anonymous", b"1").unwrap();
            block.transactions[0].leaf.request_id = known;
        }),
        ("its time", |block| block.transactions[0].leaf.time = Micros::new(START)),
        ("another commit leaf", |block| block.commit.state_root = Hash::ZERO),
        ("another commit leaf", |block| block.commit.tx_count = 2),
    ];
    for (words, lie) in lies {
        let mut block = stored(&effects);
        lie(&mut block);
        match replay_one(&mut twin(), &effects, block) {
            Err(ReplayError::Contradiction { problem, .. }) => {
                assert!(problem.contains(words), "{words}: {problem}")
            }
            other => panic!("{words}: {other:?}"),
        }
    }
}
