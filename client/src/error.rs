//! Everything that can go wrong, in families that a caller treats differently.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use quorate_core::agreement::AgreementError;
use quorate_core::answer::AnswerError;
use quorate_core::epochs::EpochError;
use quorate_core::evidence::Evidence;
use quorate_core::hash::Hash;
use quorate_core::note::NoteError;
use quorate_core::policy::{PolicyError, PolicyFileError};
use quorate_core::position::{LogIndex, NodeId, Revision, TreeSize};
use quorate_core::proof::ProofError;
use quorate_core::receipt::ReceiptError;
use quorate_proto::convert::WireError;

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No replica answered in time.
    #[error("no replica answered the call ({attempts} attempts): {last}; {outcome}")]
    Unavailable {
        /// Whether the request may have been executed.
        outcome: Outcome,
        /// How often it was sent.
        attempts: u32,
        /// What the last attempt failed with.
        last: String,
    },
    /// The cluster judged the request and refused it: replicated, and nothing was written.
    #[error(transparent)]
    Rejected(Box<Rejection>),
    /// The ledger is frozen: it takes no writes, and nothing was written. Reads and proofs go on. Unproven, like every rejection.
    #[error("{message}")]
    Frozen {
        /// What the replica says: which ledger, why, and who can thaw it.
        message: String,
    },
    /// The idempotency key was used before, for another request; nothing was written for this one.
    #[error(
        "the idempotency key was already used for transaction {index}, which wrote something else; use a new key"
    )]
    IdempotencyKeyReused {
        /// The transaction that the key belongs to, proven to be in the log.
        index: LogIndex,
    },
    /// The call cannot be made with this argument.
    #[error("{field}: {message}")]
    InvalidArgument {
        /// The argument, such as `writes[2].put.key`.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// What was asked about does not exist. Unproven: it is the word of a replica.
    #[error("not found: {message}")]
    NotFound {
        /// What kind of thing was not found, such as `unknown_ledger` or `out_of_range`.
        reason: String,
        /// What the replica says.
        message: String,
    },
    /// The replica does not let this caller do that.
    #[error("not allowed: {message}")]
    Denied {
        /// What the replica says.
        message: String,
    },
    /// A replica failed to serve the call, and trying again does not help.
    #[error("{endpoint} failed to serve the call ({code}): {message}")]
    Server {
        /// Which replica.
        endpoint: Arc<str>,
        /// The name of the status.
        code: String,
        /// What the replica says.
        message: String,
    },
    /// The answer is not believed. Never retried.
    #[error("{endpoint} gave an answer that is not believed: {what}{}", evidence_hint(evidence.as_deref()))]
    Untrusted {
        /// Which replica gave it.
        endpoint: Arc<str>,
        /// What is wrong with it.
        what: Box<Distrust>,
        /// If signed statements contradict each other: the portable proof.
        evidence: Option<Box<Evidence>>,
    },
    /// Fewer replicas show one history than the settings ask for ([`Agreement`](crate::Agreement)); nobody contradicts.
    #[error(
        "{agreeing} replicas show one history at size {size}, {needed} are asked for; {behind} are behind, {silent} silent"
    )]
    NotAgreed {
        /// The size they were compared at.
        size: TreeSize,
        /// How many agree.
        agreeing: usize,
        /// How many must.
        needed: usize,
        /// How many have not reached that size.
        behind: usize,
        /// How many gave no answer.
        silent: usize,
    },
    /// The trust store cannot be read or written.
    #[error(transparent)]
    TrustStore(#[from] TrustError),
    /// The client is set up in a way that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Whether a request that was not answered may have been executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It may have been, and may still be: ask again with the same idempotency key.
    Unknown,
    /// It was not, and will not be.
    NotDone,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "the outcome is unknown: ask again with the same idempotency key",
            Self::NotDone => "nothing was done",
        })
    }
}

/// A refusal that all replicas agree on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rejected ({reason}): {message}")]
pub struct Rejection {
    /// The kind of refusal, stable, such as `precondition_failed`.
    pub reason: String,
    /// What the replica says.
    pub message: String,
    /// Which part of the request it is about; may be empty.
    pub field: String,
    /// For a failed precondition: which one, from 0, and what the key was like.
    pub precondition: Option<FailedPrecondition>,
}

