//! The verifier: from a root, a query and bytes of anybody to the complete answer, or a refusal.
//!
//! Contract: no bytes make it panic, recurse, or hold more than the proof's own size. What it accepts is the one
//! tree with that root, with nothing pruned that could hold an answer. It believes no stated prefix: what a
//! pruned subtree's keys begin with is taken from a revealed leaf beside it.

use super::bits::{BitPrefix, Bits};
use super::encoding::{BRANCH, EMPTY, LEAF, MAX_DEPTH, PRUNED};
use super::leaf::{branch_hash, key_of, leaf_hash};
use super::proof_error::StateProofError;
use super::query::{Query, QueryBits};
use crate::entry::{OpKind, Operation};
use crate::hash::Hash;
use crate::position::LogIndex;

/// Checks a state proof against the state root it should lead to.
///
/// # Errors
/// [`StateProofError`] says what is wrong with it.
pub fn verify(root: &Hash, query: &Query, proof: &[u8]) -> Result<VerifiedAnswer, StateProofError> {
    let mut reader = Reader { proof, rest: proof };
    let (computed, revealed) = if proof.first() == Some(&EMPTY) {
        reader.byte("a tag")?;
        (Hash::ZERO, Vec::new())
    } else {
        read_tree(&mut reader, &query.bits())?
    };
    if !reader.rest.is_empty() {
        return Err(StateProofError::TrailingBytes { at: reader.at(), extra: reader.rest.len() });
    }
    if computed != *root {
        return Err(StateProofError::WrongRoot { expected: *root, computed });
    }
    let inside = revealed.iter().filter(|leaf| query.contains(leaf.key));
    let leaves = inside.map(VerifiedStateLeaf::decode).collect::<Result<_, _>>()?;
    Ok(VerifiedAnswer { root: *root, query: query.clone(), leaves })
}

/// The complete answer to a query at one state root. Only [`verify()`] makes one.
#[derive(Debug, Clone)]
pub struct VerifiedAnswer {
    root: Hash,
    query: Query,
    leaves: Vec<VerifiedStateLeaf>,
}

impl VerifiedAnswer {
    /// The state root under which this is the answer.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// What was asked.
    #[must_use]
    pub const fn query(&self) -> &Query {
        &self.query
    }

    /// All leaves the query asks for, in the order of their keys. Deleted keys are among them.
    #[must_use]
    pub fn leaves(&self) -> &[VerifiedStateLeaf] {
        &self.leaves
    }

    /// The leaf of this key; `None`: it was never written.
    ///
    /// # Errors
    /// [`OutsideQuery`] if the query did not ask for this key, so that nothing is known of it.
    pub fn get(&self, key: &[u8]) -> Result<Option<&VerifiedStateLeaf>, OutsideQuery> {
        if !self.query.contains(key) {
            return Err(OutsideQuery);
        }
        let found = self.leaves.binary_search_by(|leaf| leaf.op.key.as_slice().cmp(key));
        Ok(found.ok().and_then(|at| self.leaves.get(at)))
    }
}

/// A key that a verified answer says nothing about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proven query does not ask for this key: it is neither present nor absent; ask for it")]
pub struct OutsideQuery;

/// A leaf that belongs to a verified answer: the newest write of its key, a put or a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedStateLeaf {
    index: LogIndex,
    op: Operation,
}

impl VerifiedStateLeaf {
    /// Log index of the transaction that wrote the key last.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// That write: a put or a delete.
    #[must_use]
    pub const fn op(&self) -> &Operation {
        &self.op
    }

    /// Reads a leaf of the answer; its operation must be a write.
    fn decode(leaf: &Revealed<'_>) -> Result<Self, StateProofError> {
        let index = leaf.index.get();
        let op = Operation::decode(leaf.op).map_err(|source| StateProofError::Operation { index, source })?;
        match op.kind {
            OpKind::Put | OpKind::Delete => Ok(Self { index: leaf.index, op }),
            OpKind::Erase => Err(StateProofError::NotAWrite { index }),
        }
    }
}

/// A leaf as the proof shows it; its operation is 63 bytes and its key.
#[derive(Clone, Copy)]
struct Revealed<'p> {
    index: LogIndex,
    op: &'p [u8],
    key: &'p [u8],
}

/// A subtree that was read to its end.
struct Subtree<'p> {
    hash: Hash,
    /// Any key revealed below; `None`: the subtree is pruned.
    key: Option<&'p [u8]>,
}

