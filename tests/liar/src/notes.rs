//! Checkpoints, signed anew with stolen keys.

use std::time::{SystemTime, UNIX_EPOCH};

use quorate_core::{
    checkpoint::Checkpoint,
    hash::Hash,
    name::Origin,
    note::{NoteError, SignedNote},
};

use crate::stolen::Stolen;

/// Seconds since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the liar's only clock")]
pub fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Signs a checkpoint now, with the log key and these nodes' keys.
#[must_use]
pub fn sign(checkpoint: &Checkpoint, liars: &[Stolen]) -> SignedNote {
    let mut note = SignedNote::new(checkpoint.clone());
    for liar in liars {
        if let Ok(origin) = Origin::parse(&checkpoint.origin) {
            note.add(liar.log_key(&origin).sign(checkpoint));
        }
        if let Ok(cosignature) = liar.cosigner.cosign(checkpoint, seconds()) {
            note.add(cosignature.to_line());
        }
    }
    note
}

/// The same size of the same log with another root.
///
/// # Errors
/// No note.
pub fn with_another_root(note: &str, liars: &[Stolen]) -> Result<String, NoteError> {
    let mut checkpoint = SignedNote::parse(note)?.checkpoint().clone();
    let mut root = *checkpoint.root.as_bytes();
    root[0] ^= 1;
    checkpoint.root = Hash::new(root);
    Ok(sign(&checkpoint, liars).to_string())
}

/// The same checkpoint, signed now and by these alone.
///
/// # Errors
/// No note.
pub fn signed_again(note: &str, liars: &[Stolen]) -> Result<String, NoteError> {
    Ok(sign(SignedNote::parse(note)?.checkpoint(), liars).to_string())
}

/// The text of one note with the signature lines of another.
#[must_use]
pub fn with_lines_of(note: &str, other: &str) -> String {
    let text = note.split_once("\n\n").map_or(note, |(text, _)| text);
    let lines = other.split_once("\n\n").map_or("", |(_, lines)| lines);
    format!("{text}\n\n{lines}")
}

/// The first two signature lines alone: the log's and one cosigner's.
#[must_use]
pub fn with_two_lines(note: &str) -> String {
    let (text, lines) = note.split_once("\n\n").unwrap_or((note, ""));
    let kept: Vec<&str> = lines.lines().take(2).collect();
    format!("{text}\n\n{}\n", kept.join("\n"))
}
