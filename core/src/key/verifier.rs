//! Public keys, as notes and policies name them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ed25519_dalek::{Signature, VerifyingKey};

use super::KeyError;
use crate::hash::sha256;
use crate::note::text::{decode_base64, encode_base64};

/// What a key signs, as the byte of c2sp.org/signed-note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureType {
    /// 0x01: Ed25519 over the text of the note.
    Ed25519,
    /// 0x04: Ed25519 over time and text (c2sp.org/tlog-cosignature v1).
    Cosignature,
}

impl SignatureType {
    /// The byte in key ids and vkeys.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    /// The type with this byte, if it is one of the two.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// The short id of a key: `H(name ‖ "\n" ‖ type ‖ public key)[..4]`, printed as 8 lowercase hex digits.
/// It finds a key; it does not identify one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// These bytes, taken as they are.
    #[must_use]
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The 4 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    /// The id of a key.
    #[must_use]
    pub fn of(name: &str, kind: SignatureType, public: &[u8; 32]) -> Self {
        let hash = sha256(&[name.as_bytes(), b"\n", &[kind.to_byte()], public]);
        let [a, b, c, d, ..] = *hash.as_bytes();
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A public key with its name and type. Cheap to clone; prints as its vkey.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey(Arc<Parts>);

/// Shared by all clones: the decoded point alone is larger than most of what holds a key.
#[derive(PartialEq, Eq)]
struct Parts {
    name: Box<str>,
    id: KeyId,
    kind: SignatureType,
    public: VerifyingKey,
}

impl VerifierKey {
    /// A key of its parts.
    ///
    /// # Errors
    /// [`KeyError::Name`], and those of the public key.
    pub fn new(name: &str, kind: SignatureType, public: &[u8; 32]) -> Result<Self, KeyError> {
        let public = read_public_key(public)?;
        Self::of_key(name, kind, public)
    }

    /// The same, of a public key that is known to be one.
    pub(super) fn of_key(name: &str, kind: SignatureType, public: VerifyingKey) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name { name: name.to_owned() });
        }
        Ok(Self(Arc::new(Parts {
            name: name.into(),
            id: KeyId::of(name, kind, public.as_bytes()),
            kind,
            public,
        })))
    }

    /// Reads a vkey: `name+hex(id)+base64(type ‖ public key)`. One spelling per key.
    ///
    /// # Errors
    /// [`KeyError`]: the form, an id that does not belong to the rest, a type not supported here, or bytes that
    /// are no key to trust.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let form = || KeyError::Form { text: text.to_owned() };
        let (name, rest) = text.split_once('+').ok_or_else(form)?;
        // The base64 may hold '+'; name and id may not.
        let (id, material) = rest.split_once('+').ok_or_else(form)?;
        let owned = || name.to_owned();
        if !is_key_name(name) {
            return Err(KeyError::Name { name: owned() });
        }
        let named =
            parse_key_id(id).ok_or_else(|| KeyError::IdForm { name: owned(), text: id.to_owned() })?;
        let material = decode_base64(material).ok_or_else(|| KeyError::Base64 { name: owned() })?;
        let (byte, public) = material.split_first().ok_or_else(form)?;
        let kind =
            SignatureType::from_byte(*byte).ok_or_else(|| KeyError::Type { name: owned(), byte: *byte })?;
        let public = <[u8; 32]>::try_from(public).map_err(|_| KeyError::Length { got: public.len() })?;
        let key = Self::new(name, kind, &public)?;
        if key.id() != named {
            return Err(KeyError::IdDiffers { name: owned(), named, computed: key.id() });
        }
        Ok(key)
    }

    /// The name in signature lines: a log's origin, or a cosigner's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The short id in signature lines.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.0.id
    }

    /// What it signs.
    #[must_use]
    pub fn kind(&self) -> SignatureType {
        self.0.kind
    }

    /// The 32 bytes of the public key (RFC 8032).
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        self.0.public.as_bytes()
    }

    /// Whether both are the same cryptographic key, whatever their names and types. A quorum counts these.
    #[must_use]
    pub fn same_key(&self, other: &Self) -> bool {
        self.public_key() == other.public_key()
    }

    /// Checks a plain Ed25519 signature over `message`, strictly.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`].
    pub(crate) fn verify_message(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), KeyError> {
        self.0
            .public
            .verify_strict(message, &Signature::from_bytes(signature))
            .map_err(|_| self.bad_signature())
    }

    /// The error for a signature that is not this key's.
    pub(crate) fn bad_signature(&self) -> KeyError {
        KeyError::BadSignature { name: self.name().to_owned(), id: self.id() }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = vec![self.kind().to_byte()];
        material.extend_from_slice(self.public_key());
        write!(f, "{}+{}+{}", self.name(), self.id(), encode_base64(&material))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

/// Reads a public key: a point, in its one encoding, not of small order.
pub(crate) fn read_public_key(bytes: &[u8; 32]) -> Result<VerifyingKey, KeyError> {
    let not_a_point = || KeyError::NotAPoint { hex: hex::encode(bytes) };
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| not_a_point())?;
    if key.to_edwards().compress().to_bytes() != *bytes {
        return Err(not_a_point());
    }
    if key.is_weak() {
        return Err(KeyError::Weak { hex: hex::encode(bytes) });
    }
    Ok(key)
}

/// Whether a note can carry this key name (c2sp.org/signed-note): not empty, no Unicode space, no plus, no ASCII
/// control character.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c < ' ' || c.is_whitespace() || c == '+')
}

/// 8 lowercase hex digits.
fn parse_key_id(text: &str) -> Option<KeyId> {
    let mut bytes = [0; 4];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    let id = KeyId(bytes);
    (id.to_string() == text).then_some(id)
}
