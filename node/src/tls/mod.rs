//! Encrypted and authenticated connections: certificates, TLS configurations, and our own accept loop.
//!
//! Contract:
//! - Nodes authenticate each other. A peer certificate carries exactly one name of the form
//!   `quorate:node:<cluster id>:<node id>` ([`PeerIdentity`]); both sides check it in the handshake against the
//!   cluster they belong to, and the dialling side against the node it meant to reach. DNS names and addresses
//!   play no part between nodes, so a node may move. TLS 1.3 only.
//! - Clients verify the server by its host names and addresses, as everywhere on the web.
//! - Plaintext is possible, but only where [`Security::Plaintext`] was asked for by name.
//! - [`listen`] accepts connections itself rather than leaving it to a server library: handshakes are bounded in
//!   number and time, so a client that dribbles its hello one byte at a time costs one slot for a few seconds;
//!   connections are bounded in number; and a new certificate serves the next handshake without touching
//!   connections that exist ([`ServerTls::replace`]). [`Reloader`] looks for new files, and takes none that are bad.
//! - Private keys and the directories they are in must be closed to everyone else, or they are not read
//!   ([`files`]).
//!
//! The key of a cluster's authority can make a certificate for any node: it belongs off-line, or with whoever
//! may add nodes. A stolen peer certificate lets its holder act as that node in Raft, but not cosign: the
//! signing keys are separate, and are what clients trust.

mod examine;
pub mod files;

mod authority;
mod config;
mod connection;
mod identity;
mod listener;
mod peers;
mod reload;
mod renew;
mod verify;

#[cfg(test)]
mod tests;

pub use authority::{Authority, AuthorityError, Issued};
pub use config::{Credentials, Roots, ServerTls, TlsError};
pub use connection::{Connection, ConnectionInfo};
pub use examine::check_server;
pub use identity::{IdentityError, PeerIdentity, operator_name};
pub use listener::{Incoming, Limits, ListenError, Listener, Security, listen};
pub use peers::{DialError, PeerSecurity, PeerTls};
pub use reload::{LOOK_EVERY, Reloader};
pub(crate) use renew::host;
pub use renew::{RenewError, Renewed, renew};
