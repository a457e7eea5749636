//! A checkpoint: what a log is at one size (c2sp.org/tlog-checkpoint).
//!
//! Contract: [`Checkpoint::parse`] takes exactly the text that [`Checkpoint::body`] gives, so whoever signs the
//! text signs the three values and nothing else. There are no extension lines: the state of a ledger is in the
//! log, in the commit leaf at size − 1, and one signature covers both.
//!
//! A `Checkpoint` is a claim. Signed and opened it is in [`crate::note`], believed it is in [`crate::policy`].

use std::fmt;
use std::str::FromStr;

use crate::hash::{Hash, ParseHashError};
use crate::key::is_key_name;
use crate::note::text::parse_decimal;
use crate::position::TreeSize;

/// Origin, size and root of a log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Which log: for a ledger of this project, the text of a [`crate::name::Origin`].
    pub origin: String,
    /// How many leaves.
    pub size: TreeSize,
    /// RFC 6962 root of these leaves.
    pub root: Hash,
}

impl Checkpoint {
    /// Longest origin in bytes.
    pub const MAX_ORIGIN: usize = 255;

    /// The text of its note, which is what gets signed:
    ///
    /// ```text
    /// origin \n size (decimal) \n root (base64) \n
    /// ```
    #[must_use]
    pub fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// Reads the text of a note. One spelling per checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`] names the line.
    pub fn parse(body: &str) -> Result<Self, CheckpointError> {
        let text = body.strip_suffix('\n').ok_or(CheckpointError::Unterminated)?;
        let mut lines = text.split('\n');
        let origin = lines.next().unwrap_or_default();
        let size = lines.next().ok_or(CheckpointError::Lines { got: 1 })?;
        let root = lines.next().ok_or(CheckpointError::Lines { got: 2 })?;
        let more = lines.count();
        if more > 0 {
            return Err(CheckpointError::Lines { got: more.saturating_add(3) });
        }
        if origin.len() > Self::MAX_ORIGIN || !is_key_name(origin) {
            return Err(CheckpointError::Origin { text: origin.to_owned() });
        }
        let size = parse_decimal(size).ok_or_else(|| CheckpointError::Size { text: size.to_owned() })?;
        Ok(Self {
            origin: origin.to_owned(),
            size: TreeSize::new(size),
            root: Hash::from_base64(root).map_err(CheckpointError::Root)?,
        })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at size {} with root {}", self.origin, self.size, self.root.to_base64())
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(body: &str) -> Result<Self, CheckpointError> {
        Self::parse(body)
    }
}

/// Text that is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// No newline at the end.
    #[error("checkpoint: the last line does not end with a newline; the text was cut off")]
    Unterminated,
    /// Too few lines, or extension lines.
    #[error("checkpoint: expected the 3 lines origin, size and root, and no more; there are {got}")]
    Lines {
        /// How many there are.
        got: usize,
    },
    /// A first line that is no origin.
    #[error(
        "checkpoint line 1: expected an origin of 1 to {} bytes without spaces, '+' or control characters, not {text:?}",
        Checkpoint::MAX_ORIGIN
    )]
    Origin {
        /// The line.
        text: String,
    },
    /// A second line that is no size.
    #[error(
        "checkpoint line 2: expected the tree size as a decimal number without leading zeros, not {text:?}"
    )]
    Size {
        /// The line.
        text: String,
    },
    /// A third line that is no root.
    #[error("checkpoint line 3: expected the root hash: {0}")]
    Root(#[source] ParseHashError),
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_example_of_the_specification_reads_and_prints() {
        let checkpoint = Checkpoint::parse(BODY).unwrap();
        assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size, TreeSize::new(20_852_163));
        assert_eq!(checkpoint.body(), BODY);
    }

    #[test]
    fn every_other_spelling_is_refused_with_its_line() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        for (body, says) in [
            (String::new(), "newline"),
            ("a".to_owned(), "newline"),
            ("\n".to_owned(), "there are 1"),
            ("a\n".to_owned(), "there are 1"),
            (format!("a\n1\n{root}"), "newline"),
            ("a\n1\n".to_owned(), "there are 2"),
            (format!("a\n1\n{root}\n\n"), "there are 4"),
            (format!("a\n1\n{root}\nextension\n"), "there are 4"),
            (format!("\n1\n{root}\n"), "line 1"),
            (format!("a b\n1\n{root}\n"), "line 1"),
            (format!("a+b\n1\n{root}\n"), "line 1"),
            (format!("a\r\n1\n{root}\n"), "line 1"),
            (format!("{}\n1\n{root}\n", "a".repeat(256)), "line 1"),
            (format!("a\n01\n{root}\n"), "line 2"),
            (format!("a\n+1\n{root}\n"), "line 2"),
            (format!("a\n-1\n{root}\n"), "line 2"),
            (format!("a\n1 \n{root}\n"), "line 2"),
            (format!("a\n\n{root}\n"), "line 2"),
            (format!("a\n18446744073709551616\n{root}\n"), "line 2"),
            (format!("a\n1\n {root}\n"), "line 3"),
            (format!("a\n1\n{}\n", root.replace("2I=", "2J=")), "line 3"),
            (format!("a\n1\n{}\n", root.trim_end_matches('=')), "line 3"),
        ] {
            let error = Checkpoint::parse(&body).unwrap_err().to_string();
            assert!(error.contains(says), "{body:?}: {error}");
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_sizes() {
        for size in [0, 1, u64::MAX] {
            let checkpoint =
                Checkpoint { origin: "a".to_owned(), size: TreeSize::new(size), root: Hash::ZERO };
            assert_eq!(Checkpoint::parse(&checkpoint.body()), Ok(checkpoint));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_refused_or_is_the_body(text in "(\\PC|\n|[0-9]{1,20}|[A-Za-z0-9+/]{43}=){0,8}\n?") {
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                assert_eq!(checkpoint.body(), text);
            }
        }

        #[test]
        fn one_changed_character_is_refused_or_another_checkpoint(
            position in 0..BODY.len(),
            byte in proptest::prelude::any::<u8>(),
        ) {
            let mut text = BODY.as_bytes().to_vec();
            text[position] = byte;
            if let Ok(Ok(checkpoint)) = std::str::from_utf8(&text).map(Checkpoint::parse) {
                assert_eq!(checkpoint.body().as_bytes(), text);
            }
        }
    }
}
