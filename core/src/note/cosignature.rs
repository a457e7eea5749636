//! Cosignatures (c2sp.org/tlog-cosignature, Ed25519 v1).

use super::NoteSignature;
use crate::checkpoint::Checkpoint;
use crate::key::{KeyError, KeyId, SignatureType, VerifierKey};

/// What a cosigner signs: `cosignature/v1 \n time T \n` and the text of the checkpoint. `time` in seconds since
/// the Unix epoch.
#[must_use]
pub fn cosign_message(time: u64, body: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{body}")
}

/// A cosignature by the key with this name and id; not verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cosignature {
    /// Name of the key.
    pub name: String,
    /// Id of the key.
    pub id: KeyId,
    /// When it was made, in seconds since the Unix epoch. Signed.
    pub time: u64,
    /// Ed25519 over [`cosign_message`].
    pub signature: [u8; 64],
}

impl Cosignature {
    /// The latest time the format allows.
    pub const MAX_TIME: u64 = u64::MAX / 2;

    /// A cosignature of this key.
    #[must_use]
    pub fn by(key: &VerifierKey, time: u64, signature: [u8; 64]) -> Self {
        Self { name: key.name().to_owned(), id: key.id(), time, signature }
    }

    /// Reads a signature line that holds `time u64 ‖ signature (64)`; `None` if it is of another length or its
    /// time is over [`Cosignature::MAX_TIME`].
    #[must_use]
    pub fn from_line(line: &NoteSignature) -> Option<Self> {
        let (time, signature) = line.signature().split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        if time > Self::MAX_TIME {
            return None;
        }
        Some(Self {
            name: line.name().to_owned(),
            id: line.id(),
            time,
            signature: signature.try_into().ok()?,
        })
    }

    /// The signature line.
    #[must_use]
    pub fn to_line(&self) -> NoteSignature {
        let mut bytes = self.time.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.signature);
        NoteSignature::of(self.name.clone(), self.id, bytes)
    }

    /// Checks that `key` made this cosignature of this checkpoint, at this time.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`], also if it names another key or `key` is no cosigner's.
    pub fn verify(&self, key: &VerifierKey, checkpoint: &Checkpoint) -> Result<(), KeyError> {
        let is_by_key = self.name == key.name() && self.id == key.id();
        if !is_by_key || key.kind() != SignatureType::Cosignature {
            return Err(key.bad_signature());
        }
        if self.time > Self::MAX_TIME {
            return Err(KeyError::Time { time: self.time });
        }
        let message = cosign_message(self.time, &checkpoint.body());
        key.verify_message(message.as_bytes(), &self.signature)
    }
}
