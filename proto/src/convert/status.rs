//! The details of an error, in the binary details of a gRPC status.

use prost::Message as _;
use tonic::{Code, Status};

use crate::v1;

/// A status that carries the detail.
#[must_use]
pub fn status(code: Code, message: impl Into<String>, detail: &v1::ErrorDetail) -> Status {
    Status::with_details(code, message, detail.encode_to_vec().into())
}

/// The detail of a status; `None` if it has none, as those that a proxy or the transport made.
#[must_use]
pub fn detail(status: &Status) -> Option<v1::ErrorDetail> {
    match status.details() {
        [] => None,
        bytes => v1::ErrorDetail::decode(bytes).ok(),
    }
}
