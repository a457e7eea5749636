//! What `put` and `delete` have in common: preconditions, the request's name, the receipt.

use std::path::PathBuf;

use quorate_client::{Committed, LogIndex, Precondition, Revision, Transaction, Wait};

use super::files::write_whole;
use crate::convert;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::json::{Bytes, Commit};
use crate::output::text;
use crate::session::Session;

/// When a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum WaitFor {
    // When the cosignatures that the policy asks for cover it.
    #[default]
    Certified,
    // When it is on the disks of a majority: the leader's word.
    Committed,
}

/// Options of a write.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WriteArgs {
    #[command(flatten)]
    condition: Condition,

    /// Save the receipt: a file that proves the write without any network
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,

    /// When to answer
    #[arg(long, value_name = "WHEN", default_value = "certified")]
    wait: WaitFor,

    /// Name of the request, 1 to 64 bytes: asked again within minutes, it is not executed again [default: random]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// What must hold for the write to be done; at most one of them.
#[derive(Debug, Clone, clap::Args)]
#[group(multiple = false)]
struct Condition {
    /// Only if the key has no value
    #[arg(long)]
    if_absent: bool,
    /// Only if the key has a value
    #[arg(long)]
    if_exists: bool,
    /// Only if this is the key's newest revision; 0 = never written
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
    /// Only if the key was not written after this log index
    #[arg(long, value_name = "INDEX")]
    if_unmodified_after: Option<u64>,
}

impl Condition {
    fn on(&self, key: &[u8]) -> Option<Precondition> {
        let key = || key.to_vec().into();
        let revision = |number| Some(Revision::new(number)).filter(|_| number != 0);
        None.or_else(|| self.if_absent.then(|| Precondition::Absent(key())))
            .or_else(|| self.if_exists.then(|| Precondition::Exists(key())))
            .or_else(|| self.if_revision.map(|number| Precondition::RevisionEquals(key(), revision(number))))
            .or_else(|| {
                self.if_unmodified_after.map(|at| Precondition::NotModifiedAfter(key(), LogIndex::new(at)))
            })
    }
}

impl Condition {
    /// The option as it was given.
    fn as_given(&self) -> Option<String> {
        None.or_else(|| self.if_absent.then(|| "--if-absent".to_owned()))
            .or_else(|| self.if_exists.then(|| "--if-exists".to_owned()))
            .or_else(|| self.if_revision.map(|number| format!("--if-revision {number}")))
            .or_else(|| self.if_unmodified_after.map(|at| format!("--if-unmodified-after {at}")))
    }

    /// Names the condition as it was given, if it is what the error is about: the server knows it by number only.
    fn told(&self, error: CliError, key: &[u8]) -> CliError {
        let is_about_it = matches!(&error, CliError::Client(error)
            if matches!(error.as_ref(), quorate_client::Error::Rejected(why) if why.precondition.is_some()));
        match self.as_given().filter(|_| is_about_it) {
            None => error,
            Some(option) => CliError::Partly {
                done: format!("nothing was written, because of {option}"),
                next: format!(
                    "`quorate history {}` shows what was written; then decide again",
                    text::key(key)
                ),
                source: Box::new(error),
            },
        }
    }
}

impl WriteArgs {
    /// Checks what clap cannot.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        if self.receipt.is_some() && self.wait == WaitFor::Committed {
            return Err(CliError::usage(
                "--receipt needs a certified write, and --wait committed does not wait for that",
                "leave out --wait, or save the receipt later with `quorate tx --request KEY --receipt FILE`",
            ));
        }
        Ok(())
    }

    /// Commits a transaction about one key, and tells.
    pub(crate) async fn commit(
        &self,
        session: &Session,
        key: &[u8],
        transaction: Transaction,
        done: &str,
    ) -> Result<Exit, CliError> {
        let name = match &self.idempotency_key {
            Some(name) => name.clone(),
            None => random_name()?,
        };
        let wait = match self.wait {
            WaitFor::Certified => Wait::Certified,
            WaitFor::Committed => Wait::Committed,
        };
        let mut transaction = transaction.idempotency_key(name.as_bytes()).wait(wait);
        if let Some(condition) = self.condition.on(key) {
            transaction = transaction.precondition(condition);
        }
        let committed = session.ledger.commit(transaction).await;
        let committed = committed.map_err(|error| self.condition.told(with_name(error, &name), key))?;
        if let Some(path) = &self.receipt
            && let Some(receipt) = committed.receipt()
        {
            write_whole(path, receipt.to_string().as_bytes())?;
        }
        self.tell(session, key, &name, &committed, done)?;
        Ok(Exit::Done)
    }

    fn tell(
        &self,
        session: &Session,
        key: &[u8],
        name: &str,
        committed: &Committed,
        done: &str,
    ) -> Result<(), CliError> {
        let checkpoint = committed.checkpoint.as_deref();
        let document = Commit {
            ledger: session.ledger_name.clone(),
            key: Bytes::of(key),
            index: committed.index.to_string(),
            revision: committed.revisions.first().map(ToString::to_string),
            size: committed.size.to_string(),
            known: committed.known,
            certified: checkpoint.is_some(),
            idempotency_key: Bytes::of(name.as_bytes()),
            receipt: self.receipt.as_ref().map(|path| path.display().to_string()),
            checkpoint: checkpoint.map(convert::checkpoint),
        };
        session.output.result("commit", &document, |document| {
            let again = if document.known {
                " (known: it was written by an earlier request of this name)"
            } else {
                ""
            };
            let proof = checkpoint.map_or_else(
                || "committed by a majority, not certified yet".to_owned(),
                convert::certified_by,
            );
            let revision = document.revision.as_deref().unwrap_or("?");
            format!(
                "{done} {}: index {}, revision {revision}{again}; {proof}\n",
                text::key(key),
                document.index
            )
        })
    }
}

/// A name for a request: 16 random bytes in hex.
pub(crate) fn random_name() -> Result<String, CliError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| CliError::other(format!("the operating system gives no random numbers: {error}")))?;
    Ok(hex::encode(bytes))
}

/// Tells the name of a request whose outcome is unknown: it is what makes asking again safe.
fn with_name(error: quorate_client::Error, name: &str) -> CliError {
    use quorate_client::{Error, Outcome};
    match &error {
        Error::Unavailable { outcome: Outcome::Unknown, .. } => CliError::Partly {
            done: "whether it was written is unknown".to_owned(),
            next: format!("repeat the command with --idempotency-key {name}: it is executed once at most"),
            source: Box::new(error.into()),
        },
        _ => error.into(),
    }
}
