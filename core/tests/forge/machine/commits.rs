//! Answers to a commit: somebody else's index, leaf, operations, or path.

use quorate_core::answer::{AddedToOperation, CommitAnswer, SentOperation, SentRequest};
use quorate_core::entry::{meta_digest, ops_root};
use quorate_core::hash::Hash;
use quorate_core::position::{LogIndex, Revision};

use super::answers::is_stored;
use super::rng::Rng;
use super::support::Ledger;
use super::tally::Judged;
use super::world::World;

/// The honest answer to the request of a transaction.
fn answer(ledger: &Ledger, index: u64) -> CommitAnswer {
    let stored = &ledger.transactions[&index];
    let added =
        stored.operations.iter().zip(&stored.contents).map(|(operation, contents)| AddedToOperation {
            revision: operation.revision,
            prev_index: operation.prev_index,
            salt: contents.as_ref().map(|contents| contents.salt),
        });
    CommitAnswer {
        index: LogIndex::new(index),
        leaf: stored.leaf.clone(),
        author: "alice".to_owned(),
        operations: added.collect(),
        meta: stored.meta.clone(),
    }
}

fn alter(lie: &mut CommitAnswer, path: &mut Vec<Hash>, world: &World, rng: &mut Rng) {
    let other = world.any(rng);
    let at = other.transaction(rng);
    match rng.below(12) {
        0 => *lie = answer(&other.ledger, at),
        1 => lie.index = LogIndex::new(at),
        2 => lie.leaf = answer(&other.ledger, at).leaf,
        3 => {
            let at = 2 + rng.below(lie.leaf.len() - 2);
            lie.leaf[at] ^= 1 << rng.below(8);
        }
        4 if other.ledger.leaf_proof(at).path.len() == path.len() => *path = other.ledger.leaf_proof(at).path,
        5 | 6 => rng.path(path, &world.pool),
        7 => {
            // A leaf made for the lie, all of it right but for being in the log.
            rng.flip(&mut lie.meta.bytes);
            let digest = meta_digest(&lie.meta.salt, &lie.meta.bytes);
            lie.leaf[86..118].copy_from_slice(digest.as_bytes());
        }
        8 => {
            let root = ops_root([rng.next().to_be_bytes()]);
            lie.leaf[22..54].copy_from_slice(root.as_bytes());
        }
        place => {
            let count = lie.operations.len();
            let added = &mut lie.operations[rng.below(count)];
            match (place, &mut added.salt) {
                (9, _) => added.revision = Revision::new(added.revision.get() + 1 + rng.next() % 2),
                (10, Some(salt)) => rng.flip(salt),
                _ => added.prev_index = Some(LogIndex::new(rng.next() % 90)),
            }
        }
    }
}

pub(crate) fn commit(world: &World, rng: &mut Rng) -> Judged {
    let age = world.age(rng);
    let index = age.transaction(rng);
    let ledger = &age.ledger;
    let stored = &ledger.transactions[&index];
    let number = ledger.transactions.keys().position(|at| *at == index).unwrap() as u64 + 1;
    let operations =
        stored.operations.iter().zip(&stored.contents).map(|(operation, contents)| match contents {
            Some(contents) => SentOperation::Put {
                key: &operation.key,
                value: &contents.value,
                attributes: &contents.attributes,
                // Every other salt is the server's.
                salt: (operation.key.len() % 2 == 0).then_some(contents.salt),
                expires_at: operation.expires_at,
            },
            None if operation.kind.is_write() => SentOperation::Delete { key: &operation.key },
            None => SentOperation::Erase { key: &operation.key, revision: operation.revision },
        });
    let author = rng.one_in(2).then_some("alice");
    let key = number.to_be_bytes();
    let sent =
        SentRequest { author, idempotency_key: &key, not_after: None, operations: operations.collect() };
    let (mut lie, mut path) = (answer(ledger, index), ledger.leaf_proof(index).path);
    for _ in 0..1 + rng.below(2) {
        alter(&mut lie, &mut path, world, rng);
    }
    let shown = format!("{lie:?} {path:?}");
    let included = sent.rebuild(lie).and_then(|rebuilt| rebuilt.included(&age.certified, path));
    match included {
        Err(error) => Judged::by(&error),
        Ok(included) => {
            let is_true =
                included.index().get() == index && included.is_complete() && is_stored(age, &included);
            Judged::accepted(is_true, shown)
        }
    }
}
