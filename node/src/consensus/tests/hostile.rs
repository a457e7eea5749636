//! Messages no correct peer sends: refused before Raft sees them, and the node goes on.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use quorate_proto::peer::v1 as pb;
use sha2::Digest as _;

use super::harness::{CLUSTER, Cluster, quick};
use crate::consensus::{Consensus, EnvelopeError, LogId, NodeId, Refusal, Vote};

fn envelope(from: NodeId, to: NodeId) -> Option<pb::Envelope> {
    Some(pb::Envelope { cluster_id: Bytes::from_static(&CLUSTER), from, to })
}

fn vote(term: u64, node_id: u64, committed: bool) -> Option<pb::Vote> {
    Some(Vote { term, node_id, committed }.into())
}

fn block(term: u64, index: u64, bytes: &'static [u8]) -> pb::Entry {
    let payload = Some(pb::entry::Payload::Block(Bytes::from_static(bytes)));
    pb::Entry { log_id: Some(LogId { term, index }.into()), payload }
}

/// Answer of `to` to a single append request.
async fn append(
    to: &Consensus,
    peer: NodeId,
    request: pb::AppendRequest,
) -> Result<pb::AppendResponse, Refusal> {
    let requests = stream::iter([request]).chain(stream::pending()).boxed();
    let first = tokio::time::timeout(Duration::from_secs(5), to.handle_append(peer, requests).next()).await;
    first.unwrap().unwrap()
}

