//! What the HTTP port serves, as somebody else provides it.

use std::future::Future;

use bytes::Bytes;
use quorate_core::name::LedgerName;

/// Whether a node is in a certain condition, and in a few words why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is.
    Good,
    /// It is, but for something that it does not do now; the text is for a person and holds no secret.
    Limited(String),
    /// It is not; the text is for a person and holds no secret.
    Bad(String),
}

/// Position of a tile within its level, or of a bundle of entries: tile n holds the hashes (or entries) 256 n to
/// 256 n + 255. At most 2⁵⁶ − 1, since positions are 64-bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileIndex(pub(super) u64);

impl TileIndex {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// How many hashes or entries of a tile are asked for: 256, or fewer at the right edge of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileWidth(pub(super) u16);

impl TileWidth {
    /// All of them.
    pub const FULL: Self = Self(256);

    /// From 1 to 256.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Provides what is served. Every answer must come from one consistent view of the store.
pub trait HttpSource: Send + Sync + 'static {
    /// `/livez`: does the process work at all?
    fn live(&self) -> Health;

    /// `/readyz`: may requests be sent here?
    fn ready(&self) -> Health;

    /// `/metrics`: the Prometheus text exposition.
    fn metrics(&self) -> String;

    /// The newest certified checkpoint of a ledger, as a signed note.
    fn checkpoint(&self, ledger: &LedgerName) -> impl Future<Output = Result<Bytes, SourceError>> + Send;

    /// The first `width` hashes (32 bytes each) of tile `index` at `level` (0 to 63; level 0 are leaf hashes,
    /// each level above covers 256 times as many leaves).
    fn tile(
        &self,
        ledger: &LedgerName,
        level: u8,
        index: TileIndex,
        width: TileWidth,
    ) -> impl Future<Output = Result<Bytes, SourceError>> + Send;

    /// The first `width` leaves of bundle `index`, each as a big-endian 16-bit length and its bytes.
    fn entries(
        &self,
        ledger: &LedgerName,
        index: TileIndex,
        width: TileWidth,
    ) -> impl Future<Output = Result<Bytes, SourceError>> + Send;
}

/// Why something is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No such ledger, or the tree has not grown that far: 404.
    #[error("not found: {0}")]
    NotFound(String),
    /// Not now: 503. The text goes to the reader.
    #[error("unavailable: {0}")]
    Unavailable(String),
}
