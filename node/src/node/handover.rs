//! Hands the lead over when this node's disk is nearly full.
//!
//! A leader without space takes no writes, although another node may have plenty. So it asks the other voters, and hands
//! over to one that has room and the longest log. Where nobody has, it stays: an election would change nothing.

use std::time::Duration;

use crate::{
    consensus::{Consensus, Role},
    disk::DiskGuard,
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// After handing over, nothing is tried again for so long: an election takes its time, and two nodes at the edge must not
/// play with the lead.
const REST: Duration = Duration::from_secs(10);

/// Answers other nodes that look for room, and looks for it when this one has none.
pub(super) fn start(consensus: &Consensus, disk: &DiskGuard) {
    consensus.watch_disk(disk.clone());
    tokio::spawn(watch(consensus.clone(), disk.clone()));
}

/// Runs for ever.
async fn watch(consensus: Consensus, disk: DiskGuard) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if !disk.is_low() || consensus.status().borrow().role != Role::Leader {
            continue;
        }
        let Some(node) = consensus.voter_with_room().await else { continue };
        tracing::warn!(to = node, "the disk is nearly full: the lead is handed to a node that has space");
        if consensus.transfer_leadership(node).await.is_err() {
            return;
        }
        tokio::time::sleep(REST).await;
    }
}
