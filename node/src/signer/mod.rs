//! The signer: says, with this node's own key, what this node computed itself.
//!
//! Every checkpoint that a block makes is cosigned, in order, after it was applied here, with the root computed
//! here (trust.md, "Rules of a replica"). Before a signature leaves this module, what it says is durable: the last
//! size, root and time per ledger go through the log store's group fsync and its floor. So after any crash this node
//! still knows what it promised, and never signs two roots for one size, nor a smaller size at a later time.
//!
//! Cosignatures are exchanged with the other members and counted in the [`book`]. A size with the signatures of a
//! majority over *our* root is certified, and whoever waits for it is told. Whose signatures count for a size is what the
//! applied state says of it: the cosigner set in force there, and where a block of `_system` brings in a new set, a
//! majority of that one too. A majority over another root means
//! that this node is wrong: it stops ([`Health`](crate::health::Health)) and keeps its files.
//!
//! * [`pen`] — the rules of what may be signed, and its durability
//! * [`book`] — who has signed what, pure
//! * [`panel`] — a cosigner set, ready to be counted with
//! * `page` — one checkpoint of the book
//! * `need` — what a client wants of the signatures of a checkpoint
//! * `outside` — what outside witnesses cosigned, and who waits for it
//! * `notes` — certified checkpoints as notes
//! * `anchor` — whose signatures certify a received snapshot
//! * `haste` — when a checkpoint is signed
//! * [`mod@intake`] — the way from apply to here
//! * [`desk`] — the shared handle: checkpoints in, cosignatures in and out, notes out

mod anchor;
pub(crate) mod book;
mod contradiction;
pub(crate) mod desk;
mod haste;
pub(crate) mod intake;
mod need;
mod notes;
mod outside;
mod page;
pub(crate) mod panel;
pub(crate) mod pen;

pub use book::Signed;
pub use desk::{Certified, Outbox, Signer, SignerParts, WaitError};
pub use intake::{Intake, intake};
pub(crate) use need::MAX_NAMED;
pub use need::Need;
pub(crate) use notes::heads;
pub use outside::Reached;
pub(crate) use outside::Wanted;
pub use pen::PenFault;