/// What a failed precondition found. The word of the leader: rejections are not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedPrecondition {
    /// Number of the precondition, from 0.
    pub number: u32,
    /// Revision of the key's newest write; `None` if it was never written.
    pub revision: Option<Revision>,
    /// Log index of the key's newest write.
    pub index: Option<LogIndex>,
    /// Whether the key has a value: written, not deleted, not expired.
    pub exists: bool,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It does not have the form it must have.
    #[error("malformed: {0}")]
    Form(#[from] WireError),
    /// The policy does not accept the checkpoint.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The proofs do not show what was asked.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The checkpoint does not go together with what was believed before.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
    /// A proof over the log does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A change of replicas is not proven.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// A receipt cannot be made of it.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// It is about another ledger.
    #[error("it is about {got}, not about {wanted}")]
    OtherLedger {
        /// Origin of the ledger that was asked.
        wanted: String,
        /// Origin in the answer.
        got: String,
    },
    /// It is of another cluster.
    #[error(
        "it is signed by the cluster {got}, and the policy is that of {wanted}. If {got} was restored or recovered from \
         {wanted}, get its policy from whoever runs it; `quorate verify --old-policy` then proves that an old receipt is in \
         its history"
    )]
    OtherCluster {
        /// Origin of the cluster of the policy.
        wanted: String,
        /// Origin of the cluster in the answer.
        got: String,
    },
    /// It shows an older state than the client has already seen.
    #[error("it shows the ledger at size {got}, older than the size {trusted} that was seen before the call")]
    OlderThanTrusted {
        /// Size the client had seen.
        trusted: TreeSize,
        /// Size of the answer.
        got: TreeSize,
    },
    /// Its cosignatures are older than the call allows.
    #[error(
        "its checkpoint was cosigned {age_secs} s ago, the call allows {allowed_secs} s; compare the clocks too"
    )]
    NotFresh {
        /// Age of the k-th newest cosignature by this machine's clock, seconds.
        age_secs: u64,
        /// What the call allows, seconds.
        allowed_secs: u64,
    },
    /// It carries fewer cosignatures than asked for.
    #[error("its checkpoint carries {got} cosignatures of the policy's keys, {wanted} were asked for")]
    TooFewCosigners {
        /// How many were asked for.
        wanted: usize,
        /// How many there are.
        got: usize,
    },
    /// A part that the question needs.
    #[error("it lacks {part}")]
    Missing {
        /// The part.
        part: &'static str,
    },
    /// It is not an answer to what was asked.
    #[error("it is not what was asked for: {what}")]
    NotAsked {
        /// What differs.
        what: &'static str,
    },
    /// Leaves of the log that do not lead to its root.
    #[error("the leaves from {first} on do not lead to the log's root {expected}, but to {computed}")]
    WrongLeaves {
        /// The first of them.
        first: LogIndex,
        /// The root they must lead to.
        expected: Hash,
        /// The root they lead to.
        computed: Hash,
    },
    /// The registry of ledgers says something else.
    #[error("the registry of ledgers in _system does not say that of ledger {ledger}: {what}")]
    Registry {
        /// The ledger.
        ledger: String,
        /// What differs.
        what: &'static str,
    },
}

/// Why the trust store cannot be used. Trust is never silently started anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A file operation failed.
    #[error("trust store: cannot {action} {}: {reason}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// A file is not what this store writes.
    #[error(
        "trust store: {} is damaged: {reason}. It holds the last checkpoint that was believed, so it is not \
         replaced by itself. Restore it from a copy; or move it away, if a first contact with this ledger is \
         what you want",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What is stored is about another log.
    #[error("trust store: what is stored for {wanted} is a checkpoint of {got}")]
    OtherOrigin {
        /// The log asked for.
        wanted: String,
        /// The log of what is stored.
        got: String,
    },
    /// No key of the policy signed what is stored.
    #[error(
        "trust store: the stored checkpoint of {origin} is not vouched for by any key of the policy ({reason}); \
         was the policy replaced? If the new one is right, move the stored checkpoint away"
    )]
    NotSigned {
        /// The log.
        origin: String,
        /// What is wrong.
        reason: NoteError,
    },
    /// Nothing is stored of a log, and that was not to be.
    #[error(
        "trust store: nothing is stored of {origin}, and a first contact was not allowed: whoever answers could show any          history that the policy's keys signed"
    )]
    FirstContact {
        /// The log.
        origin: String,
    },
    /// The stored proofs of changes of replicas do not follow from the policy.
    #[error(
        "trust store: the stored changes of replicas of {origin} do not follow from the policy: {reason}; restore the file \
         from a copy, or move it away: they are asked for again then"
    )]
    Epochs {
        /// The log they are in.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// A store tried to go back.
    #[error("trust store: the checkpoint of {origin} does not move from size {from} back to {to}")]
    Backwards {
        /// The log.
        origin: String,
        /// Stored size.
        from: TreeSize,
        /// Size to be stored.
        to: TreeSize,
    },
    /// The store kept changing under this client.
    #[error("trust store: {origin} was changed by others {attempts} times in a row; try again")]
    Contended {
        /// The log.
        origin: String,
        /// How often.
        attempts: u32,
    },
}

