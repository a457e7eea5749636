//! Runs of leaves: how log leaves and their operations are packed into rows.
//!
//! A run is some consecutive leaves of one block, closed at about 32 KiB: short enough that reading one leaf costs
//! little, long enough that a block of many small transactions is few rows. The last run of a block ends with its
//! commit leaf. Each run knows where its block begins and ends, so the checkpoint before and after any index is
//! one lookup away.
//!
//! Row, all integers big-endian:
//! `format u8 = 1 ‖ block's first index u64 ‖ block's commit index u64 ‖ count u32 ‖ count × (end of entry u32,
//! from the start of the entries) ‖ entries`; entry: `leaf_len u16 ‖ leaf ‖ ops u32 ‖ ops × (end of operation u32,
//! from the start of the operations) ‖ operations`.

use quorate_core::position::LogIndex;

const FORMAT: u8 = 1;
const HEADER: usize = 21;
/// Bytes after which a run is closed.
const RUN_BYTES: usize = 32 << 10;

/// A leaf of the log with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its log index.
    pub index: LogIndex,
    /// The leaf: 118 bytes of a transaction, or 62 of a commit leaf.
    pub leaf: Vec<u8>,
    /// The encoded operations in request order; none for a commit leaf.
    pub operations: Vec<Vec<u8>>,
}

/// Something does not fit into a row: it is longer than any block can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a leaf or the operations of a transaction are longer than a row can hold")]
pub(crate) struct TooLong;

/// A row that is not a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the row is not a run of leaves of format 1")]
pub(crate) struct NotARun;

/// Packs the leaves of one block into runs.
pub(crate) struct RunWriter {
    block_first: LogIndex,
    commit: LogIndex,
    first: u64,
    ends: Vec<u32>,
    entries: Vec<u8>,
    done: Vec<(LogIndex, Vec<u8>)>,
}

impl RunWriter {
    /// For the block with the leaves from `block_first` to `commit`.
    pub(crate) fn new(block_first: LogIndex, commit: LogIndex) -> Self {
        let first = block_first.get();
        Self { block_first, commit, first, ends: Vec::new(), entries: Vec::new(), done: Vec::new() }
    }

    /// Adds the next leaf.
    pub(crate) fn push(&mut self, leaf: &[u8], operations: &[impl AsRef<[u8]>]) -> Result<(), TooLong> {
        let leaf_len = u16::try_from(leaf.len()).map_err(|_| TooLong)?;
        let bytes: usize = operations.iter().map(|operation| 4 + operation.as_ref().len()).sum();
        self.entries.reserve(2 + leaf.len() + 4 + bytes);
        self.entries.extend_from_slice(&leaf_len.to_be_bytes());
        self.entries.extend_from_slice(leaf);
        self.entries.extend_from_slice(&length(operations.len())?.to_be_bytes());
        let mut end = 0_usize;
        for operation in operations {
            end += operation.as_ref().len();
            self.entries.extend_from_slice(&length(end)?.to_be_bytes());
        }
        for operation in operations {
            self.entries.extend_from_slice(operation.as_ref());
        }
        self.ends.push(length(self.entries.len())?);
        if self.entries.len() >= RUN_BYTES {
            self.close()?;
        }
        Ok(())
    }

    /// The runs: the index of the first leaf in each, and the row.
    pub(crate) fn finish(mut self) -> Result<Vec<(LogIndex, Vec<u8>)>, TooLong> {
        if !self.ends.is_empty() {
            self.close()?;
        }
        Ok(self.done)
    }

    fn close(&mut self) -> Result<(), TooLong> {
        let mut row = Vec::with_capacity(HEADER + 4 * self.ends.len() + self.entries.len());
        row.push(FORMAT);
        row.extend_from_slice(&self.block_first.to_be_bytes());
        row.extend_from_slice(&self.commit.to_be_bytes());
        let count = length(self.ends.len())?;
        row.extend_from_slice(&count.to_be_bytes());
        for end in self.ends.drain(..) {
            row.extend_from_slice(&end.to_be_bytes());
        }
        row.append(&mut self.entries);
        self.done.push((LogIndex::new(self.first), row));
        self.first += u64::from(count);
        Ok(())
    }
}

fn length(len: usize) -> Result<u32, TooLong> {
    u32::try_from(len).map_err(|_| TooLong)
}

/// A run as it lies in a row. Everything is checked against the row's end when it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'r> {
    block_first: LogIndex,
    commit: LogIndex,
    first: LogIndex,
    ends: &'r [[u8; 4]],
    entries: &'r [u8],
}

