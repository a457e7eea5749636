//! A node that was not started, because its files are damaged: it stays up to say so.
//!
//! The peer port is closed, so no node can even ask it for a vote; clients and monitoring are told the reason. It ends
//! when it is asked to.

use std::{future::Future, path::PathBuf, sync::Arc};

use quorate_core::position::NodeId;
use quorate_proto::v1;
use tokio::{sync::watch, task::JoinSet};

use super::run::DRAIN;
use crate::{
    api::{Stopped, StoppedParts},
    clock::Clock,
    cluster::Cluster,
    http,
    tls::Listener,
};

/// The ports that are served nevertheless.
pub(super) struct Doors {
    pub(super) client: Listener,
    pub(super) http: Listener,
}

/// Says `fault` to everybody until `shutdown` completes. `serving` is called when everybody can hear it.
pub(super) async fn say(
    fault: String,
    who: (NodeId, &Cluster, PathBuf),
    doors: Doors,
    shutdown: impl Future<Output = ()>,
    serving: impl FnOnce(),
) {
    let (me, cluster, data_dir) = who;
    let stopped = Stopped::new(StoppedParts {
        me,
        cluster: cluster.id,
        origin: cluster.origin.clone(),
        members: members(cluster),
        fault,
        clock: Clock::system(),
        data_dir,
    });
    let stop = watch::Sender::new(false);
    let asked = || {
        let mut stop = stop.subscribe();
        // An error means that the sender is gone, which is a stop too.
        async move { drop(stop.wait_for(|stop| *stop).await) }
    };
    let (client, http) = (doors.client.incoming(), doors.http.incoming());
    let mut servers = JoinSet::new();
    servers.spawn(http::serve(http, Arc::new(stopped.clone()), http::Deadlines::default(), asked()));
    let on_client = asked();
    servers.spawn(async move {
        if let Err(error) = stopped.serve(client, on_client).await {
            tracing::error!(%error, "the client port has ended");
        }
    });
    serving();
    shutdown.await;
    tracing::info!("stopping");
    stop.send_replace(true);
    let ended = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::info!("closing connections that are still in use");
    }
}

/// The members by the cluster file: what was agreed on later cannot be read here.
fn members(cluster: &Cluster) -> Vec<v1::Member> {
    let member = |member: &crate::cluster::Member| v1::Member {
        node_id: member.id.get(),
        client_address: member.client.clone(),
        peer_address: member.peer.clone(),
        cosigner_vkey: member.cosigner.to_string(),
        voter: true,
    };
    cluster.members.values().map(member).collect()
}
