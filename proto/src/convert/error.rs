//! What is wrong with a message, and where.

use std::fmt;

/// A message that does not have the form it must have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct WireError {
    field: String,
    problem: WireProblem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireProblem {
    /// A field that must be there is not.
    #[error("missing")]
    Missing,
    /// A field that makes no sense without another one.
    #[error("present without {without}")]
    Alone {
        /// The field that is missing.
        without: &'static str,
    },
    /// Bytes that should be a SHA-256 value.
    #[error("a hash has 32 bytes, not {got}")]
    HashLength {
        /// How many bytes there were.
        got: usize,
    },
    /// Bytes that should be a salt.
    #[error("a salt has 16 bytes, not {got}")]
    SaltLength {
        /// How many bytes there were.
        got: usize,
    },
    /// A path longer than that of any tree.
    #[error("a path has at most 64 hashes, not {got}")]
    PathLength {
        /// How many hashes there were.
        got: usize,
    },
    /// A range without a key in it.
    #[error("the end of a range is greater than its first key")]
    EmptyRange,
    /// A list that should have one element for each element of another.
    #[error("{got} elements, expected {wanted}")]
    Count {
        /// How many were expected.
        wanted: usize,
        /// How many there were.
        got: usize,
    },
}

impl WireError {
    /// An error of this field.
    #[must_use]
    pub fn new(field: impl Into<String>, problem: WireProblem) -> Self {
        Self { field: field.into(), problem }
    }

    /// Path of the field, such as `operations[2].content.salt`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong with it.
    #[must_use]
    pub const fn problem(&self) -> &WireProblem {
        &self.problem
    }

    /// The same error, seen from the message that holds the one it is about in `field`.
    #[must_use]
    pub fn within(mut self, field: impl fmt::Display) -> Self {
        self.field = format!("{field}.{}", self.field);
        self
    }
}
