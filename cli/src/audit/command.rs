//! The command.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use quorate_audit::{
    AuditError, Auditor, Bounds, FollowError, Followed, LogWitness, Options, Progress, Submissions,
    Submitted, Witness, follow,
};
use quorate_client::Ledger;
use quorate_core::name::LedgerName;
use quorate_core::policy::Policy;
use tokio::sync::mpsc;

use super::submissions::{self, Witnessing};
use super::{key, served};
use crate::commands::files::write_whole;
use crate::duration;
use crate::error::CliError;
use crate::evidence;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Table, json};
use crate::policy_files;
use crate::run::stop::Stop;
use crate::session::Session;

/// Submissions of a ledger that wait for its audit, at most.
const SUBMISSIONS: usize = 64;

/// Recompute ledgers from their entries, and compare with what every replica signed
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Follows the cluster until it is stopped. Operations, leaves, both trees, revisions, request ids and
block times are computed from the entries alone, and compared with the checkpoint of each replica
over its own connection. What it has done is kept in --dir: it goes on there after a stop or a crash.
If something does not follow, it ends with exit code 10 and a file in the evidence directory.

  quorate audit --dir /var/lib/quorate-audit --all-ledgers --listen 127.0.0.1:7490
  quorate audit --dir audit --once              recompute what there is, and end
  quorate audit key --dir audit --name auditor.example/one
                                                a key: what was recomputed is cosigned from then on"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Where the audit keeps its files
    #[arg(long, value_name = "DIR", required = true)]
    dir: Option<PathBuf>,

    /// Every ledger of the cluster, `_system` too, instead of --ledger
    #[arg(long)]
    all_ledgers: bool,

    /// End when everything that is certified has been recomputed
    #[arg(long)]
    once: bool,

    /// Serve /metrics, /readyz and, with a key, cosigned checkpoints over HTTP here
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,

    /// Answer whoever submits checkpoints of the logs of this policy; may be repeated. Those that are audited here are cosigned
    /// once they are recomputed, of others only that they grow is vouched for
    #[arg(long, value_name = "FILE", requires = "witness_listen")]
    witness_logs: Vec<PathBuf>,

    /// Serve POST /add-checkpoint (c2sp.org/tlog-witness) over HTTP here
    #[arg(long, value_name = "IP:PORT", requires = "witness_logs")]
    witness_listen: Option<SocketAddr>,

    /// How often the replicas are compared
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse_nonzero)]
    compare_every: Duration,

    /// Memory for caches of each ledger, MiB
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    cache: u32,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key with which the audit cosigns what it recomputed, and show its public half
    Key(key::Args),
}

/// Audits, or makes a key.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    match &args.command {
        Some(Command::Key(args)) => key::run(global, args),
        None => crate::cli::online(global, async |session| audit(global, session, args).await),
    }
}

/// What is told at the end of `--once`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Done {
    ledger: String,
    followed: Followed,
}

async fn audit(global: &Global, session: &Session, args: &Args) -> Result<Exit, CliError> {
    let mut stop = Stop::listen()?;
    let directory = args.dir.as_deref().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(CliError::io("create directory", directory))?;
    let names = ledgers(global, session, args).await?;
    let logs = (!args.witness_logs.is_empty()).then(|| policy_files::load(&args.witness_logs)).transpose()?;
    let (mut audits, mut all, mut audited) = (FuturesUnordered::new(), Vec::new(), BTreeMap::new());
    for name in names {
        let ledger = session.client.ledger(name.as_str());
        let auditor = open(&ledger, &name, directory, args).await?;
        let submissions = logs.clone().map(|logs| {
            let (sender, queue) = mpsc::channel(SUBMISSIONS);
            audited.insert(auditor.origin().to_owned(), sender);
            Submissions { logs, queue }
        });
        let options = Options {
            once: args.once,
            compare_every: args.compare_every,
            witness: key::load(directory)?.map(Witness::new),
            submissions,
        };
        session.output.hint(&format!("{name}: from log index {} on", auditor.next()));
        let progress = Arc::new(Progress::new());
        all.push((name.clone(), Arc::clone(&progress)));
        audits.push(async move { (name, follow(&ledger, auditor, options, &progress).await) });
    }
    let witnessing = witness(directory, args, logs, audited).await?;
    let (serving, mut witnessing) = (served::serve(args.listen, all).await?, std::pin::pin!(witnessing));
    let mut serving = std::pin::pin!(serving);
    let mut done = Vec::new();
    loop {
        tokio::select! {
            _ = stop.requested() => return Ok(Exit::Done),
            () = &mut witnessing => return Err(CliError::other("submissions are not served any more")),
            () = &mut serving => return Err(CliError::other("the HTTP port is not served any more")),
            ended = audits.next() => match ended {
                Some((name, Ok(followed))) => done.push(Done { ledger: name.to_string(), followed }),
                Some((name, Err(error))) => return Err(failed(global, &name, error)),
                None => break,
            },
        }
    }
    done.sort_by(|a, b| a.ledger.cmp(&b.ledger));
    let ledgers = done.iter().map(|done| json::Audited {
        ledger: done.ledger.clone(),
        size: done.followed.size.to_string(),
        log_root: done.followed.root.to_string(),
    });
    let document = json::Audit { ledgers: ledgers.collect() };
    session.output.result("audit", &document, table)?;
    Ok(Exit::Done)
}

