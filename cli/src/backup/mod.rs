//! `quorate backup`: copies of a whole cluster that prove themselves.
//!
//! Contract: `create` verifies what it writes as any client does; `verify` needs neither network nor node; `restore`
//! makes a new cluster that continues the same history. Progress is shown on a terminal, the result is a document.
//!
//! ```text
//! args       the command line
//! create     from a running cluster into an archive
//! verify     an archive, offline
//! restore    from an archive to a new cluster
//! export     an archive in open formats, and back
//! frozen     a frozen ledger, exported and verified
//! documents  what is printed
//! ```

mod args;
mod create;
mod documents;
mod export;
pub(crate) mod frozen;
mod restore;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use args::{Args, run};
pub(crate) use documents::Continued;
pub(crate) use restore::{document as continued, failed as making_failed, text as continued_text};
