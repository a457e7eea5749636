//! `quorate recover`: a new cluster from what is left after the loss of a quorum.

use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_client::Client;
use quorate_core::name::LedgerName;
use quorate_core::policy::Policy;
use quorate_node::cluster::SettingsFile;
use quorate_node::continuation::{Survivor, recover};
use serde::Serialize;

use super::init::{Nodes, next_steps};
use crate::backup::{Continued, continued, continued_text, making_failed};
use crate::clock;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;

/// How long the nodes of the old cluster may take to say that they are there.
const ANSWER_IN: Duration = Duration::from_secs(3);

/// Make a new cluster from what is left after the loss of a quorum
///
/// The last resort: only when so many nodes are lost for good that the others cannot elect a leader, and after a look
/// at the newest backup (`quorate backup restore`). Of the survivors, the one whose Raft log ends last is taken, with
/// all its entries; what the lost nodes acknowledged after that is gone. The new cluster has an id, an origin and keys of
/// its own, and a document in _system, under lineage/, that says all this, for ever. Clients notice.
///
/// Reads the survivors' folders and changes nothing in them. Refuses a node that runs, and a cluster of which a majority
/// still answers. Keep the old folders, and never start the old nodes again. docs/operations/quorum-loss.md goes
/// through it.
///
///   quorate recover --from node-1/quorate.toml --out recovered --i-understand ledger.example/prod \
///     --node 1=ledger-1.example --node 2=ledger-4.example --node 3=ledger-5.example
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Configuration of a survivor, in its folder; may be repeated: give all that are left
    #[arg(long = "from", value_name = "FILE", required = true)]
    survivors: Vec<PathBuf>,

    /// Folder to make the new cluster in: empty, or not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The name of the lost cluster, to show that this is meant [default: asked for on a terminal]
    #[arg(long, value_name = "NAME")]
    i_understand: Option<String>,

    #[command(flatten)]
    nodes: Nodes,
}

/// `recovered`: the cluster that was made.
#[derive(Debug, Clone, Serialize)]
struct Document {
    #[serde(flatten)]
    continued: Continued,
    /// The node whose history it is.
    from: String,
    /// Why that one: the end of each survivor's log.
    reasons: Vec<String>,
    /// The last entry of its Raft log, `term/index`.
    last_entry: String,
    /// Raft index up to which entries were known to be committed.
    committed: String,
    /// Blocks behind that, which are kept, and which nobody may have been told of.
    uncertain_blocks: String,
}

/// Recovers.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let survivors = args.survivors.iter().map(|path| Survivor::open(path)).collect::<Result<Vec<_>, _>>();
    let survivors = survivors.map_err(making_failed)?;
    let Some(first) = survivors.first() else {
        return Err(CliError::usage("no survivor was given", "--from names the quorate.toml of each"));
    };
    let name = first.cluster.origin.name().to_owned();
    confirm(args.i_understand.as_deref(), &name)?;
    refuse_a_living_cluster(first)?;
    let plan = args.nodes.plan(name, SettingsFile::default());
    let made = recover(&survivors, &plan, &args.out, clock::now()).map_err(making_failed)?;
    let document = Document {
        continued: continued(&args.out, &made.cluster, &made.lineage, "none"),
        from: made.from.to_string(),
        reasons: made.reasons.clone(),
        last_entry: made.last.to_string(),
        committed: made.committed.to_string(),
        uncertain_blocks: made.uncertain.to_string(),
    };
    let steps = next_steps(&args.out, &args.nodes, &made.cluster);
    global.output().result("recovered", &document, |document| {
        let reasons = document.reasons.join("\n");
        format!("{reasons}\n\n{}\n\n{}", made.lineage.loss, continued_text(&document.continued, &steps))
    })?;
    Ok(Exit::Done)
}

/// That whoever calls means it: by the name of the cluster.
fn confirm(given: Option<&str>, name: &str) -> Result<(), CliError> {
    let typed = match given {
        Some(given) => given.to_owned(),
        None if io::stdin().is_terminal() => ask(name)?,
        None => String::new(),
    };
    if typed == name {
        return Ok(());
    }
    Err(CliError::usage(
        format!(
            "this makes a new cluster of what is left of {name}, and nothing brings the old one back after that"
        ),
        format!("if that is meant: --i-understand {name}"),
    ))
}

fn ask(name: &str) -> Result<String, CliError> {
    let failed = CliError::io("read from", "stdin");
    let asked = write!(
        io::stderr(),
        "This makes a new cluster of what is left of {name}. What was acknowledged by lost nodes alone is gone, and the \
         old cluster must never be started again.\nType the name of the cluster to go on: "
    );
    let mut line = String::new();
    asked.and_then(|()| io::stdin().lock().read_line(&mut line)).map_err(failed)?;
    Ok(line.trim().to_owned())
}

/// A cluster of which a majority answers has lost no quorum.
fn refuse_a_living_cluster(survivor: &Survivor) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::other(format!("no threads can be started: {error}")))?;
    // Connections are made where there is a runtime.
    let answers = runtime.block_on(async { Ok::<_, CliError>(client(survivor)?.status().await) })?;
    let part = |role: &str| ["leader", "follower", "candidate", "learner"].contains(&role);
    let id = survivor.cluster.id;
    let alive: Vec<String> = answers
        .into_iter()
        .filter_map(|(endpoint, status)| status.ok().map(|status| (endpoint, status)))
        .filter(|(_, status)| part(&status.role) && *status.cluster_id == id.as_bytes()[..])
        .map(|(endpoint, status)| format!("node {} at {endpoint}", status.node_id))
        .collect();
    if alive.len() < survivor.cluster.majority() {
        return Ok(());
    }
    Err(CliError::usage(
        format!(
            "{} of {} nodes answer ({}): the quorum is not lost",
            alive.len(),
            survivor.cluster.members.len(),
            alive.join(", ")
        ),
        "`quorate status` shows how they are; a lost node is replaced, and the cluster goes on",
    ))
}

/// A client of the old cluster, with what the survivor knows of it.
fn client(survivor: &Survivor) -> Result<Client, CliError> {
    let ledger = LedgerName::system();
    let policy = survivor.cluster.policy(&ledger, survivor.log_key(&ledger).verifier());
    let policy: Policy = policy.map_err(CliError::other)?;
    let members = survivor.cluster.members.values();
    let tls = survivor.config.tls.as_ref().filter(|_| !survivor.config.listen.insecure_plaintext);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut builder = Client::builder()
        .endpoints(members.map(|member| format!("{scheme}://{}", member.client)))
        .policy(policy)
        .timeout(ANSWER_IN);
    builder = match tls {
        Some(tls) => builder.ca_pem(read(&tls.authority)?),
        None => builder.plaintext(),
    };
    Ok(builder.build()?)
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(CliError::io("read certificate", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_unless_the_name_of_the_cluster_is_given() {
        assert!(confirm(Some("ledger.example/prod"), "ledger.example/prod").is_ok());
        for given in ["", "yes", "ledger.example/prod/", "ledger.example/test"] {
            let error = confirm(Some(given), "ledger.example/prod").unwrap_err();
            assert_eq!(error.exit().0, Exit::Usage, "{given}");
            assert!(error.exit().1.is_some_and(|next| next.contains("--i-understand ledger.example/prod")));
        }
    }
}