/// A branch of which the right side was not yet read to its end.
struct OpenBranch<'p> {
    d: u16,
    left: Option<Subtree<'p>>,
}

/// Reads one tree and checks everything but its root hash and what follows it. Gives that hash and the revealed
/// leaves in key order. At most one open branch per depth: 9,217.
fn read_tree<'p>(
    reader: &mut Reader<'p>,
    query: &QueryBits<'_>,
) -> Result<(Hash, Vec<Revealed<'p>>), StateProofError> {
    let mut open: Vec<OpenBranch<'p>> = Vec::new();
    let mut revealed = Vec::new();
    loop {
        let at = reader.at();
        let mut done = match reader.byte("a tag")? {
            PRUNED => Subtree { hash: Hash::new(reader.array("a pruned hash")?), key: None },
            LEAF => {
                let leaf = reader.leaf()?;
                revealed.push(leaf);
                Subtree { hash: leaf_hash(leaf.index, leaf.op), key: Some(leaf.key) }
            }
            BRANCH => {
                let depth = u16::from_be_bytes(reader.array("the depth of a branch")?);
                let least = open.last().map_or(0, |above| above.d.saturating_add(1));
                if depth < least || depth > MAX_DEPTH {
                    return Err(StateProofError::Depth { at, depth, least });
                }
                open.push(OpenBranch { d: depth, left: None });
                continue;
            }
            tag => return Err(StateProofError::Tag { tag, at }),
        };
        // The subtree ends here, and with it every branch of which it is the right side.
        loop {
            let Some(mut branch) = open.pop() else {
                return match done.key {
                    Some(_) => Ok((done.hash, revealed)),
                    None => Err(StateProofError::NothingShown),
                };
            };
            match branch.left.take() {
                Some(left) => done = close(branch.d, &left, &done, query)?,
                None => {
                    open.push(OpenBranch { left: Some(done), ..branch });
                    break;
                }
            }
        }
    }
}

/// Joins the two sides of a branch and checks what the revealed leaves say of it. One leaf of each side is
/// enough: those of one side agree beyond `d`, as the deeper branches were checked in the same way.
fn close<'p>(
    d: u16,
    left: &Subtree<'p>,
    right: &Subtree<'p>,
    query: &QueryBits<'_>,
) -> Result<Subtree<'p>, StateProofError> {
    let depth = usize::from(d);
    for (side, subtree) in [(false, left), (true, right)] {
        if subtree.key.is_some_and(|key| Bits::of_key(key).bit(depth) != Some(side)) {
            return Err(StateProofError::WrongSide { depth: d });
        }
    }
    let (key, pruned_side) = match (left.key, right.key) {
        (None, None) => return Err(StateProofError::NothingRevealed { depth: d }),
        (Some(key), None) => (key, Some(true)),
        (None, Some(key)) => (key, Some(false)),
        (Some(key), Some(other)) => {
            // They differ at `d`, as each has its side's bit there.
            match Bits::of_key(key).first_difference(Bits::of_key(other)) {
                Some(difference) if difference < depth => {
                    return Err(StateProofError::WrongBranch { depth: d, difference });
                }
                _ => (key, None),
            }
        }
    };
    if pruned_side.is_some_and(|side| !query.is_disjoint(&BitPrefix::side_of(key, d, side))) {
        return Err(StateProofError::Incomplete { depth: d });
    }
    Ok(Subtree { hash: branch_hash(d, &left.hash, &right.hash), key: Some(key) })
}

/// What is left of the proof.
struct Reader<'p> {
    proof: &'p [u8],
    rest: &'p [u8],
}

impl<'p> Reader<'p> {
    /// Offset of the next byte.
    fn at(&self) -> usize {
        self.proof.len().saturating_sub(self.rest.len())
    }

    fn truncated(&self, what: &'static str) -> StateProofError {
        StateProofError::Truncated { at: self.at(), what }
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, StateProofError> {
        self.array(what).map(|[byte]: [u8; 1]| byte)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], StateProofError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.truncated(what))?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// A revealed leaf without its tag.
    fn leaf(&mut self) -> Result<Revealed<'p>, StateProofError> {
        let index = LogIndex::new(u64::from_be_bytes(self.array("the index of a leaf")?));
        let len = u32::from_be_bytes(self.array("the length of a leaf")?);
        let at = self.at();
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (op, rest) = split.ok_or_else(|| self.truncated("the operation of a leaf"))?;
        let key = key_of(op).map_err(|source| StateProofError::Leaf { at, source })?;
        self.rest = rest;
        Ok(Revealed { index, op, key })
    }
}
