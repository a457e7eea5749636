//! The command itself: starts the nodes, makes them everybody's default, waits.

use std::path::{Path, PathBuf};

use super::crew::{Crew, Event};
use super::folder::{Folder, Wish};
use super::report::{self, Report};
use crate::context::{Context, Contexts, contexts_file, default_dev_dir};
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::Output;
use crate::run::init::program;
use crate::run::runtime;
use crate::run::stop::Stop;

/// The context that is written.
const CONTEXT: &str = "dev";

/// Run a cluster on this machine
///
/// Three nodes, each a process with its own disk, keys and ports, encrypted and certified like a real cluster. It
/// becomes the default context, so that any other terminal can use it. Ctrl-C stops it, the same command continues it.
/// A node that dies is started again after a pause; one that is asked to stop (`kill PID`) stays stopped.
///
///   quorate dev
///   quorate dev --dir /tmp/try --fresh     somewhere else, from nothing
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// How many nodes a new cluster has [default: 3]
    #[arg(long, value_name = "N")]
    nodes: Option<u16>,

    /// Where keys and data are kept [default: ~/.local/share/quorate/dev]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Remove the cluster that is there, its data and its keys, and make a new one
    #[arg(long)]
    fresh: bool,

    /// First port of a new cluster; node N listens on three from 10 (N − 1) above it. 0 = any that are free
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    base_port: u16,
}

/// Runs the cluster until it is asked to stop.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => default_dev_dir()?,
    };
    let folder = Folder::take(&dir)?;
    if args.fresh {
        folder.clear()?;
    }
    let nodes = folder.nodes(Wish { nodes: args.nodes, base_port: args.base_port })?;
    let executable =
        std::env::current_exe().map_err(|error| CliError::other(format!("this program: {error}")))?;
    runtime::block_on(async {
        let mut stop = Stop::listen()?.or_terminal_closes()?;
        let mut crew = Crew::start(&executable, nodes)?;
        let worked = accompany(&mut crew, &folder, &mut stop, global.output()).await;
        global.output().hint("stopping");
        for problem in crew.stop().await {
            global.output().warn(&problem);
        }
        worked
    })
}

/// From the start of the nodes to the moment when they are to be stopped.
async fn accompany(
    crew: &mut Crew,
    folder: &Folder,
    stop: &mut Stop,
    output: Output,
) -> Result<Exit, CliError> {
    let program = program();
    let faults = tokio::select! {
        ready = crew.ready() => ready?,
        _ = stop.requested() => return Ok(Exit::Done),
    };
    for fault in faults {
        output.warn(&fault);
    }
    let report = Report::new(folder.path(), CONTEXT, &program, crew.members());
    make_default(&report)?;
    output.result("dev", &report, Report::text)?;
    while !crew.is_gone() {
        tokio::select! {
            event = crew.event() => match event? {
                Event::Died(death) => output.warn(&report::death(&death, &program)),
                Event::Restarted { id, pid } => output.warn(&report::restarted(id, pid)),
            },
            _ = stop.requested() => return Ok(Exit::Done),
        }
    }
    Err(CliError::other(format!("no node is left; their logs are in {}", folder.path().display())))
}

/// Writes the context, so that commands need no flags.
fn make_default(report: &Report) -> Result<(), CliError> {
    write_context(&contexts_file()?, report)
}

fn write_context(path: &Path, report: &Report) -> Result<(), CliError> {
    let mut contexts = Contexts::load(path)?;
    let context = Context {
        endpoints: report.endpoints.clone(),
        policy: report.policies.iter().map(PathBuf::from).collect(),
        cacert: Some(report.cacert.clone().into()),
        cert: Some(report.cert.clone().into()),
        cert_key: Some(report.cert_key.clone().into()),
        trust_dir: Some(report.trust_dir.clone().into()),
        plaintext: false,
    };
    contexts.contexts.insert(CONTEXT.to_owned(), context);
    contexts.use_by_default(CONTEXT)?;
    contexts.save(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_becomes_the_default_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contexts.toml");
        let mut contexts = Contexts::default();
        contexts.contexts.insert("prod".to_owned(), Context::default());
        contexts.use_by_default("prod").unwrap();
        contexts.save(&path).unwrap();
        write_context(&path, &Report::new(Path::new("/d"), CONTEXT, "quorate", std::iter::empty())).unwrap();
        let contexts = Contexts::load(&path).unwrap();
        assert_eq!(contexts.default.as_deref(), Some("dev"));
        assert_eq!(contexts.contexts.len(), 2);
        assert_eq!(
            contexts.contexts["dev"].policy,
            [PathBuf::from("/d/client/default.policy"), "/d/client/_system.policy".into()]
        );
    }
}
