//! The life of a cluster, from its first key to its export, under writes that never stop: [`live`] goes through it.
//!
//! Contract: real processes on loopback, ended with the run. Everything that was acknowledged is found again, once, with
//! its value, in the cluster, in its backup and in the cluster that is restored from that; the first thing that is not as
//! it must be ends the run with its name. How fast it went is told ([`Account`]), never judged. [`costs`] is the part of it
//! that is measured with many more keys.
//!
//! ```text
//! plan      how many keys, and what is in them
//! load      the keys: written, read again, found in the log
//! hand      writers that verify every answer, keep each receipt, and note how long they waited
//! gauge     memory and counters of the nodes, sampled while something goes on
//! account   what is told
//! story     the cluster, what was acknowledged, and the steps in their order
//! members   nodes join by snapshot, are replaced, lead, and go
//! archive   backup, a flipped byte, restore, old receipts, export
//! ```

mod account;
mod archive;
mod gauge;
mod hand;
mod load;
mod members;
mod plan;
mod story;

pub use account::{Account, Fact, Step};
pub use plan::Plan;
pub use story::{costs, live};
