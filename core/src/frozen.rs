//! Ledgers that take no transactions: the documents `frozen/<name>` of `_system` (`docs/formats.md`).
//!
//! A ledger is frozen while the newest document under its key says so. Each freeze and each thaw is a revision of that key, and
//! stays for ever. What a block writes here holds from the next block on, like everything in `_system`.

use prost::Message;

use crate::name::LedgerName;

/// What the key of a [`FreezeRecord`] begins with, before the ledger's name.
pub const FROZEN_PREFIX: &[u8] = b"frozen/";

/// Which kinds of documents in `_system` this version knows (`quorate.v1.StatusResponse`): from this number on, these too.
pub const KNOWS_FREEZES: u32 = 1;

/// Longest reason, bytes.
pub const MAX_FREEZE_REASON: usize = 1_024;

/// Whether a ledger takes transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum FreezeState {
    /// Not a state; never written.
    Unspecified = 0,
    /// It takes none.
    Frozen = 1,
    /// It takes them again.
    Thawed = 2,
}

/// That a ledger is frozen, or is not any more.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FreezeRecord {
    /// Name of the ledger, as in the key.
    #[prost(string, tag = "1")]
    pub ledger: String,
    /// What it is from the next block on.
    #[prost(enumeration = "FreezeState", tag = "2")]
    pub state: i32,
    /// Why, for people; at most [`MAX_FREEZE_REASON`] bytes; may be empty.
    #[prost(string, tag = "3")]
    pub reason: String,
}

impl FreezeRecord {
    /// The document that puts a ledger into a state.
    #[must_use]
    pub fn new(ledger: &LedgerName, state: FreezeState, reason: impl Into<String>) -> Self {
        Self { ledger: ledger.as_str().to_owned(), state: state.into(), reason: reason.into() }
    }

    /// Whether the ledger takes no transactions.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.state == i32::from(FreezeState::Frozen)
    }
}

/// The key of the document of a ledger.
#[must_use]
pub fn frozen_key(ledger: &LedgerName) -> Vec<u8> {
    [FROZEN_PREFIX, ledger.as_str().as_bytes()].concat()
}
