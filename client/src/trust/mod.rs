//! What a client believed last, and how that moves forward.
//!
//! Contract: for every log there is one newest checkpoint that this client believes. It moves by consistency proof
//! and by compare-and-swap, only forward, and never by itself back to nothing: what cannot be read is an error
//! ([`TrustError`]), never a first contact.
//!
//! [`TrustStore`] is where it is kept: [`FileTrust`] on disk, shared by all processes of a user, or [`MemoryTrust`]
//! for as long as the process lives. `Keeper` (crate-private) holds a log's checkpoints in memory in front of it:
//!
//! - *linked*: proven to be on one line with the newest one. A checkpoint that is linked is compared, not proven again.
//! - *loose*: proven to continue what was believed when its question was asked, while other answers moved the newest
//!   one elsewhere in the meantime. Loose checkpoints are linked in the background, with the proofs between
//!   neighbours; if that fails, every later call on this ledger fails with the evidence.
//!
//! So a client that asks one thing at a time never believes an answer before it is linked; one that asks many at
//! once learns of a fork between two of its answers one round trip later. [`crate::Client::flush`] waits for it.

mod chain;
mod file;
mod keeper;
mod memory;
#[cfg(test)]
mod tests;

pub(crate) use chain::Standing;
pub use file::FileTrust;
pub(crate) use keeper::{Keeper, Prover};
pub use memory::MemoryTrust;

use quorate_core::checkpoint::Checkpoint;
use quorate_core::note::SignedNote;

use crate::error::TrustError;

/// Where the last believed checkpoint of every log is kept.
///
/// Calls may block; the client makes them where that does no harm, unless [`TrustStore::is_instant`] says otherwise.
pub trait TrustStore: std::fmt::Debug + Send + Sync {
    /// The stored checkpoint of the log with this origin, as the note that was stored; `None` if there never was one.
    ///
    /// # Errors
    /// [`TrustError`] if what is stored cannot be read. It is not "none" then.
    fn load(&self, origin: &str) -> Result<Option<SignedNote>, TrustError>;

    /// Stores a newer checkpoint, if what is stored is still `expected` (origin, size and root; `None`: nothing). When
    /// this returns [`Swap::Done`], it is as durable as the store can make it.
    ///
    /// # Errors
    /// [`TrustError`]; a smaller size than the stored one is [`TrustError::Backwards`], whatever was expected.
    fn compare_and_swap(&self, expected: Option<&Checkpoint>, new: &SignedNote) -> Result<Swap, TrustError>;

    /// The proofs of changes of replicas that were stored for the ledger with this origin (`_system`); `None` if there
    /// never were any. A store that keeps none is asked for them by every process anew.
    ///
    /// # Errors
    /// [`TrustError`] if what is stored cannot be read.
    fn load_epochs(&self, _origin: &str) -> Result<Option<Vec<u8>>, TrustError> {
        Ok(None)
    }

    /// Stores proofs of changes of replicas, if `is_older` says so of what is stored now. Nobody else stores in between.
    ///
    /// # Errors
    /// [`TrustError`].
    fn swap_epochs(
        &self,
        _origin: &str,
        _new: &[u8],
        _is_older: &dyn Fn(&[u8]) -> bool,
    ) -> Result<(), TrustError> {
        Ok(())
    }

    /// Whether calls return at once, without touching a disk or a network.
    fn is_instant(&self) -> bool {
        false
    }
}

/// What became of a compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The new checkpoint is stored.
    Done,
    /// Nothing was stored: this is there instead of what was expected.
    Changed(Option<SignedNote>),
}

/// What every store checks before it writes: that it is the expected one that gives way, to a newer one.
fn may_replace(
    stored: Option<&SignedNote>,
    expected: Option<&Checkpoint>,
    new: &SignedNote,
) -> Result<bool, TrustError> {
    let stored = stored.map(SignedNote::checkpoint);
    let to = new.checkpoint();
    match stored {
        Some(from) if from.origin != to.origin => {
            Err(TrustError::OtherOrigin { wanted: to.origin.clone(), got: from.origin.clone() })
        }
        _ if stored != expected => Ok(false),
        Some(from) if from.size > to.size => {
            Err(TrustError::Backwards { origin: to.origin.clone(), from: from.size, to: to.size })
        }
        _ => Ok(true),
    }
}
