//! `quorate server`: one node.

use std::path::PathBuf;
use std::sync::Arc;

use quorate_node::{abort, api, config::NodeConfig, node};
use tokio::signal::unix::SignalKind;
use tokio::sync::Notify;

use super::notify::{self, notify};
use super::stop::{self, Stop};
use super::{logging, open_files, runtime};
use crate::error::CliError;
use crate::exit::Exit;

/// Run one node of a cluster
///
/// Everything it needs to know is in its configuration, which `quorate init` and `quorate dev` write. It runs until it
/// gets SIGINT or SIGTERM, and then stops in good order; a second signal ends it at once. SIGHUP makes it look for new
/// certificates, which it does every half minute anyway. Its log goes to stderr.
///
///   quorate server --config node-1/quorate.toml
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The configuration of this node
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Stop when standard input ends: for a parent process whose nodes are to end with it
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// Runs the node until it is asked to stop.
pub(crate) fn run(args: &Args) -> Result<Exit, CliError> {
    let config = NodeConfig::load(&args.config).map_err(|error| {
        let next = format!("correct {} (deploy/quorate.toml explains every key)", args.config.display());
        CliError::usage(error.to_string(), next)
    })?;
    logging::start(&config.log)?;
    abort::install_panic_hook();
    open_files::raise();
    if api::recorder().is_none() {
        tracing::warn!("nothing is measured: /metrics stays empty");
    }
    runtime::block_on(serve(config, args.until_stdin_closes))
}

async fn serve(config: NodeConfig, until_stdin_closes: bool) -> Result<Exit, CliError> {
    let mut stop = Stop::listen()?;
    if until_stdin_closes {
        stop = stop.or_stdin_closes();
    }
    let id = config.node.id;
    let asked = async move {
        let reason = stop.requested().await;
        tracing::info!(node = id, reason, "asked to stop");
        notify(notify::STOPPING);
        tokio::spawn(end_at_once(stop));
    };
    let reload = Arc::new(Notify::new());
    let mut hangup = stop::on(SignalKind::hangup())?;
    let asking = Arc::clone(&reload);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!(node = id, "SIGHUP: looking for new certificates");
            asking.notify_one();
        }
    });
    tracing::info!(node = id, version = env!("CARGO_PKG_VERSION"), "starting");
    let ended = node::run(config, asked, reload, |_| notify(notify::READY)).await;
    ended.map_err(|error| CliError::other(format!("node {id}: {error}")))?;
    tracing::info!(node = id, "stopped");
    Ok(Exit::Done)
}

/// Somebody does not want to wait. Nothing is lost: the next start recovers as after a power cut.
async fn end_at_once(mut stop: Stop) {
    let reason = stop.requested().await;
    tracing::warn!(reason, "asked again: ending at once");
    std::process::exit(1);
}

#[cfg(test)]
mod tests;
