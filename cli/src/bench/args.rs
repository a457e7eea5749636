//! The command line of `quorate bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::choice::Distribution;
use super::keys::Order;
use crate::commands::WaitFor;
use crate::duration;
use crate::error::CliError;

/// Keys that are read from, unless `--keys` says otherwise.
const DEFAULT_KEYS: u64 = 100_000;
/// Calls under way, unless `--clients` says otherwise...
const CLIENTS: u32 = 64;
/// ...and with `--rate`, where it is the most of them that there may be.
const OPEN_CLIENTS: u32 = 1_000;
/// The highest rate, so that counting what was not sent ends soon.
const MAX_RATE: u64 = 1_000_000;
/// Most ledgers to spread calls over: what is created is there for ever.
const MAX_LEDGERS: i64 = 10_000;
/// Most runs of a sweep.
const MAX_RUNS: usize = 32;

/// Measure how fast the cluster is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  quorate bench put --clients 256
  quorate bench put --rate 4000 --duration 60s
  quorate bench put --clients 256 --stream
  quorate bench put --clients 4 --batch 1000 --wait committed -o json
  quorate bench verified-get --clients 64 --keys 1000000 --distribution zipf
  quorate bench mixed --reads 90 --clients 64
  quorate bench sweep --over-clients 1,4,16,64,256 --chart put.svg put --duration 5s

A rate (--rate) makes the loop an open one: calls are sent when they are due, whatever comes back, and
latency counts from then. Without it each client sends its next call when the one before is answered.")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// One run, or several.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    One(What),
    /// Measure once for each of several numbers of clients, or rates, and draw a chart
    Sweep(SweepArgs),
}

/// Options of `bench sweep`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  quorate bench sweep --over-clients 1,4,16,64,256 --chart put.svg put --duration 5s
  quorate bench sweep --over-rates 500,1000,2000,4000 -o json verified-get --no-load")]
pub(super) struct SweepArgs {
    /// Numbers of clients, separated by commas
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..),
        required_unless_present = "over_rates",
        conflicts_with = "over_rates"
    )]
    pub(super) over_clients: Vec<u32>,

    /// Rates in operations per second, separated by commas
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=MAX_RATE))]
    pub(super) over_rates: Vec<u64>,

    /// Where to write a picture of throughput against latency (SVG)
    #[arg(long, value_name = "FILE")]
    pub(super) chart: Option<PathBuf>,

    #[command(subcommand)]
    pub(super) what: What,
}

/// What is measured.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum What {
    /// Write values
    Put(PutArgs),
    /// Read values, taking the word of one replica
    Get(GetArgs),
    /// Read values, and verify the proofs
    VerifiedGet(GetArgs),
    /// Read and write the same keys
    Mixed(MixedArgs),
    /// Read pages of neighbouring keys, proven complete
    Scan(ScanArgs),
}

/// Options of all workloads.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Load {
    /// Calls that are under way at any time; with --rate, the most [default: 64; with --rate 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    clients: Option<u32>,

    /// Operations to begin per second, whatever comes back [default: as fast as the clients are answered]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_RATE))]
    pub(super) rate: Option<u64>,

    /// Connections to each replica that the clients share
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connections: u32,

    /// Length of a value; it is random, so that nothing can compress it
    #[arg(long, value_name = "BYTES", default_value = "256")]
    pub(super) value_bytes: usize,

    /// Length of a key, its prefix included
    #[arg(long, value_name = "BYTES", default_value = "16")]
    pub(super) key_bytes: usize,

    /// Where neighbouring keys are: anywhere, or one behind the other
    #[arg(long, value_name = "ORDER", default_value = "random")]
    pub(super) order: Order,

    /// Which of --keys comes next: sequential, uniform, zipf or zipf:THETA [default: uniform; sequential for put]
    #[arg(long, value_name = "HOW", value_parser = Distribution::parse)]
    distribution: Option<Distribution>,

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
    load: Load,

    /// Values that one transaction writes
    #[arg(long, value_name = "K", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    batch: u32,

    /// How many different keys to write, over and over [default: every key is a new one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keys: Option<u64>,

    /// Spread the calls over so many ledgers, named after --ledger with -1, -2 and so on; those that are missing are created
    /// [default: --ledger alone]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_LEDGERS))]
    ledgers: Option<u32>,

    /// When a write is answered
    #[arg(long, value_name = "WHEN", default_value = "certified")]
    wait: WaitFor,
    /// Send transactions that are under way together on one stream per connection, as programs with the client library do;
    /// otherwise each is a call of its own
    #[arg(long)]
    stream: bool,
}

