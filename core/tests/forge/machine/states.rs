//! State proofs, altered as the trees they are.

use quorate_core::entry::{OpKind, Operation};
use quorate_core::hash::{Hash, sha256};
use quorate_core::position::{LogIndex, Micros};
use quorate_core::state_tree::{self, Query};

use super::rng::Rng;
use super::tally::Judged;
use super::world::{Age, KEYS, World};

/// A proof as the tree that it is (docs/formats.md, 2.4).
#[derive(Clone)]
enum Tree {
    Pruned(Hash),
    Leaf(u64, Vec<u8>),
    Branch(u16, Box<Tree>, Box<Tree>),
}

impl Tree {
    /// Reads an honest proof; `None` for that of an empty tree.
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        *bytes = rest;
        let mut take = |count: usize| {
            let (taken, rest) = bytes.split_at_checked(count)?;
            *bytes = rest;
            Some(taken)
        };
        match tag {
            1 => Some(Self::Pruned(Hash::new(take(32)?.try_into().ok()?))),
            2 => {
                let index = u64::from_be_bytes(take(8)?.try_into().ok()?);
                let len = u32::from_be_bytes(take(4)?.try_into().ok()?);
                Some(Self::Leaf(index, take(len as usize)?.to_vec()))
            }
            3 => {
                let d = u16::from_be_bytes(take(2)?.try_into().ok()?);
                Some(Self::Branch(d, Box::new(Self::read(bytes)?), Box::new(Self::read(bytes)?)))
            }
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Pruned(hash) => out.extend([&[1], hash.as_bytes().as_slice()].concat()),
            Self::Leaf(index, op) => {
                out.push(2);
                out.extend(index.to_be_bytes());
                out.extend((op.len() as u32).to_be_bytes());
                out.extend(op);
            }
            Self::Branch(d, left, right) => {
                out.push(3);
                out.extend(d.to_be_bytes());
                left.write(out);
                right.write(out);
            }
        }
    }

    fn hash(&self) -> Hash {
        match self {
            Self::Pruned(hash) => *hash,
            Self::Leaf(index, op) => state_tree::leaf_hash(LogIndex::new(*index), op),
            Self::Branch(d, left, right) => {
                sha256(&[&[3], &d.to_be_bytes(), left.hash().as_bytes(), right.hash().as_bytes()])
            }
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Branch(_, left, right) => 1 + left.count() + right.count(),
            _ => 1,
        }
    }

    /// Node number `n` in pre-order.
    fn nth(&mut self, n: usize) -> &mut Self {
        if n == 0 {
            return self;
        }
        let Self::Branch(_, left, right) = self else { return self };
        let count = left.count();
        if n <= count { left.nth(n - 1) } else { right.nth(n - 1 - count) }
    }

    fn alter(&mut self, rng: &mut Rng, pool: &[Hash], other: Option<Self>) {
        let n = rng.below(self.count());
        let node = self.nth(n);
        if rng.one_in(4) {
            // Hides what is below; its hash stays right.
            *node = Self::Pruned(node.hash());
            return;
        }
        match node {
            Self::Pruned(hash) => *hash = rng.other_hash(hash, pool),
            Self::Leaf(index, _) if rng.one_in(4) => {
                *index = index.wrapping_add(1 + rng.next() % 3);
            }
            Self::Leaf(_, op) => *op = other_operation(op, rng),
            Self::Branch(d, left, right) => match (rng.below(8), other) {
                (0, _) => *d ^= 1 << rng.below(3),
                (1..=3, Some(other)) => **right = other,
                _ => std::mem::swap(left, right),
            },
        }
    }
}

/// The same operation with one field changed, encoded as it must be.
pub(crate) fn other_operation(op: &[u8], rng: &mut Rng) -> Vec<u8> {
    let Ok(mut operation) = Operation::decode(op) else { return op.to_vec() };
    match rng.below(7) {
        0 => operation.revision = operation.revision.next().unwrap(),
        1 => operation.prev_index = Some(LogIndex::new(rng.next() % 90)),
        2 if operation.kind == OpKind::Put => operation.value_len ^= 1,
        3 if operation.kind == OpKind::Put => {
            operation.expires_at = Some(Micros::new(1 + rng.next() % 2_000_000_000))
        }
        4 => operation.key = rng.pick(&KEYS).to_vec(),
        5 => {
            operation.kind = OpKind::Delete;
            (operation.expires_at, operation.value_len, operation.value_digest) = (None, 0, Hash::ZERO);
        }
        _ if operation.kind == OpKind::Put => operation.value_digest = rng.hash(),
        _ => rng.flip(&mut operation.key),
    }
    operation.encode()
}

pub(crate) fn query(rng: &mut Rng) -> Query {
    let key = |rng: &mut Rng| rng.pick(&KEYS).to_vec();
    match rng.below(6) {
        0 => Query::Prefix(vec![*rng.pick(b"abcz")]),
        1 => Query::everything(),
        2 => {
            let (a, b) = (key(rng), key(rng));
            Query::Range { first: a.clone().min(b.clone()), end: (a != b).then(|| a.max(b)) }
        }
        _ => Query::Key(key(rng)),
    }
}

/// Alters a proof that is one of `age` for `asked`.
pub(crate) fn alter(proof: &[u8], world: &World, rng: &mut Rng, asked: &Query) -> Vec<u8> {
    if rng.one_in(40) {
        let mut bytes = proof.to_vec();
        rng.flip(&mut bytes);
        return bytes;
    }
    let other = world.any(rng).ledger.state.prove(&if rng.one_in(2) { asked.clone() } else { query(rng) });
    if rng.one_in(5) {
        return other;
    }
    let Some(mut tree) = Tree::read(&mut &*proof) else { return other };
    let mut other = Tree::read(&mut other.as_slice());
    for _ in 0..1 + rng.below(2) {
        tree.alter(rng, &world.pool, other.take());
    }
    let mut bytes = Vec::new();
    tree.write(&mut bytes);
    bytes
}

pub(crate) fn state_proof(world: &World, rng: &mut Rng) -> Judged {
    let (age, asked) = (world.age(rng), query(rng));
    let honest = age.ledger.state.prove(&asked);
    let proof = if rng.one_in(6) { honest } else { alter(&honest, world, rng, &asked) };
    // The question may be another one than was answered.
    let asked = if rng.one_in(4) { query(rng) } else { asked };
    match state_tree::verify(&age.ledger.state.root(), &asked, &proof) {
        Err(error) => Judged::by(&error),
        Ok(answer) => {
            let shown: Vec<(u64, Vec<u8>)> =
                answer.leaves().iter().map(|leaf| (leaf.index().get(), leaf.op().encode())).collect();
            Judged::accepted(shown == newest(age, &asked), (asked, shown))
        }
    }
}

/// What the model says: the newest write of each key that is asked for.
fn newest(age: &Age, asked: &Query) -> Vec<(u64, Vec<u8>)> {
    let records = age.ledger.records.iter().filter(|(key, _)| asked.contains(key));
    records
        .map(|(_, records)| records.last().map(|last| (last.index, last.operation.encode())).unwrap())
        .collect()
}
