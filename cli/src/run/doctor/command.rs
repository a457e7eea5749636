//! The command: the machine first, where it has a configuration, then the cluster.

use std::path::PathBuf;
use std::sync::Arc;

use quorate_client::{Client, MemoryTrust};
use quorate_core::{key::LogKey, name::LedgerName};
use quorate_node::clock::Clock;
use quorate_node::cluster::Cluster;
use quorate_node::config::NodeConfig;
use quorate_node::doctor::{self, Finding, Verdict};
use quorate_node::tls::files;
use serde::Serialize;

use super::cluster;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::Table;
use crate::run::runtime;
use crate::session::Session;

/// Find out what is wrong with a node or a cluster
///
/// With --config, on the machine of a node, as its user: configuration, keys, data directory, disk (file system, space,
/// time of a sync), kernel, certificates, ports, then the cluster. It works whether the node runs or not, and changes
/// nothing. Without --config: the cluster alone, as a client sees it.
///
/// Each line is a check: ok, warn or fail, and for what is not well the next thing to do. Ends with 0 if nothing
/// failed, with 1 if something did, and with 10 if the replicas do not show one history.
///
///   quorate doctor --config node-1/quorate.toml
///   quorate doctor -o json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The configuration of the node of this machine
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// `doctor`: what was found.
#[derive(Debug, Serialize)]
struct Report {
    /// `ok`, `warn` or `fail`: the worst of all.
    verdict: &'static str,
    findings: Vec<Line>,
}

/// One finding.
#[derive(Debug, Serialize)]
struct Line {
    check: &'static str,
    subject: String,
    verdict: &'static str,
    found: String,
    /// What to do; `null` when all is well.
    next: Option<String>,
}

/// Examines everything and tells it.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let (findings, roots_differ) = runtime::block_on(examine(global, args))?;
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    global.output().result("doctor", &report(findings, worst), table)?;
    Ok(match worst {
        _ if roots_differ => Exit::Unverified,
        Verdict::Fail => Exit::Error,
        Verdict::Ok | Verdict::Warn => Exit::Done,
    })
}

/// All findings, and whether the replicas contradict each other.
async fn examine(global: &Global, args: &Args) -> Result<(Vec<Finding>, bool), CliError> {
    let clock = Clock::system();
    let Some(path) = &args.config else {
        let session = Session::open(global)?;
        return Ok(cluster::examine(&session.client, session.ledger_name.as_str(), None, &clock).await);
    };
    let (mut findings, loaded) = doctor::examine(path, &clock).await;
    let mut roots_differ = false;
    if let Some((config, members)) = loaded {
        findings.extend(cluster::peer_ports(&members, config.node.id, global.timeout).await);
        match client(global, &config, &members) {
            Ok(client) => {
                let found = cluster::examine(&client, "default", Some(&members), &clock).await;
                findings.extend(found.0);
                roots_differ = found.1;
            }
            Err(problem) => {
                let next = "correct what is said above; then ask again";
                findings.push(Finding::fail("cluster", members.origin.as_str(), problem, next));
            }
        }
    }
    Ok((findings, roots_differ))
}

/// A client made of a node's own files: the members, their keys, the authority.
fn client(global: &Global, config: &NodeConfig, members: &Cluster) -> Result<Client, String> {
    let text = files::read_secret(&config.keys.log_secret).map_err(|error| error.to_string())?;
    let mut secret = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut secret).map_err(|error| error.to_string())?;
    let ledger = LedgerName::new("default").map_err(|error| error.to_string())?;
    let log_key = LogKey::derive(&secret, &members.origin.ledger(&ledger));
    secret.fill(0);
    let scheme = if config.listen.insecure_plaintext { "http" } else { "https" };
    let endpoints = members.members.values().map(|member| format!("{scheme}://{}", member.client));
    let mut builder = Client::builder()
        .endpoints(endpoints)
        .policy(members.policy(&ledger, log_key.verifier())?)
        .timeout(global.timeout)
        .trust(Arc::new(MemoryTrust::new()));
    if config.listen.insecure_plaintext {
        builder = builder.plaintext();
    } else if let Some(tls) = &config.tls {
        builder = builder.ca_pem(std::fs::read(&tls.authority).map_err(|error| error.to_string())?);
    }
    builder.build().map_err(|error| error.to_string())
}

fn report(findings: Vec<Finding>, worst: Verdict) -> Report {
    let line = |finding: Finding| Line {
        check: finding.check,
        subject: finding.subject,
        verdict: finding.verdict.name(),
        found: finding.found,
        next: Some(finding.next).filter(|next| !next.is_empty()),
    };
    Report { verdict: worst.name(), findings: findings.into_iter().map(line).collect() }
}

fn table(report: &Report) -> String {
    let mut table = Table::new(["", "CHECK", "OF", "FOUND"]);
    let mut next = String::new();
    for line in &report.findings {
        let cells = [line.verdict, line.check, &line.subject, &line.found].map(str::to_owned);
        table.row(cells);
        if let Some(advice) = &line.next {
            next.push_str(&format!("{} {}: {advice}\n", line.verdict, line.check));
        }
    }
    if next.is_empty() { table.to_string() } else { format!("{table}\nnext:\n{next}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::ok("disk space", "/data", "900 of 1000 MiB are free"),
            Finding::warn("swap", "this machine", "on, 1 areas", "swapoff -a"),
        ]
    }

    #[test]
    fn the_document_keeps_its_form() {
        let document = serde_json::to_string(&report(findings(), Verdict::Warn)).unwrap();
        let expected = concat!(
            r#"{"verdict":"warn","findings":[{"check":"disk space","subject":"/data","verdict":"ok","#,
            r#""found":"900 of 1000 MiB are free","next":null},{"check":"swap","subject":"this machine","#,
            r#""verdict":"warn","found":"on, 1 areas","next":"swapoff -a"}]}"#
        );
        assert_eq!(document, expected);
    }

    #[test]
    fn what_is_not_well_has_the_next_thing_to_do_under_the_table() {
        let text = table(&report(findings(), Verdict::Warn));
        assert!(text.contains("warn  swap") && text.ends_with("\nnext:\nwarn swap: swapoff -a\n"), "{text}");
        assert!(!table(&report(vec![findings().remove(0)], Verdict::Ok)).contains("next:"));
    }
}
