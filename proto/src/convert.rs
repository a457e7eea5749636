//! The one mapping between wire messages and the plain types of `quorate-core`.
//!
//! Contract: towards the wire a conversion is `From` and cannot fail; from the wire it is `TryFrom` with a
//! [`WireError`] that names the field (`operations[2].path[0]`) and says what was wrong. It is strict in form and
//! blind to truth: a hash has 32 bytes, a salt 16, a part that belongs to another does not come alone. What comes
//! out is still a claim of whoever sent it; `quorate_core::answer` turns claims into proven values.
//!
//! | wire (`quorate.v1`) | core |
//! |---|---|
//! | `Content` | [`Contents`](quorate_core::answer::Contents) |
//! | `RevealedOperation` | [`RevealedOperation`](quorate_core::answer::RevealedOperation) |
//! | `Transaction` | [`TransactionProof`](quorate_core::answer::TransactionProof) |
//! | `KeyRange` | [`KeyRange`](quorate_core::answer::KeyRange) |
//! | `CheckpointProof` | [`CheckpointParts`] |
//! | `Item` | [`ItemParts`] |
//! | `LogEntry` | [`EntryParts`] |
//! | `InclusionProofResponse` | [`LeafAt`] |
//!
//! Conversions consume their argument, so that a value is copied once at most. [`detail`] and [`mod@status`] put an
//! [`ErrorDetail`](crate::v1::ErrorDetail) into a gRPC status and take it out again.

mod checkpoint;
mod entry;
mod error;
mod fixed;
mod item;
mod range;
mod status;
#[cfg(test)]
mod tests;
mod transaction;

pub use checkpoint::{CheckpointParts, LeafAt};
pub use entry::EntryParts;
pub use error::{WireError, WireProblem};
pub use fixed::{hash_from_wire, path_from_wire, path_to_wire, salt_from_wire};
pub use item::ItemParts;
pub use status::{detail, status};
