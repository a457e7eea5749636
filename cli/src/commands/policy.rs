//! `quorate policy`: whom this machine believes, and what that is worth.

use std::path::PathBuf;

use clap::Subcommand;
use quorate_client::{Hash, Policy};
use quorate_core::name::Origin;
use quorate_core::policy::PolicyFileError;

use super::files::write_whole;
use crate::cli::online;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Table, json, text};
use crate::policy_files;

/// Show or export the trust policy
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the policy in use, and what it promises
    Show,
    /// Print or save the policy of one ledger (--ledger), with a fingerprint to compare by voice
    #[command(after_help = "\
For a ledger that the policy in use does not list, the log's key is read from the registry in
the ledger _system, and verified. Whoever gets the file should compare the fingerprint over
another way than the file came.")]
    Export {
        /// Save it to a file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,

        /// Of the cosigners that are in force now: asks the cluster, and follows every change by its proof. Otherwise those of
        /// the policy in use are printed, without any network
        #[arg(long)]
        follow: bool,
    },
}

/// Shows or exports.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let files = global.settings()?.policy;
    let policy = policy_files::load(&files)?;
    match &args.command {
        Command::Show => show(global, &files, &policy),
        Command::Export { out, follow } => match one_log(&policy, global.ledger.as_str()) {
            Some(policy) if !follow => export(global, policy, out.as_ref()),
            _ => online(global, async |session| {
                let policy = session.ledger.policy().await?;
                let listed = one_log(&policy, global.ledger.as_str());
                let listed = listed
                    .ok_or_else(|| CliError::other("the policy of the ledger does not list its log"))?;
                export(global, listed, out.as_ref())
            }),
        },
    }
}

/// The policy with the log of this ledger alone, if it lists it.
fn one_log(policy: &Policy, ledger: &str) -> Option<Result<Policy, PolicyFileError>> {
    let is_it = |name: &str| Origin::parse(name).is_ok_and(|origin| origin.ledger().as_str() == ledger);
    let log = policy.logs().iter().find(|log| is_it(log.key().name()))?;
    let mut file = format!("log {}\n", log.key()).into_bytes();
    let bytes = policy.to_bytes();
    let rules = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"log "));
    file.extend(rules.flatten());
    Some(Policy::parse(file))
}

fn export(
    global: &Global,
    policy: Result<Policy, PolicyFileError>,
    out: Option<&PathBuf>,
) -> Result<Exit, CliError> {
    let policy = policy.map_err(|error| CliError::other(error.to_string()))?;
    let output = global.output();
    if let Some(path) = out {
        write_whole(path, &policy.to_bytes())?;
    }
    let document = json::PolicyExport {
        ledger: global.ledger.to_string(),
        fingerprint: policy.fingerprint().to_string(),
        file: out.map(|path| path.display().to_string()),
        policy: policy.to_string(),
    };
    output.result("policy_export", &document, |document| match &document.file {
        Some(file) => format!("{file}\n"),
        None => document.policy.clone(),
    })?;
    output.hint(&format!("fingerprint, to compare by voice:\n{}", spoken(&policy.fingerprint())));
    Ok(Exit::Done)
}

fn show(global: &Global, files: &[PathBuf], policy: &Policy) -> Result<Exit, CliError> {
    let promise = policy.promise();
    let key = |name: String, vkey: String| json::PolicyKey { name, vkey };
    let logs = policy.logs().iter();
    let witnesses = policy.witnesses().iter();
    let document = json::Policy {
        files: files.iter().map(|file| file.display().to_string()).collect(),
        fingerprint: policy.fingerprint().to_string(),
        logs: logs.map(|log| key(log.key().name().to_owned(), log.key().to_string())).collect(),
        witnesses: witnesses.map(|one| key(one.name().to_string(), one.key().to_string())).collect(),
        counted_witnesses: promise.witnesses.to_string(),
        threshold: promise.threshold.to_string(),
        fork_impossible_up_to: promise.fork_impossible_up_to.map(|liars| liars.to_string()),
        may_be_down: promise.may_be_down.to_string(),
        provably_guilty: promise.provably_guilty.to_string(),
    };
    global.output().result("policy", &document, |document| table(document, policy))?;
    Ok(Exit::Done)
}

fn table(document: &json::Policy, policy: &Policy) -> String {
    let mut keys = Table::new(["KEY OF", "NAME", "VKEY"]);
    for (kind, named) in [("log", &document.logs), ("witness", &document.witnesses)] {
        for one in named {
            keys.row([kind.to_owned(), one.name.clone(), one.vkey.clone()]);
        }
    }
    let mut row = Table::new([
        "COSIGNERS",
        "NEEDED",
        "FORK IMPOSSIBLE WHILE AT MOST SO MANY LIE",
        "MAY BE DOWN",
        "PROVABLY GUILTY OF A FORK",
    ]);
    row.row([
        document.counted_witnesses.clone(),
        document.threshold.clone(),
        document.fork_impossible_up_to.clone().unwrap_or_else(|| "never".to_owned()),
        document.may_be_down.clone(),
        document.provably_guilty.clone(),
    ]);
    format!(
        "{keys}\n{row}\nThis policy: {}.\nReplicas run by one operator are one domain and may lie together; against \
         the operator, an outside witness or auditor is needed.\n\nfiles: {}\nfingerprint, to compare by voice:\n{}\n",
        policy.promise(),
        document.files.join(" "),
        spoken(&policy.fingerprint())
    )
}

/// A hash in groups of four digits, eight groups on a line: easy to read out, and to keep one's place in.
fn spoken(hash: &Hash) -> String {
    let hex = hash.to_string();
    let groups: Vec<&str> = (0..hex.len()).step_by(4).filter_map(|start| hex.get(start..start + 4)).collect();
    let lines: Vec<String> = groups.chunks(8).map(|line| text::line(&line.join(" "))).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use quorate_core::key::{CosignerKey, LogKey};
    use quorate_core::name::{ClusterId, ClusterOrigin, LedgerName};
    use quorate_core::position::NodeId;

    use super::*;

    #[test]
    fn an_exported_policy_lists_one_log_and_the_same_rules() {
        let cluster = ClusterOrigin::new("test", &ClusterId::new([7; 16])).unwrap();
        let log = |ledger: &str| LogKey::derive(&[9; 32], &cluster.ledger(&LedgerName::new(ledger).unwrap()));
        let node = |id: u8| {
            let name = cluster.node(NodeId::new(u64::from(id)));
            CosignerKey::from_seed(&name, &[id; 32]).unwrap().verifier().clone()
        };
        let of_default = Policy::majority(log("default").verifier(), &[node(1), node(2), node(3)]).unwrap();
        let both = format!("log {}\n{of_default}", log("_system").verifier());
        let both = Policy::parse(both).unwrap();
        assert_eq!(one_log(&both, "default").unwrap().unwrap(), of_default);
        assert!(one_log(&both, "other").is_none());
    }

    #[test]
    fn a_fingerprint_is_read_out_in_groups() {
        let text = spoken(&Hash::new([0xab; 32]));
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("abab abab "), "{text}");
    }
}
