//! Every refusal of the interface: one table of reasons, and what becomes of the errors of the parts below.
//!
//! Contract: a call fails with a gRPC status whose details are an [`ErrorDetail`]. Its `reason` is stable and has
//! exactly one row in the table ([`Reason::row`]): the code, and whether it is certain that the request had no
//! effect. The message is for people: what, why, what to do.
//!
//! A refusal is an answer. A [`StoreFault`] is not: [`Problem`] keeps the two apart on the way up, and whoever
//! answers the call stops the node for a fault.

use quorate_core::position::{LogIndex, Revision};
use quorate_ledger::outcome::{KeyState, Rejection};
use quorate_proto::{convert, v1::ErrorDetail};
use tonic::{Code, Status};

use crate::{
    consensus::ReadError, membership::Refusal, sequencer::SubmitError, signer::WaitError,
    store::faults::StoreFault,
};

/// Makes the table: the reasons, and their rows.
macro_rules! reasons {
    ($($reason:ident: $name:literal, $code:ident, $effect:ident;)*) => {
        /// Why a call is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Reason {
            $($reason,)*
        }

        impl Reason {
            /// Every reason.
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$reason,)*];

            /// The row of the table: name, code, and whether the request certainly had no effect.
            pub(super) const fn row(self) -> (&'static str, Code, bool) {
                match self {
                    $(Self::$reason => ($name, Code::$code, Effect::$effect.is_none()),)*
                }
            }
        }
    };
}

/// What is certain of a request that is refused.
#[derive(Clone, Copy)]
enum Effect {
    /// It had no effect and never will.
    None,
    /// Nothing: it may have been carried out, or may be yet.
    Unknown,
}

impl Effect {
    const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

reasons! {
    LedgerInvalid: "ledger_invalid", InvalidArgument, None;
    SystemLedger: "system_ledger", PermissionDenied, None;
    UnknownLedger: "unknown_ledger", NotFound, None;
    LedgerExists: "ledger_exists", AlreadyExists, None;
    IdempotencyKeyEmpty: "idempotency_key_empty", InvalidArgument, None;
    IdempotencyKeyTooLong: "idempotency_key_too_long", InvalidArgument, None;
    IdempotencyKeyReused: "idempotency_key_reused", InvalidArgument, None;
    AuthorTooLong: "author_too_long", InvalidArgument, None;
    NotAfterMissing: "not_after_missing", InvalidArgument, None;
    TooLate: "too_late", FailedPrecondition, None;
    TooFarAhead: "too_far_ahead", InvalidArgument, None;
    WritesEmpty: "writes_empty", InvalidArgument, None;
    TooManyWrites: "too_many_writes", InvalidArgument, None;
    WriteMissing: "write_missing", InvalidArgument, None;
    KeyEmpty: "key_empty", InvalidArgument, None;
    KeyTooLong: "key_too_long", InvalidArgument, None;
    KeyDuplicate: "key_duplicate", InvalidArgument, None;
    ValueTooLong: "value_too_long", InvalidArgument, None;
    AttributesTooLong: "attributes_too_long", InvalidArgument, None;
    SaltLength: "salt_length", InvalidArgument, None;
    TooManyPreconditions: "too_many_preconditions", InvalidArgument, None;
    ConditionMissing: "condition_missing", InvalidArgument, None;
    ConditionFalse: "condition_false", InvalidArgument, None;
    WaitUnknown: "wait_unknown", InvalidArgument, None;
    PreconditionFailed: "precondition_failed", FailedPrecondition, None;
    DeleteOfAbsent: "delete_of_absent", FailedPrecondition, None;
    EraseOfUnknown: "erase_of_unknown", FailedPrecondition, None;
    Malformed: "malformed", InvalidArgument, None;
    LedgerFrozen: "ledger_frozen", FailedPrecondition, None;
    NotFreezable: "not_freezable", InvalidArgument, None;
    FreezeReasonTooLong: "reason_too_long", InvalidArgument, None;
    FreezeChanged: "freeze_changed", FailedPrecondition, None;
    BlockFull: "block_full", ResourceExhausted, None;
    KeysEmpty: "keys_empty", InvalidArgument, None;
    TooManyKeys: "too_many_keys", InvalidArgument, None;
    KeysMissing: "keys_missing", InvalidArgument, None;
    RangeEmpty: "range_empty", InvalidArgument, None;
    LimitTooLarge: "limit_too_large", InvalidArgument, None;
    PageTokenInvalid: "page_token_invalid", InvalidArgument, None;
    PageTokenMismatch: "page_token_mismatch", InvalidArgument, None;
    ConsistencyFalse: "consistency_false", InvalidArgument, None;
    WhichMissing: "which_missing", InvalidArgument, None;
    SizesOutOfOrder: "sizes_out_of_order", InvalidArgument, None;
    WaitTooLong: "wait_too_long", InvalidArgument, None;
    TooManyCosigners: "too_many_cosigners", InvalidArgument, None;
    IndexBeyondEnd: "index_beyond_end", OutOfRange, None;
    SizeBeyondEnd: "size_beyond_end", OutOfRange, None;
    UnknownRequest: "unknown_request", NotFound, None;
    NotATransaction: "not_a_transaction", NotFound, None;
    NoCheckpoint: "no_checkpoint", NotFound, None;
    NotCertified: "not_certified", DeadlineExceeded, Unknown;
    AnswerTooLarge: "answer_too_large", ResourceExhausted, None;
    NotLeader: "not_leader", FailedPrecondition, None;
    NoLeader: "no_leader", Unavailable, None;
    DiskNearlyFull: "disk_nearly_full", ResourceExhausted, None;
    QueueFull: "queue_full", ResourceExhausted, None;
    TooManyCalls: "too_many_calls", ResourceExhausted, None;
    NotFounded: "not_founded", Unavailable, None;
    OutcomeUnknown: "outcome_unknown", Unavailable, Unknown;
    Timeout: "timeout", DeadlineExceeded, Unknown;
    OperatorOnly: "operator_only", PermissionDenied, None;
    SecretLength: "secret_length", InvalidArgument, None;
    NodeIdZero: "node_id_zero", InvalidArgument, None;
    UnknownNode: "unknown_node", NotFound, None;
    NodeRemoved: "node_removed", FailedPrecondition, None;
    NodeState: "node_state", FailedPrecondition, None;
    EpochChanged: "epoch_changed", FailedPrecondition, None;
    ChangeUnderWay: "change_under_way", FailedPrecondition, None;
    NotCaughtUp: "not_caught_up", FailedPrecondition, None;
    WouldLoseQuorum: "would_lose_quorum", FailedPrecondition, None;
    MemberRules: "member_rules", FailedPrecondition, None;
    OtherNode: "other_node", FailedPrecondition, None;
    NodeStopped: "node_stopped", Unavailable, None;
    StoreFault: "store_fault", Internal, Unknown;
}

impl Reason {
    /// A refusal for this reason.
    pub(crate) fn refuse(self, message: impl Into<String>) -> Status {
        self.detailed(message, ErrorDetail::default())
    }

