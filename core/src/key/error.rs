//! Why text is no key, or a signature is none.

/// An error of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A vkey without its three parts.
    #[error("verifier key {text:?}: expected <name>+<8 hex digits>+<base64>")]
    Form {
        /// The text.
        text: String,
    },
    /// A key name that a note cannot carry.
    #[error("key name {name:?}: it must not be empty and must hold no space, '+' or control character")]
    Name {
        /// The name.
        name: String,
    },
    /// A key id that is not 8 lowercase hex digits.
    #[error("verifier key of {name}: the key id {text:?} is not 8 lowercase hex digits")]
    IdForm {
        /// Name of the key.
        name: String,
        /// The middle part.
        text: String,
    },
    /// A key id that does not belong to the rest.
    #[error(
        "verifier key of {name}: its key id is {named}, but name and key give {computed}; it was copied wrong"
    )]
    IdDiffers {
        /// Name of the key.
        name: String,
        /// The id in the text.
        named: super::KeyId,
        /// The id that name, type and public key give.
        computed: super::KeyId,
    },
    /// A last part that is not canonical base64.
    #[error("verifier key of {name}: the last part is not canonical standard base64")]
    Base64 {
        /// Name of the key.
        name: String,
    },
    /// A signature type this version does not verify.
    #[error(
        "verifier key of {name}: signature type 0x{byte:02x} is not supported; expected 0x01 (Ed25519, logs) or \
         0x04 (Ed25519 cosignatures, replicas and witnesses)"
    )]
    Type {
        /// Name of the key.
        name: String,
        /// The type byte.
        byte: u8,
    },
    /// Not 32 bytes of key.
    #[error("public key: expected 32 bytes, not {got}")]
    Length {
        /// How many there were.
        got: usize,
    },
    /// Bytes that are no point, or not in their one encoding.
    #[error("public key {hex}: not an Ed25519 public key in its canonical encoding (RFC 8032 §5.1.3)")]
    NotAPoint {
        /// The bytes.
        hex: String,
    },
    /// A point of small order.
    #[error("public key {hex}: a point of small order, with which anybody can sign")]
    Weak {
        /// The bytes.
        hex: String,
    },
    /// A signature that does not verify.
    #[error("signature by {name} ({id}): it does not verify, so it was altered or is of another text")]
    BadSignature {
        /// Name of the key.
        name: String,
        /// Id of the key.
        id: super::KeyId,
    },
    /// A cosignature time outside what the format allows.
    #[error("cosignature time {time}: at most 2^63-1 seconds are allowed")]
    Time {
        /// Seconds since the Unix epoch.
        time: u64,
    },
}
