//! Exit codes, and the one table that maps what the client reports to a code and to the next thing to try.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; for `authenticate`: all are trusted |
//! | 1 | an error: nothing was done, or the message says what was |
//! | 2 | the command line is wrong |
//! | 3 | no replica answered in time; the message says whether the outcome is unknown |
//! | 4 | not found, or an artifact that is not trusted |
//! | 5 | the ledger is frozen: it takes no writes |
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
    /// The ledger takes no writes.
    Frozen,
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
            Self::Frozen => 5,
            Self::Unverified => 10,
        }
    }
}

/// What `--help` says about exit codes.
pub(crate) const HELP: &str = "\
Every answer is verified on this machine, with a trust policy, before it is shown: that a quorum of
replicas signed it, that it continues what was believed before, and that it is what was asked.

Exit codes: 0 done · 1 error · 2 wrong command line · 3 unavailable or unknown outcome
            4 not found, or an artifact that is not trusted · 5 the ledger is frozen
            10 verification failed";

/// Reasons of a position that the ledger does not reach.
const END: [&str; 3] = ["out_of_range", "index_beyond_end", "size_beyond_end"];

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
        Error::Rejected(rejection) if rejection.reason == "unknown_ledger" => (
            Exit::NotFound,
            "`quorate ledger list` shows the ledgers; `quorate ledger create NAME` makes one",
        ),
        Error::Rejected(rejection) if rejection.precondition.is_some() => {
            (Exit::Error, "`quorate history KEY` shows what was written; then decide again")
        }
        Error::Rejected(rejection) if rejection.reason == "delete_of_absent" => {
            (Exit::NotFound, "`quorate history KEY` shows what became of it")
        }
        Error::Rejected(rejection) if rejection.reason == "freeze_changed" => {
            (Exit::Error, "`quorate ledger show NAME` shows what it is now; then decide again")
        }
        Error::Rejected(_) => (Exit::Error, ""),
        Error::Frozen { .. } => (
            Exit::Frozen,
            "`quorate ledger list` shows which ledgers take writes; reads, proofs and old receipts of this one go on",
        ),
        Error::IdempotencyKeyReused { .. } => {
            (Exit::Error, "`quorate tx --request KEY` shows the transaction that the key belongs to")
        }
        Error::InvalidArgument { .. } => (Exit::Usage, ""),
        Error::NotFound { reason, .. } if reason == "unknown_ledger" => (
            Exit::NotFound,
            "`quorate ledger list` shows the ledgers; `quorate ledger create NAME` makes one",
        ),
        Error::NotFound { reason, .. } if END.contains(&reason.as_str()) => {
            (Exit::NotFound, "`quorate checkpoint` shows the size; the last index is one less")
        }
        Error::NotFound { reason, .. } if reason == "not_a_transaction" => (
            Exit::NotFound,
            "the leaf at that index ends a block; a transaction is at the index before, or further down",
        ),
        Error::NotFound { reason, .. } if reason == "unknown_request" => (
            Exit::NotFound,
            "the name is the --idempotency-key of the write; --author, if somebody else wrote",
        ),
        Error::NotFound { .. } => (Exit::NotFound, ""),
        Error::Denied { .. } => (Exit::Error, "`quorate ledger list` shows the ledgers that there are"),
        Error::Server { .. } => {
            (Exit::Error, "`quorate status` shows the replicas; the node's own log says more")
        }
        Error::Untrusted { .. } => (
            Exit::Unverified,
            "do not repeat it until it is explained: keep this message, and compare `quorate status` and \
             `quorate checkpoint` of each endpoint",
        ),
        Error::NotAgreed { .. } => {
            (Exit::Unavailable, "`quorate status` shows which replicas are behind or silent")
        }
        Error::TrustStore(_) => (Exit::Error, "--trust-dir names the directory of the trust store"),
        Error::Config(_) => (Exit::Usage, "`quorate context show` shows the settings in use"),
    };
    (exit, Some(next).filter(|next| !next.is_empty()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use quorate_client::{ConfigError, Distrust, FailedPrecondition, LogIndex, Rejection, TrustError};

    use super::*;

    fn unavailable(outcome: Outcome) -> Error {
        Error::Unavailable { outcome, attempts: 3, last: "refused".into() }
    }

    fn rejected(reason: &str, precondition: Option<FailedPrecondition>) -> Error {
        let reason = reason.to_owned();
        Error::Rejected(Box::new(Rejection {
            reason,
            message: String::new(),
            field: String::new(),
            precondition,
        }))
    }

    fn not_found(reason: &str) -> Error {
        Error::NotFound { reason: reason.to_owned(), message: String::new() }
    }

    #[test]
    fn every_error_of_the_client_has_its_code() {
        let failed = FailedPrecondition { number: 0, revision: None, index: None, exists: false };
        let untrusted = Error::Untrusted {
            endpoint: "https://a:1".into(),
            what: Box::new(Distrust::Missing { part: "the checkpoint" }),
            evidence: None,
        };
        let table = [
            (unavailable(Outcome::Unknown), 3),
            (unavailable(Outcome::NotDone), 3),
            (rejected("precondition_failed", Some(failed)), 1),
            (rejected("delete_of_absent", None), 4),
            (rejected("ledger_exists", None), 1),
            (rejected("freeze_changed", None), 1),
            (Error::Frozen { message: String::new() }, 5),
            (rejected("too_late", None), 1),
            (Error::IdempotencyKeyReused { index: LogIndex::new(1) }, 1),
            (Error::InvalidArgument { field: "key".into(), message: "empty".into() }, 2),
            (not_found("unknown_ledger"), 4),
            (not_found("index_beyond_end"), 4),
            (not_found("unknown_request"), 4),
            (Error::Denied { message: String::new() }, 1),
            (
                Error::Server {
                    endpoint: "https://a:1".into(),
                    code: "Internal".into(),
                    message: String::new(),
                },
                1,
            ),
            (untrusted, 10),
            (
                Error::NotAgreed {
                    size: quorate_client::TreeSize::new(5),
                    agreeing: 1,
                    needed: 2,
                    behind: 1,
                    silent: 1,
                },
                3,
            ),
            (TrustError::Contended { origin: "o".into(), attempts: 9 }.into(), 1),
            (ConfigError::Missing { setting: "policy", help: "give one" }.into(), 2),
        ];
        for (error, code) in table {
            assert_eq!(of_client(&error).0.code(), code, "{error}");
        }
    }

    #[test]
    fn an_unknown_outcome_says_how_to_ask_again_safely() {
        assert!(of_client(&unavailable(Outcome::Unknown)).1.unwrap().contains("--idempotency-key"));
    }

    #[test]
    fn nobody_is_told_to_repeat_what_was_not_believed() {
        let error = Error::Untrusted {
            endpoint: "https://a:1".into(),
            what: Box::new(Distrust::NotAsked { what: "another key" }),
            evidence: None,
        };
        assert!(of_client(&error).1.unwrap().starts_with("do not repeat it"));
    }
}
