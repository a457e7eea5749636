//! Raft's calls to peers.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use quorate_core::position::NodeId;
use quorate_proto::peer::v1 as pb;
use tokio::sync::oneshot;
use tonic::{Response, Status};

use super::{
    peers::{Peers, peer_error},
    wire::Client,
};
use crate::consensus::{AppendAnswers, Member, PeerError, PeerTransport};

/// The messages of a call. A type of its own because the compiler cannot see through a boxed stream that the
/// call's future may move between threads.
struct Messages<T>(BoxStream<'static, T>);

impl<T> Stream for Messages<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next_unpin(cx)
    }
}

impl Peers {
    /// Makes one call and gives its answer.
    fn call<T, F>(
        &self,
        node: u64,
        call: impl FnOnce(Client) -> F + Send + 'static,
    ) -> BoxFuture<'static, Result<T, PeerError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let node = NodeId::new(node);
        let client = self.reach(node);
        let this = self.clone();
        async move {
            let answer = call(client?).await;
            answer.map(Response::into_inner).map_err(|status| this.failed(node, &status))
        }
        .boxed()
    }
}

impl PeerTransport for Peers {
    fn learn(&self, node: u64, member: &Member) {
        self.learn_address(NodeId::new(node), &member.peer_address);
    }

    fn append(
        &self,
        node: u64,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> BoxFuture<'static, Result<AppendAnswers, PeerError>> {
        // Dropped with the answers: HTTP/2 alone would keep the call open while requests may still come.
        let (open, ended) = oneshot::channel::<()>();
        let request = self.request(Messages(requests.take_until(ended).boxed()));
        let opened = self.call(node, |mut client| async move { client.append(request).await });
        async move {
            let answers = opened.await?;
            let answers = answers.map(move |answer: Result<_, Status>| {
                let _keeps_the_call = &open;
                answer.map_err(|status| peer_error(NodeId::new(node), &status))
            });
            Ok(answers.boxed())
        }
        .boxed()
    }

    fn vote(
        &self,
        node: u64,
        request: pb::VoteRequest,
    ) -> BoxFuture<'static, Result<pb::VoteResponse, PeerError>> {
        let request = self.request(request);
        self.call(node, |mut client| async move { client.vote(request).await })
    }

    fn offer_snapshot(
        &self,
        node: u64,
        offer: pb::SnapshotOffer,
    ) -> BoxFuture<'static, Result<pb::SnapshotAnswer, PeerError>> {
        let request = self.request(offer);
        self.call(node, |mut client| async move { client.offer_snapshot(request).await })
    }

    fn install_snapshot(
        &self,
        node: u64,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> BoxFuture<'static, Result<pb::SnapshotResponse, PeerError>> {
        let request = self.request(Messages(chunks));
        self.call(node, |mut client| async move { client.install_snapshot(request).await })
    }

    fn read_index(
        &self,
        node: u64,
        request: pb::ReadIndexRequest,
    ) -> BoxFuture<'static, Result<pb::ReadIndexResponse, PeerError>> {
        let request = self.request(request);
        self.call(node, |mut client| async move { client.read_index(request).await })
    }

    fn ask_room(
        &self,
        node: u64,
        request: pb::RoomRequest,
    ) -> BoxFuture<'static, Result<pb::RoomResponse, PeerError>> {
        let request = self.request(request);
        self.call(node, |mut client| async move { client.ask_room(request).await })
    }

    fn transfer_leader(
        &self,
        node: u64,
        request: pb::TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<pb::TransferLeaderResponse, PeerError>> {
        let request = self.request(request);
        self.call(node, |mut client| async move { client.transfer_leader(request).await })
    }
}
