//! The network: one channel per replica, and the mapping of gRPC statuses to what a caller can do about them.
//!
//! Nothing else in this crate knows tonic. There is no balanced channel: roots are compared per replica, so every
//! call goes to a replica by name. A [`Replica`] multiplexes all calls over one HTTP/2 connection, which is opened
//! by the first call and again after it broke; pings notice a peer that hangs. Every call has a deadline, which
//! travels with it. Commits that are under way together share a stream ([`lane`]).

mod connect;
mod failure;
mod group;
mod lane;
mod pending;
mod replica;
mod rpc;
mod tls;

pub(crate) use connect::EndpointAddress;
pub(crate) use replica::Replica;
pub(crate) use rpc::{EntryStream, FeedStream, Grouped, Rpc};
pub(crate) use tls::{TlsFiles, client_tls};
