//! The Protocol Buffers messages of the `extra` line, written by hand: they are a frozen format of this crate,
//! not part of an interface (`docs/formats.md` §3).

use prost::Message;

use super::ReceiptError;
use crate::answer::{Contents, Meta};
use crate::answer::{RevealedOperation as Revealed, TransactionProof};
use crate::entry::Salt;
use crate::hash::Hash;
use crate::position::LogIndex;

/// What re-creates the leaf of a receipt.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ReceiptExtra {
    /// Bytes of the leaf.
    #[prost(bytes = "vec", tag = "1")]
    pub leaf: Vec<u8>,
    /// Operations shown, by ascending position. In a receipt of state: the values of what the proof reveals.
    #[prost(message, repeated, tag = "2")]
    pub operations: Vec<RevealedOperation>,
    /// Bytes of the transaction's `TransactionMeta`, if shown.
    #[prost(bytes = "vec", tag = "3")]
    pub meta: Vec<u8>,
    /// Salt of the meta's digest: 16 bytes, or none if the meta is not shown.
    #[prost(bytes = "vec", tag = "4")]
    pub meta_salt: Vec<u8>,
    /// A state proof, under the state root of a commit leaf.
    #[prost(bytes = "vec", tag = "5")]
    pub state_proof: Vec<u8>,
}

/// An operation that a receipt shows.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RevealedOperation {
    /// Its encoding.
    #[prost(bytes = "vec", tag = "1")]
    pub operation: Vec<u8>,
    /// Its place among the transaction's operations, from 0. In a receipt of state: 0.
    #[prost(uint32, tag = "2")]
    pub position: u32,
    /// Inclusion path under the transaction's `ops_root`, hashes of 32 bytes. In a receipt of state: none.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub path: Vec<Vec<u8>>,
    /// Salt of a put: 16 bytes, or none if its value is not shown.
    #[prost(bytes = "vec", tag = "4")]
    pub salt: Vec<u8>,
    /// Attributes of a put.
    #[prost(bytes = "vec", tag = "5")]
    pub attributes: Vec<u8>,
    /// Value of a put.
    #[prost(bytes = "vec", tag = "6")]
    pub value: Vec<u8>,
}

/// What a transaction's meta says. Unlike the others it may have fields that this version does not know: its
/// bytes are kept verbatim, and a digest covers them.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TransactionMeta {
    /// The authenticated principal that sent the request, or `anonymous`. The leader's word.
    #[prost(string, tag = "1")]
    pub author: String,
}

impl ReceiptExtra {
    /// Reads the bytes of the `extra` line: one encoding per value, no unknown fields.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let extra = Self::decode(bytes).map_err(|error| ReceiptError::Extra { reason: error.to_string() })?;
        if extra.encode_to_vec() != bytes {
            return Err(ReceiptError::ExtraNotCanonical);
        }
        Ok(extra)
    }

    /// The extra data of a receipt of a transaction.
    pub(super) fn of_transaction(proof: &TransactionProof) -> Self {
        let (meta, meta_salt) = proof
            .meta
            .as_ref()
            .map_or_else(Default::default, |meta| (meta.bytes.clone(), meta.salt.to_vec()));
        Self {
            leaf: proof.leaf.clone(),
            operations: proof.operations.iter().map(RevealedOperation::of).collect(),
            meta,
            meta_salt,
            state_proof: Vec::new(),
        }
    }

    /// The meta, if shown.
    pub(super) fn meta(&self) -> Result<Option<Meta>, ReceiptError> {
        match read_salt("meta_salt", &self.meta_salt)? {
            Some(salt) => Ok(Some(Meta { salt, bytes: self.meta.clone() })),
            None if self.meta.is_empty() => Ok(None),
            None => Err(ReceiptError::Field { field: "meta", problem: "it is there without its salt" }),
        }
    }

    /// The transaction that this describes, at an index and with a path that are the file's.
    pub(super) fn transaction(
        &self,
        index: LogIndex,
        path: &[Hash],
    ) -> Result<TransactionProof, ReceiptError> {
        if !self.state_proof.is_empty() {
            let problem = "only a receipt of state has one; its leaf is a commit leaf";
            return Err(ReceiptError::Field { field: "state_proof", problem });
        }
        Ok(TransactionProof {
            index,
            leaf: self.leaf.clone(),
            path: path.to_vec(),
            operations: self.operations.iter().map(RevealedOperation::raw).collect::<Result<_, _>>()?,
            meta: self.meta()?,
        })
    }
}

impl RevealedOperation {
    /// An operation without place, with contents: as receipts of state hold it.
    pub(super) fn in_state(operation: Vec<u8>, contents: Contents) -> Self {
        Self::of(&Revealed { operation, contents: Some(contents), ..Revealed::default() })
    }

    fn of(revealed: &Revealed) -> Self {
        let mut message = Self {
            operation: revealed.operation.clone(),
            position: revealed.position,
            path: revealed.path.iter().map(|hash| hash.as_bytes().to_vec()).collect(),
            ..Self::default()
        };
        if let Some(contents) = &revealed.contents {
            message.salt = contents.salt.to_vec();
            message.attributes.clone_from(&contents.attributes);
            message.value.clone_from(&contents.value);
        }
        message
    }

    /// The contents, if shown.
    pub(super) fn contents(&self) -> Result<Option<Contents>, ReceiptError> {
        match read_salt("salt", &self.salt)? {
            Some(salt) => {
                let (attributes, value) = (self.attributes.clone(), self.value.clone());
                Ok(Some(Contents { salt, attributes, value }))
            }
            None if self.attributes.is_empty() && self.value.is_empty() => Ok(None),
            None => Err(ReceiptError::Field { field: "value", problem: "it is there without its salt" }),
        }
    }

    fn raw(&self) -> Result<Revealed, ReceiptError> {
        let hash = |bytes: &Vec<u8>| {
            let problem = "a hash has 32 bytes";
            Hash::try_from(bytes.as_slice()).map_err(|_| ReceiptError::Field { field: "path", problem })
        };
        Ok(Revealed {
            operation: self.operation.clone(),
            position: self.position,
            path: self.path.iter().map(hash).collect::<Result<_, _>>()?,
            contents: self.contents()?,
        })
    }
}

/// 16 bytes, or none at all.
fn read_salt(field: &'static str, bytes: &[u8]) -> Result<Option<Salt>, ReceiptError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let salt = Salt::try_from(bytes);
    salt.map(Some).map_err(|_| ReceiptError::Field { field, problem: "a salt has exactly 16 bytes" })
}
