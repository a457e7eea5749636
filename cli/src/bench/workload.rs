//! The calls that clients make.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, TryStreamExt as _};
use quorate_client::{Ledger, Query, ReadOptions, Transaction, Wait};

use super::choice::Choice;
use super::keys::{Dice, KeySpace};
use super::loops::Client;
use super::recording::{Failed, Kind};
use crate::error::CliError;

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
    /// The keys...
    pub(super) keys: Arc<KeySpace>,
    /// ...and which of them comes next.
    pub(super) choice: Choice,
    /// Length of a value.
    pub(super) value_bytes: usize,
    /// How it reads.
    pub(super) read: ReadOptions,
    /// When its writes are answered.
    pub(super) wait: Wait,
}

/// The kind of call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// A transaction that writes so many values.
    Put(u32),
    /// A read of one key.
    Get,
    /// A page of so many keys, from one on.
    Scan(u32),
    /// Reads of one key in so many of a hundred calls, writes of one in the others.
    Mixed(u8),
}

impl Workload {
    /// What a call counts as that was never sent: most of the calls are of this kind.
    pub(super) const fn kind(&self) -> Kind {
        match self.call {
            Call::Put(_) | Call::Mixed(0..50) => Kind::Write,
            Call::Get | Call::Scan(_) | Call::Mixed(_) => Kind::Read,
        }
    }

    /// So many clients. They share connections, each of which has handles of all ledgers.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub(super) fn clients(
        &self,
        count: u32,
        connections: &[Arc<[Ledger]>],
    ) -> Result<Vec<LedgerClient>, CliError> {
        let client = |(_, ledgers): (u32, &Arc<[Ledger]>)| {
            Ok(LedgerClient {
                workload: self.clone(),
                ledgers: Arc::clone(ledgers),
                turn: 0,
                dice: Dice::new()?,
            })
        };
        (0..count).zip(connections.iter().cycle()).map(client).collect()
    }

    fn transaction(&self, numbers: impl IntoIterator<Item = u64>, dice: &mut Dice) -> Transaction {
        numbers.into_iter().fold(Transaction::new(), |transaction, number| {
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

/// A client of the cluster.
pub(super) struct LedgerClient {
    workload: Workload,
    /// There is at least one...
    ledgers: Arc<[Ledger]>,
    /// ...and this is the place of the one that the call made ready is for.
    turn: usize,
    dice: Dice,
}

/// A call that only has to be sent.
pub(super) enum Ready {
    /// A transaction of so many operations.
    Put(Transaction, u64),
    Get(Vec<u8>),
    Scan(Vec<u8>, u32),
}

impl LedgerClient {
    fn put(&mut self, batch: u32) -> Ready {
        let numbers = self.workload.choice.numbers(batch, &mut self.dice);
        let transaction = self.workload.transaction(numbers, &mut self.dice).wait(self.workload.wait);
        Ready::Put(transaction, u64::from(batch))
    }

    fn key(&mut self) -> Vec<u8> {
        let numbers = self.workload.choice.numbers(1, &mut self.dice);
        self.workload.keys.key(numbers.first().copied().unwrap_or_default())
    }

    /// The ledger of the next call: any, so that no two clients go from one to the other in step.
    fn turn(&mut self) -> usize {
        match u64::try_from(self.ledgers.len()) {
            Ok(count @ 2..) => usize::try_from(self.dice.next() % count).unwrap_or_default(),
            _ => 0,
        }
    }

    fn ledger(&self) -> &Ledger {
        &self.ledgers[self.turn]
    }

    async fn get(&self, key: Vec<u8>) -> Result<u64, Failed> {
        let read = self.ledger().get(key, self.workload.read).await?;
        read.value.map(|_| 1).ok_or(Failed::Absent)
    }

    async fn scan(&self, first: Vec<u8>, page: u32) -> Result<u64, Failed> {
        let query = Query::Range { first, end: None };
        let page = self.ledger().scan(query, self.workload.read).page_size(page).next_page().await?;
        let keys = page.map_or(0, |page| page.entries.len());
        u64::try_from(keys).ok().filter(|keys| *keys > 0).ok_or(Failed::Absent)
    }
}

impl Client for LedgerClient {
    type Ready = Ready;

    fn prepare(&mut self) -> Ready {
        self.turn = self.turn();
        match self.workload.call {
            Call::Put(batch) => self.put(batch),
            Call::Mixed(reads) if self.dice.next() % 100 >= u64::from(reads) => self.put(1),
            Call::Get | Call::Mixed(_) => Ready::Get(self.key()),
            Call::Scan(page) => Ready::Scan(self.key(), page),
        }
    }

    async fn send(&self, ready: Ready) -> (Kind, Result<u64, Failed>) {
        match ready {
            Ready::Put(transaction, operations) => {
                let done = self.ledger().commit(transaction).await;
                (Kind::Write, done.map(|_| operations).map_err(Failed::from))
            }
            Ready::Get(key) => (Kind::Read, self.get(key).await),
            Ready::Scan(first, page) => (Kind::Read, self.scan(first, page).await),
        }
    }
}