/// Serves submissions, if that was asked for; never ends by itself.
async fn witness(
    directory: &Path,
    args: &Args,
    logs: Option<Policy>,
    audited: BTreeMap<String, mpsc::Sender<Submitted>>,
) -> Result<impl Future<Output = ()> + use<>, CliError> {
    let serving = match (logs, args.witness_listen) {
        (Some(logs), Some(listen)) => {
            let key = key::load(directory)?.ok_or_else(|| {
                CliError::usage("there is no key to witness with", "`quorate audit key` makes one")
            })?;
            let opened = LogWitness::open(directory, key, logs);
            let witness = opened.map_err(|error| CliError::other(error.to_string()))?;
            Some(submissions::serve(listen, Witnessing { witness, audited }).await?)
        }
        _ => None,
    };
    Ok(async move {
        match serving {
            Some(serving) => serving.await,
            None => std::future::pending().await,
        }
    })
}

fn table(audit: &json::Audit) -> String {
    let mut table = Table::new(["LEDGER", "SIZE", "LOG ROOT"]);
    for audited in &audit.ledgers {
        table.row([audited.ledger.clone(), audited.size.clone(), audited.log_root.clone()]);
    }
    format!("{table}everything follows from the entries, and every replica shows it\n")
}

async fn ledgers(global: &Global, session: &Session, args: &Args) -> Result<Vec<LedgerName>, CliError> {
    if !args.all_ledgers {
        return Ok(vec![global.ledger.clone()]);
    }
    let mut names = vec![LedgerName::system()];
    for ledger in session.client.list_ledgers().await? {
        names.extend(LedgerName::new(&ledger.name).ok().filter(|name| !name.is_system()));
    }
    Ok(names)
}

async fn open(
    ledger: &Ledger,
    name: &LedgerName,
    directory: &Path,
    args: &Args,
) -> Result<Auditor, CliError> {
    let origin = origin_of(ledger, name).await?;
    let half = usize::try_from(args.cache).unwrap_or(usize::MAX).saturating_mul(1 << 19);
    let bounds = Bounds { store_cache: half, tree_cache: half };
    let path = directory.join(format!("{name}.audit"));
    let opened = tokio::task::spawn_blocking(move || Auditor::open(&path, &origin, bounds)).await;
    let opened = opened.map_err(|error| CliError::other(error.to_string()))?;
    opened.map_err(|error| CliError::other(error.to_string()))
}

/// The origin of a ledger, as the policy by which its checkpoints are believed has it.
async fn origin_of(ledger: &Ledger, name: &LedgerName) -> Result<String, CliError> {
    let policy = ledger.policy().await?;
    let mut origins = policy.logs().iter().map(|log| log.key().name());
    let ending = format!("/{name}");
    let found = origins.find(|origin| origin.ends_with(&ending)).map(str::to_owned);
    found.ok_or_else(|| CliError::other(format!("the policy has no log of ledger {name}")))
}

/// Why an audit ended; what does not follow is written down first.
fn failed(global: &Global, name: &LedgerName, error: FollowError) -> CliError {
    let (finding, note) = match error {
        FollowError::Client(error) => return error.into(),
        FollowError::Audit { source, note } => match *source {
            AuditError::Store(error) => return CliError::other(error.to_string()),
            AuditError::Finding(finding) => (finding, note),
        },
    };
    let keep = || -> Result<PathBuf, CliError> {
        let directory = evidence::directory(global, &global.settings()?)?;
        fs::create_dir_all(directory.path()).map_err(CliError::io("create directory", directory.path()))?;
        let path = directory.path().join(format!("audit-{name}-{}.json", finding.index));
        write_whole(&path, finding.to_json(note.as_deref()).as_bytes())?;
        Ok(path)
    };
    let next = match keep() {
        Ok(path) => format!(
            "it is written down in {}; stop relying on this cluster until it is explained, and keep its entries",
            path.display()
        ),
        Err(problem) => format!("it cannot be written down: {}; keep this message", problem.story()),
    };
    CliError::Unverified { message: finding.to_string(), next }
}
