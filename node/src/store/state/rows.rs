//! Keys of rows. All integers are big-endian, so that rows lie in the order of what they are about.

use quorate_core::position::{Epoch, LogIndex, Revision, TreeSize};
use quorate_ledger::view::LedgerId;

/// What was applied: one row.
pub(crate) const APPLIED: &[u8] = b"applied";
/// Before the ledger ids of heads.
pub(crate) const HEADS: &[u8] = b"head/";

/// Before the numbers of epochs.
pub(crate) const EPOCHS: &[u8] = b"epoch/";

/// What is kept of the beginning of an epoch: `epoch/` ‖ epoch u64.
pub(crate) fn epoch(epoch: Epoch) -> Vec<u8> {
    [EPOCHS, &epoch.get().to_be_bytes()].concat()
}

/// The head of a ledger: `head/` ‖ ledger u32.
pub(crate) fn head(ledger: LedgerId) -> Vec<u8> {
    [HEADS, &ledger.0.to_be_bytes()].concat()
}

/// What all rows of a ledger start with: ledger u32.
pub(crate) fn ledger(ledger: LedgerId) -> [u8; 4] {
    ledger.0.to_be_bytes()
}

/// A run of leaves: ledger ‖ log index of its first leaf u64.
pub(crate) fn run(ledger: LedgerId, first: LogIndex) -> [u8; 12] {
    numbered(ledger, first.get())
}

/// The cosignatures of a checkpoint: ledger ‖ size u64.
pub(crate) fn cosignatures(ledger: LedgerId, size: TreeSize) -> [u8; 12] {
    numbered(ledger, size.get())
}

/// All contents of a transaction: ledger ‖ log index u64.
pub(crate) fn contents(ledger: LedgerId, index: LogIndex) -> [u8; 12] {
    numbered(ledger, index.get())
}

/// A part of the contents of a transaction: ledger ‖ log index u64 ‖ position u16 of the first operation in it.
pub(crate) fn contents_part(ledger: LedgerId, index: LogIndex, position: u16) -> [u8; 14] {
    let mut key = [0; 14];
    key[..12].copy_from_slice(&contents(ledger, index));
    key[12..].copy_from_slice(&position.to_be_bytes());
    key
}

/// The newest write of a key, or the bucket that begins with it: ledger ‖ key.
pub(crate) fn keyed(ledger: LedgerId, key: &[u8]) -> Vec<u8> {
    [&ledger.0.to_be_bytes(), key].concat()
}

/// The log index of an overwritten revision: ledger ‖ key ‖ revision u64. Unambiguous, as the last 8 bytes are the revision.
pub(crate) fn revision(ledger: LedgerId, key: &[u8], revision: Revision) -> Vec<u8> {
    [&ledger.0.to_be_bytes(), key, &revision.get().to_be_bytes()].concat()
}

/// A full tile: ledger ‖ level u8 ‖ number u64.
pub(crate) fn tile(ledger: LedgerId, level: u8, number: u64) -> [u8; 13] {
    let mut key = [0; 13];
    key[..4].copy_from_slice(&ledger.0.to_be_bytes());
    key[4] = level;
    key[5..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The transactions of a request: ledger ‖ request id.
pub(crate) fn request(ledger: LedgerId, request_id: &quorate_core::hash::Hash) -> [u8; 36] {
    let mut key = [0; 36];
    key[..4].copy_from_slice(&ledger.0.to_be_bytes());
    key[4..].copy_from_slice(request_id.as_bytes());
    key
}

fn numbered(ledger: LedgerId, number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&ledger.0.to_be_bytes());
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}
