//! `quorate evidence`: files that prove that somebody lied.

use std::path::PathBuf;

use clap::Subcommand;
use quorate_client::Evidence;
use quorate_core::evidence::{Culprit, Keys, Verdict};
use quorate_node::cluster::Cluster;

use super::files::read_receipt;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Table, json, text};
use crate::policy_files;

/// Check files that prove that somebody lied
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A command that meets signed statements that contradict each other ends with exit code 10 and keeps
the proof in a file. Anybody can check it, with public keys alone and without any network.

  quorate evidence verify evidence-default-26-0a1b2c3d.json --policy default.policy")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify evidence, and name whom it convicts; exit code 10 if it proves nothing
    Verify {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,

        /// The cluster file of the nodes: adds the keys that blocks are signed with
        #[arg(long, value_name = "FILE")]
        cluster_file: Option<PathBuf>,
    },
}

/// Verifies.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let Command::Verify { file, cluster_file } = &args.command;
    let keys = keys(global, cluster_file.as_ref())?;
    let because = |reason: String| CliError::Unverified {
        message: format!("evidence {}: {reason}", file.display()),
        next: "it convicts nobody whose key is known here; `quorate policy show` shows whose keys are"
            .to_owned(),
    };
    let story = |error: quorate_core::evidence::EvidenceError| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        because(format!("{error}{}", cause.unwrap_or_default()))
    };
    let evidence = Evidence::parse(read_receipt(file)?.trim_end()).map_err(story)?;
    let verdict = evidence.verify(&keys).map_err(story)?;
    let document = describe(file, &evidence, &verdict);
    global.output().result("evidence", &document, table)?;
    Ok(Exit::Done)
}

/// The cosigners of the policy; with a cluster file, its cosigners and block keys too.
fn keys(global: &Global, cluster_file: Option<&PathBuf>) -> Result<Keys, CliError> {
    let policies = global.settings()?.policy;
    let Some(path) = cluster_file else {
        return Ok(Keys::from(&policy_files::load(&policies)?));
    };
    let cluster = Cluster::load(path).map_err(|error| {
        CliError::usage(error.to_string(), "it is the file cluster.toml in the folder of each node")
    })?;
    let mut cosigners: Vec<_> = cluster.members.values().map(|member| member.cosigner.clone()).collect();
    if !policies.is_empty() {
        cosigners.extend(policy_files::load(&policies)?.keys().iter().cloned());
    }
    let proposers: Vec<_> = cluster.members.values().map(|member| member.block_key).collect();
    Ok(Keys::new(&cosigners, &proposers))
}

fn describe(file: &std::path::Path, evidence: &Evidence, verdict: &Verdict) -> json::Evidence {
    let (word, keys) = match verdict {
        Verdict::Guilty { culprits, .. } => ("guilty", culprits.iter().map(culprit).collect()),
        Verdict::Suspects { keys, .. } => {
            ("suspects", keys.iter().map(|key| key.name().to_owned()).collect())
        }
    };
    let notes = evidence.notes();
    json::Evidence {
        file: file.display().to_string(),
        lie: evidence.kind().as_str(),
        verdict: word,
        keys,
        origin: notes.first().map(|note| note.checkpoint().origin.clone()),
        sizes: notes.iter().map(|note| note.checkpoint().size.to_string()).collect(),
        log_roots: notes.iter().map(|note| hex::encode(note.checkpoint().root.as_bytes())).collect(),
        verified: true,
    }
}

fn culprit(culprit: &Culprit) -> String {
    match culprit {
        Culprit::Cosigner(key) => key.name().to_owned(),
        Culprit::Proposer(key) => format!("block key {key}"),
    }
}

fn table(document: &json::Evidence) -> String {
    let mut table = Table::new(["", ""]);
    let mut row = |name: &str, value: String| {
        table.row([name.to_owned(), value]);
    };
    row("proven", format!("a {}", document.lie));
    for key in &document.keys {
        row(if document.verdict == "guilty" { "guilty" } else { "one of" }, text::line(key));
    }
    if let Some(origin) = &document.origin {
        row("ledger", text::line(origin));
    }
    for (size, root) in document.sizes.iter().zip(&document.log_roots) {
        row("signed", format!("size {size}, root {root}"));
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use quorate_core::key::LogKey;
    use quorate_core::name::{ClusterId, ClusterOrigin, LedgerName};
    use quorate_core::policy::Policy;

    use super::*;
    use crate::cli::Cli;
    use crate::evidence::tests::fork;

    fn verified(arguments: [&str; 5]) -> Result<Exit, CliError> {
        Cli::try_parse_from(["quorate", "-o", "json"].into_iter().chain(arguments)).unwrap().run()
    }

    #[test]
    fn evidence_counts_for_who_knows_the_key_and_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (evidence, key) = fork();
        let cluster = ClusterOrigin::new("test", &ClusterId::new([7; 16])).unwrap();
        let log = LogKey::derive(&[9; 32], &cluster.ledger(&LedgerName::new("default").unwrap()));
        let policy = |cosigner: &quorate_core::key::CosignerKey| {
            Policy::majority(log.verifier(), &[cosigner.verifier().clone()]).unwrap().to_bytes()
        };
        let other = quorate_core::key::CosignerKey::from_seed(
            &cluster.node(quorate_core::position::NodeId::new(2)),
            &[2; 32],
        );
        std::fs::write(at("known.policy"), policy(&key)).unwrap();
        std::fs::write(at("other.policy"), policy(&other.unwrap())).unwrap();
        std::fs::write(at("evidence.json"), format!("{}\n", evidence.to_json())).unwrap();
        std::fs::write(at("broken.json"), evidence.to_json().replace("\"fork\"", "\"rollback\"")).unwrap();
        let verify =
            |file: &str, policy: &str| verified(["evidence", "verify", &at(file), "--policy", &at(policy)]);
        assert_eq!(verify("evidence.json", "known.policy").unwrap(), Exit::Done);
        for (file, policy) in [("evidence.json", "other.policy"), ("broken.json", "known.policy")] {
            let error = verify(file, policy).unwrap_err();
            assert_eq!(error.exit().0, Exit::Unverified, "{error}");
            assert!(error.to_string().contains(file), "{error}");
        }
    }
}
