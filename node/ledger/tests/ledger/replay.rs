//! What was stored of a block, replayed, has the effects the block had; and blocks that do not follow are refused.

use std::collections::BTreeMap;

use quorate_core::{
    entry::{CommitLeaf, Leaf, Operation, TransactionLeaf},
    hash::Hash,
    name::LedgerName,
    position::{LogIndex, Micros, Revision},
};
use quorate_ledger::{
    effects::{Effects, LedgerEffects},
    replay::{History, Replay, ReplayError, StoredBlock, StoredTransaction},
    view::{KnownRequest, LedgerHead, LedgerId, View},
};

use super::support::{
    replica::{Replica, START, block},
    requests::{delete, put, request},
    store::{ReadFailed, Store},
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

/// What a store has of one ledger.
struct Before<'s>(&'s Store, LedgerId);

impl History for Before<'_> {
    type Error = ReadFailed;

    fn request(&self, request_id: &Hash) -> Result<Option<KnownRequest>, ReadFailed> {
        View::request(self.0, self.1, request_id)
    }

    fn overwritten(&self, key: &[u8], revision: Revision) -> Result<Option<LogIndex>, ReadFailed> {
        View::write_index(self.0, self.1, key, revision)
    }
}

/// A replica that replays what another one applied.
pub(crate) struct Replays {
    pub(crate) replica: Replica,
    ledgers: BTreeMap<LedgerName, Replay>,
}

impl Replays {
    /// These ledgers, in which no key was written yet.
    pub(crate) fn new(names: &[&str]) -> Self {
        let replica = Replica::with_ledgers(1 << 24, names);
        let begin = |name: &&str| {
            let name = LedgerName::new(name).unwrap();
            let head = LedgerHead::clone(&replica.store.heads[&name]);
            (name, Replay::new(head))
        };
        let ledgers = names.iter().map(begin).collect();
        Self { replica, ledgers }
    }

    /// Replays what a block did; gives what it did here, which has no state.
    pub(crate) fn replay(&mut self, effects: &Effects) -> Vec<LedgerEffects> {
        let replayed: Vec<_> =
            effects.ledgers.iter().map(|one| self.replay_one(one, stored(one)).unwrap()).collect();
        self.replica.store.write(effects);
        replayed
    }

    fn replay_one(
        &mut self,
        effects: &LedgerEffects,
        block: StoredBlock,
    ) -> Result<LedgerEffects, ReplayError<ReadFailed>> {
        let replay = self.ledgers.get_mut(&effects.head.name).unwrap();
        replay.push(&Before(&self.replica.store, effects.head.id), block)
    }

    /// That the state at the end, leaves and buckets, is that of a store which applied everything.
    pub(crate) fn check_state(self, store: &Store) {
        for (name, replay) in self.ledgers {
            let (id, root) = (replay.head().id, replay.head().state_root);
            assert_eq!(root, store.heads[&name].state_root);
            let (mut leaves, mut buckets) = (Vec::new(), Vec::new());
            for part in replay.into_state() {
                buckets.push((part.leaves[0].0.key().to_vec(), part.bucket));
                leaves.extend(part.leaves.into_iter().map(|(leaf, _)| leaf));
            }
            let of_it = |found: &LedgerId| *found == id;
            let stored: Vec<_> = store.leaves.iter().filter(|((id, _), _)| of_it(id)).collect();
            assert_eq!(
                leaves.iter().collect::<Vec<_>>(),
                stored.iter().map(|(_, leaf)| *leaf).collect::<Vec<_>>()
            );
            let stored = store.buckets.iter().filter(|((id, _), _)| of_it(id));
            assert_eq!(buckets, stored.map(|((_, key), bucket)| (key.clone(), *bucket)).collect::<Vec<_>>());
        }
    }
}

/// The effects of a block as a replay gives them: the state comes at the end.
pub(crate) fn without_state(effects: &LedgerEffects) -> LedgerEffects {
    let effects = effects.clone();
    LedgerEffects { state_leaves: Vec::new(), state_positions: Vec::new(), buckets: Vec::new(), ..effects }
}

/// What must be said, and the lie that it is about.
type Lie = (&'static str, fn(&mut StoredBlock));

#[test]
fn a_block_that_does_not_follow_is_refused() {
    let at = Micros::new(START + 60_000_000);
    let mut original = Replica::with_ledgers(0, &["a"]);
    let first = [put(b"k", b"one"), put(b"l", b"two")];
    let first = original.apply(&block(START, [request("a", "1", at, first)]));
    let twin = || {
        let mut twin = Replays::new(&["a"]);
        twin.replay(&first);
        twin
    };
    let writes = [put(b"k", b"three"), delete(b"l")];
    let mut next = original.apply(&block(START + 5, [request("a", "2", at, writes)]));
    let effects = next.ledgers.remove(0);
    let mut honest = twin();
    assert_eq!(honest.replay_one(&effects, stored(&effects)).unwrap(), without_state(&effects));
    honest.check_state(&original.store);

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
        for transaction in &mut block.transactions {
            let operations = transaction.operations.iter().map(|operation| operation.encode().into());
            transaction.record.operations = operations.collect();
        }
        match twin().replay_one(&effects, block) {
            Err(ReplayError::Contradiction { problem, .. }) => {
                assert!(problem.contains(words), "{words}: {problem}")
            }
            other => panic!("{words}: {other:?}"),
        }
    }
}
