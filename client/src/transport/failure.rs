//! What a gRPC status means for the caller: follow, try again, or give up.

use std::error::Error as _;
use std::sync::Arc;

use quorate_core::position::{LogIndex, NodeId, Revision};
use quorate_proto::convert::detail;
use quorate_proto::v1::ErrorDetail;
use tonic::{Code, ConnectError, Status};

use crate::error::{Error, FailedPrecondition, Failure, Rejection};

/// Reason of a replica that is not the leader.
const NOT_LEADER: &str = "not_leader";

/// Reason of a replica to which too few cosignatures came in time.
const NOT_CERTIFIED: &str = "not_certified";

/// Reason of a write to a ledger that takes none.
const FROZEN: &str = "ledger_frozen";

/// Reads the status of a replica.
pub(super) fn failure(endpoint: &Arc<str>, status: &Status) -> Failure {
    let detail = detail(status).unwrap_or_default();
    let message = || format!("{endpoint}: {}", status.message());
    match status.code() {
        Code::FailedPrecondition if detail.reason == NOT_LEADER => Failure::NotLeader {
            leader: Some(detail.leader).filter(|id| *id != 0).map(NodeId::new),
            message: message(),
        },
        // A queue that is full: the request was not taken.
        Code::ResourceExhausted => Failure::Busy { message: message() },
        _ if detail.reason == NOT_CERTIFIED => {
            Failure::Uncertified { message: message(), no_effect: detail.no_effect }
        }
        Code::Unavailable => {
            // A connection that never came to be took no request either.
            let no_effect = detail.no_effect || was_never_sent(status);
            Failure::TryAgain { message: message(), no_effect }
        }
        Code::DeadlineExceeded | Code::Cancelled | Code::Aborted | Code::Unknown => {
            Failure::TryAgain { message: message(), no_effect: detail.no_effect }
        }
        Code::Internal | Code::DataLoss => Failure::Broken(refusal(endpoint, status, detail)),
        _ => Failure::Final(refusal(endpoint, status, detail)),
    }
}

/// An answer that no other attempt will change.
fn refusal(endpoint: &Arc<str>, status: &Status, detail: ErrorDetail) -> Error {
    let message = status.message().to_owned();
    match status.code() {
        Code::FailedPrecondition if detail.reason == FROZEN => Error::Frozen { message },
        Code::FailedPrecondition | Code::AlreadyExists => {
            Error::Rejected(Box::new(rejection(message, detail)))
        }
        Code::InvalidArgument => Error::InvalidArgument { field: detail.field, message },
        Code::NotFound => Error::NotFound { reason: or(detail.reason, "not_found"), message },
        Code::OutOfRange => Error::NotFound { reason: or(detail.reason, "out_of_range"), message },
        Code::PermissionDenied | Code::Unauthenticated => Error::Denied { message },
        code => Error::Server { endpoint: Arc::clone(endpoint), code: format!("{code:?}"), message },
    }
}

fn rejection(message: String, detail: ErrorDetail) -> Rejection {
    let precondition = detail.precondition.map(|number| FailedPrecondition {
        number,
        revision: Some(detail.revision).filter(|revision| *revision != 0).map(Revision::new),
        index: detail.index.map(LogIndex::new),
        exists: detail.exists,
    });
    Rejection { reason: or(detail.reason, "rejected"), message, field: detail.field, precondition }
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

/// Whether the request cannot have left this machine: there was no connection.
pub(super) fn was_never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
