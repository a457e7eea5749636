//! The peer port of a node that may not take part yet.

use std::{future::Future, sync::Arc};

use tokio::{sync::watch, task::JoinSet};

use super::register::Register;
use crate::{
    api::Listening,
    chain::Chain,
    consensus::Consensus,
    health::Health,
    membership::{Office, roster::Roster},
    peer::{self, Handlers, Later, Peers},
    signer::Signer,
    tls::Listener,
};

/// The servers of a node, the one of the peer port from the beginning. Dropping it closes what they listen on.
pub(super) struct Door {
    /// Set to end the servers.
    pub(super) stop: watch::Sender<bool>,
    pub(super) servers: JoinSet<()>,
    raft: Later<Listening<Consensus>>,
    signer: Later<Signer>,
    office: Later<Office>,
    chain: Later<Arc<Chain>>,
}

impl Door {
    /// Answers the nodes that the roster lets in: whether they may take part, and nothing else before [`Door::open`].
    pub(super) fn answer(
        port: Listener,
        (register, roster): (Register, Roster),
        peers: &Peers,
        message_bytes: usize,
        health: Health,
    ) -> Self {
        let door = Self {
            stop: watch::Sender::new(false),
            servers: JoinSet::new(),
            raft: Later::default(),
            signer: Later::default(),
            office: Later::default(),
            chain: Later::default(),
        };
        let handlers = Handlers {
            raft: door.raft.clone(),
            cosign: door.signer.clone(),
            enroll: register,
            members: door.office.clone(),
            blocks: Arc::new(door.chain.clone()),
            gate: Arc::new(roster),
            wire: peers.wire(),
        };
        let (incoming, own, stopping) = (port.incoming(), peers.own(), door.stopping());
        let mut door = door;
        door.servers.spawn(async move {
            if let Err(error) = peer::serve(incoming, own, handlers, message_bytes, stopping).await {
                health.fail(format!("the peer port has ended: {error}"));
            }
        });
        door
    }

    /// Completes when the servers are to end.
    pub(super) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.subscribe();
        async move {
            // An error means that the node is gone, which is a stop too.
            drop(stop.wait_for(|stop| *stop).await);
        }
    }

    /// From now on this node takes part.
    pub(super) fn open(&self, raft: Listening<Consensus>, signer: Signer, office: Office, chain: Arc<Chain>) {
        self.chain.set(chain);
        self.raft.set(raft);
        self.signer.set(signer);
        self.office.set(office);
    }
}