/// Keys that are there before the measurement begins.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Loaded {
    /// How many different keys there are; they are written first
    #[arg(long, value_name = "N", default_value_t = DEFAULT_KEYS, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) keys: u64,

    /// Do not write the keys first: an earlier run with the same options for keys and values did
    #[arg(long)]
    pub(super) no_load: bool,
}

/// Options of `bench get` and `bench verified-get`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    load: Load,

    #[command(flatten)]
    loaded: Loaded,
}

/// Options of `bench mixed`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct MixedArgs {
    #[command(flatten)]
    load: Load,

    #[command(flatten)]
    loaded: Loaded,

    /// How many of a hundred calls are reads; they are verified, unless --no-verify is given
    #[arg(long, value_name = "PERCENT", default_value = "90", value_parser = clap::value_parser!(u8).range(0..=100))]
    reads: u8,

    /// When a write is answered
    #[arg(long, value_name = "WHEN", default_value = "certified")]
    wait: WaitFor,
}

/// Options of `bench scan`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ScanArgs {
    #[command(flatten)]
    load: Load,

    #[command(flatten)]
    loaded: Loaded,

    /// Keys of a page, which begins at one of --keys; fewer where they end
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    page: u32,
}

impl Load {
    /// Calls that are under way at any time; in an open loop, the most.
    pub(super) fn clients(&self) -> u32 {
        self.clients.unwrap_or(if self.rate.is_some() { OPEN_CLIENTS } else { CLIENTS })
    }
}

impl What {
    /// The options of all workloads.
    pub(super) const fn load(&self) -> &Load {
        match self {
            Self::Put(args) => &args.load,
            Self::Get(args) | Self::VerifiedGet(args) => &args.load,
            Self::Mixed(args) => &args.load,
            Self::Scan(args) => &args.load,
        }
    }

    const fn load_mut(&mut self) -> &mut Load {
        match self {
            Self::Put(args) => &mut args.load,
            Self::Get(args) | Self::VerifiedGet(args) => &mut args.load,
            Self::Mixed(args) => &mut args.load,
            Self::Scan(args) => &mut args.load,
        }
    }

    /// The same with another number of clients.
    pub(super) fn with_clients(&self, clients: u32) -> Self {
        let mut what = self.clone();
        what.load_mut().clients = Some(clients);
        what
    }

    /// The same as an open loop at this rate.
    pub(super) fn with_rate(&self, rate: u64) -> Self {
        let mut what = self.clone();
        what.load_mut().rate = Some(rate);
        what
    }

