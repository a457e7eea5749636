//! A node that does not take part and is up to say so: its files are damaged, or it waits to be admitted.
//!
//! There is no Raft behind it, so no node gets a vote of it; clients and monitoring are told the reason.

use std::{future::Future, path::PathBuf, sync::Arc};

use quorate_core::position::NodeId;
use quorate_proto::v1;
use tokio::{sync::watch, task::JoinSet};

use super::run::DRAIN;
use crate::{
    api::{Absence, Stopped, StoppedParts},
    clock::Clock,
    cluster::Cluster,
    http,
    tls::Listener,
    upkeep::Refused,
};

/// The ports that are served nevertheless.
pub(super) struct Doors {
    pub(super) client: Listener,
    pub(super) http: Listener,
}

/// The node that does not take part.
pub(super) struct Who<'a> {
    pub(super) me: NodeId,
    pub(super) cluster: &'a Cluster,
    pub(super) data_dir: PathBuf,
    /// Whom it does not talk to.
    pub(super) refused: Refused,
}

/// Says `why` to everybody until `ended` completes, and gives what it gave. `serving` is called when everybody can hear it.
pub(super) async fn say<T>(
    why: Absence,
    who: &Who<'_>,
    doors: Doors,
    ended: impl Future<Output = T>,
    serving: impl FnOnce(),
) -> T {
    let stopped = Stopped::new(StoppedParts {
        me: who.me,
        cluster: who.cluster.id,
        origin: who.cluster.origin.clone(),
        members: members(who.cluster),
        why,
        clock: Clock::system(),
        data_dir: who.data_dir.clone(),
        refused: who.refused.clone(),
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
    let given = ended.await;
    stop.send_replace(true);
    let ended = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::info!("closing connections that are still in use");
    }
    given
}

/// The members by the cluster file: what was agreed on later cannot be read here.
fn members(cluster: &Cluster) -> Vec<v1::Member> {
    let member = |member: &crate::cluster::Member| v1::Member {
        node_id: member.id.get(),
        client_address: member.client.clone(),
        peer_address: member.peer.clone(),
        cosigner_vkey: member.cosigner.to_string(),
        voter: true,
        state: "member".to_owned(),
    };
    cluster.members.values().map(member).collect()
}
