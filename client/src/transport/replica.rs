//! One replica: its address, its channel, and which node it turned out to be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use quorate_core::position::NodeId;
use quorate_proto::v1::{admin_client::AdminClient, ledger_client::LedgerClient};
use rustls::ClientConfig;
use tonic::transport::Channel;

use super::EndpointAddress;
use super::lane::Lane;
use crate::error::ConfigError;

/// Largest answer that is read, bytes: a page of large values.
const MAX_ANSWER: usize = 256 << 20;
/// Largest request that is sent, bytes; the server has its own, lower limit.
const MAX_REQUEST: usize = 256 << 20;

/// A replica that calls are sent to. All calls share one channel.
#[derive(Debug)]
pub(crate) struct Replica {
    address: EndpointAddress,
    /// Which node answers there, once it has said so. Its own word: only used to follow leader hints.
    node: OnceLock<NodeId>,
    /// Whether it has left the cluster.
    retired: AtomicBool,
    client: LedgerClient<Channel>,
    admin: AdminClient<Channel>,
    lane: Lane,
}

impl Replica {
    /// A replica at this address; nothing is dialled yet.
    pub(crate) fn new(address: EndpointAddress, tls: Option<Arc<ClientConfig>>) -> Result<Self, ConfigError> {
        let channel = address.channel(tls)?;
        let admin = AdminClient::new(channel.clone());
        let client = LedgerClient::new(channel)
            .max_decoding_message_size(MAX_ANSWER)
            .max_encoding_message_size(MAX_REQUEST);
        Ok(Self {
            address,
            node: OnceLock::new(),
            retired: AtomicBool::new(false),
            client,
            admin,
            lane: Lane::default(),
        })
    }

    /// Its address, as text.
    pub(crate) const fn endpoint(&self) -> &Arc<str> {
        self.address.text()
    }

    pub(crate) const fn address(&self) -> &EndpointAddress {
        &self.address
    }

    /// Which node it is, if it has said so.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.node.get().copied()
    }

    /// Remembers which node it is; the first word counts.
    pub(crate) fn set_node(&self, node: NodeId) {
        self.node.get_or_init(|| node);
    }

    /// It has left the cluster.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether it has left the cluster.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// A handle to send one call with.
    pub(super) fn client(&self) -> LedgerClient<Channel> {
        self.client.clone()
    }

    /// The commits that may share a stream.
    pub(super) const fn lane(&self) -> &Lane {
        &self.lane
    }

    /// The same for the calls of operators.
    pub(super) fn admin(&self) -> AdminClient<Channel> {
        self.admin.clone()
    }
}
