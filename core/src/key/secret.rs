//! Secret keys: the log's, derived, and a replica's own.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{KeyError, SignatureType, VerifierKey};
use crate::checkpoint::Checkpoint;
use crate::name::Origin;
use crate::note::{Cosignature, NoteSignature, cosign_message};
use crate::possession::NodeStatement;

/// Info of the key derivation; the origin follows. The 1 is its version.
const DERIVE_INFO: &str = "quorate log key v1 ";

/// The key of one ledger's log, with which a note is signed in the log's name (type 0x01).
pub struct LogKey {
    secret: SigningKey,
    verifier: VerifierKey,
}

impl LogKey {
    /// The key of the ledger with this origin, from the cluster's 32-byte log secret:
    /// HKDF-SHA256(salt empty, secret, info = "quorate log key v1 " ‖ origin) gives its 32-byte Ed25519 seed.
    #[must_use]
    pub fn derive(secret: &[u8; 32], origin: &Origin) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        let info = format!("{DERIVE_INFO}{origin}");
        let derived = Hkdf::<Sha256>::new(None, secret).expand(info.as_bytes(), seed.as_mut());
        #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8,160 bytes; 32 are asked for")]
        derived.expect("32 bytes of HKDF output");
        let secret = SigningKey::from_bytes(&seed);
        let verifier = VerifierKey::of_key(origin.as_str(), SignatureType::Ed25519, secret.verifying_key());
        #[expect(clippy::expect_used, reason = "an origin has no spaces, pluses or control characters")]
        let verifier = verifier.expect("an origin is a key name");
        Self { secret, verifier }
    }

    /// The public half; its name is the origin.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The signature line for a checkpoint. Deterministic (RFC 8032).
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> NoteSignature {
        let signature = self.secret.sign(checkpoint.body().as_bytes()).to_bytes();
        NoteSignature::by(&self.verifier, signature.to_vec())
    }
}

/// A replica's own key, with which it cosigns checkpoints (type 0x04).
pub struct CosignerKey {
    secret: SigningKey,
    verifier: VerifierKey,
}

impl CosignerKey {
    /// The key with this name (`crate::name::ClusterOrigin::node` for a replica) and 32-byte Ed25519 seed.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::of_key(name, SignatureType::Cosignature, secret.verifying_key())?;
        Ok(Self { secret, verifier })
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Says: as of `time` (seconds since the Unix epoch) this is the largest tree of this origin that I hold.
    /// The caller answers for that, and for never saying two things that exclude each other. Deterministic.
    ///
    /// # Errors
    /// [`KeyError::Time`] above 2^63 − 1 seconds.
    pub fn cosign(&self, checkpoint: &Checkpoint, time: u64) -> Result<Cosignature, KeyError> {
        if time > Cosignature::MAX_TIME {
            return Err(KeyError::Time { time });
        }
        let message = cosign_message(time, &checkpoint.body());
        let signature = self.secret.sign(message.as_bytes()).to_bytes();
        Ok(Cosignature::by(&self.verifier, time, signature))
    }

    /// Proves that this key is held by whom the statement names. Deterministic.
    #[must_use]
    pub fn possess(&self, statement: &NodeStatement) -> [u8; 64] {
        self.secret.sign(&statement.bytes()).to_bytes()
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKey(secret of {})", self.verifier)
    }
}

impl fmt::Debug for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignerKey(secret of {})", self.verifier)
    }
}
