//! `quorate certificates`: new certificates for the folders of nodes, before the old ones end.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use quorate_node::provision::CONFIG_FILE;
use quorate_node::tls::{Authority, Renewed, renew};
use serde::Serialize;

use crate::clock;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Table, time};

/// Renew the certificates of nodes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Renew(RenewArgs),
}

/// Make new certificates where the old ones end soon
///
/// For each node folder (or configuration file): the certificate that clients see and the one that nodes see. Names stay,
/// key and validity (825 days) are new; those that end later are left alone. A running node uses the new ones within half a
/// minute, without a restart; SIGHUP makes it look at once. The authority's key is needed for this alone: keep it off
/// the nodes, run this where it is, and copy each node's tls/ to its machine.
///
///   quorate certificates renew --authority cluster/authority cluster/node-1 cluster/node-2 cluster/node-3
///   quorate certificates renew --authority cluster/authority --within 800 cluster/node-1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct RenewArgs {
    /// The folder with authority.crt and authority.key
    #[arg(long, value_name = "DIR")]
    authority: PathBuf,

    /// Renew what ends within so many days, and what cannot be used
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    within: u64,

    /// Folders of nodes, or their configuration files
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<PathBuf>,
}

/// `certificates`: what became of each.
#[derive(Debug, Serialize)]
struct Certificates {
    certificates: Vec<Certificate>,
}

#[derive(Debug, Serialize)]
struct Certificate {
    node: String,
    /// `server` or `peer`.
    certificate: &'static str,
    file: String,
    renewed: bool,
    ends: Option<String>,
}

/// Carries it out.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let Command::Renew(args) = &args.command;
    let wrong =
        |error: String| CliError::usage(error, "`quorate certificates renew --help` shows an example");
    let authority = Authority::load(&args.authority).map_err(|error| wrong(error.to_string()))?;
    let within = Duration::from_secs(args.within.saturating_mul(24 * 60 * 60));
    let mut certificates = Vec::new();
    for node in &args.nodes {
        let config = if node.is_dir() { node.join(CONFIG_FILE) } else { node.clone() };
        let renewed = renew(&config, &authority, within, clock::now());
        let renewed = renewed.map_err(|error| wrong(format!("{}: {error}", node.display())))?;
        certificates.extend(renewed.into_iter().map(certificate));
    }
    let renewed = certificates.iter().filter(|one| one.renewed).count();
    global.output().result("certificates", &Certificates { certificates }, table)?;
    if renewed > 0 {
        global.output().hint("copy each node's tls/ to its machine; it is used within half a minute");
    }
    Ok(Exit::Done)
}

fn certificate(renewed: Renewed) -> Certificate {
    Certificate {
        node: renewed.node.to_string(),
        certificate: renewed.certificate,
        file: renewed.file.display().to_string(),
        renewed: renewed.renewed,
        ends: renewed.ends.map(|ends| time::rfc3339_secs(ends.as_secs())),
    }
}

fn table(all: &Certificates) -> String {
    let mut table = Table::new(["NODE", "CERTIFICATE", "ENDS", "", "FILE"]);
    for one in &all.certificates {
        let renewed = if one.renewed { "new" } else { "kept" }.to_owned();
        let ends = one.ends.clone().unwrap_or_else(|| "-".to_owned());
        table.row([one.node.clone(), one.certificate.to_owned(), ends, renewed, one.file.clone()]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_keeps_its_form() {
        let renewed = Renewed {
            node: quorate_core::position::NodeId::new(2),
            certificate: "peer",
            file: "node-2/tls/peer.crt".into(),
            renewed: true,
            ends: Some(quorate_core::position::Micros::new(1_790_000_000_000_000)),
        };
        let document =
            serde_json::to_string(&Certificates { certificates: vec![certificate(renewed)] }).unwrap();
        let expected = concat!(
            r#"{"certificates":[{"node":"2","certificate":"peer","file":"node-2/tls/peer.crt","#,
            r#""renewed":true,"ends":"2026-09-21T14:13:20Z"}]}"#
        );
        assert_eq!(document, expected);
    }
}