    /// Its name on the command line.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Get(_) => "get",
            Self::VerifiedGet(_) => "verified-get",
            Self::Mixed(_) => "mixed",
            Self::Scan(_) => "scan",
        }
    }

    /// When a write is answered; `None` where nothing is written.
    pub(super) const fn wait(&self) -> Option<WaitFor> {
        match self {
            Self::Put(PutArgs { wait, .. }) | Self::Mixed(MixedArgs { wait, .. }) => Some(*wait),
            Self::Get(_) | Self::VerifiedGet(_) | Self::Scan(_) => None,
        }
    }

    /// Whether transactions share streams.
    pub(super) const fn streams(&self) -> bool {
        matches!(self, Self::Put(PutArgs { stream: true, .. }))
    }

    /// Operations in one transaction; 1 for reads.
    pub(super) const fn batch(&self) -> u32 {
        match self {
            Self::Put(args) => args.batch,
            Self::Get(_) | Self::VerifiedGet(_) | Self::Mixed(_) | Self::Scan(_) => 1,
        }
    }

    /// Operations that a call is due for in an open loop: its writes, or the keys of a page.
    pub(super) const fn operations(&self) -> u32 {
        match self.page() {
            Some(page) => page,
            None => self.batch(),
        }
    }

    /// Keys of a page; `None` where there are no pages.
    pub(super) const fn page(&self) -> Option<u32> {
        match self {
            Self::Scan(args) => Some(args.page),
            Self::Put(_) | Self::Get(_) | Self::VerifiedGet(_) | Self::Mixed(_) => None,
        }
    }

    /// How many of a hundred calls are reads, of a mixed workload.
    pub(super) const fn reads(&self) -> Option<u8> {
        match self {
            Self::Mixed(args) => Some(args.reads),
            Self::Put(_) | Self::Get(_) | Self::VerifiedGet(_) | Self::Scan(_) => None,
        }
    }

    /// How many keys there are; `None` if every write takes a new one.
    pub(super) fn keys(&self) -> Option<u64> {
        match self {
            Self::Put(args) => args.keys,
            _ => self.loaded().map(|loaded| loaded.keys),
        }
    }

    /// How many ledgers the calls are spread over; `None`: the session's.
    pub(super) const fn ledgers(&self) -> Option<u32> {
        match self {
            Self::Put(args) => args.ledgers,
            Self::Get(_) | Self::VerifiedGet(_) | Self::Mixed(_) | Self::Scan(_) => None,
        }
    }

    /// The keys that are there before; `None` where nothing is read.
    pub(super) const fn loaded(&self) -> Option<&Loaded> {
        match self {
            Self::Put(_) => None,
            Self::Get(args) | Self::VerifiedGet(args) => Some(&args.loaded),
            Self::Mixed(args) => Some(&args.loaded),
            Self::Scan(args) => Some(&args.loaded),
        }
    }

    /// How keys are chosen from a fixed number of them; `None` if every write takes a new one.
    pub(super) fn distribution(&self) -> Option<Distribution> {
        self.keys()?;
        let usual =
            if matches!(self, Self::Put(_)) { Distribution::Sequential } else { Distribution::Uniform };
        Some(self.load().distribution.unwrap_or(usual))
    }

    /// Whether answers are verified, where the session does so.
    pub(super) const fn verifies(&self, verify: bool) -> bool {
        match self {
            Self::Put(args) => matches!(args.wait, WaitFor::Certified),
            Self::Get(_) => false,
            Self::VerifiedGet(_) | Self::Mixed(_) | Self::Scan(_) => verify,
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
        if self.load().distribution.is_some() && self.keys().is_none() {
            return Err(CliError::usage(
                "--distribution chooses among --keys, and without that every key is a new one",
                "give --keys too; --order says where new keys are",
            ));
        }
        if !verify && matches!(self, Self::Put(_) | Self::VerifiedGet(_)) {
            return Err(CliError::usage(
                format!("--no-verify means nothing to `bench {}`", self.word()),
                "leave it out; `quorate bench get` and `bench put --wait committed` measure without proofs",
            ));
        }
        Ok(())
    }
}

impl SweepArgs {
    /// The runs, in order.
    ///
    /// # Errors
    /// If there are too many, or what they share says what they are to differ in.
    pub(super) fn runs(&self) -> Result<Vec<What>, CliError> {
        let count = self.over_clients.len().max(self.over_rates.len());
        if count > MAX_RUNS {
            return Err(CliError::usage(
                format!("{count} runs are more than the {MAX_RUNS} that a sweep may have"),
                "sweep over fewer numbers",
            ));
        }
        let load = self.what.load();
        if load.rate.is_some() || (load.clients.is_some() && !self.over_clients.is_empty()) {
            return Err(CliError::usage(
                "a sweep sets --clients or --rate itself",
                "give --over-clients or --over-rates, and leave the other out of the workload's options",
            ));
        }
        let clients = self.over_clients.iter().map(|clients| self.what.with_clients(*clients));
        Ok(clients.chain(self.over_rates.iter().map(|rate| self.what.with_rate(*rate))).collect())
    }

    /// What the runs differ in: `clients` or `rate`.
    pub(super) const fn over(&self) -> &'static str {
        if self.over_clients.is_empty() { "rate" } else { "clients" }
    }
}
