//! `quorate join`: the node of an invitation, on its machine.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use quorate_node::clock::Clock;
use quorate_node::membership::invitation::Invitation;
use quorate_node::membership::join::{self, JoinError};
use serde::Serialize;
use zeroize::Zeroizing;

use super::init::program;
use super::runtime;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::progress;

/// Make the node of an invitation on this machine, and register it
///
/// Makes the node's own signing keys here, where they stay; registers it, which uses the invitation up; and receives what
/// every node has. Then the node is started like any other, gets the log, and can be made a member. Interrupted, the same
/// command goes on. Nothing is ever overwritten.
///
///   quorate member invite --authority cluster/authority --host ledger-4.example --out invitation     # an operator
///   quorate join --invite invitation --dir node-4                                                     # on ledger-4
///   quorate server --config node-4/quorate.toml
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The invitation: a file that `quorate member invite` made, or - to read it from standard input
    #[arg(long, value_name = "FILE")]
    invite: PathBuf,

    /// Folder to make the node in; it must be new
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// Data directory; a relative one is below the node's folder
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
}

/// `joined`: the node that was registered.
#[derive(Debug, Serialize)]
struct Joined {
    node: String,
    dir: String,
    config: String,
    command: String,
}

/// Makes and registers the node.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let invitation = read(&args.invite)?;
    let spinner = progress::spinner(global.output());
    spinner.set_message("asking the cluster");
    let joined = runtime::block_on(async {
        let clock = Clock::system();
        let says = |words: &str| spinner.set_message(words.to_owned());
        join::join(&invitation, &args.dir, &args.data_dir, &clock, says).await.map_err(failed)
    });
    spinner.finish_and_clear();
    let joined = joined?;
    let config = joined.config.display().to_string();
    let document = Joined {
        node: joined.id.to_string(),
        dir: args.dir.display().to_string(),
        command: format!("{} server --config {config}", program()),
        config,
    };
    global.output().result("joined", &document, |document| format!("{}\n", document.command))?;
    let id = &document.node;
    global.output().hint(&format!(
        "node {id} is registered; start it with the command above, then an operator makes it a member: \
         quorate member add {id} --promote"
    ));
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<Invitation, CliError> {
    let mut text = Zeroizing::new(String::new());
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(CliError::io("read", path))?;
    } else {
        text = Zeroizing::new(fs::read_to_string(path).map_err(CliError::io("read", path))?);
    }
    Invitation::parse(&text).map_err(|error| {
        CliError::usage(
            format!("{}: {error}", path.display()),
            "an operator makes one with `quorate member invite`",
        )
    })
}

fn failed(error: JoinError) -> CliError {
    let next = match &error {
        JoinError::Silent(_) => {
            "`quorate status` shows who answers; check that the peer ports can be reached from here"
        }
        JoinError::Ended { .. } | JoinError::Refused(_) | JoinError::Invitation(_) => {
            "an operator makes a new invitation with `quorate member invite`"
        }
        _ => "nothing of the cluster was changed",
    };
    match error {
        JoinError::Silent(_) => CliError::Partly {
            done: "the node's folder was made".to_owned(),
            source: Box::new(CliError::other(error.to_string())),
            next: next.to_owned(),
        },
        error => CliError::usage(error.to_string(), next),
    }
}
