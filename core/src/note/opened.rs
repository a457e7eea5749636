//! Notes whose signatures were verified.

use super::{Cosignature, NoteError, NoteSignature, SignedNote};
use crate::checkpoint::Checkpoint;
use crate::key::{KeyError, SignatureType, VerifierKey};

/// A known key that signed the note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    key: VerifierKey,
    time: Option<u64>,
}

impl Signer {
    /// The key.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// When a cosigner signed (the latest, if more than once), in seconds since the Unix epoch by its own clock;
    /// `None` for a log key.
    #[must_use]
    pub const fn time(&self) -> Option<u64> {
        self.time
    }
}

/// A note of which every signature by a known key is valid, and there is at least one.
///
/// ```compile_fail,E0451
/// use quorate_core::note::{OpenedNote, SignedNote};
/// // Only `SignedNote::open` makes one.
/// fn forge(note: SignedNote) -> OpenedNote {
///     OpenedNote { note, signers: Vec::new() }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedNote {
    note: SignedNote,
    signers: Vec<Signer>,
}

impl OpenedNote {
    pub(super) fn open(note: SignedNote, known: &[VerifierKey]) -> Result<Self, NoteError> {
        let body = note.checkpoint().body();
        let mut signers: Vec<Signer> = Vec::new();
        for line in note.signatures() {
            let Some(key) = known.iter().find(|key| line.names(key)) else {
                continue;
            };
            let time = verify_line(key, line, &body)?;
            match signers.iter_mut().find(|signer| signer.key == *key) {
                // The key says the same again; times compare as Option: a log key has none.
                Some(signer) => signer.time = signer.time.max(time),
                None => signers.push(Signer { key: key.clone(), time }),
            }
        }
        if signers.is_empty() {
            let names: Vec<&str> = note.signatures().iter().map(NoteSignature::name).collect();
            return Err(NoteError::NoKnownSigner {
                origin: note.checkpoint().origin.clone(),
                signed_by: names.join(", "),
            });
        }
        Ok(Self { note, signers })
    }

    /// What they signed.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        self.note.checkpoint()
    }

    /// The whole note, with the signatures of unknown keys; prints as the text that was opened.
    #[must_use]
    pub const fn note(&self) -> &SignedNote {
        &self.note
    }

    /// The known keys that signed, each once, in the order of their first lines.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// The known cosigners among them (type 0x04) and their times, in seconds since the Unix epoch.
    pub fn cosigners(&self) -> impl Iterator<Item = (&VerifierKey, u64)> {
        self.signers.iter().filter_map(|signer| Some((&signer.key, signer.time?)))
    }

    /// Whether this very key signed, whatever the name it is known by.
    #[must_use]
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        self.signers.iter().any(|signer| signer.key.same_key(key))
    }
}

/// Verifies a line that names `key`; the time of a cosignature.
fn verify_line(key: &VerifierKey, line: &NoteSignature, body: &str) -> Result<Option<u64>, KeyError> {
    match key.kind() {
        SignatureType::Ed25519 => {
            let signature = line.signature().try_into().map_err(|_| key.bad_signature())?;
            key.verify_message(body.as_bytes(), signature)?;
            Ok(None)
        }
        SignatureType::Cosignature => {
            let cosignature = Cosignature::from_line(line).ok_or_else(|| key.bad_signature())?;
            let message = super::cosign_message(cosignature.time, body);
            key.verify_message(message.as_bytes(), &cosignature.signature)?;
            Ok(Some(cosignature.time))
        }
    }
}
