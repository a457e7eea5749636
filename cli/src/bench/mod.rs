//! `quorate bench`: how fast a cluster is, and what it takes for that.
//!
//! Contract: a closed loop, in which each of `--clients` tasks sends its next call when the answer to the one before is
//! there and, where the command verifies, verified; or, with `--rate`, an open loop, in which calls are sent when they
//! are due and their latency counts from then ([`loops`] says what each of them can show). The tasks share a few
//! connections to each replica. What happens in the warm-up is not counted. A call counts for the rate if it ended
//! within the measured time, and for the latency if it began within it, however long it took: what hangs at the end is
//! not hidden. A run ends with its measured time; calls under way then are waited for, which `--timeout` bounds.
//! What the nodes wrote and how much memory they use is their own word (`quorate status`), asked when the
//! measured time begins and when it ends.
//!
//! Whatever is believed is kept in memory only: a benchmark leaves the trust store alone.
//!
//! ```text
//! args       the command line
//! command    one run, or the runs of a sweep, from the preparation to the report
//! spread     the ledgers that calls are spread over
//! keys       which keys there are, and random bytes
//! choice     which of them comes next: new, in turn, evenly, or by Zipf's law
//! zipf       the sampler of that law
//! workload   the calls
//! loops      when calls are sent
//! timetable  when the calls of an open loop are due
//! recording  what all clients saw
//! live       the line that people watch
//! report     the arithmetic, the JSON document and the table
//! sweep      several runs side by side
//! chart      their picture
//! ```

mod args;
mod chart;
mod choice;
mod command;
mod keys;
mod live;
mod loops;
mod recording;
mod report;
mod spread;
mod sweep;
#[cfg(test)]
mod tests;
mod timetable;
mod workload;
mod zipf;

pub(crate) use args::Args;
pub(crate) use command::run;
