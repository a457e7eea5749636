//! Which ledgers take no transactions: the documents `frozen/<name>` of `_system`.

use quorate_core::name::LedgerName;

use super::{Circumstances, SystemChange};

pub use quorate_core::frozen::{FROZEN_PREFIX, FreezeRecord, FreezeState, MAX_FREEZE_REASON, frozen_key};

/// The ledger in a key, if the key is that of such a document and the name is one.
pub(crate) fn frozen_name(key: &[u8]) -> Option<LedgerName> {
    let name = str::from_utf8(key.strip_prefix(FROZEN_PREFIX)?).ok()?;
    LedgerName::new(name).ok()
}

/// What the document of a ledger changes; what is wrong with it, otherwise: the field and how.
pub(super) fn judge(
    name: &LedgerName,
    record: &FreezeRecord,
    around: &Circumstances<'_>,
) -> Result<SystemChange, (&'static str, String)> {
    if name.is_system() {
        return Err(("key", format!("ledger {name} is the cluster's own, and cannot be frozen")));
    }
    if !around.named.contains(name) {
        return Err(("key", format!("ledger {name} does not exist")));
    }
    let value = |problem: String| Err(("put.value", problem));
    if record.ledger != name.as_str() {
        return value(format!("ledger is {:?}, and the key says {name}", record.ledger));
    }
    if record.reason.len() > MAX_FREEZE_REASON {
        return value(format!("reason: at most {MAX_FREEZE_REASON} bytes, not {}", record.reason.len()));
    }
    match FreezeState::try_from(record.state) {
        Ok(FreezeState::Frozen) => Ok(SystemChange::Frozen(name.clone(), record.reason.clone())),
        Ok(FreezeState::Thawed) => Ok(SystemChange::Thawed(name.clone())),
        _ => value(format!("state must be 1 (frozen) or 2 (thawed), not {}", record.state)),
    }
}
