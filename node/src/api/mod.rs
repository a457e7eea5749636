//! The interface of a node: the gRPC services of `quorate.v1`, and what the HTTP port shows.
//!
//! Contract: [`Api::new`] takes the running parts ([`ApiParts`]), [`Api::serve`] answers clients over the connections
//! of [`crate::tls`], and [`Api`] is the [`HttpSource`](crate::http::HttpSource) of [`crate::http`]. Every answer is
//! made from one view of the store at one size; whatever it claims, its proof covers, in the form that
//! `quorate_core::answer` verifies. What is written reaches the log through the sequencer only.
//!
//! Every field is bounded before work is done for it (`bounds`); every refusal has a reason of the one table
//! (`errors`), with its field. Calls, streams, pages and messages are bounded; what is too much is refused at once.
//! A node with a fault answers nothing but `Status` and health; a fault of the store met here stops the node. One whose
//! files are damaged at the start, so that nothing behind the interface can run, has [`Stopped`] instead of [`Api`].
//!
//! | part | what |
//! |---|---|
//! | `ledger_service`, `serve` | the calls, their bounds and times; the server |
//! | `access`, `admin_service` | who may call what; the calls of operators about members |
//! | `stopped` | the same for a node that cannot be started |
//! | `interface`, `backend` | the shared handle, and what stands behind it |
//! | `bounds`, `errors`, `page_token` | bad input, refusals, tokens |
//! | `commit`, `commit_stream`, `ledgers` | writes |
//! | `read`, `item`, `scan`, `history` | keys |
//! | `transactions`, `subscribe`, `log`, `checkpoint`, `epochs`, `proofs` | the log, and proofs |
//! | `status`, `contact`, `resources`, `metrics`, `http_source` | how this node is |
//!
//! Caveat: nobody but operators is authenticated yet; the author of everything is `anonymous`.

mod access;
mod admin_service;
mod backend;
mod bounds;
mod checkpoint;
mod commit;
mod commit_stream;
mod contact;
mod epochs;
mod errors;
mod history;
mod http_source;
mod interface;
mod item;
mod ledger_service;
mod ledgers;
mod log;
mod metrics;
mod page_token;
mod proofs;
mod read;
mod resources;
mod scan;
mod serve;
mod status;
mod stopped;
mod subscribe;
#[cfg(test)]
mod tests;
mod transactions;

pub use backend::{Backend, NodeBackend};
pub use contact::{LeaderContact, Listening};
pub use interface::{Api, ApiParts};
pub use metrics::recorder;
pub use serve::ServeError;
pub use stopped::{Absence, Stopped, StoppedParts};
