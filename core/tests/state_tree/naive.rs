//! The state tree once more, written for reading: text for bits, recursion for trees, and SHA-256 by hand. What
//! the crate does fast must be what this does slowly.

use std::collections::BTreeMap;

use quorate_core::hash::Hash;
use quorate_core::position::LogIndex;
use quorate_core::state_tree::{Query, StateLeaf};
use sha2::{Digest, Sha256};

/// `bits(key)` as text of '0' and '1'; without the final 0 for a prefix.
pub(crate) fn bit_string(key: &[u8], ended: bool) -> String {
    let groups: String = key.iter().map(|byte| format!("1{byte:08b}")).collect();
    if ended { groups + "0" } else { groups }
}

/// An encoded put of this key.
pub(crate) fn op_for(key: &[u8], revision: u64) -> Vec<u8> {
    let mut op = vec![1];
    op.extend(revision.to_be_bytes());
    op.extend([0xff; 8]);
    op.extend([0; 8]);
    op.extend(3_u32.to_be_bytes());
    op.extend([0x55; 32]);
    op.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
    op.extend(key);
    op
}

fn sha(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

fn as_hash(bytes: &[u8]) -> Hash {
    Hash::try_from(bytes).unwrap()
}

/// A leaf: any bytes for an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) index: u64,
    pub(crate) op: Vec<u8>,
}

pub(crate) fn leaf_of(index: u64, op: &[u8]) -> Leaf {
    Leaf { index, op: op.to_vec() }
}

impl Leaf {
    pub(crate) fn key(&self) -> &[u8] {
        &self.op[63..]
    }

    pub(crate) fn to_state_leaf(&self) -> StateLeaf {
        StateLeaf::new(LogIndex::new(self.index), self.op.clone()).unwrap()
    }

    fn hash(&self) -> Hash {
        let op = sha(&[&[0], self.op.as_slice()].concat());
        as_hash(&sha(&[&[2], self.index.to_be_bytes().as_slice(), &op].concat()))
    }
}

/// A tree as a proof shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    Pruned(Hash),
    Leaf(Leaf),
    Branch(u16, Box<Shown>, Box<Shown>),
}

impl Shown {
    pub(crate) fn hash(&self) -> Hash {
        match self {
            Self::Pruned(hash) => *hash,
            Self::Leaf(leaf) => leaf.hash(),
            Self::Branch(d, left, right) => {
                let (left, right) = (left.hash(), right.hash());
                let bytes = [&[3], d.to_be_bytes().as_slice(), left.as_bytes(), right.as_bytes()].concat();
                as_hash(&sha(&bytes))
            }
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Pruned(hash) => [&[1], hash.as_bytes().as_slice()].concat(),
            Self::Leaf(Leaf { index, op }) => {
                let len = u32::try_from(op.len()).unwrap();
                [&[2], index.to_be_bytes().as_slice(), &len.to_be_bytes(), op].concat()
            }
            Self::Branch(d, left, right) => {
                [&[3], d.to_be_bytes().as_slice(), &left.encode(), &right.encode()].concat()
            }
        }
    }

    /// Reads a proof that is known to be good; `None` for that of the empty tree.
    pub(crate) fn parse(proof: &[u8]) -> Option<Self> {
        (proof != [0]).then(|| Self::parse_node(&mut &proof[..]))
    }

    fn parse_node(rest: &mut &[u8]) -> Self {
        let mut take = |n: usize| {
            let (bytes, after) = rest.split_at(n);
            *rest = after;
            bytes.to_vec()
        };
        match take(1)[0] {
            1 => Self::Pruned(as_hash(&take(32))),
            2 => {
                let index = u64::from_be_bytes(take(8).try_into().unwrap());
                let len = u32::from_be_bytes(take(4).try_into().unwrap());
                Self::Leaf(Leaf { index, op: take(usize::try_from(len).unwrap()) })
            }
            _ => {
                let d = u16::from_be_bytes(take(2).try_into().unwrap());
                let left = Box::new(Self::parse_node(rest));
                Self::Branch(d, left, Box::new(Self::parse_node(rest)))
            }
        }
    }

    fn leaves(&self) -> Vec<&Leaf> {
        match self {
            Self::Pruned(_) => vec![],
            Self::Leaf(leaf) => vec![leaf],
            Self::Branch(_, left, right) => [left.leaves(), right.leaves()].concat(),
        }
    }

    /// Trees in which something that `asked` for is missing or different: one subtree that holds such a leaf
    /// pruned, taken out, or with its leaf altered. Everything else is as it was.
    pub(crate) fn forgeries(&self, asked: &dyn Fn(&Leaf) -> bool) -> Vec<Self> {
        let mut all = Vec::new();
        if self.leaves().into_iter().any(asked) {
            all.push(Self::Pruned(self.hash()));
        }
        match self {
            Self::Pruned(_) => {}
            Self::Leaf(leaf) => {
                let mut op = leaf.op.clone();
                op[8] ^= 1;
                all.push(Self::Leaf(Leaf { index: leaf.index, op }));
                all.push(Self::Leaf(Leaf { index: leaf.index + 1, op: leaf.op.clone() }));
            }
            Self::Branch(d, left, right) => {
                all.extend([(**left).clone(), (**right).clone()]);
                all.push(Self::Branch(*d, right.clone(), left.clone()));
                all.push(Self::Branch(d + 1, left.clone(), right.clone()));
                let with_left = |left| Self::Branch(*d, Box::new(left), right.clone());
                let with_right = |right| Self::Branch(*d, left.clone(), Box::new(right));
                all.extend(left.forgeries(asked).into_iter().map(with_left));
                all.extend(right.forgeries(asked).into_iter().map(with_right));
            }
        }
        all
    }
}

