//! Settings of the log store and of its RocksDB instance.

use rocksdb::{ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel, Options};

use super::rows;

/// Bounds of a log store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How many bytes of the newest entries are kept in memory.
    pub tail_bytes: usize,
    /// How many of the newest entries are kept in memory.
    pub tail_entries: usize,
    /// Size of one RocksDB memtable in bytes; a few of them may exist at once.
    pub write_buffer_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { tail_bytes: 8 << 20, tail_entries: 65_536, write_buffer_bytes: 16 << 20 }
    }
}

/// Options of the database. Entries live for minutes: large memtables, few files, no compression.
pub(crate) fn database(config: &LogConfig, create: bool) -> Options {
    let mut options = Options::default();
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    options.set_error_if_exists(create);
    options.set_paranoid_checks(true);
    // What recovery drops behind a damaged place is found by comparing with the floor.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Both families flush together, so that no old write-ahead log is kept for a rarely written one.
    options.set_atomic_flush(true);
    let wal_limit = u64::try_from(config.write_buffer_bytes).unwrap_or(u64::MAX).saturating_mul(4);
    options.set_max_total_wal_size(wal_limit);
    options.set_max_background_jobs(2);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(2);
    options.set_log_level(LogLevel::Warn);
    options
}

/// The two column families.
pub(crate) fn families(config: &LogConfig) -> [ColumnFamilyDescriptor; 3] {
    let mut log = Options::default();
    log.set_write_buffer_size(config.write_buffer_bytes);
    log.set_max_write_buffer_number(3);
    // Said, because RocksDB's own choice changes with its version.
    log.set_compression_type(DBCompressionType::None);
    log.set_target_file_size_base(u64::try_from(config.write_buffer_bytes).unwrap_or(u64::MAX));
    let mut meta = Options::default();
    meta.set_write_buffer_size(4 << 20);
    [
        ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, Options::default()),
        ColumnFamilyDescriptor::new(rows::LOG, log),
        ColumnFamilyDescriptor::new(rows::META, meta),
    ]
}