/// Why a client cannot work as it is set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A setting that must be there.
    #[error("{setting} is not set; {help}")]
    Missing {
        /// Which.
        setting: &'static str,
        /// How to set it.
        help: &'static str,
    },
    /// An endpoint that is none.
    #[error("endpoint {endpoint:?}: {problem}; expected https://host:port or http://host:port")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificates or keys that cannot be used.
    #[error("TLS: {what}: {problem}")]
    Tls {
        /// Which.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The policy cannot be used for this.
    #[error("policy: {problem}")]
    Policy {
        /// Why.
        problem: String,
    },
    /// The policy of a ledger cannot be made.
    #[error("policy of ledger {ledger}")]
    LedgerPolicy {
        /// The ledger.
        ledger: String,
        /// What is wrong with it.
        #[source]
        source: PolicyFileError,
    },
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers: {reason}")]
    Random {
        /// What it says.
        reason: String,
    },
}

impl Error {
    /// Whether this is doubt in an answer, as opposed to there being none.
    #[must_use]
    pub const fn is_untrusted(&self) -> bool {
        matches!(self, Self::Untrusted { .. })
    }

    /// Whether it is a note that the policy does not accept for want of signatures.
    pub(crate) fn is_unmet_policy(&self) -> bool {
        let unmet = |what: &Distrust| matches!(what, Distrust::Policy(PolicyError::NotMet { .. }));
        matches!(self, Self::Untrusted { what, .. } if unmet(what))
    }

    /// The portable proof that somebody lied, if the error carries one.
    #[must_use]
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::Untrusted { evidence, .. } => evidence.as_deref(),
            _ => None,
        }
    }

    /// Doubt in the answer of this replica. Evidence is taken out of the reason, if it holds any.
    pub(crate) fn untrusted(endpoint: &Arc<str>, what: impl Into<Distrust>) -> Self {
        let what = Box::new(what.into());
        let evidence = match what.as_ref() {
            Distrust::Agreement(AgreementError::Contradiction(evidence)) => Some(evidence.clone()),
            _ => None,
        };
        Self::Untrusted { endpoint: Arc::clone(endpoint), what, evidence }
    }

    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidArgument { field: field.into(), message: message.into() }
    }
}

fn evidence_hint(evidence: Option<&Evidence>) -> &'static str {
    match evidence {
        Some(_) => "; keep the evidence: it is signed",
        None => "",
    }
}

/// What a replica's refusal means for the next attempt. Never shown to callers.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// Another node leads; which one, if the replica knows.
    NotLeader { leader: Option<NodeId>, message: String },
    /// Nothing came of it here; another replica, or the same one later, may serve the call.
    TryAgain { message: String, no_effect: bool },
    /// The replica has more than it can do; nothing was done.
    Busy { message: String },
    /// Too few have signed in time; who is missing is worth telling, whatever other attempts come to.
    Uncertified { message: String, no_effect: bool },
    /// This replica cannot serve the call; perhaps the others can, and once all have failed so, it is over.
    Broken(Error),
    /// It is over.
    Final(Error),
}

impl Failure {
    /// What is reported when there is no other attempt.
    pub(crate) fn into_error(self, attempts: u32) -> Error {
        match self {
            Self::Final(error) | Self::Broken(error) => error,
            Self::NotLeader { message, .. } | Self::Busy { message } => {
                Error::Unavailable { outcome: Outcome::NotDone, attempts, last: message }
            }
            Self::TryAgain { message, no_effect } | Self::Uncertified { message, no_effect } => {
                let outcome = if no_effect { Outcome::NotDone } else { Outcome::Unknown };
                Error::Unavailable { outcome, attempts, last: message }
            }
        }
    }
}

/// Doubt in the answer of a replica, from any of the reasons there are.
pub(crate) trait Believe<T> {
    /// Names the replica whose answer is not believed.
    fn believe(self, endpoint: &Arc<str>) -> Result<T, Error>;
}

impl<T, E: Into<Distrust>> Believe<T> for Result<T, E> {
    fn believe(self, endpoint: &Arc<str>) -> Result<T, Error> {
        self.map_err(|what| Error::untrusted(endpoint, what))
    }
}
