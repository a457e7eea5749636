//! The answering side.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, future, stream, stream::BoxStream};
use quorate_core::{
    name::LedgerName,
    position::{NodeId, TreeSize},
};
use quorate_proto::peer::v1::{
    self as pb,
    peer_server::{Peer, PeerServer},
};
use tokio::sync::watch;
use tonic::{
    Request, Response, Status, Streaming, body::Body, codegen::http, metadata::MetadataValue,
    transport::Server,
};
use tower::util::MapResponseLayer;

use super::{
    comparing::MAX_BLOCKS,
    envelope::{self, NODE_HEADER, REMOVED_HEADER},
    handler::{
        BlockHandler, CosignHandler, EnrollHandler, Gate, Handlers, Joined, Life, MemberHandler, RaftHandler,
        TurnedAway,
    },
    peers::{CONNECTION_WINDOW, MAX_FRAME, PING_INTERVAL, PING_TIMEOUT, STREAM_WINDOW},
    wire::Wire,
};
use crate::{
    consensus::{EnvelopeError, Refusal},
    tls::{ConnectionInfo, Incoming, PeerIdentity},
};

/// Calls under way on one connection, at most: a few long streams and short ones beside them.
const MAX_CALLS: u32 = 64;
/// Cosignatures in one message, at most.
pub(super) const MAX_BATCH: usize = 4096;
/// After a stop, calls under way have this long to end.
const GRACE: Duration = Duration::from_secs(3);

/// Answers peers on all connections of `incoming` until `shutdown` completes; then ends every stream and returns
/// when connections are closed, or after a few seconds. Messages over `message_bytes` are refused.
///
/// # Errors
/// The server library's, which with connections of our own making does not happen.
pub async fn serve<R: RaftHandler, C: CosignHandler, E: EnrollHandler, M: MemberHandler>(
    incoming: Incoming,
    own: PeerIdentity,
    handlers: Handlers<R, C, E, M>,
    message_bytes: usize,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (stop, stopping) = watch::channel(false);
    let Handlers { raft, cosign, enroll, members, blocks, gate, wire } = handlers;
    let cosign = Arc::new(cosign);
    let stop_of_calls = stopping.clone();
    let spoken = wire.clone();
    let service = Service { own, raft, cosign, enroll, members, blocks, gate, wire, stopping: stop_of_calls };
    let service = PeerServer::new(service)
        .max_decoding_message_size(message_bytes)
        .max_encoding_message_size(message_bytes);
    // Refusals say it too.
    let telling = MapResponseLayer::new(move |mut answer: http::Response<Body>| {
        spoken.tell(answer.headers_mut());
        answer
    });
    let serving = Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(MAX_CALLS)
        .layer(telling)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stopped(stopping));
    let mut serving = pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        () = shutdown => stop.send_replace(true),
    };
    tokio::time::timeout(GRACE, serving).await.unwrap_or(Ok(()))
}

/// Completes when the server stops.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    drop(stopping.wait_for(|stop| *stop).await);
}

struct Service<R, C, E, M> {
    own: PeerIdentity,
    raft: R,
    cosign: Arc<C>,
    enroll: E,
    members: M,
    blocks: Arc<dyn BlockHandler>,
    gate: Arc<dyn Gate>,
    wire: Wire,
    stopping: watch::Receiver<bool>,
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

impl<R: RaftHandler, C: CosignHandler, E: EnrollHandler, M: MemberHandler> Service<R, C, E, M> {
    /// Which node is calling, if it is let in.
    fn admitted<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        let peer = self.understood(request)?;
        self.gate.admit(peer).map_err(turned_away)?;
        Ok(peer)
    }

    /// Which node is calling, if it speaks a version that this node speaks.
    fn understood<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        let peer = caller(request)?;
        self.wire.hear(peer, request.metadata())?;
        Ok(peer)
    }

    /// A stream of answers that ends when the server stops: long calls must not keep it from stopping.
    fn answers<T: Send + 'static>(
        &self,
        answers: impl futures::Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Response<Answers<T>> {
        Response::new(answers.take_until(stopped(self.stopping.clone())).boxed())
    }
}

