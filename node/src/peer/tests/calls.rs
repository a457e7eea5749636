//! Raft's calls: who is believed to call, order, limits and backpressure.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::consensus::{Member, PeerError, PeerTransport};

fn vote(from: u64) -> pb::VoteRequest {
    let vote = Some(pb::Vote { term: 3, node_id: from, committed: false });
    pb::VoteRequest { envelope: Some(envelope(node(from), id(1))), vote, ..pb::VoteRequest::default() }
}

fn append(index: u64) -> pb::AppendRequest {
    pb::AppendRequest {
        envelope: Some(envelope(node(2), id(1))),
        prev_log_id: Some(pb::LogId { term: 1, index }),
        ..pb::AppendRequest::default()
    }
}

fn matching(answer: Option<Result<pb::AppendResponse, PeerError>>) -> u64 {
    match answer.unwrap().unwrap().result {
        Some(pb::append_response::Result::Accepted(accepted)) => accepted.matching.unwrap().index,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_is_made_by_who_the_certificate_says_not_by_who_the_message_says() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    let answer = two.vote(1, vote(2)).await.unwrap();
    assert!(answer.granted);
    two.vote(1, vote(3)).await.unwrap();
    // The handler is told node 2 both times, and so can refuse the second.
    assert_eq!(one.recorder.saw(|seen| seen.raft.clone()), [(2, 2), (2, 3)]);
}

#[tokio::test]
async fn a_node_enrols_as_who_its_certificate_says() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let life = Life::random().unwrap();
    let enrolled = cluster.dialler(2, &one.address).enroll(id(1), life).await.unwrap();
    assert_eq!(enrolled, Enrolled { life, takes_part: true });
    assert_eq!(one.recorder.saw(|seen| seen.enrolled.clone()), [(id(2), life)]);
}

#[tokio::test]
async fn blocks_are_compared() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let blocks =
        |count: u64| (0..count).map(|height| pb::BlockClaim { height, ..Default::default() }).collect();
    let two = cluster.dialler(2, &one.address);
    let others = two.compare_blocks(id(1), blocks(5)).await.unwrap();
    assert_eq!(others.iter().map(|block| block.height).collect::<Vec<_>>(), [0, 2, 4]);
    let refused = two.compare_blocks(id(1), blocks(4_097)).await.unwrap_err().to_string();
    assert!(refused.contains("at most 4096"), "{refused}");
    let removed = cluster.dialler(7, &one.address).compare_blocks(id(1), blocks(1)).await.unwrap_err();
    assert!(removed.to_string().contains("planted"), "{removed}");
}

#[tokio::test]
async fn what_comes_before_a_node_takes_part_is_refused() {
    let later = Later::<Recorder>::default();
    let refused = RaftHandler::vote(&later, id(2), vote(2)).await.unwrap_err();
    assert!(matches!(refused, Refusal::NotYet), "{refused}");
    let mut answers = RaftHandler::append(&later, id(2), futures::stream::iter([append(1)]).boxed());
    assert!(matches!(answers.next().await, Some(Err(Refusal::NotYet))));
    assert!(answers.next().await.is_none());
    later.set(Recorder::default());
    assert!(RaftHandler::vote(&later, id(2), vote(2)).await.unwrap().granted);
}