/// A state tree: sorted keys and recursion.
#[derive(Debug, Clone)]
pub(crate) struct Naive {
    leaves: BTreeMap<Vec<u8>, Leaf>,
}

/// Keys in order, as bit strings, with their leaves.
type Run<'a> = [(String, &'a Leaf)];

impl Naive {
    /// Of two leaves of one key the later stays.
    pub(crate) fn new(leaves: impl IntoIterator<Item = (Vec<u8>, Leaf)>) -> Self {
        Self { leaves: leaves.into_iter().collect() }
    }

    /// Every key written by the transaction at index 1.
    pub(crate) fn of_keys(keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::new(keys.into_iter().map(|key| (key.clone(), leaf_of(1, &op_for(&key, 1)))))
    }

    pub(crate) fn leaves(&self) -> impl Iterator<Item = (&Vec<u8>, &Leaf)> {
        self.leaves.iter()
    }

    /// The answer a reader must get.
    pub(crate) fn answer(&self, query: &Query) -> Vec<(u64, Vec<u8>)> {
        let inside = |key: &[u8]| match query {
            Query::Key(asked) => key == asked,
            Query::Prefix(prefix) => key.starts_with(prefix),
            Query::Range { first, end } => {
                key >= first.as_slice() && end.as_ref().is_none_or(|end| key < end.as_slice())
            }
        };
        let leaves = self.leaves.iter().filter(|(key, _)| inside(key));
        leaves.map(|(_, leaf)| (leaf.index, leaf.op.clone())).collect()
    }

    fn run(&self) -> Vec<(String, &Leaf)> {
        self.leaves.iter().map(|(key, leaf)| (bit_string(key, true), leaf)).collect()
    }

    pub(crate) fn root(&self) -> Hash {
        match self.leaves.len() {
            0 => Hash::new([0; 32]),
            _ => whole(&self.run()).hash(),
        }
    }

    /// The proof by the letter of the format: try both children, and start over if neither revealed a leaf.
    pub(crate) fn prove(&self, query: &Query) -> Vec<u8> {
        let (lo, hi) = match query {
            Query::Key(key) => (bit_string(key, true), Some(bit_string(key, true))),
            Query::Prefix(prefix) => (bit_string(prefix, false), Some(bit_string(prefix, false))),
            Query::Range { first, end } => {
                (bit_string(first, true), end.as_ref().map(|end| bit_string(end, true)))
            }
        };
        match self.leaves.len() {
            0 => vec![0],
            _ => visit(&self.run(), "", &lo, hi.as_deref()).encode(),
        }
    }

    /// Sizes of the largest subtrees of at most `max` keys, in key order.
    pub(crate) fn sizes_of_parts(&self, max: usize) -> Vec<usize> {
        fn sizes(run: &Run<'_>, max: usize) -> Vec<usize> {
            if run.len() <= max {
                return vec![run.len()];
            }
            let (_, left, right) = split(run);
            [sizes(left, max), sizes(right, max)].concat()
        }
        if self.leaves.is_empty() { vec![] } else { sizes(&self.run(), max) }
    }
}

/// Depth and sides of the branch over two keys or more.
fn split<'a, 'b>(run: &'b Run<'a>) -> (usize, &'b Run<'a>, &'b Run<'a>) {
    let bit = |key: &str, at: usize| key.as_bytes()[at];
    let d = (0..).find(|at| run.iter().any(|(key, _)| bit(key, *at) != bit(&run[0].0, *at))).unwrap();
    let middle = run.iter().position(|(key, _)| bit(key, d) == b'1').unwrap();
    (d, &run[..middle], &run[middle..])
}

fn whole(run: &Run<'_>) -> Shown {
    if let [(_, leaf)] = run {
        return Shown::Leaf((*leaf).clone());
    }
    let (d, left, right) = split(run);
    Shown::Branch(u16::try_from(d).unwrap(), Box::new(whole(left)), Box::new(whole(right)))
}

fn visit(run: &Run<'_>, prefix: &str, lo: &str, hi: Option<&str>) -> Shown {
    let order = |bound: &str| {
        let common = prefix.len().min(bound.len());
        prefix[..common].cmp(&bound[..common])
    };
    if order(lo).is_lt() || hi.is_some_and(|hi| order(hi).is_gt()) {
        return Shown::Pruned(whole(run).hash());
    }
    if let [(_, leaf)] = run {
        return Shown::Leaf((*leaf).clone());
    }
    let (d, left, right) = split(run);
    let common = &run[0].0[..d];
    let left = visit(left, &format!("{common}0"), lo, hi);
    let right = visit(right, &format!("{common}1"), lo, hi);
    if left.leaves().is_empty() && right.leaves().is_empty() {
        return follow(run, lo);
    }
    Shown::Branch(u16::try_from(d).unwrap(), Box::new(left), Box::new(right))
}

fn follow(run: &Run<'_>, lo: &str) -> Shown {
    if let [(_, leaf)] = run {
        return Shown::Leaf((*leaf).clone());
    }
    let (d, left, right) = split(run);
    let (left, right) = if lo.as_bytes().get(d) == Some(&b'1') {
        (Shown::Pruned(whole(left).hash()), follow(right, lo))
    } else {
        (follow(left, lo), Shown::Pruned(whole(right).hash()))
    };
    Shown::Branch(u16::try_from(d).unwrap(), Box::new(left), Box::new(right))
}
