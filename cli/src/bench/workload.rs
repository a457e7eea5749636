//! The loops: each client sends one call after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, TryStreamExt as _};
use quorate_client::{Ledger, ReadOptions, Transaction, Wait};
use tokio::task::JoinSet;

use super::keys::{Dice, KeySpace};
use super::recording::{Failed, Recording, Window};
use crate::clock::Stopwatch;
use crate::error::CliError;

/// The pause after a failure, so that a cluster that refuses everything is not asked in a tight loop.
const AFTER_FAILURE: Duration = Duration::from_millis(10);
/// Most operations of a transaction that loads keys...
const LOAD_BATCH: usize = 1_000;
/// ...and most bytes of its values...
const LOAD_BYTES: usize = 1 << 20;
/// ...and how many of them are under way at once.
const LOADS: usize = 8;

/// What each client does, over and over.
#[derive(Debug, Clone)]
pub(super) struct Workload {
    /// The call.
    pub(super) call: Call,
    /// The keys.
    pub(super) keys: Arc<KeySpace>,
    /// Length of a value.
    pub(super) value_bytes: usize,
    /// The next number to write; all clients take theirs from here.
    pub(super) next: Arc<AtomicU64>,
}

/// The kind of call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// A transaction that writes so many values.
    Put {
        /// How many.
        batch: u32,
        /// When it is answered.
        wait: Wait,
    },
    /// A read of one of so many keys.
    Get {
        /// How many.
        keys: u64,
        /// How.
        options: ReadOptions,
    },
}

impl Workload {
    /// Runs as many clients as asked for until the measured time is over. They share the ledgers, each of which has
    /// its own connections.
    pub(super) async fn run(
        &self,
        ledgers: &[Ledger],
        clients: u32,
        watch: Stopwatch,
        window: Window,
    ) -> Result<Recording, CliError> {
        let mut tasks = JoinSet::new();
        for (_, ledger) in (0..clients).zip(ledgers.iter().cycle()) {
            let (workload, ledger) = (self.clone(), ledger.clone());
            let (dice, recording) = (Dice::new()?, Recording::new()?);
            tasks.spawn(async move { workload.client(ledger, watch, window, dice, recording).await });
        }
        let mut all = Recording::new()?;
        while let Some(ended) = tasks.join_next().await {
            all.add(ended.map_err(|error| CliError::other(format!("a client stopped: {error}")))?)?;
        }
        Ok(all)
    }

    async fn client(
        self,
        ledger: Ledger,
        watch: Stopwatch,
        window: Window,
        mut dice: Dice,
        mut recording: Recording,
    ) -> Recording {
        loop {
            let prepared = self.prepare(&mut dice);
            let began = watch.elapsed();
            if began >= window.to {
                return recording;
            }
            let outcome = prepared.send(&ledger).await;
            let failed = outcome.is_err();
            recording.note(window, began, watch.elapsed(), outcome);
            if failed {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }

    /// Makes the next call ready, which is not measured.
    fn prepare(&self, dice: &mut Dice) -> Prepared {
        match self.call {
            Call::Put { batch, wait } => {
                let first = self.next.fetch_add(u64::from(batch), Ordering::Relaxed);
                let numbers = (0..u64::from(batch)).map(|step| first.wrapping_add(step));
                Prepared::Put(self.transaction(numbers, dice).wait(wait))
            }
            Call::Get { keys, options } => {
                Prepared::Get(self.keys.key(dice.next().checked_rem(keys).unwrap_or_default()), options)
            }
        }
    }

    fn transaction(&self, numbers: impl Iterator<Item = u64>, dice: &mut Dice) -> Transaction {
        numbers.fold(Transaction::new(), |transaction, number| {
            transaction.put(self.keys.key(number), dice.bytes(self.value_bytes))
        })
    }

    /// Writes the keys of the numbers below `keys`, and waits until they are certified.
    ///
    /// # Errors
    /// The first error there is: a key that is not there would spoil the measurement.
    pub(super) async fn load(&self, ledger: &Ledger, keys: u64) -> Result<(), CliError> {
        let fitting = LOAD_BYTES.checked_div(self.value_bytes).unwrap_or(LOAD_BATCH);
        let batch = u64::try_from(fitting.clamp(1, LOAD_BATCH)).unwrap_or(1);
        let firsts = (0..keys.div_ceil(batch)).map(|number| number * batch);
        let load = async |first: u64| {
            let numbers = first..keys.min(first + batch);
            let transaction = self.transaction(numbers, &mut Dice::new()?);
            ledger.commit(transaction).await.map_err(CliError::from)
        };
        stream::iter(firsts).map(load).buffer_unordered(LOADS).try_for_each(async |_| Ok(())).await
    }
}

/// A call that only has to be sent.
enum Prepared {
    Put(Transaction),
    Get(Vec<u8>, ReadOptions),
}

impl Prepared {
    async fn send(self, ledger: &Ledger) -> Result<(), Failed> {
        match self {
            Self::Put(transaction) => {
                ledger.commit(transaction).await?;
                Ok(())
            }
            Self::Get(key, options) => match ledger.get(key, options).await?.value {
                Some(_) => Ok(()),
                None => Err(Failed::Absent),
            },
        }
    }
}
