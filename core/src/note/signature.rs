//! One signature line.

use std::fmt;

use super::text::{decode_base64, encode_base64};
use crate::key::{KeyId, VerifierKey, is_key_name};

/// What a signature line starts with.
const DASH: &str = "— ";

/// A signature line, of a key known or unknown; nothing is verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NoteSignature {
    name: String,
    id: KeyId,
    signature: Vec<u8>,
}

impl NoteSignature {
    /// A line of this key.
    #[must_use]
    pub fn by(key: &VerifierKey, signature: Vec<u8>) -> Self {
        Self { name: key.name().to_owned(), id: key.id(), signature }
    }

    /// The same, of a key known by name and id only.
    pub(super) const fn of(name: String, id: KeyId, signature: Vec<u8>) -> Self {
        Self { name, id, signature }
    }

    /// Reads a line without its newline: `— name base64(id ‖ signature)`. `None` for any other spelling.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, base64) = line.strip_prefix(DASH)?.split_once(' ')?;
        let bytes = decode_base64(base64)?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        if !is_key_name(name) || signature.is_empty() {
            return None;
        }
        Some(Self { name: name.to_owned(), id: KeyId::new(*id), signature: signature.to_vec() })
    }

    /// The key name, as the line has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id, as the line has it.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The signature without the id; of a cosignature the time comes first.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether the line says it is by this key.
    #[must_use]
    pub fn names(&self, key: &VerifierKey) -> bool {
        self.id == key.id() && self.name == key.name()
    }
}

impl fmt::Display for NoteSignature {
    /// The line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.as_bytes().to_vec();
        bytes.extend_from_slice(&self.signature);
        write!(f, "{DASH}{} {}", self.name, encode_base64(&bytes))
    }
}
