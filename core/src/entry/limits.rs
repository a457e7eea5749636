//! The limits that are part of the formats. Others (value size, message size) are settings of a cluster.

use crate::position::Micros;

/// Longest key, in bytes. The shortest has 1.
pub const MAX_KEY_LEN: usize = 1_024;
/// Most operations in one transaction. The fewest is 1.
pub const MAX_OPS: usize = 4_096;
/// Longest idempotency key, in bytes. The shortest has 1.
pub const MAX_IDEMPOTENCY_KEY: usize = 64;
/// Longest author (the authenticated principal), in bytes of UTF-8.
pub const MAX_AUTHOR: usize = 255;
/// Longest leaf of a log tree, in bytes: what an entry of c2sp.org/tlog-tiles can hold.
pub const MAX_LEAF: usize = 65_535;
/// Most ledgers that one block may touch.
pub const MAX_LEDGERS_PER_BLOCK: usize = 64;
/// Longest time a request may stay known after its block's time: 15 minutes.
pub const MAX_NOT_AFTER: Micros = Micros::new(15 * 60 * Micros::PER_SECOND);