    /// A refusal for this reason, about a field of the request such as `writes[2].put.key`. The message starts with
    /// the field.
    pub(crate) fn of(self, field: impl Into<String>, problem: impl std::fmt::Display) -> Status {
        let field = field.into();
        self.detailed(format!("{field}: {problem}"), ErrorDetail { field, ..ErrorDetail::default() })
    }

    /// A refusal for this reason with more to tell; `reason` and `no_effect` of `detail` are filled in here.
    fn detailed(self, message: impl Into<String>, detail: ErrorDetail) -> Status {
        let (name, code, no_effect) = self.row();
        convert::status(code, message, &ErrorDetail { reason: name.to_owned(), no_effect, ..detail })
    }
}

/// Why an answer could not be made.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The call is refused.
    Refused(Status),
    /// The store failed: this node stops.
    Fault(StoreFault),
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl From<StoreFault> for Problem {
    fn from(fault: StoreFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let advice = "try again, ask another replica, or state a staleness that will do";
        Self::Refused(match &error {
            ReadError::Stopped => Reason::NodeStopped.refuse(error.to_string()),
            ReadError::NotLeader { leader } => {
                let detail = ErrorDetail { leader: leader.unwrap_or(0), ..ErrorDetail::default() };
                Reason::NoLeader.detailed(format!("no linearizable read: {error}; {advice}"), detail)
            }
            ReadError::NoQuorum | ReadError::Peer(_) => {
                Reason::NoLeader.refuse(format!("no linearizable read: {error}; {advice}"))
            }
        })
    }
}

impl From<WaitError> for Problem {
    fn from(error: WaitError) -> Self {
        Self::Refused(match error {
            WaitError::Store(fault) => return Self::Fault(fault),
            WaitError::TooMany { .. } => Reason::TooManyCosigners.of("min_cosigners", error),
            WaitError::UnknownWitnesses { .. } => Reason::TooManyCosigners.of("min_witnesses", error),
            WaitError::Timeout { .. } => {
                Reason::NotCertified.refuse(format!("not certified in time: {error}"))
            }
        })
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let text = error.to_string();
        Self::Refused(match error {
            SubmitError::Full | SubmitError::Late { .. } => Reason::QueueFull.refuse(text),
            SubmitError::NotLeader { leader } => {
                let leader = leader.map_or(0, u64::from);
                let whom =
                    if leader == 0 { "no leader is known".to_owned() } else { format!("ask node {leader}") };
                let detail = ErrorDetail { leader, ..ErrorDetail::default() };
                Reason::NotLeader.detailed(format!("{text}: {whom}"), detail)
            }
            SubmitError::NotFounded => Reason::NotFounded.refuse(text),
            // It may have stopped with the request on its way.
            SubmitError::OutcomeUnknown | SubmitError::Stopped(_) => Reason::OutcomeUnknown.refuse(text),
        })
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let text = rejection.to_string();
        Self::Refused(match rejection {
            Rejection::UnknownLedger { .. } => with_field(Reason::UnknownLedger, "ledger", text),
            Rejection::TooLate { .. } => with_field(Reason::TooLate, "not_after", text),
            Rejection::TooFarAhead { .. } => with_field(Reason::TooFarAhead, "not_after", text),
            Rejection::Precondition { position, state } => {
                let detail = ErrorDetail { precondition: Some(position), ..of_state(&state) };
                let field = format!("preconditions[{position}]");
                Reason::PreconditionFailed.detailed(text, ErrorDetail { field, ..detail })
            }
            Rejection::DeleteOfAbsent { position, state } => {
                let field = format!("writes[{position}].delete.key");
                Reason::DeleteOfAbsent.detailed(text, ErrorDetail { field, ..of_state(&state) })
            }
            Rejection::EraseOfUnknown { position, state, .. } => {
                let field = format!("writes[{position}].erase");
                Reason::EraseOfUnknown.detailed(text, ErrorDetail { field, ..of_state(&state) })
            }
            Rejection::Malformed { field, .. } => with_field(Reason::Malformed, &field, text),
            Rejection::NotContinued => Reason::NotFounded.refuse(text),
            Rejection::Frozen { .. } => with_field(Reason::LedgerFrozen, "ledger", text),
            Rejection::TooManyLedgers => Reason::BlockFull.refuse(text),
        })
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        Self::Refused(match refusal {
            Refusal::Unknown(_) => Reason::UnknownNode.refuse(text),
            Refusal::Removed { .. } => Reason::NodeRemoved.refuse(text),
            Refusal::State(_) => Reason::NodeState.refuse(text),
            Refusal::Epoch { .. } => Reason::EpochChanged.refuse(text),
            Refusal::UnderWay(_) => Reason::ChangeUnderWay.refuse(text),
            Refusal::Behind { .. } => Reason::NotCaughtUp.refuse(text),
            Refusal::Quorum(_) => Reason::WouldLoseQuorum.refuse(text),
            Refusal::UnknownLedger(_) => with_field(Reason::UnknownLedger, "ledger", text),
            Refusal::NotFreezable(_) => with_field(Reason::NotFreezable, "ledger", text),
            Refusal::ReasonTooLong { .. } => with_field(Reason::FreezeReasonTooLong, "reason", text),
            Refusal::Freeze { .. } => Reason::FreezeChanged.refuse(text),
            Refusal::Rules(_) => Reason::MemberRules.refuse(text),
            Refusal::Timeout(_) => Reason::Timeout.refuse(text),
            Refusal::System(_) => Reason::OutcomeUnknown.refuse(text),
            Refusal::Submit(error) => return error.into(),
            Refusal::Read(error) => return error.into(),
            Refusal::Store(fault) => return Self::Fault(fault),
        })
    }
}

fn with_field(reason: Reason, field: &str, message: String) -> Status {
    reason.detailed(message, ErrorDetail { field: field.to_owned(), ..ErrorDetail::default() })
}

/// The state of a key, for a program.
fn of_state(state: &KeyState) -> ErrorDetail {
    ErrorDetail {
        revision: state.newest.map_or(0, |(_, revision)| Revision::get(revision)),
        index: state.newest.map(|(index, _)| LogIndex::get(index)),
        exists: state.exists,
        ..ErrorDetail::default()
    }
}
