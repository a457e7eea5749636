//! Why a policy file is refused, and why a note is.

use super::{Label, MAX_POLICY_BYTES};
use crate::key::KeyError;
use crate::note::NoteError;

/// A policy file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy line {line}: {problem}")]
pub struct PolicyFileError {
    /// Where, from 1. What is missing at the end is missing on the line after the last.
    pub line: usize,
    /// What is wrong there.
    #[source]
    pub problem: PolicyProblem,
}

/// What is wrong on a line of a policy file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyProblem {
    /// The file is larger than any policy.
    #[error("the file has {got} bytes, at most {MAX_POLICY_BYTES} are read")]
    TooLong {
        /// Its length in bytes.
        got: usize,
    },
    /// A control character.
    #[error(
        "octet 0x{byte:02x} is not allowed; a policy has no control characters but tab and newline (LF alone)"
    )]
    Octet {
        /// The octet.
        byte: u8,
    },
    /// The last line was cut off.
    #[error("the last line does not end with a newline; the file may be cut off")]
    Unterminated,
    /// A line that starts with another word.
    #[error("expected a line that starts with log, witness, group or quorum, not {word}")]
    Keyword {
        /// The first word.
        word: Label,
    },
    /// A line with too few or too many items.
    #[error("expected \"{expected}\", but there are {got} items")]
    Items {
        /// The form of such a line.
        expected: &'static str,
        /// How many items there are, the first word included.
        got: usize,
    },
    /// A key that cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A log's key of a type that is not a log's.
    #[error("the key {name} has the type of a cosigner (0x04); a log's key has type 0x01")]
    LogKeyType {
        /// Name of the key.
        name: String,
    },
    /// A witness's key of a type that is not a cosigner's.
    #[error("the key {name} has the type of a log (0x01); a witness's key has type 0x04")]
    WitnessKeyType {
        /// Name of the key.
        name: String,
    },
    /// The same public key twice, or two keys that a note cannot tell apart.
    #[error(
        "the key {name} is already in this policy, as {other} on line {line}; all keys must be different"
    )]
    DuplicateKey {
        /// Name of the key.
        name: String,
        /// Name of the key before.
        other: String,
        /// Line of the key before.
        line: usize,
    },
    /// A witness or group called `none`.
    #[error("the name none is taken: it stands for no quorum")]
    ReservedName,
    /// A name defined twice.
    #[error("the name {name} is already defined; witnesses and groups share their names")]
    DuplicateName {
        /// The name.
        name: Label,
    },
    /// A number of members that cannot be met.
    #[error(
        "the group has {members} members, so expected all, any, or a number from 1 to {members}, not {got}"
    )]
    Threshold {
        /// What the line says.
        got: Label,
        /// How many members it lists.
        members: usize,
    },
    /// A name without a definition above.
    #[error("{name} is not defined; a witness or group must be defined on a line above its use")]
    UnknownName {
        /// The name.
        name: Label,
    },
    /// A name that is a member twice.
    #[error("{name} is already a member of the group {group}; a name counts in one group only, once")]
    MemberTwice {
        /// The name.
        name: Label,
        /// The group.
        group: Label,
    },
    /// More than one quorum line.
    #[error("there is already a quorum on line {line}; a policy has exactly one")]
    SecondQuorum {
        /// Line of the one before.
        line: usize,
    },
    /// No quorum line.
    #[error("the file ends without a quorum line; expected \"quorum <name>\" or \"quorum none\"")]
    NoQuorum,
}

/// A note that the policy does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The note is no note of a checkpoint, or a signature of a key of the policy is bad.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The policy has no log.
    #[error("the policy lists no log, so it accepts no checkpoint; add a line \"log <vkey>\"")]
    NoLog,
    /// The checkpoint is of a log that the policy does not list.
    #[error("the checkpoint is of {origin}, but the policy is for {logs}")]
    UnknownOrigin {
        /// Origin of the checkpoint.
        origin: String,
        /// Origins the policy lists.
        logs: String,
    },
    /// The log's own signature is missing.
    #[error("the checkpoint of {origin} is not signed by that log's key")]
    NotSignedByLog {
        /// Origin of the checkpoint.
        origin: String,
    },
    /// Not enough cosignatures.
    #[error(
        "the policy is not met: {have} of its witnesses cosigned, it takes at least {need}; missing: {}",
        missing.join(", ")
    )]
    NotMet {
        /// How many of the witnesses that count have cosigned.
        have: usize,
        /// The least number that can be enough.
        need: usize,
        /// Policy names of those that have not.
        missing: Vec<String>,
    },
}
