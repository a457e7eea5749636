//! How the state database is tuned, and its tables (column families).
//!
//! Write-ahead log off, atomic flush: what is on disk is always *one* state of all tables, that after some block.
//! All memtables together are bounded by one number and flush together; blocks, indexes and filters are read
//! through one bounded cache. So memory is the sum of the configured bounds, whatever is stored.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompactionStyle,
    DBCompressionType, Error, FlushOptions, LruCacheOptions, Options, ReadOptions, UniversalCompactOptions,
    WriteOptions,
};

/// Bounds of a state store.
#[derive(Debug, Clone)]
pub struct StateOptions {
    /// RocksDB's cache of blocks, indexes and filters, bytes.
    pub block_cache_bytes: usize,
    /// All memtables together, bytes: when they are full they are flushed. As much again while they are.
    pub write_buffer_bytes: usize,
    /// Cache of state-tree buckets, bytes.
    pub trie_cache_bytes: usize,
    /// Cache of full tiles, bytes.
    pub tile_cache_bytes: usize,
    /// Raft entries after which a flush is begun, so that the Raft log can be purged behind it and a restart
    /// replays a bounded number.
    pub flush_entries: u64,
    /// Filled once, by a process that does nothing else: files are not merged while it runs, but by who opens it next.
    pub bulk: bool,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 32 << 20,
            write_buffer_bytes: 32 << 20,
            trie_cache_bytes: 128 << 20,
            tile_cache_bytes: 8 << 20,
            flush_entries: 10_000,
            bulk: false,
        }
    }
}

/// The tables. Every row but those of [`Table::Meta`] starts with the ledger's id, u32 big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// What was applied; the head of each ledger.
    Meta,
    /// Log leaves and operations, in runs.
    Blocks,
    /// Values, attributes, meta and salts: what can be erased.
    Contents,
    /// Key → its newest write.
    Leaves,
    /// Key and revision, all but the newest → log index.
    Revisions,
    /// First key → bucket of the state tree.
    Buckets,
    /// Level and number → full tile of the log tree.
    Tiles,
    /// Request id → log index and until when it is known.
    Requests,
    /// Size → cosignatures of that checkpoint.
    Cosignatures,
}

impl Table {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Meta,
        Self::Blocks,
        Self::Contents,
        Self::Leaves,
        Self::Revisions,
        Self::Buckets,
        Self::Tiles,
        Self::Requests,
        Self::Cosignatures,
    ];

    /// The name of its column family.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Meta => "default",
            Self::Blocks => "blocks",
            Self::Contents => "contents",
            Self::Leaves => "leaves",
            Self::Revisions => "revisions",
            Self::Buckets => "buckets",
            Self::Tiles => "tiles",
            Self::Requests => "requests",
            Self::Cosignatures => "cosignatures",
        }
    }

    /// Whether rows are looked up that are often absent.
    fn asks_for_absent(self) -> bool {
        matches!(self, Self::Leaves | Self::Revisions | Self::Requests | Self::Cosignatures)
    }

    /// Whether rows come anywhere among the older ones, not behind them.
    fn is_scattered(self) -> bool {
        matches!(self, Self::Leaves | Self::Revisions | Self::Buckets | Self::Requests)
    }

    /// Whether its rows are long and compress.
    fn is_bulk(self) -> bool {
        matches!(self, Self::Blocks | Self::Contents)
    }
}

/// Bits per key of a bloom filter: about one lookup of an absent row in a hundred reads a block.
const BLOOM_BITS: f64 = 10.0;
/// A batch's rows of a table come in key order, so that each is looked for in the memtable from the one before on (in that of
/// the same ledger).
const IN_KEY_ORDER: &str = "memtable_insert_with_hint_prefix_extractor=fixed:4";
/// Files of a table that are merged by size: from so many on they are.
const RUNS: i32 = 8;
/// Share of a memtable that its bloom filter takes.
const MEMTABLE_BLOOM_SHARE: f64 = 0.03;
/// Bytes of a block of a table with long rows.
const BULK_BLOCK_BYTES: usize = 16 << 10;
/// The least bytes of a part of the block cache, each with a lock of its own; and how many parts there are at most.
const CACHE_PART_BYTES: usize = 8 << 20;
const MAX_CACHE_PARTS: usize = 16;
/// RocksDB's own diary, bytes per file and files.
const DIARY_BYTES: usize = 1 << 20;
const DIARY_FILES: usize = 2;

