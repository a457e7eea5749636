//! The command line of `quorate bench`.

use std::time::Duration;

use clap::Subcommand;

use super::keys::Order;
use crate::commands::WaitFor;
use crate::duration;
use crate::error::CliError;

/// Keys that are read from, unless `--keys` says otherwise.
const DEFAULT_KEYS: u64 = 100_000;

/// Measure how fast the cluster is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  quorate bench put --clients 256
  quorate bench put --clients 4 --batch 1000 --wait committed -o json
  quorate bench verified-get --clients 64 --keys 1000000")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(super) what: What,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Write values
    Put(PutArgs),
    /// Read values, taking the word of one replica
    Get(GetArgs),
    /// Read values, and verify the proofs
    VerifiedGet(GetArgs),
}

/// Options of all workloads.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Load {
    /// Calls that are under way at any time
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) clients: u32,

    /// Connections to each replica that the clients share
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connections: u32,

    /// Length of a value; it is random, so that nothing can compress it
    #[arg(long, value_name = "BYTES", default_value = "256")]
    pub(super) value_bytes: usize,

    /// Length of a key, its prefix included
    #[arg(long, value_name = "BYTES", default_value = "16")]
    pub(super) key_bytes: usize,

    /// In which order the keys come
    #[arg(long, value_name = "ORDER", default_value = "random")]
    pub(super) order: Order,

    /// What every key begins with
    #[arg(long, value_name = "PREFIX", default_value = "bench/")]
    pub(super) prefix: String,

    /// How long to measure
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse_nonzero)]
    pub(super) duration: Duration,

    /// How long to run before that
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    pub(super) warm_up: Duration,
}

/// Options of `bench put`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PutArgs {
    #[command(flatten)]
    pub(super) load: Load,

    /// Values that one transaction writes
    #[arg(long, value_name = "K", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub(super) batch: u32,

    /// How many different keys to write, over and over [default: every key is a new one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) keys: Option<u64>,

    /// When a write is answered
    #[arg(long, value_name = "WHEN", default_value = "certified")]
    pub(super) wait: WaitFor,
}

/// Options of `bench get` and `bench verified-get`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    pub(super) load: Load,

    /// How many different keys to read, at random; they are written first
    #[arg(long, value_name = "N", default_value_t = DEFAULT_KEYS, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) keys: u64,

    /// Do not write the keys first: an earlier run with the same options for keys and values did
    #[arg(long)]
    pub(super) no_load: bool,
}

impl What {
    /// The options of all workloads.
    pub(super) const fn load(&self) -> &Load {
        match self {
            Self::Put(args) => &args.load,
            Self::Get(args) | Self::VerifiedGet(args) => &args.load,
        }
    }

    /// Its name on the command line.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Get(_) => "get",
            Self::VerifiedGet(_) => "verified-get",
        }
    }

    /// When a write is answered; `None` for reads.
    pub(super) const fn wait(&self) -> Option<&'static str> {
        match self {
            Self::Put(PutArgs { wait: WaitFor::Certified, .. }) => Some("certified"),
            Self::Put(PutArgs { wait: WaitFor::Committed, .. }) => Some("committed"),
            Self::Get(_) | Self::VerifiedGet(_) => None,
        }
    }

    /// Operations in one transaction; 1 for reads.
    pub(super) const fn batch(&self) -> u32 {
        match self {
            Self::Put(args) => args.batch,
            Self::Get(_) | Self::VerifiedGet(_) => 1,
        }
    }

    /// How many keys there are; `None` if every write takes a new one.
    pub(super) const fn keys(&self) -> Option<u64> {
        match self {
            Self::Put(args) => args.keys,
            Self::Get(args) | Self::VerifiedGet(args) => Some(args.keys),
        }
    }

    /// Checks what clap cannot.
    pub(super) fn check(&self, verify: bool) -> Result<(), CliError> {
        if let Some(keys) = self.keys().filter(|keys| *keys < u64::from(self.batch())) {
            return Err(CliError::usage(
                format!(
                    "--keys {keys} is less than --batch {}: a transaction writes a key once",
                    self.batch()
                ),
                "give --keys at least as many as --batch, or leave it out",
            ));
        }
        if !verify && !matches!(self, Self::Get(_)) {
            return Err(CliError::usage(
                format!("--no-verify means nothing to `bench {}`", self.word()),
                "leave it out; `quorate bench get` and `bench put --wait committed` measure without proofs",
            ));
        }
        Ok(())
    }
}
