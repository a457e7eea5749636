//! Where the history of a cluster comes from that continues another: the documents `lineage/<n>` of `_system`.
//!
//! A restored or recovered cluster has an id, an origin and keys of its own, and the leaves of the cluster before it. The
//! state that its nodes start with carries the one document that says so ([`ClusterState::continues`]). Until it is
//! written nothing else is: the first transaction writes it, the cosigner set under the new origin, and the records of
//! all ledgers anew. That is the one exception to "written once" for those. The document stays for ever.

use prost::{Message, bytes::Bytes};
use quorate_core::name::LedgerName;

use super::{
    COSIGNERS_KEY, Circumstances, LEDGER_PREFIX, Problem, Refused, SystemChange, change_of, check_ledger,
    decode,
};
use crate::{
    block::{Request, Write},
    judge::{Facts, malformed},
    outcome::Rejection,
    registry::Draft,
    view::ClusterState,
};

pub use quorate_core::lineage::{LINEAGE_PREFIX, Lineage, LineageLedger};

/// What the first transaction of a cluster that continues another changes.
pub(super) fn judge(
    request: &Request,
    facts: &Facts,
    around: &Circumstances<'_>,
    document: &Bytes,
    mut draft: Draft,
) -> Result<Vec<SystemChange>, Refused> {
    let cluster = around.cluster;
    let lineage = Lineage::decode(document.clone())
        .map_err(|error| malformed("writes".to_owned(), format!("the state's lineage: {error}")))?;
    let key = lineage.key();
    if !request.writes.iter().any(|write| *write.key == *key) {
        return Err(Rejection::NotContinued.into());
    }
    let mut changes = vec![SystemChange::Continued];
    let (mut ledgers, mut cosigners) = (0_u32, false);
    for (position, (write, facts)) in request.writes.iter().zip(&facts.writes).enumerate() {
        let wrong = |problem: Problem| problem.at(position);
        match &*write.key {
            written if written == key => check_document(write, document).map_err(wrong)?,
            COSIGNERS_KEY => {
                change_of(write, facts, around, &mut draft, position).map_err(wrong)?;
                cosigners = true;
            }
            written if written.starts_with(LEDGER_PREFIX) => {
                check_record(write, facts.newest.is_some(), cluster).map_err(wrong)?;
                ledgers = ledgers.saturating_add(1);
            }
            _ => changes.extend(change_of(write, facts, around, &mut draft, position).map_err(wrong)?),
        }
    }
    // All but `_system` itself. A key occurs at most once in a request.
    let expected = cluster.next_ledger.0.saturating_sub(1);
    if !cosigners || ledgers != expected {
        let problem = format!("it writes the cosigners and the records of all {expected} ledgers");
        return Err(malformed("writes".to_owned(), problem).into());
    }
    let registry = draft
        .finish()
        .map_err(|(position, problem)| malformed(format!("writes[{position}].put.value"), problem))?;
    changes.extend(registry.map(SystemChange::Registry));
    Ok(changes)
}

fn check_document(write: &Write, document: &Bytes) -> Result<(), Problem> {
    match &write.put {
        Some(put) if put.value == *document && put.expires_at == 0 => Ok(()),
        _ => {
            let problem = "it must be the lineage that the state was made with";
            Err(Problem::Wrong("put.value", problem.to_owned()))
        }
    }
}

/// A record of a ledger that is there, under the new origin.
fn check_record(write: &Write, exists: bool, cluster: &ClusterState) -> Result<(), Problem> {
    let key = || Problem::Wrong("key", "the record of a ledger that the history has".to_owned());
    let name = write.key.strip_prefix(LEDGER_PREFIX).and_then(|name| str::from_utf8(name).ok());
    let name = LedgerName::new(name.ok_or_else(key)?).map_err(|_| key())?;
    let (Some(put), Some(origin), true) = (&write.put, &cluster.origin, exists) else {
        return Err(key());
    };
    if put.expires_at != 0 {
        return Err(Problem::Wrong("put.expires_at", "documents of _system do not expire".to_owned()));
    }
    check_ledger(&decode(write)?, &name, origin).map_err(|problem| Problem::Wrong("put.value", problem))
}
