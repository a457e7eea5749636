//! `quorate bench`: how fast a cluster is, and what it takes for that.
//!
//! Contract: a closed loop. Each of `--clients` tasks sends its next call when the answer to the one before is there,
//! and, where the command verifies, verified. The tasks share a few connections to each replica, and each records for
//! itself; the recordings are merged when all have ended. What happens in the warm-up is not counted. A transaction
//! counts for the rate if it ended within the measured time, and for the latency if it began within it, however long
//! it took: what hangs at the end is not hidden. What the nodes wrote and how much memory they use is their own word
//! (`quorate status`), asked when the measured time begins and when it ends.
//!
//! Whatever is believed is kept in memory only: a benchmark leaves the trust store alone.
//!
//! ```text
//! args       the command line
//! command    one run, from the preparation to the report
//! keys       which keys are written and read, and random bytes
//! workload   the loops of the clients
//! recording  what one client saw
//! report     the arithmetic, the JSON document and the table
//! ```

mod args;
mod command;
mod keys;
mod recording;
mod report;
#[cfg(test)]
mod tests;
mod workload;

pub(crate) use args::Args;
pub(crate) use command::run;
