//! The registry of ledgers in `_system`: where the key of a ledger's log comes from that the policy does not list.

use std::sync::Arc;

use quorate_core::key::VerifierKey;
use quorate_core::name::LedgerName;
use quorate_core::policy::Policy;

use crate::client::Client;
use crate::error::{ConfigError, Distrust, Error};
use crate::options::ReadOptions;

/// What the keys of the registry begin with, before the name of a ledger.
pub(crate) const PREFIX: &[u8] = b"ledgers/";

/// The registry's document of a ledger.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LedgerRecord {
    /// Its name, as in the key.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Its origin.
    #[prost(string, tag = "2")]
    pub(crate) origin: String,
    /// The vkey of its log key, named by its origin.
    #[prost(string, tag = "3")]
    pub(crate) log_vkey: String,
}

/// The policy for a ledger: the client's own if it lists the log; otherwise the same cosigners, with the log key that
/// the registry holds.
pub(crate) async fn policy_for(client: &Client, name: &LedgerName) -> Result<Arc<Policy>, Error> {
    let inner = client.inner();
    let own = client.policy();
    let origin = inner.cluster.ledger(name).to_string();
    if own.log(&origin).is_some() {
        return Ok(own);
    }
    let system = inner.cluster.ledger(&LedgerName::system()).to_string();
    if name.is_system() || own.log(&system).is_none() {
        let problem = format!(
            "it lists neither the log of {origin} nor that of {system}, where its key could be looked up; add the \
             log line of one of them (quorate policy export)"
        );
        return Err(ConfigError::Policy { problem }.into());
    }
    let record = look_up(client, name).await?;
    let policy = with_log(&own, &record.1)
        .map_err(|source| ConfigError::LedgerPolicy { ledger: name.to_string(), source })?;
    Ok(Arc::new(policy))
}

/// A verified read of the registry.
pub(crate) async fn look_up(
    client: &Client,
    name: &LedgerName,
) -> Result<(LedgerRecord, VerifierKey), Error> {
    let system = client.ledger(LedgerName::SYSTEM);
    let key = [PREFIX, name.as_str().as_bytes()].concat();
    // Boxed: reading a ledger looks up its policy, which reads `_system`, whose policy is never looked up.
    let read = Box::pin(system.get(key, ReadOptions::new())).await?;
    let Some(value) = read.value else {
        return Err(Error::NotFound {
            reason: "unknown_ledger".to_owned(),
            message: format!("the cluster has no ledger {name} (proven by its registry)"),
        });
    };
    let origin = client.inner().cluster.ledger(name).to_string();
    check(&value.value, name, &origin).map_err(|what| {
        let what = Distrust::Registry { ledger: name.to_string(), what };
        Error::untrusted(&"the cluster".into(), what)
    })
}

/// Reads a document of the registry; what is wrong with it, otherwise.
fn check(value: &[u8], name: &LedgerName, origin: &str) -> Result<(LedgerRecord, VerifierKey), &'static str> {
    let record: LedgerRecord = prost::Message::decode(value).map_err(|_| "its document does not decode")?;
    if record.name != name.as_str() {
        return Err("its document names another ledger");
    }
    if record.origin != origin {
        return Err("its document names another origin");
    }
    let key = VerifierKey::parse(&record.log_vkey).map_err(|_| "its log key is no vkey")?;
    match key.name() == origin {
        true => Ok((record, key)),
        false => Err("its log key is of another log"),
    }
}

/// The same witnesses, groups and quorum with this log alone.
fn with_log(policy: &Policy, log: &VerifierKey) -> Result<Policy, quorate_core::policy::PolicyFileError> {
    let mut file = format!("log {log}\n").into_bytes();
    for line in policy.to_bytes().split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(b"log ") {
            file.extend_from_slice(line);
        }
    }
    Policy::parse(file)
}
