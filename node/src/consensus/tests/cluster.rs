//! Three nodes in one process: what consensus promises to the rest of the node.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;

use super::{
    harness::{Cluster, calm, eventually, member, quick},
    toy::{Certifying, UNWRITABLE},
};
use crate::{
    consensus::{ConsensusConfig, MembershipError, NodeId, Progress, ProposeError, Role},
    disk::DiskGuard,
};

fn small_log(config: &mut ConsensusConfig) {
    quick(config);
    config.flush_after_entries = 50;
    config.keep_entries = 10;
    config.snapshot_chunk_bytes = 100;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_the_state_is_told_in_its_own_words() {
    let cluster = Cluster::start(3, calm).await;
    let (leader, term) = cluster.leader().await;
    let consensus = &cluster.node(leader).consensus;
    let proposed = consensus.propose(term, Bytes::from_static(UNWRITABLE)).await;
    assert!(matches!(proposed, Err(ProposeError::OutcomeUnknown)), "{proposed:?}");
    let fault = consensus.stopped().await.unwrap();
    assert_eq!(
        fault,
        "state/db-1: no space left; check the disk, its free space and permissions, then start the node again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_are_applied_everywhere_in_the_order_in_which_they_were_submitted() {
    let cluster = Cluster::start(3, calm).await;
    let (leader, term) = cluster.leader().await;
    let consensus = &cluster.node(leader).consensus;
    let mut proposals = Vec::new();
    for number in 0..500_u64 {
        proposals.push(consensus.submit(term, Bytes::from(number.to_be_bytes().to_vec())).await.unwrap());
    }
    for (height, proposal) in (1..).zip(proposals) {
        assert_eq!(proposal.outcome().await.unwrap().height.get(), height);
    }
    let blocks = cluster.settled(500).await;
    assert!((0..500_u64).zip(blocks).all(|(number, block)| block == number.to_be_bytes().as_slice()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_goes_on_when_its_leader_dies_and_loses_no_acknowledged_block() {
    let mut cluster = Cluster::start(3, quick).await;
    cluster.write("before", 100).await;
    let (first, _) = cluster.leader().await;
    cluster.kill(first).await;
    cluster.leader_other_than(first).await;
    cluster.write("after", 100).await;
    cluster.restart(first).await;
    let blocks = cluster.settled(200).await;
    assert_eq!(blocks[0], "before-0");
    assert_eq!(blocks[199], "after-99");
    assert_eq!(cluster.node(first).toy.installs.load(Ordering::Relaxed), 0, "it caught up from the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_far_behind_catches_up_by_a_snapshot_and_then_by_the_log() {
    let mut cluster = Cluster::start(3, small_log).await;
    cluster.write("common", 5).await;
    cluster.settled(5).await;
    let (leader, _) = cluster.leader().await;
    let behind = (1..=3).find(|node| *node != leader).unwrap();
    cluster.kill(behind).await;
    for round in 0..10 {
        cluster.write(&format!("round-{round}"), 30).await;
    }
    eventually("a purge past what the node has", || {
        let status = cluster.node(leader).consensus.status().borrow().clone();
        status.purged.filter(|purged| purged.index > 100)
    })
    .await;
    cluster.restart(behind).await;
    cluster.settled(305).await;
    assert_eq!(cluster.node(behind).toy.installs.load(Ordering::Relaxed), 1);
    cluster.write("more", 20).await;
    cluster.settled(325).await;
    assert_eq!(cluster.node(behind).toy.installs.load(Ordering::Relaxed), 1);
    // What was installed is where it starts from next time.
    cluster.kill(behind).await;
    cluster.restart(behind).await;
    cluster.settled(325).await;
}

/// A node that is behind, in a cluster whose log is purged past what it has; it does not run.
async fn far_behind(name: &str) -> (Cluster, NodeId, NodeId) {
    let mut cluster = Cluster::start(3, small_log).await;
    cluster.write(name, 5).await;
    cluster.settled(5).await;
    let (leader, _) = cluster.leader().await;
    let behind = (1..=3).find(|node| *node != leader).unwrap();
    cluster.kill(behind).await;
    for round in 0..10 {
        cluster.write(&format!("{name}-{round}"), 30).await;
    }
    eventually("a purge past what the node has", || {
        let status = cluster.node(leader).consensus.status().borrow().clone();
        status.purged.filter(|purged| purged.index > 100)
    })
    .await;
    (cluster, leader, behind)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_cut_after_every_piece_arrives_all_the_same_and_is_sent_once() {
    let (mut cluster, leader, behind) = far_behind("cut").await;
    // The header and one piece: each attempt brings one piece more.
    cluster.cut_snapshots_after(Some(2));
    cluster.restart(behind).await;
    eventually("several pieces", || {
        (cluster.net.snapshot_bytes.load(Ordering::Relaxed) > 1_000).then_some(())
    })
    .await;
    assert_eq!(cluster.node(behind).toy.installs.load(Ordering::Relaxed), 0);
    let before = cluster.node(leader).toy.snapshots.load(Ordering::Relaxed);
    cluster.write("meanwhile", 60).await;
    cluster.cut_snapshots_after(None);
    cluster.settled(365).await;
    assert_eq!(cluster.node(behind).toy.installs.load(Ordering::Relaxed), 1);
    let made = cluster.node(leader).toy.snapshots.load(Ordering::Relaxed);
    assert_eq!(made, before, "the same files are sent in every attempt");
    let size = snapshot_size(&cluster, leader);
    let sent = cluster.net.snapshot_bytes.load(Ordering::Relaxed);
    assert!(sent <= size, "{sent} bytes were sent of a snapshot of at most {size}");
}

/// About the bytes of a snapshot of what a node has now.
fn snapshot_size(cluster: &Cluster, node: NodeId) -> usize {
    let state = cluster.node(node).toy.present();
    state.blocks.iter().map(|block| block.len() + 4).sum::<usize>() + 500
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_behind_a_snapshot_is_kept_while_it_is_fetched() {
    let (mut cluster, leader, behind) = far_behind("slow").await;
    cluster.cut_snapshots_after(Some(2));
    cluster.restart(behind).await;
    eventually("a first piece", || (cluster.net.snapshot_bytes.load(Ordering::Relaxed) > 0).then_some(()))
        .await;
    let purged = cluster.node(leader).consensus.status().borrow().purged;
    // Many more entries than are kept otherwise: a purge would take away what comes behind the snapshot.
    cluster.write("many", 200).await;
    assert_eq!(cluster.node(leader).consensus.status().borrow().purged, purged);
    cluster.cut_snapshots_after(None);
    cluster.settled(505).await;
    assert_eq!(cluster.node(behind).toy.installs.load(Ordering::Relaxed), 1, "one snapshot was enough");
}

/// A head that only the new leader has is signed by nobody else. What a majority signed before its log was purged is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_far_behind_is_brought_back_although_the_leader_is_lost_and_nobody_signs_the_head() {
    for is_started_again in [false, true] {
        let (mut cluster, leader, behind) = far_behind("lost").await;
        let next = (1..=3).find(|node| *node != leader && *node != behind).unwrap();
        eventually("a purge at the next leader", || {
            let status = cluster.node(next).consensus.status().borrow().clone();
            status.purged.filter(|purged| purged.index > 100)
        })
        .await;
        cluster.kill(leader).await;
        if is_started_again {
            cluster.kill(next).await;
            cluster.restart(next).await;
        }
        cluster.node(next).toy.certifying.send_replace(Certifying::Never);
        cluster.restart(behind).await;
        assert_eq!(cluster.leader_other_than(leader).await.0, next);
        cluster.write("after", 20).await;
        cluster.settled(325).await;
        assert_eq!(cluster.node(behind).toy.installs.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_purged_only_below_what_the_state_has_on_disk() {
    let cluster = Cluster::start(3, small_log).await;
    for round in 0..10 {
        cluster.write(&format!("round-{round}"), 30).await;
    }
    for node in cluster.nodes.values() {
        let purged = eventually("a purge", || node.consensus.status().borrow().purged).await;
        let durable = node.toy.durable().position.last.unwrap();
        assert!(purged.index + 10 <= durable.index, "purged {purged}, durable {durable}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_blocks_survive_a_crash_of_all_nodes_that_loses_their_unflushed_state() {
    let mut cluster = Cluster::start(3, quick).await;
    cluster.write("first", 150).await;
    for node in 1..=3 {
        cluster.kill(node).await;
    }
    for node in 1..=3 {
        cluster.restart(node).await;
    }
    cluster.leader().await;
    let blocks = cluster.settled(150).await;
    assert_eq!(blocks[149], "first-149");
    for node in cluster.nodes.values() {
        eventually("recovery", || node.consensus.status().borrow().recovered.then_some(())).await;
    }
    cluster.write("second", 10).await;
    cluster.settled(160).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_barrier_shows_every_acknowledged_block_on_every_member() {
    let cluster = Cluster::start(3, quick).await;
    for round in 1..=20 {
        cluster.write(&format!("round-{round}"), 1).await;
        for node in cluster.nodes.values() {
            node.consensus.read_barrier().await.unwrap();
            assert!(node.toy.present().blocks.len() >= round);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_neither_acknowledges_nor_answers_reads() {
    let cluster = Cluster::start(3, quick).await;
    cluster.write("before", 10).await;
    let (old, term) = cluster.leader().await;
    cluster.isolate(old);
    let lost = cluster.node(old).consensus.submit(term, Bytes::from_static(b"lost")).await.unwrap();
    let (new, _) = cluster.leader_other_than(old).await;
    assert_ne!(old, new);
    let stale =
        tokio::time::timeout(Duration::from_secs(2), cluster.node(old).consensus.read_barrier()).await;
    assert!(!matches!(stale, Ok(Ok(_))), "{stale:?}");
    let (leader, term) = cluster.leader_other_than(old).await;
    cluster.node(leader).consensus.propose(term, Bytes::from_static(b"kept")).await.unwrap();
    cluster.heal();
    assert_eq!(lost.outcome().await, Err(ProposeError::OutcomeUnknown));
    let blocks = cluster.settled(11).await;
    assert_eq!(blocks[10], "kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_enters_the_log_only_in_the_term_it_was_made_for() {
    let cluster = Cluster::start(3, calm).await;
    let (leader, term) = cluster.leader().await;
    let follower = (1..=3).find(|node| *node != leader).unwrap();
    let wrong_term = cluster.node(leader).consensus.propose(term + 1, Bytes::from_static(b"x")).await;
    assert!(matches!(wrong_term, Err(ProposeError::NotLeader { .. })), "{wrong_term:?}");
    let elsewhere = cluster.node(follower).consensus.propose(term, Bytes::from_static(b"x")).await;
    assert_eq!(elsewhere, Err(ProposeError::NotLeader { leader: Some(leader) }));
    cluster.write("right", 1).await;
    cluster.settled(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_majority_takes_no_block_until_it_knows_whether_it_still_leads() {
    let mut cluster = Cluster::start(3, quick).await;
    cluster.write("before", 5).await;
    cluster.settled(5).await;
    let (leader, term) = cluster.leader().await;
    let others: Vec<_> = (1..=3).filter(|node| *node != leader).collect();
    for other in &others {
        cluster.kill(*other).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let consensus = cluster.node(leader).consensus.clone();
    let last = consensus.log().bounds().last;
    let waiting = tokio::spawn(async move { consensus.propose(term, Bytes::from_static(b"waits")).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    assert_eq!(cluster.node(leader).consensus.log().bounds().last, last, "it is not in the log");
    for other in others {
        cluster.restart(other).await;
    }
    let kept = match waiting.await.unwrap() {
        Ok(_) => 1,
        Err(ProposeError::NotLeader { .. }) => 0,
        Err(error) => panic!("{error}"),
    };
    cluster.write("after", 1).await;
    cluster.settled(6 + kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_on_request() {
    let cluster = Cluster::start(3, quick).await;
    cluster.write("before", 5).await;
    let (leader, _) = cluster.leader().await;
    let next = (1..=3).find(|node| *node != leader).unwrap();
    cluster.node(leader).consensus.transfer_leadership(next).await.unwrap();
    assert_eq!(cluster.leader_other_than(leader).await.0, next);
    cluster.write("after", 5).await;
    cluster.settled(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_knows_what_a_follower_has_and_has_not_applied() {
    let cluster = Cluster::start(3, quick).await;
    cluster.write("before", 5).await;
    cluster.settled(5).await;
    let (leader, _) = cluster.leader().await;
    let slow = (1..=3).find(|node| *node != leader).unwrap();
    let progress = || cluster.node(leader).consensus.replication()[&slow];
    let last = || cluster.node(leader).consensus.status().borrow().last_log_index.unwrap();
    let told = |what: &'static str, is: fn(Progress, u64) -> bool| {
        eventually(what, move || Some(progress()).filter(|progress| is(*progress, last())))
    };
    told("a follower that has applied everything", |progress, last| progress.reached() == last).await;
    cluster.node(slow).toy.held.store(true, Ordering::Relaxed);
    cluster.write("meanwhile", 20).await;
    let behind =
        told("a follower that has everything", |progress, last| progress.matched == Some(last)).await;
    assert!(behind.reached() <= last() - 20, "{behind:?}");
    cluster.node(slow).toy.held.store(false, Ordering::Relaxed);
    told("a follower that has applied it all", |progress, last| progress.reached() == last).await;
    cluster.settled(25).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_learns_and_then_votes() {
    let mut cluster = Cluster::start(3, quick).await;
    cluster.write("before", 20).await;
    cluster.create(4).await;
    let (leader, _) = cluster.leader().await;
    let consensus = cluster.node(leader).consensus.clone();
    consensus.add_learner(4, member(4)).await.unwrap();
    cluster.settled(20).await;
    consensus.change_voters(BTreeSet::from([1, 2, 3, 4])).await.unwrap();
    eventually("the new membership", || {
        let status = cluster.node(4).consensus.status().borrow().clone();
        (status.membership.is_voter(4) && status.membership.configs.len() == 1).then_some(())
    })
    .await;
    cluster.write("after", 20).await;
    cluster.settled(40).await;
    let again = consensus.initialize([(1, member(1))].into()).await;
    assert_eq!(again, Err(MembershipError::AlreadyInitialized));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_says_so_and_takes_nothing_more() {
    let cluster = Cluster::start(1, quick).await;
    let node = cluster.node(1);
    eventually("a leader", || (node.consensus.status().borrow().role == Role::Leader).then_some(())).await;
    let term = node.consensus.status().borrow().term;
    node.consensus.propose(term, Bytes::from_static(b"one")).await.unwrap();
    node.consensus.shutdown().await;
    assert_eq!(node.consensus.stopped().await, None);
    assert!(matches!(node.consensus.submit(term, Bytes::new()).await, Err(ProposeError::Stopped)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_room_finds_a_voter_that_has_some() {
    let cluster = Cluster::start(3, calm).await;
    let (leader, _) = cluster.leader().await;
    let others: Vec<NodeId> = (1..=3).filter(|node| *node != leader).collect();
    let consensus = &cluster.node(leader).consensus;
    assert_eq!(consensus.voter_with_room().await, None, "nobody has said yet");
    let here = tempfile::tempdir().unwrap();
    let with = |reserve| DiskGuard::new(&[here.path().to_owned()], reserve);
    cluster.node(others[0]).consensus.watch_disk(with(u64::MAX));
    assert_eq!(consensus.voter_with_room().await, None, "a disk below its reserve is no room");
    cluster.node(others[1]).consensus.watch_disk(with(0));
    assert_eq!(consensus.voter_with_room().await, Some(others[1]));
    consensus.transfer_leadership(others[1]).await.unwrap();
    let (next, _) = cluster.leader_other_than(leader).await;
    assert_eq!(next, others[1]);
    cluster.write("after", 3).await;
    cluster.settled(3).await;
}
