//! Exit codes, and the one table that maps what the client reports to a code and to the next thing to try.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; for `authenticate`: all are trusted |
//! | 1 | an error: nothing was done, or the message says what was |
//! | 2 | the command line is wrong |
//! | 3 | no replica answered in time; the message says whether the outcome is unknown |
//! | 4 | not found, or an artifact that is not trusted |
//! | 10 | verification failed: somebody's answer or receipt is not believed |

use quorate_client::{Error, Outcome};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// An error.
    Error,
    /// The command line is wrong.
    Usage,
    /// No answer in time.
    Unavailable,
    /// Not found, or not trusted.
    NotFound,
    /// Verification failed.
    Unverified,
}

impl Exit {
    /// The code for the shell.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
            Self::NotFound => 4,
            Self::Unverified => 10,
        }
    }
}

/// What `--help` says about exit codes.
pub(crate) const HELP: &str = "\
Exit codes: 0 done · 1 error · 2 wrong command line · 3 unavailable or unknown outcome
            4 not found, or an artifact that is not trusted · 10 verification failed";

/// The table: the code of a client's error, and what to do next.
pub(crate) fn of_client(error: &Error) -> (Exit, Option<String>) {
    let (exit, next) = match error {
        Error::Unavailable { outcome: Outcome::Unknown, .. } => (
            Exit::Unavailable,
            "`quorate status` shows who answers; then repeat the command with the same --idempotency-key",
        ),
        Error::Unavailable { outcome: Outcome::NotDone, .. } => {
            (Exit::Unavailable, "`quorate status` shows who answers; repeating the command is safe")
        }
        Error::Rejected(rejection) if rejection.reason == "unknown_ledger" => {
            (Exit::NotFound, "`quorate ledger list` shows the ledgers; `quorate ledger create NAME` makes one")
        }
        Error::Rejected(rejection) if rejection.precondition.is_some() => {
            (Exit::Error, "`quorate history KEY` shows what was written; then decide again")
        }
        Error::Rejected(rejection) if rejection.reason == "delete_of_absent" => {
            (Exit::NotFound, "`quorate history KEY` shows what became of it")
        }
        Error::Rejected(_) => (Exit::Error, ""),
        Error::IdempotencyKeyReused { .. } => {
            (Exit::Error, "`quorate tx --request KEY` shows the transaction that the key belongs to")
        }
        Error::InvalidArgument { .. } => (Exit::Usage, ""),
        Error::NotFound { reason, .. } if reason == "unknown_ledger" => {
            (Exit::NotFound, "`quorate ledger list` shows the ledgers; `quorate ledger create NAME` makes one")
        }
        Error::NotFound { reason, .. } if reason == "out_of_range" => {
            (Exit::NotFound, "`quorate checkpoint` shows the size; the last index is one less")
        }
        Error::NotFound { .. } => (Exit::NotFound, ""),
        Error::Denied { .. } | Error::Server { .. } => {
            (Exit::Error, "`quorate status` shows the replicas; the node's own log says more")
        }
        Error::Untrusted { .. } => (
            Exit::Unverified,
            "do not repeat it until it is explained: keep this message, and compare `quorate status` and \
             `quorate checkpoint` of each endpoint",
        ),
        Error::TrustStore(_) => (Exit::Error, "--trust-dir names the directory of the trust store"),
        Error::Config(_) => (Exit::Usage, "`quorate context show` shows the settings in use"),
    };
    (exit, Some(next).filter(|next| !next.is_empty()).map(str::to_owned))
}