/// Options of the whole database.
pub(crate) fn database(options: &StateOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(false);
    db.create_missing_column_families(false);
    db.set_atomic_flush(true);
    db.set_paranoid_checks(true);
    db.set_db_write_buffer_size(options.write_buffer_bytes);
    db.set_max_background_jobs(2);
    db.set_max_log_file_size(DIARY_BYTES);
    db.set_keep_log_file_num(DIARY_FILES);
    db.set_stats_dump_period_sec(0);
    db
}

/// The tables with their options, sharing one block cache.
pub(crate) fn tables(options: &StateOptions) -> Result<Vec<ColumnFamilyDescriptor>, Error> {
    let cache = cache(options.block_cache_bytes);
    let table =
        |table: Table| Ok(ColumnFamilyDescriptor::new(table.name(), table_options(table, options, &cache)?));
    Table::ALL.into_iter().map(table).collect()
}

/// The cache of blocks. RocksDB would cut it into parts of 512 KiB, and what is larger than a part is in no cache: an index
/// or filter that is not cut into blocks (of files of earlier versions) would be read as a whole for every row.
fn cache(bytes: usize) -> Cache {
    let mut lru = LruCacheOptions::default();
    lru.set_capacity(bytes);
    let parts = (bytes / CACHE_PART_BYTES).clamp(1, MAX_CACHE_PARTS);
    lru.set_num_shard_bits(i32::try_from(parts.ilog2()).unwrap_or_default());
    Cache::new_lru_cache_opts(&lru)
}

fn table_options(table: Table, options: &StateOptions, cache: &Cache) -> Result<Options, Error> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // Indexes and filters in blocks too: a row of a file of any size is found by reading a few of them.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_top_level_index_and_filter(true);
    if table.asks_for_absent() {
        blocks.set_bloom_filter(BLOOM_BITS, false);
        blocks.set_optimize_filters_for_memory(true);
    }
    let mut own = Options::default().get_options_from_string(IN_KEY_ORDER)?;
    if table.is_scattered() {
        merge_by_size(&mut own);
    }
    if table.is_bulk() {
        blocks.set_block_size(BULK_BLOCK_BYTES);
        own.set_compression_type(DBCompressionType::Lz4);
    } else {
        own.set_compression_type(DBCompressionType::None);
    }
    if table == Table::Requests {
        // Nearly every request is new: its absence is found without a search of the memtable.
        own.set_memtable_whole_key_filtering(true);
        own.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_SHARE);
    }
    own.set_block_based_table_factory(&blocks);
    own.set_write_buffer_size(options.write_buffer_bytes);
    own.set_disable_auto_compactions(options.bulk);
    // One that is filled and one that is flushed: writers wait rather than fill more memory.
    own.set_max_write_buffer_number(2);
    Ok(own)
}

/// Files of about one size become one (universal compaction). With levels, every few flushes would be merged with all that
/// is stored: rows that come anywhere would be written ten times and more. A row is looked for in at most so many files, as
/// with levels.
fn merge_by_size(own: &mut Options) {
    own.set_compaction_style(DBCompactionStyle::Universal);
    own.set_universal_compaction_options(&UniversalCompactOptions::default());
    own.set_level_zero_file_num_compaction_trigger(RUNS);
    own.set_level_zero_slowdown_writes_trigger(4 * RUNS);
    own.set_level_zero_stop_writes_trigger(8 * RUNS);
}

/// Writes: no write-ahead log.
pub(crate) fn writes() -> WriteOptions {
    let mut writes = WriteOptions::default();
    writes.disable_wal(true);
    writes
}

/// Writes that fail where others would wait.
pub(crate) fn writes_at_once() -> WriteOptions {
    let mut writes = writes();
    writes.set_no_slowdown(true);
    writes
}

/// Reads of what a crash leaves: memtables are passed over.
pub(crate) fn persisted_reads() -> ReadOptions {
    let mut reads = ReadOptions::default();
    reads.set_read_tier(rocksdb::ReadTier::Persisted);
    reads
}

/// A flush of all tables.
pub(crate) fn flushes(wait: bool) -> FlushOptions {
    let mut flushes = FlushOptions::default();
    flushes.set_wait(wait);
    flushes
}