/// A cluster with ten blocks, a follower in it, its leader, and the term.
async fn follower() -> (Cluster, NodeId, NodeId, u64) {
    let cluster = Cluster::start(3, quick).await;
    cluster.write("block", 10).await;
    cluster.settled(10).await;
    let (leader, term) = cluster.leader().await;
    let follower = (1..=3).find(|node| *node != leader).unwrap();
    (cluster, follower, leader, term)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_another_cluster_sender_or_receiver_are_refused() {
    let (cluster, node, leader, term) = follower().await;
    let consensus = &cluster.node(node).consensus;
    let stranger = 9;
    let other_cluster =
        Some(pb::Envelope { cluster_id: Bytes::from_static(&[1; 16]), from: leader, to: node });
    for envelope in [None, other_cluster, envelope(stranger, node), envelope(leader, stranger)] {
        let request = pb::VoteRequest {
            envelope: envelope.clone(),
            vote: vote(term + 1, leader, false),
            ..Default::default()
        };
        assert!(matches!(consensus.handle_vote(leader, request).await, Err(Refusal::Envelope(_))));
        let request = pb::AppendRequest {
            envelope: envelope.clone(),
            vote: vote(term, leader, true),
            ..Default::default()
        };
        assert!(matches!(append(consensus, leader, request).await, Err(Refusal::Envelope(_))));
        let request = pb::ReadIndexRequest { envelope };
        assert!(matches!(consensus.handle_read_index(leader, request).await, Err(Refusal::Envelope(_))));
    }
    let request = pb::ReadIndexRequest { envelope: envelope(leader, node) };
    let wrong_connection = consensus.handle_read_index(stranger, request).await;
    assert!(matches!(wrong_connection, Err(Refusal::Envelope(EnvelopeError::From { .. }))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_in_the_name_of_others_are_refused() {
    let (cluster, node, leader, term) = follower().await;
    let consensus = &cluster.node(node).consensus;
    let third = 6 - node - leader;
    for wrong in [vote(term + 1, third, false), vote(term + 1, leader, true), None] {
        let request = pb::VoteRequest { envelope: envelope(leader, node), vote: wrong, ..Default::default() };
        assert!(matches!(consensus.handle_vote(leader, request).await, Err(Refusal::Malformed(_))));
    }
    assert_eq!(cluster.leader().await, (leader, term), "nothing changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_do_not_follow_each_other_are_refused() {
    let (cluster, node, leader, term) = follower().await;
    let consensus = &cluster.node(node).consensus;
    let last = consensus.status().borrow().last_log_index.unwrap();
    let prev = Some(LogId { term, index: last }.into());
    let wrong: [Vec<pb::Entry>; 4] = [
        vec![block(term, last + 2, b"gap")],
        vec![block(term, last + 1, b"a"), block(term, last + 1, b"twice")],
        vec![block(term + 1, last + 1, b"term of the future")],
        vec![pb::Entry { log_id: Some(LogId { term, index: last + 1 }.into()), payload: None }],
    ];
    for entries in wrong {
        let request = pb::AppendRequest {
            envelope: envelope(leader, node),
            vote: vote(term, leader, true),
            prev_log_id: prev,
            entries,
            leader_commit: None,
        };
        assert!(matches!(append(consensus, leader, request).await, Err(Refusal::Malformed(_))));
    }
    cluster.write("still", 1).await;
    cluster.settled(11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_contradicts_a_committed_one_is_refused() {
    let (cluster, node, leader, term) = follower().await;
    let consensus = &cluster.node(node).consensus;
    let committed = consensus.status().borrow().committed.unwrap();
    let request = pb::AppendRequest {
        envelope: envelope(leader, node),
        vote: vote(term + 5, leader, true),
        prev_log_id: Some(LogId { term, index: committed.index - 1 }.into()),
        entries: vec![block(term + 5, committed.index, b"slipped in")],
        leader_commit: None,
    };
    let refused = append(consensus, leader, request).await;
    let theirs = LogId { term: term + 5, index: committed.index };
    assert!(
        matches!(refused, Err(Refusal::Contradiction { ours, theirs: t }) if ours == committed && t == theirs)
    );
    cluster.write("still", 1).await;
    assert_eq!(cluster.settled(11).await[9], "block-9");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_the_guard_refuses_never_reaches_the_log() {
    let (cluster, node, leader, term) = follower().await;
    let consensus = &cluster.node(node).consensus;
    let before = consensus.status().borrow().last_log_index.unwrap();
    let request = pb::AppendRequest {
        envelope: envelope(leader, node),
        vote: vote(term, leader, true),
        prev_log_id: Some(LogId { term, index: before }.into()),
        entries: vec![block(term, before + 1, b"forged")],
        leader_commit: None,
    };
    assert!(matches!(append(consensus, leader, request).await, Err(Refusal::Block(_))));
    assert_eq!(consensus.log().bounds().last.unwrap().index, before);
}

/// The header of a snapshot of one file with the bytes `four`.
fn header(name: &str, last: LogId, by: Option<pb::Vote>) -> pb::SnapshotHeader {
    let meta = pb::SnapshotMeta { last_log_id: Some(last.into()), ..Default::default() };
    let sha256 = Bytes::copy_from_slice(&sha2::Sha256::digest(b"four"));
    let files = vec![pb::SnapshotFile { name: name.to_owned(), size: 4, sha256 }];
    pb::SnapshotHeader { vote: by, meta: Some(meta), files, notes: vec!["a note".to_owned()] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_make_no_sense_are_refused() {
    let (cluster, node, leader, term) = follower().await;
    let ahead = LogId { term, index: 1000 };
    let good = vote(term, leader, true);
    let mut no_hash = header("file", ahead, good);
    no_hash.files[0].sha256 = Bytes::from_static(b"short");
    let mut twice = header("file", ahead, good);
    twice.files.push(twice.files[0].clone());
    for refused in [
        header("../escape", ahead, good),
        header("", ahead, good),
        header("some.part", ahead, good),
        header("file", ahead, vote(term, leader, false)),
        header("file", LogId { term: term + 1, index: 1000 }, good),
        no_hash,
        twice,
    ] {
        let described = format!("{refused:?}");
        let offer = pb::SnapshotOffer { envelope: envelope(leader, node), header: Some(refused) };
        let answer = cluster.node(node).consensus.handle_offer(leader, offer).await;
        assert!(matches!(answer, Err(Refusal::Malformed(_))), "{answer:?} for {described}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_snapshots_are_refused_and_leave_nothing_behind() {
    let (cluster, node, leader, term) = follower().await;
    let consensus = &cluster.node(node).consensus;
    let ahead = LogId { term, index: 1000 };
    let data = |file, bytes: &'static [u8]| {
        let data = Bytes::from_static(bytes);
        pb::snapshot_chunk::Step::Data(pb::SnapshotData { file, offset: 0, data, last: true })
    };
    let good = vote(term, leader, true);
    let offer = async |header: pb::SnapshotHeader| {
        let offer = pb::SnapshotOffer { envelope: envelope(leader, node), header: Some(header) };
        consensus.handle_offer(leader, offer).await
    };
    let offered = header("file", ahead, good);
    let first = pb::snapshot_chunk::Step::Header(offered.clone());
    let other = pb::snapshot_chunk::Step::Header(header("another", ahead, good));
    let end = pb::snapshot_chunk::Step::End(pb::SnapshotEnd {});
    let mut uncertified = offered.clone();
    uncertified.notes.clear();
    let cases = [
        vec![data(0, b"four")],
        vec![other],
        vec![first.clone(), data(0, b"fuor")],
        vec![first.clone(), data(1, b"four")],
        vec![first.clone(), data(0, b"too long")],
        vec![first.clone(), end.clone()],
        vec![first.clone()],
        vec![first.clone(), first.clone()],
    ];
    let send = async |steps: Vec<pb::snapshot_chunk::Step>| {
        let chunk = move |step| pb::SnapshotChunk { envelope: envelope(leader, node), step: Some(step) };
        consensus.handle_snapshot(leader, stream::iter(steps).map(chunk).boxed()).await
    };
    for steps in cases {
        let described = format!("{steps:?}");
        offer(offered.clone()).await.unwrap();
        let result = send(steps).await;
        assert!(
            matches!(result, Err(Refusal::Malformed(_) | Refusal::Snapshot(_))),
            "{result:?} for {described}"
        );
    }
    // Without an offer nothing is taken.
    assert!(matches!(send(vec![first.clone()]).await, Err(Refusal::Snapshot(_))));
    // Complete, and not certified: refused as wrong, and nothing of it stays.
    offer(uncertified.clone()).await.unwrap();
    let refused = send(vec![pb::snapshot_chunk::Step::Header(uncertified), data(0, b"four"), end]).await;
    assert!(matches!(&refused, Err(Refusal::Snapshot(why)) if why.contains("wrong")), "{refused:?}");
    let again = offer(offered).await.unwrap();
    let Some(pb::snapshot_answer::Result::Missing(missing)) = again.result else { panic!("{again:?}") };
    assert_eq!(missing.parts, [pb::MissingPart { file: 0, offset: 0 }]);
    cluster.write("still", 1).await;
    cluster.settled(11).await;
}
