//! What a command can fail with.

use std::io;
use std::path::PathBuf;

use quorate_archive::ArchiveError;
use quorate_archive_s3::BucketError;
use quorate_core::policy::PolicyFileError;
use quorate_core::receipt::ReceiptError;

use crate::exit::{self, Exit};

/// Why a command failed. The message says what and why; [`CliError::exit`] says what to try next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line cannot be carried out.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        next: String,
    },
    /// The client's word.
    #[error(transparent)]
    Client(Box<quorate_client::Error>),
    /// A file or stream.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A policy file that is none.
    #[error("policy {}: {source}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// The line and what is wrong there.
        source: PolicyFileError,
    },
    /// A receipt that is not believed.
    #[error("receipt {}: {source}", path.display())]
    Receipt {
        /// The file.
        path: PathBuf,
        /// The check that failed.
        source: ReceiptError,
    },
    /// A backup that is not believed, or cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Something that was checked does not hold.
    #[error("{message}")]
    Unverified {
        /// What.
        message: String,
        /// What to do.
        next: String,
    },
    /// What was asked about is not there.
    #[error("{message}")]
    NotFound {
        /// What.
        message: String,
        /// What to do.
        next: String,
    },
    /// `git` cannot be run, or refused.
    #[error("git in {}: {message}", repository.display())]
    Git {
        /// Where.
        repository: PathBuf,
        /// What it says.
        message: String,
    },
    /// An error while some of the work had been done.
    #[error("{source}; {done}")]
    Partly {
        /// What had been done.
        done: String,
        /// What stopped it.
        source: Box<CliError>,
        /// What to do.
        next: String,
    },
    /// An answer that is not believed, for signed reasons that were kept.
    #[error("{source}; the evidence is in {}", file.display())]
    Proven {
        /// The error that carries the evidence.
        source: Box<CliError>,
        /// Where the evidence is.
        file: PathBuf,
    },
    /// Anything else.
    #[error("{message}")]
    Other {
        /// What.
        message: String,
    },
    /// Whoever read stdout does not any more. Not told to anybody.
    #[error("nobody reads the output")]
    ReaderGone,
}

impl From<quorate_client::Error> for CliError {
    fn from(error: quorate_client::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

impl CliError {
    /// A command line that cannot be carried out.
    pub(crate) fn usage(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), next: next.into() }
    }

    /// An error without advice.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::Other { message: message.into() }
    }

    /// For `map_err` after a file operation.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// The portable proof that somebody lied, if there is one and it was not kept yet.
    pub(crate) fn evidence(&self) -> Option<&quorate_core::evidence::Evidence> {
        match self {
            Self::Client(error) => error.evidence(),
            Self::Partly { source, .. } => source.evidence(),
            _ => None,
        }
    }

    /// The code to end with, and the next thing to try.
    pub(crate) fn exit(&self) -> (Exit, Option<String>) {
        match self {
            Self::Usage { next, .. } => (Exit::Usage, Some(next.clone())),
            Self::Client(error) => exit::of_client(error),
            Self::Policy { .. } => (
                Exit::Usage,
                Some("ask whoever gave you the file for a fresh one (`quorate policy export`)".into()),
            ),
            Self::Receipt { source, .. } => (Exit::Unverified, Some(receipt_advice(source).to_owned())),
            Self::Archive(error) => archive_advice(error),
            Self::Unverified { next, .. } => (Exit::Unverified, Some(next.clone())),
            Self::NotFound { next, .. } => (Exit::NotFound, Some(next.clone())),
            Self::Git { .. } => {
                (Exit::Error, Some("`git -C PATH rev-parse REV` shows whether git knows the revision".into()))
            }
            Self::Partly { source, next, .. } => (source.exit().0, Some(next.clone())),
            Self::Proven { source, file } => (source.exit().0, Some(proof_advice(file))),
            Self::Io { .. } | Self::Other { .. } => (Exit::Error, None),
            Self::ReaderGone => (Exit::Done, None),
        }
    }

    /// The message with the reasons behind it, as far as they are not in it already.
    pub(crate) fn story(&self) -> String {
        let mut story = match self {
            // A replica's message names the field itself.
            Self::Client(error) => match error.as_ref() {
                quorate_client::Error::InvalidArgument { field, message }
                    if message.starts_with(field.as_str()) =>
                {
                    message.clone()
                }
                error => error.to_string(),
            },
            error => error.to_string(),
        };
        let mut cause = std::error::Error::source(self);
        while let Some(reason) = cause {
            let reason_text = reason.to_string();
            if !story.contains(&reason_text) {
                story.push_str(": ");
                story.push_str(&reason_text);
            }
            cause = reason.source();
        }
        story
    }
}

/// What to do with evidence.
pub(crate) fn proof_advice(file: &std::path::Path) -> String {
    format!(
        "`quorate evidence verify {}` names whose key signed it; stop relying on this cluster until it is explained, and show \
         the file to everybody who does",
        file.display()
    )
}

/// The code for a backup that is not believed or cannot be written, and what to do.
fn archive_advice(error: &ArchiveError) -> (Exit, Option<String>) {
    let (exit, next) = match error {
        ArchiveError::NotAnArchive { .. } | ArchiveError::OtherCluster { .. } => (Exit::Usage, ""),
        ArchiveError::Io { .. } | ArchiveError::Busy { .. } | ArchiveError::Behind { .. } => {
            (Exit::Error, "")
        }
        ArchiveError::Policy { .. } => (
            Exit::Unverified,
            "`quorate policy show` shows whose signatures the policy asks for; a backup needs that of its own cluster",
        ),
        _ => (
            Exit::Unverified,
            "do not restore it and do not add to it: use another copy, and keep this one for examination",
        ),
    };
    (exit, Some(next).filter(|next| !next.is_empty()).map(str::to_owned))
}

impl From<BucketError> for CliError {
    fn from(error: BucketError) -> Self {
        Self::usage(error.to_string(), "`quorate backup create --help` shows an example")
    }
}

/// What to do about a receipt that does not hold.
fn receipt_advice(error: &ReceiptError) -> &'static str {
    match error {
        ReceiptError::Policy(_) => {
            "`quorate policy show` shows which logs and keys the policy knows; a receipt needs that of its own ledger"
        }
        _ => "the file was altered or cut off, or never was a receipt: get it again from where it came from",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_once() {
        let error = |message: &str| {
            CliError::from(quorate_client::Error::InvalidArgument {
                field: "key".into(),
                message: message.into(),
            })
        };
        assert_eq!(error("key: it is empty").story(), "key: it is empty");
        assert_eq!(error("it is empty").story(), "key: it is empty");
    }

    #[test]
    fn causes_are_told_once_and_in_order() {
        let receipt = CliError::Receipt { path: "r".into(), source: ReceiptError::NotRevealed };
        assert_eq!(receipt.story(), format!("receipt r: {}", ReceiptError::NotRevealed));
    }

    #[test]
    fn what_was_done_is_told_with_the_code_of_its_cause() {
        let source = Box::new(CliError::usage("a", "b"));
        let error = CliError::Partly { done: "3 of 5 are recorded".into(), source, next: "again".into() };
        assert_eq!(error.story(), "a; 3 of 5 are recorded");
        assert_eq!(error.exit(), (Exit::Usage, Some("again".to_owned())));
    }
}