impl<'r> Run<'r> {
    /// The run in `row`, stored under `first`.
    pub(crate) fn parse(first: LogIndex, row: &'r [u8]) -> Result<Self, NotARun> {
        let (format, rest) = row.split_first().ok_or(NotARun)?;
        let (block_first, rest) = rest.split_first_chunk::<8>().ok_or(NotARun)?;
        let (commit, rest) = rest.split_first_chunk::<8>().ok_or(NotARun)?;
        let (ends, entries) = table(rest)?;
        let run = Self {
            block_first: LogIndex::from_be_bytes(*block_first),
            commit: LogIndex::from_be_bytes(*commit),
            first,
            ends,
            entries,
        };
        let last = run.end()?.checked_sub(1).ok_or(NotARun)?;
        let inside = run.block_first <= first && last <= run.commit.get() && !ends.is_empty();
        if *format != FORMAT || !inside {
            return Err(NotARun);
        }
        Ok(run)
    }

    /// Log index of the block's first leaf.
    pub(crate) fn block_first(&self) -> LogIndex {
        self.block_first
    }

    /// Log index of the block's commit leaf.
    pub(crate) fn commit(&self) -> LogIndex {
        self.commit
    }

    /// Log index of the run's first leaf.
    pub(crate) fn first(&self) -> LogIndex {
        self.first
    }

    /// The log index behind the run's last leaf.
    pub(crate) fn end(&self) -> Result<u64, NotARun> {
        let count = u64::try_from(self.ends.len()).map_err(|_| NotARun)?;
        self.first.get().checked_add(count).ok_or(NotARun)
    }

    /// The entry at `index`, `None` outside the run.
    pub(crate) fn entry(&self, index: LogIndex) -> Result<Option<Entry<'r>>, NotARun> {
        let Some(number) = index.get().checked_sub(self.first.get()) else {
            return Ok(None);
        };
        let number = usize::try_from(number).map_err(|_| NotARun)?;
        if number >= self.ends.len() {
            return Ok(None);
        }
        let entry = part(self.ends, self.entries, number)?;
        let (leaf_len, rest) = entry.split_first_chunk::<2>().ok_or(NotARun)?;
        let leaf_len = usize::from(u16::from_be_bytes(*leaf_len));
        let (leaf, rest) = rest.split_at_checked(leaf_len).ok_or(NotARun)?;
        let (ends, operations) = table(rest)?;
        Ok(Some(Entry { index, leaf, ends, operations }))
    }
}

/// A leaf and its operations within a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'r> {
    index: LogIndex,
    leaf: &'r [u8],
    ends: &'r [[u8; 4]],
    operations: &'r [u8],
}

impl<'r> Entry<'r> {
    /// The leaf.
    pub(crate) fn leaf(&self) -> &'r [u8] {
        self.leaf
    }

    /// The operations in order.
    pub(crate) fn operations(&self) -> impl Iterator<Item = Result<&'r [u8], NotARun>> {
        let (ends, bytes) = (self.ends, self.operations);
        (0..ends.len()).map(move |number| part(ends, bytes, number))
    }

    /// A copy.
    pub(crate) fn to_record(self) -> Result<LogRecord, NotARun> {
        let operations = self.operations().map(|operation| operation.map(<[u8]>::to_vec));
        Ok(LogRecord {
            index: self.index,
            leaf: self.leaf.to_vec(),
            operations: operations.collect::<Result<_, _>>()?,
        })
    }
}

/// A count, as many ends, and what they divide.
fn table(bytes: &[u8]) -> Result<(&[[u8; 4]], &[u8]), NotARun> {
    let (count, rest) = bytes.split_first_chunk::<4>().ok_or(NotARun)?;
    let count = usize::try_from(u32::from_be_bytes(*count)).map_err(|_| NotARun)?;
    let ends = count.checked_mul(4).ok_or(NotARun)?;
    let (ends, parts) = rest.split_at_checked(ends).ok_or(NotARun)?;
    Ok((ends.as_chunks::<4>().0, parts))
}

fn part<'r>(ends: &[[u8; 4]], parts: &'r [u8], number: usize) -> Result<&'r [u8], NotARun> {
    let end = |at: usize| {
        let end = ends.get(at).copied().ok_or(NotARun)?;
        usize::try_from(u32::from_be_bytes(end)).map_err(|_| NotARun)
    };
    let start = if number == 0 { 0 } else { end(number - 1)? };
    parts.get(start..end(number)?).ok_or(NotARun)
}
