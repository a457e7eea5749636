//! `quorate completions`: what a shell needs to complete the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  quorate completions bash > /etc/bash_completion.d/quorate")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "quorate", &mut script);
    global.output().bytes(&script)?;
    Ok(Exit::Done)
}
