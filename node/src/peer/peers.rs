//! The dialling side: one channel per peer.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use quorate_core::position::NodeId;
use quorate_proto::peer::v1 as pb;
use tokio::sync::watch;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Endpoint, Uri},
};

use super::{
    cosigning::Outgoing,
    envelope::{self, NODE_HEADER, REMOVED_HEADER},
    wire::{Client, Line, SPOKEN, Wire},
};
use crate::{
    consensus::PeerError,
    tls::{PeerIdentity, PeerSecurity},
    upkeep::Refused,
};

/// A connection is asked for a sign of life this often...
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(1);
/// ...and dropped when there is none for this long.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// TCP and TLS together may take this long.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes under way in one call, and in all calls of a connection: bounds memory, and how long a heartbeat can wait
/// behind a snapshot.
pub(super) const STREAM_WINDOW: u32 = 2 << 20;
pub(super) const CONNECTION_WINDOW: u32 = 8 << 20;
/// Bytes in one HTTP/2 frame: a block fits few of them, and a heartbeat waits for one at most.
pub(super) const MAX_FRAME: u32 = 256 << 10;

/// The connections that this node makes to its peers. Cheap to clone; clones share them.
///
/// A channel is made when a peer's address is learnt; it connects with the first call, and again with the next call
/// after a connection was lost. Must be used within a tokio runtime.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    own: PeerIdentity,
    security: PeerSecurity,
    message_bytes: usize,
    wire: Wire,
    /// By node id. Held only to look up or replace an entry.
    peers: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
    /// Who said that this node was removed, and in which epoch: each one's own word.
    farewells: watch::Sender<BTreeMap<NodeId, u64>>,
}

/// One peer, at one address.
struct Peer {
    address: String,
    client: Client,
    cosigning: Outgoing,
}

impl Peers {
    /// No peers yet; they are added as they are learnt. Messages over `message_bytes` are refused in both directions.
    #[must_use]
    pub fn new(own: PeerIdentity, security: PeerSecurity, message_bytes: usize) -> Self {
        Self::speaking(own, security, message_bytes, Wire::new(own.node, SPOKEN, Refused::default()))
    }

    /// The same, where the versions that are spoken are those of `wire`.
    #[must_use]
    pub fn speaking(own: PeerIdentity, security: PeerSecurity, message_bytes: usize, wire: Wire) -> Self {
        let farewells = watch::Sender::default();
        Self(Arc::new(Inner { own, security, message_bytes, wire, peers: Mutex::default(), farewells }))
    }

    /// Forgets the peers that are not among these.
    pub fn keep(&self, nodes: &BTreeSet<NodeId>) {
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|node, _| nodes.contains(node));
    }

    /// The peers that are known.
    pub fn known(&self) -> Vec<NodeId> {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Who said that this node was removed, and in which epoch.
    pub fn farewells(&self) -> watch::Receiver<BTreeMap<NodeId, u64>> {
        self.0.farewells.subscribe()
    }

    /// What a failed call says; a peer that says that this node was removed is heard.
    pub(super) fn failed(&self, node: NodeId, status: &Status) -> PeerError {
        let removed =
            status.metadata().get(REMOVED_HEADER).filter(|_| status.code() == Code::PermissionDenied);
        if let Some(epoch) = removed.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok())
        {
            self.0.farewells.send_if_modified(|heard| heard.insert(node, epoch) != Some(epoch));
        }
        peer_error(node, status)
    }

    /// Peer `node` is reached at `address` ("host:port"). A changed address replaces the channel; calls under way on
    /// the old one go on. This node's own id is ignored.
    pub fn learn_address(&self, node: NodeId, address: &str) {
        if node == self.0.own.node || address.is_empty() {
            return;
        }
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.get(&node).is_some_and(|known| known.address == address) {
            return;
        }
        let client = self.client(node, address);
        let cosigning = Outgoing::start(node, client.clone(), self.mark());
        peers.insert(node, Arc::new(Peer { address: address.to_owned(), client, cosigning }));
    }

    /// What is said about versions on its connections.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.0.wire.clone()
    }

    /// Who this node is.
    pub(crate) fn own(&self) -> PeerIdentity {
        self.0.own
    }

    /// The client for calls to a peer.
    pub(super) fn reach(&self, node: NodeId) -> Result<Client, PeerError> {
        let peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(&node).map(|peer| peer.client.clone()).ok_or_else(|| PeerError::Unreachable {
            node: node.get(),
            why: "its address is not known yet".to_owned(),
        })
    }

    /// Offers cosignatures to every peer; a peer whose queue is full misses them.
    pub(super) fn broadcast(&self, cosignatures: &[pb::Cosignature]) {
        let peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        for peer in peers.values() {
            peer.cosigning.offer(cosignatures.to_vec());
        }
    }

    /// A call, marked with who makes it where the connection does not prove it.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        self.mark().request(message)
    }

    fn mark(&self) -> Sender {
        Sender { own: self.0.own, plaintext: matches!(self.0.security, PeerSecurity::Plaintext) }
    }

    fn client(&self, node: NodeId, address: &str) -> Client {
        let (security, address) = (self.0.security.clone(), address.to_owned());
        let connector = tower::service_fn(move |_: Uri| {
            let (security, address) = (security.clone(), address.clone());
            async move {
                let connection = security.dial(&address, node, DIAL_TIMEOUT).await?;
                tracing::info!(peer = %node, %address, "connected to a peer");
                Ok::<_, crate::tls::DialError>(TokioIo::new(connection))
            }
        });
        // The name in the endpoint is only what HTTP/2 wants to see; the connector knows the address.
        let channel = Endpoint::from_static("http://peer")
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .connect_with_connector_lazy(connector);
        Client::new(Line::new(channel, node, self.0.wire.clone()))
            .max_decoding_message_size(self.0.message_bytes)
            .max_encoding_message_size(self.0.message_bytes)
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("own", &self.0.own).finish_non_exhaustive()
    }
}

/// What marks calls and messages with their sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    own: PeerIdentity,
    plaintext: bool,
}

impl Sender {
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if self.plaintext {
            let id: MetadataValue<Ascii> = self.own.node.get().into();
            request.metadata_mut().insert(NODE_HEADER, id);
        }
        request
    }

    pub(super) fn envelope(&self, to: NodeId) -> pb::Envelope {
        envelope::envelope(self.own, to)
    }
}

/// A failed call, with the deepest reason known.
pub(super) fn peer_error(node: NodeId, status: &Status) -> PeerError {
    let mut why = status.message().to_owned();
    let mut cause = status.source();
    while let Some(inner) = cause {
        why = inner.to_string();
        cause = inner.source();
    }
    match status.code() {
        Code::Unavailable => PeerError::Unreachable { node: node.get(), why },
        code => PeerError::Failed { node: node.get(), why: format!("{code:?}: {why}") },
    }
}
