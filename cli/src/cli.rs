//! The command line, and the way from it to the commands.

use clap::{Parser, Subcommand};

use crate::audit;
use crate::backup;
use crate::bench;
use crate::commands::{
    authenticate, checkpoint, completions, context, delete, evidence, get, history, inspect, ledger, member,
    notarize, plan, policy, put, retract, scan, status, tx, verify, watch,
};
use crate::error::CliError;
use crate::exit::{self, Exit};
use crate::global::Global;
use crate::run::{certificates, dev, doctor, health, init, join, recover, server};
use crate::session::Session;

/// A ledger whose every answer is proven
#[derive(Debug, Parser)]
#[command(name = "quorate", version, after_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,

    #[command(subcommand)]
    command: Command,
}

/// All commands, in the order of `--help`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run a cluster on this machine
    Dev(dev::Args),
    /// Run one node of a cluster
    Server(server::Args),
    /// Make the keys, certificates and configurations of a new cluster
    Init(init::Args),
    /// Make the node of an invitation on this machine, and register it
    Join(join::Args),
    /// Ask a node whether it is ready to serve
    Health(health::Args),
    Doctor(doctor::Args),
    Certificates(certificates::Args),
    Plan(plan::Args),
    Put(put::Args),
    Get(get::Args),
    Delete(delete::Args),
    History(history::Args),
    Scan(scan::Args),
    Tx(tx::Args),
    Watch(watch::Args),
    Ledger(ledger::Args),
    /// Show each replica's size and roots side by side
    Status,
    Member(member::Args),
    Checkpoint(checkpoint::Args),
    Verify(verify::Args),
    Evidence(evidence::Args),
    Policy(policy::Args),
    Backup(backup::Args),
    Recover(recover::Args),
    Notarize(notarize::Args),
    Authenticate(authenticate::Args),
    #[command(about = "Record artifacts as not to be used")]
    Untrust(retract::Args),
    #[command(about = "Record artifacts as not maintained any more")]
    Unsupport(retract::Args),
    Inspect(inspect::Args),
    Context(context::Args),
    Audit(audit::Args),
    Bench(bench::Args),
    Completions(completions::Args),
}

impl Cli {
    /// Carries out the command.
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let global = &self.global;
        match self.command {
            Command::Dev(args) => dev::run(global, &args),
            Command::Server(args) => server::run(&args),
            Command::Init(args) => init::run(global, &args),
            Command::Join(args) => join::run(global, &args),
            Command::Health(args) => health::run(global, &args),
            Command::Doctor(args) => doctor::run(global, &args),
            Command::Certificates(args) => certificates::run(global, &args),
            Command::Plan(args) => plan::run(global, &args),
            Command::Verify(args) => verify::run(global, &args),
            Command::Evidence(args) => evidence::run(global, &args),
            Command::Context(args) => context::run(global, &args),
            Command::Completions(args) => completions::run(global, &args),
            Command::Put(args) => online(global, async |session| put::run(session, args).await),
            Command::Get(args) => online(global, async |session| get::run(session, &args).await),
            Command::Delete(args) => online(global, async |session| delete::run(session, args).await),
            Command::History(args) => online(global, async |session| history::run(session, &args).await),
            Command::Scan(args) => online(global, async |session| scan::run(session, &args).await),
            Command::Tx(args) => online(global, async |session| tx::run(session, &args).await),
            Command::Watch(args) => online(global, async |session| watch::run(session, &args).await),
            Command::Ledger(args) => ledger::run(global, &args),
            Command::Status => online(global, async |session| status::run(global, session).await),
            Command::Member(args) => {
                online(global, async |session| member::run(global, session, &args).await)
            }
            Command::Checkpoint(args) => {
                online(global, async |session| checkpoint::run(session, &args).await)
            }
            Command::Policy(args) => policy::run(global, &args),
            Command::Backup(args) => backup::run(global, &args),
            Command::Recover(args) => recover::run(global, &args),
            Command::Notarize(args) => online(global, async |session| notarize::run(session, args).await),
            Command::Authenticate(args) => {
                online(global, async |session| authenticate::run(session, args).await)
            }
            Command::Untrust(args) => {
                online(global, async |session| retract::run(session, args, retract::UNTRUST).await)
            }
            Command::Unsupport(args) => {
                online(global, async |session| retract::run(session, args, retract::UNSUPPORT).await)
            }
            Command::Audit(args) => audit::run(global, &args),
            Command::Bench(args) => online(global, async |session| bench::run(global, session, &args).await),
            Command::Inspect(args) => online(global, async |session| inspect::run(session, &args).await),
        }
    }
}

/// Runs a command that talks to the cluster.
pub(crate) fn online<T, F>(global: &Global, command: F) -> Result<T, CliError>
where
    F: AsyncFnOnce(&Session) -> Result<T, CliError>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::other(format!("no threads can be started: {error}")))?;
    runtime.block_on(async {
        let session = Session::open(global)?;
        let ended = command(&session).await;
        let closed = session.close().await;
        let ended = ended.and_then(|result| closed.map(|()| result));
        ended.map_err(|error| crate::evidence::kept(global, error))
    })
}

#[cfg(test)]
mod tests;
