//! What a person names on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use quorate_core::hash::Hash;

use crate::error::CliError;

/// Where artifacts are to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file, or a directory with everything below it.
    Path(PathBuf),
    /// Commits of the repository at a path: one, or those of a range.
    Commits {
        /// Any folder of the repository.
        repository: PathBuf,
        /// A revision, or a range as `git rev-list` takes it.
        revision: String,
        /// Whether all commits that it reaches are meant.
        all: bool,
    },
    /// A hash alone.
    Hash(Hash),
}

const GIT: &str = "git://";
const HASH: &str = "hash:";

impl Source {
    /// Reads an argument: `hash:HEX`, `git://PATH@REV`, or a path. A path that begins like one of the others is
    /// written with `./` before it.
    pub(crate) fn parse(argument: &OsString) -> Result<Self, CliError> {
        let Some(text) = argument.to_str() else {
            return Ok(Self::Path(argument.into()));
        };
        if let Some(hex) = text.strip_prefix(HASH) {
            let hash = Hash::from_hex(&hex.to_ascii_lowercase());
            return hash.map(Self::Hash).map_err(|error| {
                CliError::usage(
                    format!("{text}: {error}"),
                    "a hash is written as hash: and the 64 hex digits of SHA-256",
                )
            });
        }
        let Some(rest) = text.strip_prefix(GIT) else {
            return Ok(Self::Path(text.into()));
        };
        let (path, revision) = split_revision(rest);
        if path.is_empty() || revision.is_empty() {
            return Err(CliError::usage(
                format!("{text}: a path and a revision are expected"),
                "a commit is written as git://PATH@REV, such as git://.@HEAD or git://.@v1.0..v1.1",
            ));
        }
        Self::commits(path.into(), revision, revision.contains(".."))
    }

    /// All commits of a range (`--git RANGE`).
    pub(crate) fn range(repository: PathBuf, range: &str) -> Result<Self, CliError> {
        Self::commits(repository, range, true)
    }

    fn commits(repository: PathBuf, revision: &str, all: bool) -> Result<Self, CliError> {
        if revision.starts_with('-') {
            return Err(CliError::usage(
                format!("{revision}: a revision does not begin with a hyphen"),
                "name a commit, a branch, a tag, or a range such as v1.0..v1.1",
            ));
        }
        Ok(Self::Commits { repository, revision: revision.to_owned(), all })
    }
}

/// Splits at the last `@` that is not the beginning of `@{…}`; without one, the revision is HEAD.
fn split_revision(text: &str) -> (&str, &str) {
    let mut places = text.rmatch_indices('@').map(|(place, _)| place);
    let place = places.find(|place| !text[*place..].starts_with("@{"));
    place.map_or((text, "HEAD"), |place| (&text[..place], &text[place + 1..]))
}

/// Reads `name=value`, as `--attr` takes it.
pub(crate) fn parse_attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no attribute; write it as NAME=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source, CliError> {
        Source::parse(&text.into())
    }

    fn commits(path: &str, revision: &str, all: bool) -> Source {
        Source::Commits { repository: path.into(), revision: revision.into(), all }
    }

    #[test]
    fn the_three_forms_are_told_apart() {
        assert_eq!(parse("src/main.rs").unwrap(), Source::Path("src/main.rs".into()));
        assert_eq!(parse(&format!("hash:{}", "AB".repeat(32))).unwrap(), Source::Hash(Hash::new([0xab; 32])));
        assert_eq!(parse("git://.@HEAD").unwrap(), commits(".", "HEAD", false));
        assert_eq!(parse("./hash:x").unwrap(), Source::Path("./hash:x".into()));
    }

    #[test]
    fn revisions_are_split_off_at_the_right_place() {
        assert_eq!(parse("git:///srv/repo").unwrap(), commits("/srv/repo", "HEAD", false));
        assert_eq!(parse("git:///srv/a@b/repo@v1").unwrap(), commits("/srv/a@b/repo", "v1", false));
        assert_eq!(parse("git://.@HEAD@{1}").unwrap(), commits(".", "HEAD@{1}", false));
        assert_eq!(parse("git://.@v1..v2").unwrap(), commits(".", "v1..v2", true));
    }

    #[test]
    fn what_cannot_be_meant_is_a_usage_error() {
        for text in ["hash:12", "hash:", "git://", "git://@HEAD", "git://.@", "git://.@--output=x"] {
            assert_eq!(parse(text).unwrap_err().exit().0.code(), 2, "{text}");
        }
        assert!(Source::range(".".into(), "--all").is_err());
    }

    #[test]
    fn attributes_are_split_at_the_first_equals_sign() {
        assert_eq!(parse_attribute("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert_eq!(parse_attribute("a=").unwrap(), ("a".to_owned(), String::new()));
        assert!(parse_attribute("=b").is_err());
        assert!(parse_attribute("ab").is_err());
    }
}
