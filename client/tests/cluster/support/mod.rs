//! A cluster for tests: real trees, keys and gRPC, everything else as simple as it can be; and every kind of lie.
//!
//! [`Model`](model::Model) is the truth; `answers` shows it as an honest replica does; [`Node`](server::Node) serves it
//! over gRPC, as leader or follower, reachable or not, and lets a test alter what is answered.

mod answers;
mod feed;
pub(crate) mod model;
pub(crate) mod server;
mod service;
mod streamed;

use std::sync::Arc;
use std::time::Duration;

use quorate_client::{Client, MemoryTrust, TrustStore};

pub(crate) use model::Model;
pub(crate) use server::{Cluster, Mode, Node};

/// A client of these nodes that believes any two of the three.
pub(crate) fn client(nodes: &[&Node]) -> Client {
    client_with(nodes, Arc::new(MemoryTrust::new()))
}

/// A client that keeps what it believes there.
pub(crate) fn client_with(nodes: &[&Node], trust: Arc<dyn TrustStore>) -> Client {
    Client::builder()
        .endpoints(nodes.iter().map(|node| node.endpoint()))
        .policy(model::policy(2))
        .trust(trust)
        .timeout(Duration::from_secs(3))
        .build()
        .unwrap()
}
