//! What is true: two clusters' ledgers, each at several sizes, and another history of the first that nobody signed.

use std::collections::BTreeSet;

use quorate_core::hash::Hash;
use quorate_core::note::SignedNote;
use quorate_core::policy::{CertifiedCheckpoint, Policy};

use super::rng::Rng;
use super::support::{Ledger, Op};

/// A ledger at one size.
pub(crate) struct Age {
    pub(crate) ledger: Ledger,
    pub(crate) note: SignedNote,
    pub(crate) certified: CertifiedCheckpoint,
    pub(crate) policy: Policy,
}

pub(crate) struct World {
    /// Honest ages, by history and then by size.
    pub(crate) ages: Vec<Age>,
    /// The other history of the first cluster, at the sizes of no note.
    pub(crate) forks: Vec<Age>,
    /// The texts of all checkpoints that were honestly signed.
    bodies: BTreeSet<String>,
    /// Hashes that occur somewhere in it.
    pub(crate) pool: Vec<Hash>,
}

pub(crate) const KEYS: [&[u8]; 10] =
    [b"a", b"a/1", b"a/2", b"a/22", b"b", b"b/long/key", b"c", b"d", b"\xff", b"z"];

impl Age {
    fn new(seed: u8, content: u64, blocks: usize) -> Self {
        let ledger = grown(seed, content, blocks);
        let note = ledger.note();
        let policy = ledger.policy();
        let certified = policy.certify(note.clone()).unwrap();
        Self { ledger, note, certified, policy }
    }

    pub(crate) fn size(&self) -> u64 {
        self.ledger.size()
    }

    /// A log index of a transaction.
    pub(crate) fn transaction(&self, rng: &mut Rng) -> u64 {
        let at: Vec<u64> = self.ledger.transactions.keys().copied().collect();
        *rng.pick(&at)
    }
}

/// A ledger of this many blocks, whose contents follow from `content`.
fn grown(seed: u8, content: u64, blocks: usize) -> Ledger {
    let mut rng = Rng::new(content);
    let mut ledger = Ledger::new(seed);
    for block in 0..blocks as u64 {
        let time = 1_001_000_000 + block * 1_000_000;
        let transactions: Vec<Vec<Op>> = (0..1 + rng.below(3))
            .map(|_| (0..1 + rng.below(4)).map(|_| operation(&mut rng, time)).collect())
            .collect();
        ledger.block(time, &transactions);
    }
    ledger
}

fn operation(rng: &mut Rng, time: u64) -> Op {
    let key = rng.pick(&KEYS[..9]).to_vec();
    let value = rng.next().to_be_bytes()[..rng.below(9)].to_vec();
    match rng.below(12) {
        0 => Op::Delete(key),
        1 => Op::Erase(key, 1 + rng.next() % 3),
        2 => Op::Put(key, value, Some(time + rng.next() % 20_000_000)),
        _ => Op::Put(key, value, None),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let mut ages: Vec<Age> = [3, 8, 20, 40].map(|blocks| Age::new(1, 1, blocks)).into();
        ages.extend([8, 30].map(|blocks| Age::new(2, 2, blocks)));
        let forks: Vec<Age> = [8, 40].map(|blocks| Age::new(1, 3, blocks)).into();
        let bodies = ages.iter().map(|age| age.note.checkpoint().body()).collect();
        let mut pool: Vec<Hash> = Vec::new();
        for age in ages.iter().chain(&forks) {
            pool.push(age.ledger.head().root);
            pool.push(age.ledger.state.root());
            pool.extend(age.ledger.leaf_proof(age.size() / 2).path);
        }
        Self { ages, forks, bodies, pool }
    }

    pub(crate) fn age(&self, rng: &mut Rng) -> &Age {
        rng.pick(&self.ages)
    }

    /// An age of any history.
    pub(crate) fn any(&self, rng: &mut Rng) -> &Age {
        if rng.one_in(3) { rng.pick(&self.forks) } else { self.age(rng) }
    }

    /// Whether honest nodes signed this text.
    pub(crate) fn was_signed(&self, body: &str) -> bool {
        self.bodies.contains(body)
    }

    /// The honest age with this checkpoint.
    pub(crate) fn age_of(&self, body: &str) -> Option<&Age> {
        self.ages.iter().find(|age| age.note.checkpoint().body() == body)
    }
}
