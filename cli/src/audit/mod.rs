//! `quorate audit`: recomputes ledgers from their entries for as long as it runs, and says what does not follow.
//!
//! Contract: the work is that of `quorate_audit`; here are its command line, its files, and its HTTP port. It ends with 0
//! when it was asked to stop, or with `--once` at the end of the log; with 10 and a file in the evidence directory when
//! something does not follow.

mod command;
mod key;
mod served;
mod submissions;

pub(crate) use command::{Args, run};
