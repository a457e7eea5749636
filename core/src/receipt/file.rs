//! The file: its lines, and how one is made.

use std::fmt;
use std::str::FromStr;

use prost::Message as _;

use super::message::{ReceiptExtra, RevealedOperation};
use super::{ReceiptError, VerifiedReceipt};
use crate::answer::{Contents, LeafProof, TransactionProof};
use crate::entry::op_paths;
use crate::hash::Hash;
use crate::note::SignedNote;
use crate::note::text::{decode_base64, encode_base64, parse_decimal};
use crate::policy::Policy;
use crate::position::LogIndex;

/// First line of every such file.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Longest inclusion path: a tree has at most 2^64 leaves.
const MAX_PATH: usize = 64;

/// A receipt whose form is right; nothing in it is verified. Prints as its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    pub(super) extra: ReceiptExtra,
    pub(super) index: LogIndex,
    pub(super) path: Vec<Hash>,
    pub(super) note: SignedNote,
}

impl Receipt {
    /// Reads a file. What is read prints as the same bytes.
    ///
    /// # Errors
    /// [`ReceiptError`] names the line or field.
    pub fn parse(file: &str) -> Result<Self, ReceiptError> {
        let (proof, note) = file.split_once("\n\n").ok_or(ReceiptError::Line {
            line: 1,
            expected: "followed by an empty line before the checkpoint",
        })?;
        let mut lines = proof.split('\n').zip(1_usize..);
        if lines.next() != Some((HEADER, 1)) {
            return Err(ReceiptError::Line { line: 1, expected: HEADER });
        }
        let extra = lines
            .next()
            .and_then(|(line, _)| decode_base64(line.strip_prefix("extra ")?))
            .ok_or(ReceiptError::Line { line: 2, expected: "\"extra\", a space and base64" })?;
        let index = lines
            .next()
            .and_then(|(line, _)| parse_decimal(line.strip_prefix("index ")?))
            .ok_or(ReceiptError::Line { line: 3, expected: "\"index\", a space and a decimal number" })?;
        let hash = |(text, line): (&str, usize)| {
            Hash::from_base64(text).map_err(|source| ReceiptError::PathHash { line, source })
        };
        let path = lines.by_ref().take(MAX_PATH).map(hash).collect::<Result<Vec<_>, _>>()?;
        if let Some((_, line)) = lines.next() {
            return Err(ReceiptError::Line { line, expected: "empty: a path has at most 64 hashes" });
        }
        Ok(Self {
            extra: ReceiptExtra::read(&extra)?,
            index: LogIndex::new(index),
            path,
            note: SignedNote::parse(note)?,
        })
    }

    /// A receipt of a transaction, of what a server's answer showed of it. Paths of operations that the answer
    /// could leave out, because it shows all operations, are made here.
    #[must_use]
    pub fn of_transaction(note: SignedNote, proof: &TransactionProof) -> Self {
        let mut proof = proof.clone();
        if proof.operations.iter().all(|operation| operation.path.is_empty()) {
            let operations: Vec<&[u8]> =
                proof.operations.iter().map(|revealed| revealed.operation.as_slice()).collect();
            let paths = op_paths(&operations);
            for (revealed, path) in proof.operations.iter_mut().zip(paths) {
                revealed.path = path;
            }
        }
        Self { extra: ReceiptExtra::of_transaction(&proof), index: proof.index, path: proof.path, note }
    }

    /// A receipt of state at the note's checkpoint: the commit leaf, a state proof under its root, and for puts
    /// that the proof reveals their encoded operations and contents.
    ///
    /// # Errors
    /// [`ReceiptError::Field`] if the checkpoint is of an empty tree, which has no commit leaf.
    pub fn of_state(
        note: SignedNote,
        commit: LeafProof,
        state_proof: Vec<u8>,
        values: Vec<(Vec<u8>, Contents)>,
    ) -> Result<Self, ReceiptError> {
        let index = note
            .checkpoint()
            .size
            .last_index()
            .ok_or(ReceiptError::Field { field: "checkpoint", problem: "an empty tree has no state" })?;
        let values = values.into_iter();
        let extra = ReceiptExtra {
            leaf: commit.leaf,
            operations: values
                .map(|(operation, contents)| RevealedOperation::in_state(operation, contents))
                .collect(),
            state_proof,
            ..ReceiptExtra::default()
        };
        Ok(Self { extra, index, path: commit.path, note })
    }

    /// Position of its leaf: of the transaction, or of the commit leaf for a receipt of state. A claim.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// Its checkpoint with the signatures. A claim: which policy to verify it with may depend on the origin.
    #[must_use]
    pub const fn note(&self) -> &SignedNote {
        &self.note
    }

    /// What re-creates its leaf. A claim.
    #[must_use]
    pub const fn extra(&self) -> &ReceiptExtra {
        &self.extra
    }

    /// Verifies everything in it.
    ///
    /// # Errors
    /// [`ReceiptError`] says which check failed.
    pub fn verify(&self, policy: &Policy) -> Result<VerifiedReceipt, ReceiptError> {
        VerifiedReceipt::verify(self, policy)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        writeln!(f, "extra {}", encode_base64(&self.extra.encode_to_vec()))?;
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.note)
    }
}

impl FromStr for Receipt {
    type Err = ReceiptError;

    fn from_str(file: &str) -> Result<Self, ReceiptError> {
        Self::parse(file)
    }
}
