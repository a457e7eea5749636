//! A Quorate node: consensus, storage, signing and serving.
//!
//! The modules, from the bottom up (ARCHITECTURE.md tells the whole path of a write and of a read):
//!
//! * [`config`], [`cluster`], [`provision`] — what a node is told, what a cluster is, how both are made
//! * [`store`] — all of RocksDB: the Raft log, and the state that follows from it
//! * [`consensus`] — all of openraft: agreement on the order of blocks
//! * [`block`], [`decoded`], [`chain`], [`sequencer`] — blocks: signed, chained, made of requests
//! * [`machine`] — committed blocks in, the next state out, through the pure `quorate-ledger`
//! * [`signer`] — cosigns what was computed here, and counts the others' cosignatures
//! * [`witness`] — asks outside witnesses to cosign too
//! * [`membership`] — who belongs to the cluster, and how that changes
//! * [`tls`], [`peer`], [`http`], [`api`] — who may connect, and what they are told
//! * [`health`], [`disk`] — whether it may serve, and take writes
//! * [`scrub`] — what is stored is read again and recomputed, now and then
//! * [`pace`], [`upkeep`] — how fast work that can wait goes, and what of it is shown
//! * [`mod@evidence`] — proofs that another node lied, in files
//! * [`node`] — all of it put together
//! * [`doctor`] — what can be found out about a node on its machine
#![forbid(unsafe_code)]

pub mod abort;
pub mod api;
pub mod block;
pub mod chain;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod consensus;
pub mod continuation;
pub mod decoded;
pub mod disk;
pub mod doctor;
pub mod evidence;
pub mod health;
pub mod http;
pub mod machine;
pub mod membership;
pub mod node;
pub mod pace;
pub mod peer;
pub mod provision;
pub mod scrub;
pub mod sequencer;
pub mod signer;
pub mod store;
pub mod tls;
pub mod upkeep;
pub mod witness;
