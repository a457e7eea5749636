//! The table of reasons.

use std::collections::BTreeSet;

use quorate_proto::convert::detail;
use tonic::Code;

use crate::{
    api::errors::{Problem, Reason},
    consensus::ReadError,
};

#[test]
fn every_reason_has_its_own_name_in_lower_case() {
    let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.row().0).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    for name in names {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    }
}

#[test]
fn every_refusal_carries_its_row() {
    for reason in Reason::ALL {
        let (name, code, no_effect) = reason.row();
        let refusal = reason.of("some.field", "what is wrong");
        let detail = detail(&refusal).unwrap();
        assert_ne!(code, Code::Ok);
        assert_eq!((refusal.code(), detail.reason.as_str(), detail.no_effect), (code, name, no_effect));
        assert_eq!((detail.field.as_str(), refusal.message()), ("some.field", "some.field: what is wrong"));
    }
}

#[test]
fn an_unknown_outcome_is_never_called_certain() {
    for (reason, code) in
        [(Reason::OutcomeUnknown, Code::Unavailable), (Reason::Timeout, Code::DeadlineExceeded)]
    {
        assert_eq!((reason.row().1, reason.row().2), (code, false));
    }
}

#[test]
fn a_read_without_a_leader_names_the_one_that_is_known() {
    let Problem::Refused(refusal) = ReadError::NotLeader { leader: Some(2) }.into() else {
        panic!("a refusal is no fault")
    };
    let detail = detail(&refusal).unwrap();
    assert_eq!((refusal.code(), detail.reason.as_str(), detail.leader), (Code::Unavailable, "no_leader", 2));
}
