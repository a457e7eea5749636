//! A connected client, set up from flags, variables and the context.

use std::fs;
use std::sync::Arc;

use quorate_client::{Client, ClientBuilder, FileTrust, Ledger, MemoryTrust, Policy, ReadOptions};

use crate::context::{Context, default_trust_dir};
use crate::error::CliError;
use crate::evidence;
use crate::global::Global;
use crate::output::Output;
use crate::policy_files;

/// What a command works with.
pub(crate) struct Session {
    /// The client of the cluster.
    pub(crate) client: Client,
    /// The ledger that `--ledger` names.
    pub(crate) ledger: Ledger,
    /// Its name.
    pub(crate) ledger_name: String,
    /// Where results go.
    pub(crate) output: Output,
    /// Whether proofs are checked.
    pub(crate) verify: bool,
}

impl Session {
    /// Sets up a client. Nothing is dialled yet.
    pub(crate) fn open(global: &Global) -> Result<Self, CliError> {
        let settings = global.settings()?;
        let output = global.output();
        let client = connect(global, &settings)?;
        if global.no_verify {
            output.warn("--no-verify: answers are the word of one replica, their proofs are not checked");
        }
        if settings.plaintext {
            output.hint("connections are not encrypted: others on the way can read what is sent");
        }
        let ledger = client.ledger(global.ledger.as_str());
        let ledger_name = global.ledger.to_string();
        Ok(Self { client, ledger, ledger_name, output, verify: !global.no_verify })
    }

    /// As many more clients of the same cluster, each with connections of its own, which keep what they believe in
    /// memory. They begin with different replicas, so that reads spread.
    /// Commits share streams if `grouped`.
    pub(crate) fn forgetful(global: &Global, count: u32, grouped: bool) -> Result<Vec<Client>, CliError> {
        let mut settings = global.settings()?;
        let mut clients = Vec::new();
        for _ in 0..count {
            let builder = prepare(global, &settings)?.trust(Arc::new(MemoryTrust::new()));
            let builder = if grouped { builder } else { builder.single_commits() };
            clients.push(builder.build()?);
            if let Some(first) = settings.endpoints.first().cloned() {
                settings.endpoints.remove(0);
                settings.endpoints.push(first);
            }
        }
        Ok(clients)
    }

    /// A client of the endpoints that `global` names, with a memory of its own.
    pub(crate) fn client(global: &Global, trust: Arc<MemoryTrust>) -> Result<Client, CliError> {
        Ok(prepare(global, &global.settings()?)?.trust(trust).build()?)
    }

    /// How this session reads.
    pub(crate) fn read_options(&self) -> ReadOptions {
        if self.verify { ReadOptions::new() } else { ReadOptions::new().unverified() }
    }

    /// Waits until everything that was answered is linked to what is trusted.
    pub(crate) async fn close(&self) -> Result<(), CliError> {
        self.client.flush().await?;
        for checkpoint in self.client.first_contacts() {
            self.output.hint(&format!(
                "first contact with {}: believed at size {} because the policy's keys signed it; from now on it has to \
                 continue that",
                checkpoint.origin, checkpoint.size
            ));
        }
        Ok(())
    }
}

fn connect(global: &Global, settings: &Context) -> Result<Client, CliError> {
    let builder = prepare(global, settings)?;
    let builder = if global.known_only { builder.known_only() } else { builder };
    let trust_dir = match &settings.trust_dir {
        Some(directory) => directory.clone(),
        None => default_trust_dir()?,
    };
    let trust = FileTrust::open(trust_dir).map_err(quorate_client::Error::from)?;
    Ok(builder.trust(Arc::new(trust)).build()?)
}

/// A client with everything but its memory of what it believes.
fn prepare(global: &Global, settings: &Context) -> Result<ClientBuilder, CliError> {
    check_endpoints(settings)?;
    let policy: Policy = policy_files::load(&settings.policy)?;
    let mut builder = Client::builder()
        .endpoints(settings.endpoints.iter().cloned())
        .policy(policy)
        .evidence_dir(evidence::directory(global, settings)?.path())
        .timeout(global.timeout);
    if let Some(path) = &settings.cacert {
        builder = builder.ca_pem(fs::read(path).map_err(CliError::io("read certificate", path))?);
    }
    match (&settings.cert, &settings.cert_key) {
        (Some(cert), Some(key)) => {
            let read = |path| fs::read(path).map_err(CliError::io("read certificate", path));
            builder = builder.identity_pem(read(cert)?, read(key)?);
        }
        (None, None) => {}
        _ => {
            return Err(CliError::usage(
                "--cert and --cert-key go together, and one of them is missing",
                "`quorate init` and `quorate dev` put both into the folder operator",
            ));
        }
    }
    if settings.plaintext {
        builder = builder.plaintext();
    }
    Ok(builder)
}

/// That there are endpoints, and that none of them gives up encryption in passing.
fn check_endpoints(settings: &Context) -> Result<(), CliError> {
    if settings.endpoints.is_empty() {
        return Err(CliError::usage(
            "there is no cluster to talk to: no endpoints, and no context that has them",
            "`quorate dev` starts a cluster on this machine; or give --endpoints (QUORATE_ENDPOINTS), --policy \
             and --cacert",
        ));
    }
    let unencrypted = settings.endpoints.iter().find(|endpoint| endpoint.starts_with("http://"));
    match unencrypted.filter(|_| !settings.plaintext) {
        Some(endpoint) => Err(CliError::usage(
            format!("{endpoint} is not encrypted, and --plaintext was not given"),
            "write it as https://HOST:PORT; or give --plaintext, where nobody can be on the way",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(endpoint: &str, plaintext: bool) -> Context {
        Context { endpoints: vec![endpoint.to_owned()], plaintext, ..Context::default() }
    }

    #[test]
    fn encryption_is_given_up_by_an_explicit_flag_only() {
        assert!(check_endpoints(&to("https://a:1", false)).is_ok());
        assert!(check_endpoints(&to("http://a:1", true)).is_ok());
        let error = check_endpoints(&to("http://a:1", false)).unwrap_err();
        assert!(error.to_string().contains("--plaintext"), "{error}");
    }

    #[test]
    fn without_endpoints_the_error_says_how_to_get_a_cluster() {
        let (exit, next) = check_endpoints(&Context::default()).unwrap_err().exit();
        assert_eq!(exit.code(), 2);
        assert!(next.unwrap().contains("quorate dev"));
    }
}
