//! Receipts: files that prove by themselves what is in a ledger (c2sp.org/tlog-proof, `.tlog-proof`).
//!
//! Contract, in three steps that are three types:
//!
//! 1. text, from anywhere: a `&str`;
//! 2. [`Receipt`]: its form is right, and it is the only way to write what it says; [`Receipt::parse`] and
//!    `Display` are exact inverses;
//! 3. [`VerifiedReceipt`]: verified offline with nothing but a trust policy, by [`Receipt::verify`].
//!
//! There are two kinds. A [`TransactionReceipt`] proves that a transaction was committed, and shows operations
//! with their values. A [`StateReceipt`] proves what keys held at a checkpoint, or that they held nothing; the
//! caller asks it for the key, since absence has no leaf to show.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64 of ReceiptExtra>       what re-creates the leaf
//! index <log index, decimal>           of the transaction leaf; of the commit leaf (size − 1) for state
//! <base64 of a hash>                   inclusion path, from the leaf's sibling upwards, a hash per line
//!                                      (empty line)
//! <cosigned checkpoint>                the rest of the file: a signed note
//! ```
//!
//! Every byte of it is covered: by the note's signatures, by the path to the checkpoint's root, by the digests
//! in the leaf, or by there being one encoding only. What was erased since is simply not in a later receipt; an
//! old one keeps it.

mod artifact;
mod error;
mod file;
mod message;
mod reveal;
mod verified;

pub use artifact::{Artifact, NamedBy};
pub use error::ReceiptError;
pub use file::Receipt;
pub use message::{ReceiptExtra, RevealedOperation, TransactionMeta};
pub use verified::{StateReceipt, TransactionReceipt, VerifiedReceipt};
