//! Notes whose form is right.

use std::fmt;
use std::str::FromStr;

use super::opened::OpenedNote;
use super::{Cosignature, NoteError, NoteSignature};
use crate::checkpoint::Checkpoint;
use crate::key::VerifierKey;
use crate::name::split_node;
use crate::position::NodeId;

/// Longest note that is read, in bytes: room for [`MAX_SIGNATURES`] of any assigned type.
pub const MAX_NOTE_BYTES: usize = 1 << 20;
/// Most signature lines that are read.
pub const MAX_SIGNATURES: usize = 128;

/// A checkpoint and signature lines; nothing is verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignedNote {
    checkpoint: Checkpoint,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// A note to which signatures will be added. Without any it is none yet: its text does not parse.
    #[must_use]
    pub const fn new(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, signatures: Vec::new() }
    }

    /// Reads a note. What is read prints as the same bytes.
    ///
    /// # Errors
    /// [`NoteError`] names the line.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { got: note.len() });
        }
        refuse_control(note)?;
        // The last empty line is the one that counts, so no text can smuggle in signature lines.
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        let count = lines.split('\n').count();
        if count > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures { got: count });
        }
        let first_line = text.split('\n').count().saturating_add(2);
        let signatures = lines.split('\n').enumerate().map(|(offset, line)| {
            NoteSignature::parse(line).ok_or_else(|| NoteError::Line {
                line: first_line.saturating_add(offset),
                text: line.to_owned(),
            })
        });
        Ok(Self {
            signatures: signatures.collect::<Result<_, _>>()?,
            checkpoint: Checkpoint::parse(&format!("{text}\n"))?,
        })
    }

    /// What is signed.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signature lines, as they are in the note.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line and puts all lines in the canonical order. A line of the same key gives way, unless
    /// it is a cosignature of a later time. Nothing is verified here: add what you verified.
    pub fn add(&mut self, line: NoteSignature) {
        let same = |other: &NoteSignature| other.name() == line.name() && other.id() == line.id();
        match self.signatures.iter_mut().find(|other| same(other)) {
            Some(other) if is_later(other, &line) => {}
            Some(other) => *other = line,
            None => self.signatures.push(line),
        }
        let origin = &self.checkpoint.origin;
        self.signatures.sort_by_cached_key(|line| Place::of(origin, line));
    }

    /// Adds all lines of another note of the same checkpoint.
    ///
    /// # Errors
    /// [`NoteError::OtherCheckpoint`].
    pub fn merge(&mut self, other: &Self) -> Result<(), NoteError> {
        if self.checkpoint != other.checkpoint {
            return Err(NoteError::OtherCheckpoint {
                left: self.checkpoint.to_string(),
                right: other.checkpoint.to_string(),
            });
        }
        other.signatures.iter().cloned().for_each(|line| self.add(line));
        Ok(())
    }

    /// Verifies every signature of these keys.
    ///
    /// # Errors
    /// [`NoteError::Signature`] if one of them is bad, [`NoteError::NoKnownSigner`] if there is none.
    pub fn open(self, known: &[VerifierKey]) -> Result<OpenedNote, NoteError> {
        OpenedNote::open(self, known)
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.checkpoint.body())?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for SignedNote {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, NoteError> {
        Self::parse(note)
    }
}

/// Where a line belongs, in ascending order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Log,
    Node(NodeId),
    Other(String, [u8; 4]),
}

impl Place {
    fn of(origin: &str, line: &NoteSignature) -> Self {
        if line.name() == origin {
            return Self::Log;
        }
        let cluster = origin.rsplit_once('/').map(|(cluster, _)| cluster);
        match split_node(line.name()) {
            Some((of, node)) if Some(of) == cluster => Self::Node(node),
            _ => Self::Other(line.name().to_owned(), *line.id().as_bytes()),
        }
    }
}

/// Whether `old` is a cosignature of a later time than `new`.
fn is_later(old: &NoteSignature, new: &NoteSignature) -> bool {
    match (Cosignature::from_line(old), Cosignature::from_line(new)) {
        (Some(old), Some(new)) => old.time > new.time,
        _ => false,
    }
}

/// Notes hold no ASCII control characters but newline.
fn refuse_control(note: &str) -> Result<(), NoteError> {
    let bad = |(_, byte): &(usize, u8)| *byte < b' ' && *byte != b'\n';
    let Some((position, byte)) = note.bytes().enumerate().find(bad) else {
        return Ok(());
    };
    let before = note.bytes().take(position).filter(|byte| *byte == b'\n').count();
    let line = before.saturating_add(1);
    Err(NoteError::Control { line, byte })
}
