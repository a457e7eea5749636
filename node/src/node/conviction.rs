//! Who is to blame for a node that stopped: it compares its blocks with those of the others.
//!
//! A leader that feeds two followers different blocks signs both. The follower that got the wrong one computes another root
//! than a majority, and stops; its own word is worth nothing then. But the block in its log and the one that the others
//! have in that place convict the leader, and so each side that has both keeps them as evidence.

use futures::future;

use crate::{chain::Chain, peer::Peers};

/// Asks every other node once. Who does not answer is not asked again: its operator will look at this node anyway.
pub(super) async fn seek(chain: &Chain, peers: &Peers) {
    let held = chain.held();
    let asked = peers.known().into_iter().map(|node| {
        let held = held.clone();
        async move {
            match peers.compare_blocks(node, held).await {
                Ok(theirs) => {
                    let others = chain.convict(&theirs).len();
                    tracing::info!(%node, others, "compared blocks: this many are others there");
                }
                Err(error) => tracing::warn!(%node, %error, "blocks cannot be compared"),
            }
        }
    });
    future::join_all(asked).await;
}
