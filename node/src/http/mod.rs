//! The plain HTTP port: health, metrics, and the log for third-party readers.
//!
//! Contract: read-only, unencrypted and unauthenticated by design. Everything about the log served here is
//! protected by hashes and signatures, so a reader needs no encrypted channel to trust it; who must not read a
//! ledger must not reach this port.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 while the process works at all; 503 asks the supervisor for a restart |
//! | `/readyz` | 200 when requests may be sent here; 503 with the reason while catching up, or after divergence |
//! | `/metrics` | Prometheus text format |
//! | `/<ledger>/checkpoint` | the newest certified checkpoint, a signed note |
//! | `/<ledger>/tile/<L>/<N>[.p/<W>]` | hashes of level `L` (c2sp.org/tlog-tiles) |
//! | `/<ledger>/tile/entries/<N>[.p/<W>]` | leaves, each as a 16-bit length and its bytes |
//!
//! A tile never changes and may be cached for ever; a checkpoint may not be cached. Only GET and HEAD are
//! answered. What is served comes from an [`HttpSource`]; this module knows paths, status codes, headers and
//! limits: bounded connections, a deadline for the request's head, one for the answer, and one for the whole
//! connection, so that no client holds a place for ever.

mod path;
mod respond;
mod server;
mod source;

#[cfg(test)]
mod tests;

pub use server::{Deadlines, serve};
pub use source::{Health, HttpSource, SourceError, TileIndex, TileWidth};
