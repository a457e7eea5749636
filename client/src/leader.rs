//! Which replicas there are, who leads them, and whom to ask first.
//!
//! Contract: a [`Fleet`] remembers which replica last accepted a write and which last answered a read, and begins
//! there. A replica that is not the leader may name the one that is, by its node id; the fleet finds the address by
//! asking the replicas it knows who they are and whom they know. All of that is hearsay: it decides where a request
//! goes, never whether an answer is believed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::join_all;
use quorate_core::position::NodeId;
use quorate_proto::v1;
use rustls::ClientConfig;

use crate::error::ConfigError;
use crate::transport::{EndpointAddress, Replica, Rpc as _};
use crate::window::Window;

/// How long a replica may take to say who it is.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(1);
/// Most replicas that hearsay can add.
const MAX_REPLICAS: usize = 32;

/// To which replica a call goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the leader: writes.
    Leader,
    /// To any: reads.
    Any,
}

/// The replicas of a cluster.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// Only ever grows, so that positions stay valid.
    replicas: RwLock<Vec<Arc<Replica>>>,
    tls: Option<Arc<ClientConfig>>,
    /// Position of the replica that last accepted a write...
    leader: AtomicUsize,
    /// ...and whether there was one.
    has_leader: AtomicBool,
    /// How many writes are under way.
    pub(crate) window: Window,
    /// Position of the replica that last answered a read.
    reader: AtomicUsize,
    /// Held while the replicas are asked who they are, so that only one call asks.
    identifying: tokio::sync::Mutex<()>,
}

impl Fleet {
    /// The replicas at these addresses; nothing is dialled yet.
    pub(crate) fn new(
        addresses: Vec<EndpointAddress>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, ConfigError> {
        let replicas = addresses.into_iter().map(|address| Replica::new(address, tls.clone()).map(Arc::new));
        Ok(Self {
            replicas: RwLock::new(replicas.collect::<Result<_, _>>()?),
            tls,
            leader: AtomicUsize::new(0),
            has_leader: AtomicBool::new(false),
            window: Window::new(),
            reader: AtomicUsize::new(0),
            identifying: tokio::sync::Mutex::new(()),
        })
    }

    /// All replicas known, those that the user named first.
    pub(crate) fn replicas(&self) -> Vec<Arc<Replica>> {
        let replicas = self.replicas.read().unwrap_or_else(PoisonError::into_inner);
        replicas.iter().filter(|replica| !replica.is_retired()).cloned().collect()
    }

    /// Where a call begins.
    pub(crate) fn first(&self, route: Route) -> usize {
        self.remembered(route).load(Ordering::Relaxed)
    }

    /// The replica at a position, counted round and round.
    pub(crate) fn at(&self, position: usize) -> Option<Arc<Replica>> {
        let replicas = self.replicas.read().unwrap_or_else(PoisonError::into_inner);
        let from = position.checked_rem(replicas.len())?;
        // One that left the cluster is passed over for the next that did not.
        let round = replicas.iter().cycle().skip(from).take(replicas.len());
        round.clone().find(|replica| !replica.is_retired()).or(replicas.get(from)).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Remembers where a call was answered.
    pub(crate) fn answered(&self, route: Route, position: usize) {
        self.remembered(route).store(position, Ordering::Relaxed);
        if route == Route::Leader {
            self.has_leader.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the replica at a position is the one that took the last write.
    pub(crate) fn leads(&self, position: usize) -> bool {
        let leader = self.leader.load(Ordering::Relaxed);
        let place = |position: usize| position.checked_rem(self.len());
        self.has_leader.load(Ordering::Relaxed) && place(leader) == place(position)
    }

    /// After an answer that is not believed, other calls begin elsewhere.
    pub(crate) fn avoid(&self, replica: &Replica) {
        for route in [Route::Leader, Route::Any] {
            let first = self.first(route);
            if self.at(first).is_some_and(|at| at.endpoint() == replica.endpoint()) {
                self.remembered(route).store(first.wrapping_add(1), Ordering::Relaxed);
                self.has_leader.fetch_and(route != Route::Leader, Ordering::Relaxed);
            }
        }
    }

    /// Position of a node, found out if it is not known yet.
    pub(crate) async fn locate(&self, node: NodeId) -> Option<usize> {
        if let Some(position) = self.position_of(node) {
            return Some(position);
        }
        let asking = self.identifying.lock().await;
        if let Some(position) = self.position_of(node) {
            return Some(position);
        }
        let strangers = self.replicas().into_iter().filter(|replica| replica.node().is_none()).collect();
        let mut members = self.identify(strangers).await;
        if self.position_of(node).is_none() && !members.iter().any(|member| member.node_id == node.get()) {
            // A node that came later: whoever was asked long ago knows more now.
            members = self.identify(self.replicas()).await;
        }
        drop(asking);
        self.position_of(node).or_else(|| self.add_member(node, &members))
    }

    const fn remembered(&self, route: Route) -> &AtomicUsize {
        match route {
            Route::Leader => &self.leader,
            Route::Any => &self.reader,
        }
    }

    fn position_of(&self, node: NodeId) -> Option<usize> {
        let replicas = self.replicas.read().unwrap_or_else(PoisonError::into_inner);
        replicas.iter().position(|replica| replica.node() == Some(node))
    }

    /// Asks replicas who they are. Gives the members that they name.
    async fn identify(&self, replicas: Vec<Arc<Replica>>) -> Vec<v1::Member> {
        let asked = replicas.into_iter().map(|replica| async move {
            let status = v1::StatusRequest {}.send(&replica, IDENTIFY_TIMEOUT).await.ok()?;
            replica.set_node(NodeId::new(status.node_id));
            Some(status.members)
        });
        join_all(asked).await.into_iter().flatten().flatten().collect()
    }

    /// Adds a replica that is proven to be one.
    pub(crate) fn learn(&self, node: NodeId, address: &str) {
        let Some(position) = self.add(node, address) else { return };
        let replicas = self.replicas.read().unwrap_or_else(PoisonError::into_inner);
        for (place, replica) in replicas.iter().enumerate() {
            // Where it was before, somebody else may listen by now.
            if place == position {
                replica.set_node(node);
            } else if replica.node() == Some(node) {
                replica.retire();
            }
        }
    }

    /// Asks replicas that are known to be none of these nodes last from now on, and does not compare them.
    pub(crate) fn retire_all_but(&self, nodes: &[NodeId]) {
        for replica in self.replicas() {
            if replica.node().is_some_and(|node| !nodes.contains(&node)) {
                replica.retire();
            }
        }
    }

    /// Adds a replica that others named, if it can be reached the way they are.
    fn add_member(&self, node: NodeId, members: &[v1::Member]) -> Option<usize> {
        let member = members.iter().find(|member| member.node_id == node.get())?;
        self.add(node, &member.client_address)
    }

    fn add(&self, node: NodeId, address: &str) -> Option<usize> {
        let sibling = self.at(0)?.address().sibling(address).ok()?;
        let mut replicas = self.replicas.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = replicas.iter().position(|replica| replica.address() == &sibling) {
            return Some(known);
        }
        if replicas.len() >= MAX_REPLICAS {
            return None;
        }
        let replica = Replica::new(sibling, self.tls.clone()).ok()?;
        replica.set_node(node);
        replicas.push(Arc::new(replica));
        replicas.len().checked_sub(1)
    }
}