#[tonic::async_trait]
impl<R: RaftHandler, C: CosignHandler, E: EnrollHandler, M: MemberHandler> Peer for Service<R, C, E, M> {
    type AppendStream = Answers<pb::AppendResponse>;
    type CosignStream = Answers<pb::CosignBatch>;

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let peer = self.admitted(&request)?;
        let answers = self.raft.append(peer, intact(request.into_inner()));
        Ok(self.answers(answers.map(|answer| answer.map_err(status))))
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        let peer = self.admitted(&request)?;
        self.raft.vote(peer, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn offer_snapshot(
        &self,
        request: Request<pb::SnapshotOffer>,
    ) -> Result<Response<pb::SnapshotAnswer>, Status> {
        let peer = self.admitted(&request)?;
        self.raft.offer_snapshot(peer, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotChunk>>,
    ) -> Result<Response<pb::SnapshotResponse>, Status> {
        let peer = self.admitted(&request)?;
        tokio::select! {
            installed = self.raft.install_snapshot(peer, intact(request.into_inner())) => {
                installed.map(Response::new).map_err(status)
            }
            () = stopped(self.stopping.clone()) => Err(status(Refusal::Stopped)),
        }
    }

    async fn read_index(
        &self,
        request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexResponse>, Status> {
        let peer = self.admitted(&request)?;
        self.raft.read_index(peer, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn ask_room(
        &self,
        request: Request<pb::RoomRequest>,
    ) -> Result<Response<pb::RoomResponse>, Status> {
        let peer = self.understood(&request)?;
        self.raft.ask_room(peer, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let peer = self.admitted(&request)?;
        self.raft.transfer_leader(peer, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn cosign(
        &self,
        request: Request<Streaming<pb::CosignBatch>>,
    ) -> Result<Response<Self::CosignStream>, Status> {
        let peer = self.admitted(&request)?;
        let (own, handler, gate) = (self.own, Arc::clone(&self.cosign), Arc::clone(&self.gate));
        let mut batches = request.into_inner();
        let taking = async move {
            while let Some(batch) = batches.message().await? {
                envelope::check(own, peer, batch.envelope.as_ref()).map_err(envelope_status)?;
                // It may have been removed since the call began.
                gate.admit(peer).map_err(turned_away)?;
                if batch.cosignatures.len() > MAX_BATCH {
                    let got = batch.cosignatures.len();
                    let text = format!("cosignatures: {got} in one batch, at most {MAX_BATCH} are taken");
                    return Err(Status::invalid_argument(text));
                }
                handler.incoming(peer, batch.cosignatures);
            }
            Ok(())
        };
        // Nothing is sent back on this call: this node's own cosignatures go over the connection it dials.
        let ended =
            stream::once(taking).filter_map(|end: Result<(), Status>| future::ready(end.err().map(Err)));
        Ok(self.answers(ended))
    }

    async fn get_cosignatures(
        &self,
        request: Request<pb::GetCosignaturesRequest>,
    ) -> Result<Response<pb::GetCosignaturesResponse>, Status> {
        let peer = self.admitted(&request)?;
        let pb::GetCosignaturesRequest { envelope, ledger, from_size, limit, refresh } = request.into_inner();
        envelope::check(self.own, peer, envelope.as_ref()).map_err(envelope_status)?;
        let ledger =
            LedgerName::new(&ledger).map_err(|error| Status::invalid_argument(format!("ledger: {error}")))?;
        let limit = usize::try_from(limit).unwrap_or(MAX_BATCH).min(MAX_BATCH);
        let cosignatures = self.cosign.get(&ledger, TreeSize::new(from_size), limit, refresh).await;
        let envelope = Some(envelope::envelope(self.own, peer));
        Ok(Response::new(pb::GetCosignaturesResponse { envelope, cosignatures }))
    }

    async fn enroll(
        &self,
        request: Request<pb::EnrollRequest>,
    ) -> Result<Response<pb::EnrollResponse>, Status> {
        let peer = self.admitted(&request)?;
        let pb::EnrollRequest { envelope, life } = request.into_inner();
        envelope::check(self.own, peer, envelope.as_ref()).map_err(envelope_status)?;
        let life = Life::from_bytes(&life)
            .ok_or_else(|| Status::invalid_argument(format!("life: {} bytes, expected 16", life.len())))?;
        let enrolled = self.enroll.enroll(peer, life).await.map_err(Status::failed_precondition)?;
        Ok(Response::new(pb::EnrollResponse {
            envelope: Some(envelope::envelope(self.own, peer)),
            life: enrolled.life.to_bytes(),
            takes_part: enrolled.takes_part,
        }))
    }

    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        use pb::join_response::Result as Out;
        let peer = self.understood(&request)?;
        let pb::JoinRequest { envelope, record } = request.into_inner();
        envelope::check(self.own, peer, envelope.as_ref()).map_err(envelope_status)?;
        let result = match self.members.join(peer, record).await {
            Joined::Registered(secret) => Out::LogSecret(Bytes::copy_from_slice(&*secret)),
            Joined::NotLeader(leader) => Out::NotLeader(pb::NotLeader { leader }),
            Joined::Refused(why) => Out::Refused(why),
        };
        let envelope = Some(envelope::envelope(self.own, peer));
        Ok(Response::new(pb::JoinResponse { envelope, result: Some(result) }))
    }

    async fn get_epoch(
        &self,
        request: Request<pb::GetEpochRequest>,
    ) -> Result<Response<pb::GetEpochResponse>, Status> {
        let peer = self.admitted(&request)?;
        let pb::GetEpochRequest { envelope, epoch } = request.into_inner();
        envelope::check(self.own, peer, envelope.as_ref()).map_err(envelope_status)?;
        let (state_proof, cosignatures) = self.members.epoch(epoch).await;
        let envelope = Some(envelope::envelope(self.own, peer));
        Ok(Response::new(pb::GetEpochResponse { envelope, state_proof, cosignatures }))
    }

    async fn compare_blocks(
        &self,
        request: Request<pb::CompareBlocksRequest>,
    ) -> Result<Response<pb::CompareBlocksResponse>, Status> {
        let peer = self.admitted(&request)?;
        let pb::CompareBlocksRequest { envelope, blocks } = request.into_inner();
        envelope::check(self.own, peer, envelope.as_ref()).map_err(envelope_status)?;
        if blocks.len() > MAX_BLOCKS {
            let text = format!("blocks: {}, at most {MAX_BLOCKS} are compared", blocks.len());
            return Err(Status::invalid_argument(text));
        }
        let blocks = self.blocks.compare(&blocks);
        let envelope = Some(envelope::envelope(self.own, peer));
        Ok(Response::new(pb::CompareBlocksResponse { envelope, blocks }))
    }
}

/// What a node is told that is not let in. A removed one gets the epoch as a number too, so that it understands.
fn turned_away(away: TurnedAway) -> Status {
    let mut status = Status::permission_denied(away.why);
    if let Some(epoch) = away.removed_in {
        status.metadata_mut().insert(REMOVED_HEADER, MetadataValue::from(epoch));
    }
    status
}

/// Which node is calling: the one that the connection proves, or, in plaintext, the one it says it is.
fn caller<T>(request: &Request<T>) -> Result<NodeId, Status> {
    let info = request.extensions().get::<ConnectionInfo>();
    match info.map(|info| (info.peer, info.encrypted)) {
        Some((Some(peer), _)) => Ok(peer),
        Some((None, false)) => {
            let named = request.metadata().get(NODE_HEADER).and_then(|value| value.to_str().ok());
            let id = named.and_then(|text| text.parse().ok()).filter(|id| *id > 0);
            id.map(NodeId::new).ok_or_else(|| {
                Status::unauthenticated(format!("metadata \"{NODE_HEADER}\" must name the calling node"))
            })
        }
        Some((None, true)) | None => Err(Status::unauthenticated("no peer certificate was presented")),
    }
}

/// The messages of a stream until it ends or breaks; a broken one ends early, and its consumer sees that.
fn intact<T: Send + 'static>(stream: Streaming<T>) -> BoxStream<'static, T> {
    stream
        .scan((), |(), message| {
            if let Err(status) = &message {
                tracing::debug!(code = ?status.code(), message = status.message(), "a peer's stream broke");
            }
            future::ready(message.ok())
        })
        .boxed()
}

fn envelope_status(error: EnvelopeError) -> Status {
    Status::permission_denied(error.to_string())
}

/// What the peer is told.
fn status(refusal: Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::Envelope(_) => Status::permission_denied(text),
        Refusal::Malformed(_) => Status::invalid_argument(text),
        Refusal::Block(_) | Refusal::Contradiction { .. } | Refusal::Snapshot(_) => {
            Status::failed_precondition(text)
        }
        Refusal::Fault(_) => Status::internal(text),
        Refusal::Stopped | Refusal::NotYet => Status::unavailable(text),
    }
}
