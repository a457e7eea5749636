//! `quorate`: the command line of the ledger.
//!
//! Contract: results on stdout, everything else on stderr; every answer is verified before it is shown, unless
//! `--no-verify` says otherwise; an error says what happened, why, and what to try next; the exit codes are those of
//! [`exit`]. With `-o json` or `-o yaml` the documents of [`output::json`] take the
//! place of text.
//!
//! ```text
//! cli        the command line as clap knows it, and which command it leads to
//! global     options of all commands; context: named sets of them
//! session    a connected client, set up from all these
//! commands   one module per command
//! run        the commands that run nodes: dev, server, init, health
//! audit      recomputing ledgers from their entries
//! backup     copies of a whole cluster, verified offline
//! bench      measuring how fast a cluster is
//! artifact   files and commits to be hashed, and the records about them
//! output     the two streams, tables, documents for programs
//! evidence   signed contradictions, kept in files
//! clock      the one place that looks at a clock
//! ```

mod artifact;
mod audit;
mod backup;
mod bench;
mod cli;
mod clock;
mod commands;
mod context;
mod convert;
mod duration;
mod error;
mod evidence;
mod exit;
mod global;
mod keys;
mod output;
mod policy_files;
mod progress;
mod run;
mod session;

use std::process::ExitCode;

use clap::Parser as _;
use tikv_jemallocator::Jemalloc;

/// For all of the process, RocksDB included: a node's memory stays near what it holds, under years of small blocks.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

use crate::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = cli.global.output();
    let ended = cli.run();
    let exit = ended.unwrap_or_else(|error| {
        let (exit, next) = error.exit();
        if !matches!(error, error::CliError::ReaderGone) {
            output.error(exit, &error.story(), next.as_deref());
        }
        exit
    });
    ExitCode::from(exit.code())
}
