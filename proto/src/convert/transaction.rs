//! Transactions with the operations they show.

use bytes::Bytes;
use quorate_core::answer::{Contents, Meta, RevealedOperation, TransactionProof};
use quorate_core::position::LogIndex;

use super::fixed::owned;
use super::{WireError, WireProblem, path_from_wire, path_to_wire, salt_from_wire};
use crate::v1;

impl From<Contents> for v1::Content {
    fn from(contents: Contents) -> Self {
        Self {
            salt: Bytes::copy_from_slice(&contents.salt),
            attributes: contents.attributes.into(),
            value: contents.value.into(),
        }
    }
}

impl TryFrom<v1::Content> for Contents {
    type Error = WireError;

    fn try_from(content: v1::Content) -> Result<Self, WireError> {
        Ok(Self {
            salt: salt_from_wire("salt", &content.salt)?,
            attributes: owned(content.attributes),
            value: owned(content.value),
        })
    }
}

impl From<RevealedOperation> for v1::RevealedOperation {
    fn from(revealed: RevealedOperation) -> Self {
        Self {
            operation: revealed.operation.into(),
            position: revealed.position,
            path: path_to_wire(&revealed.path),
            content: revealed.contents.map(Into::into),
        }
    }
}

impl TryFrom<v1::RevealedOperation> for RevealedOperation {
    type Error = WireError;

    fn try_from(revealed: v1::RevealedOperation) -> Result<Self, WireError> {
        Ok(Self {
            path: path_from_wire("path", &revealed.path)?,
            contents: optional("content", revealed.content)?,
            operation: owned(revealed.operation),
            position: revealed.position,
        })
    }
}

impl From<TransactionProof> for v1::Transaction {
    fn from(proof: TransactionProof) -> Self {
        let (meta, meta_salt) = meta_to_wire(proof.meta);
        Self {
            index: proof.index.get(),
            leaf: proof.leaf.into(),
            path: path_to_wire(&proof.path),
            operations: proof.operations.into_iter().map(Into::into).collect(),
            meta,
            meta_salt,
        }
    }
}

impl TryFrom<v1::Transaction> for TransactionProof {
    type Error = WireError;

    fn try_from(transaction: v1::Transaction) -> Result<Self, WireError> {
        let meta = meta_from_wire(transaction.meta, &transaction.meta_salt)?;
        let revealed = transaction.operations.into_iter().enumerate().map(|(place, operation)| {
            operation.try_into().map_err(|error: WireError| error.within(format_args!("operations[{place}]")))
        });
        Ok(Self {
            index: LogIndex::new(transaction.index),
            operations: revealed.collect::<Result<_, _>>()?,
            leaf: owned(transaction.leaf),
            path: path_from_wire("path", &transaction.path)?,
            meta,
        })
    }
}

/// Meta and salt; the salt is what tells that there is a meta, which may be empty itself.
pub(super) fn meta_to_wire(meta: Option<Meta>) -> (Bytes, Bytes) {
    meta.map_or_else(Default::default, |meta| (meta.bytes.into(), Bytes::copy_from_slice(&meta.salt)))
}

pub(super) fn meta_from_wire(meta: Bytes, salt: &[u8]) -> Result<Option<Meta>, WireError> {
    match (salt.is_empty(), meta.is_empty()) {
        (true, true) => Ok(None),
        (true, false) => Err(WireError::new("meta", WireProblem::Alone { without: "meta_salt" })),
        (false, _) => Ok(Some(Meta { salt: salt_from_wire("meta_salt", salt)?, bytes: owned(meta) })),
    }
}

/// A part that may be absent, with errors named from the message that holds it.
pub(super) fn optional<W, C>(field: &'static str, message: Option<W>) -> Result<Option<C>, WireError>
where
    C: TryFrom<W, Error = WireError>,
{
    message.map(|message| C::try_from(message).map_err(|error| error.within(field))).transpose()
}
