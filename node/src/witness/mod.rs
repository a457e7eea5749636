//! Outside witnesses: this node sends them checkpoints and takes in their cosignatures (c2sp.org/tlog-witness).
//!
//! A witness is a server of somebody else with a key of its own. It vouches that each log only grows: it remembers the last
//! checkpoint that it cosigned, and cosigns another one only with a proof that this continues it. The cluster certifies
//! without any witness; its cosignature matters to clients whose policy counts it.
//!
//! * Who asks: the leader, for each ledger that grew, at most once per `min_interval_ms`; and every node for its own
//!   clients, when one waits for a size that no witness has signed. One question per witness and ledger is on its way at a
//!   time. What the leader is given goes to the other nodes.
//! * What is sent: the newest checkpoint that a majority certified, with a consistency proof from the size that the witness
//!   is known to have. If it has another (409) it says so, and is asked again from there.
//! * What is believed: a cosignature by the configured key over exactly what was sent. A witness is bad input: its answers
//!   are bounded, its time is too.
//! * What is kept: nothing. After a start the witness is asked again.
//!
//! The parts: [`settings`], [`message`] (pure), `exchange` (HTTP), `submitter` (when and what), [`board`] (what is shown).

pub mod board;
mod exchange;
pub mod message;
pub mod settings;
mod submitter;
#[cfg(test)]
mod tests;

pub use board::{Board, Row};
pub use settings::{WitnessError, WitnessSettings};
pub use submitter::{SubmitterParts, start};