#[tokio::test]
async fn answers_of_an_append_stream_keep_their_order_and_its_end_is_seen_on_both_sides() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    let (requests, stream) = mpsc::channel(8);
    let mut answers = two.append(1, ReceiverStream::new(stream).boxed()).await.unwrap();
    for index in 0..100 {
        requests.send(append(index)).await.unwrap();
        if index % 2 == 1 {
            assert_eq!(matching(answers.next().await), index - 1);
            assert_eq!(matching(answers.next().await), index);
        }
    }
    assert_eq!(one.recorder.saw(|seen| seen.ended_streams), 0);
    drop(answers);
    one.recorder.until(|seen| seen.ended_streams == 1).await;
    let gone = async { while requests.send(append(0)).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn a_refusal_reaches_the_caller_as_an_error_with_its_reason() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    let mut bad = append(7);
    bad.leader_commit = Some(pb::LogId { term: 1, index: 1 });
    let requests = stream::iter([append(6), bad, append(8)]);
    let mut answers = two.append(1, requests.boxed()).await.unwrap();
    assert_eq!(matching(answers.next().await), 6);
    let refused = answers.next().await.unwrap().unwrap_err();
    assert!(matches!(&refused, PeerError::Failed { node: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("planted"), "{refused}");
    assert!(answers.next().await.is_none());

    let request =
        pb::TransferLeaderRequest { envelope: Some(envelope(node(2), id(1))), ..Default::default() };
    let refused = two.transfer_leader(1, request).await.unwrap_err();
    assert!(matches!(refused, PeerError::Failed { .. }), "{refused}");
    let request = pb::ReadIndexRequest { envelope: Some(envelope(node(2), id(1))) };
    let stopped = two.read_index(1, request).await.unwrap_err();
    assert!(matches!(stopped, PeerError::Unreachable { .. }), "{stopped}");
}

#[tokio::test]
async fn messages_over_the_limit_are_refused_and_just_below_it_taken() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    let block = |bytes: usize| {
        let payload = Some(pb::entry::Payload::Block(vec![7; bytes].into()));
        pb::AppendRequest { entries: vec![pb::Entry { log_id: None, payload }], ..append(1) }
    };
    let requests = stream::iter([block(MESSAGE_BYTES - 200)]).chain(stream::pending()).boxed();
    let mut answers = two.append(1, requests).await.unwrap();
    assert_eq!(matching(answers.next().await), 1);
    let requests = stream::iter([block(MESSAGE_BYTES)]).chain(stream::pending()).boxed();
    let refused = match two.append(1, requests).await {
        Ok(mut answers) => answers.next().await.unwrap().map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(refused.is_err());
    // The connection itself is not hurt.
    assert!(two.vote(1, vote(2)).await.is_ok());
}

#[tokio::test]
async fn a_slow_receiver_of_a_snapshot_holds_back_the_sender() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 40;
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    let pulled = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&pulled);
    let step = |step| pb::SnapshotChunk { envelope: None, step: Some(step) };
    let pieces = stream::iter(0..PIECES).map(move |_| {
        counting.fetch_add(1, Ordering::Relaxed);
        let data = pb::SnapshotData { data: vec![1; PIECE].into(), ..pb::SnapshotData::default() };
        step(pb::snapshot_chunk::Step::Data(data))
    });
    let end = stream::iter([step(pb::snapshot_chunk::Step::End(pb::SnapshotEnd {}))]);
    let closed = one.recorder.gate.lock().await;
    let sending = tokio::spawn(two.install_snapshot(1, pieces.chain(end).boxed()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ahead = pulled.load(Ordering::Relaxed);
    assert!((1..12).contains(&ahead), "{ahead} MiB were read ahead of a receiver that takes nothing");
    // Other calls on the same connection go on meanwhile.
    tokio::time::timeout(PATIENCE, two.vote(1, vote(2))).await.unwrap().unwrap();
    drop(closed);
    tokio::time::timeout(PATIENCE, sending).await.unwrap().unwrap().unwrap();
    assert_eq!(one.recorder.saw(|seen| seen.snapshot_bytes), PIECES * PIECE);
}

#[tokio::test]
async fn a_snapshot_that_is_cut_is_an_error_on_both_sides() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    let error = two.install_snapshot(1, stream::empty().boxed()).await.unwrap_err();
    assert!(error.to_string().contains("ended before"), "{error}");
}

#[tokio::test]
async fn a_node_whose_address_is_unknown_or_changed_is_handled() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = Peers::new(node(2), cluster.security(node(2)), MESSAGE_BYTES);
    let unknown = two.vote(1, vote(2)).await.unwrap_err();
    assert!(matches!(&unknown, PeerError::Unreachable { .. }) && unknown.to_string().contains("not known"));
    // First a wrong address, then the right one, as a membership change brings it.
    two.learn_address(id(1), "127.0.0.1:1");
    assert!(matches!(two.vote(1, vote(2)).await, Err(PeerError::Unreachable { .. })));
    two.learn(1, &Member { peer_address: one.address.clone(), client_address: String::new() });
    assert!(two.vote(1, vote(2)).await.is_ok());
}
