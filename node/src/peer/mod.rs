//! Between the nodes of a cluster: Raft messages, snapshots and cosignatures over gRPC (`quorate.peer.v1`).
//!
//! Contract:
//! - One connection per peer and direction. [`Peers`] dials, and redials when a connection was lost; [`serve`]
//!   answers. Every call is made by the node that dialled.
//! - The other end is the node that its certificate proves ([`crate::tls`]). That identity, not what a message says,
//!   is handed to [`RaftHandler`] and [`CosignHandler`]; a message whose envelope names another sender, receiver
//!   or cluster is refused. Where plaintext was asked for, a node says who it is in the call's metadata and is
//!   believed.
//! - A node that was removed, or never was one, is turned away with the reason ([`Gate`]). One that was invited may ask
//!   to be registered, and nothing else.
//! - Nodes of different releases talk when they speak a version of the wire in common (`wire`), and refuse each other
//!   with the reason when they do not.
//! - A call that gives no answer is an error and nothing else. A silent connection is found out by HTTP/2 pings
//!   within a few seconds and dropped; deadlines of Raft calls are the caller's ([`PeerTransport`]).
//! - Messages are bounded by one limit, set on both sides. Streams carry backpressure by HTTP/2 windows, so that
//!   neither a snapshot nor a slow peer takes memory. What cannot be sent to a slow peer of cosignatures is dropped;
//!   it asks for them later.
//!
//! [`PeerTransport`]: crate::consensus::PeerTransport

mod comparing;
mod connected;
mod cosigning;
mod enrolling;
mod envelope;
mod handler;
mod joining;
mod later;
mod peers;
mod service;
mod transport;
mod wire;

#[cfg(test)]
mod tests;

pub use handler::{
    BlockHandler, CosignHandler, EnrollHandler, Enrolled, Gate, Handlers, Joined, Life, MemberHandler,
    RaftHandler, TurnedAway,
};
pub use later::Later;
pub use peers::Peers;
pub use service::serve;
pub use wire::{SPOKEN, Versions, Wire};
