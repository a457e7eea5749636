//! Two nodes over real sockets; behind each, a handler that records what reaches it.

mod calls;
mod cosigning;
mod faults;
mod versions;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use quorate_core::{
    name::{ClusterId, LedgerName},
    position::{NodeId, TreeSize},
};
use quorate_proto::peer::v1 as pb;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    BlockHandler, CosignHandler, EnrollHandler, Enrolled, Gate, Handlers, Joined, Later, Life, MemberHandler,
    Peers, RaftHandler, SPOKEN, TurnedAway, Versions, Wire, envelope::envelope, serve,
};
use crate::{
    clock::Clock,
    consensus::Refusal,
    tls::{Authority, Credentials, Limits, PeerIdentity, PeerSecurity, PeerTls, Roots, listen},
    upkeep::Refused,
};

const CLUSTER: ClusterId = ClusterId::new([7; 16]);
const PATIENCE: Duration = Duration::from_secs(20);
const MESSAGE_BYTES: usize = 4 << 20;

fn id(number: u64) -> NodeId {
    NodeId::new(number)
}

fn node(number: u64) -> PeerIdentity {
    PeerIdentity { cluster: CLUSTER, node: id(number) }
}

/// Issues the certificates of one cluster.
struct Cluster(Authority);

impl Cluster {
    fn new() -> Self {
        Self(Authority::create("test", Clock::system().now()).unwrap())
    }

    fn security(&self, own: PeerIdentity) -> PeerSecurity {
        let now = Clock::system().now();
        let issued = self.0.issue_peer(own, now).unwrap();
        let credentials = Credentials::from_pem(&issued.certificate, &issued.key).unwrap();
        let roots = Roots::from_pem(self.0.certificate_pem()).unwrap();
        PeerSecurity::Tls(PeerTls::new(own, credentials, roots, now).unwrap())
    }

    /// The dialling side of a node that knows node 1 at `address`.
    fn dialler(&self, number: u64, address: &str) -> Peers {
        let peers = Peers::new(node(number), self.security(node(number)), MESSAGE_BYTES);
        peers.learn_address(id(1), address);
        peers
    }
}

/// What reached a node.
#[derive(Default)]
struct Seen {
    /// Who the connection proved, and who the envelope named, of each Raft message.
    raft: Vec<(u64, u64)>,
    cosignatures: Vec<(NodeId, pb::Cosignature)>,
    /// Batches that only say that somebody waits.
    hurried: usize,
    asked: Vec<(String, u64, usize, bool)>,
    enrolled: Vec<(NodeId, Life)>,
    ended_streams: usize,
    snapshot_bytes: usize,
}

#[derive(Clone, Default)]
struct Recorder {
    seen: Arc<Mutex<Seen>>,
    /// While it is locked, snapshots are not read.
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Recorder {
    fn saw<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap())
    }

    async fn until(&self, condition: impl Fn(&Seen) -> bool) {
        let waiting = async {
            while !self.saw(|seen| condition(seen)) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    }

    fn note(&self, peer: NodeId, envelope: Option<&pb::Envelope>) {
        self.saw(|seen| seen.raft.push((peer.get(), envelope.map_or(0, |envelope| envelope.from))));
    }
}

/// Notes the end of a stream.
struct Ended(Recorder);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.saw(|seen| seen.ended_streams += 1);
    }
}

impl RaftHandler for Recorder {
    fn append(
        &self,
        peer: NodeId,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> BoxStream<'static, Result<pb::AppendResponse, Refusal>> {
        let (this, ended) = (self.clone(), Ended(self.clone()));
        requests
            .map(move |request| {
                let _held = &ended;
                this.note(peer, request.envelope.as_ref());
                let matching = request.prev_log_id;
                let result = Some(pb::append_response::Result::Accepted(pb::AppendAccepted { matching }));
                match request.leader_commit {
                    Some(_) => Err(Refusal::Block("planted".to_owned())),
                    None => {
                        let envelope = Some(envelope(node(1), peer));
                        Ok(pb::AppendResponse { envelope, result, applied_index: None })
                    }
                }
            })
            .boxed()
    }

    async fn vote(&self, peer: NodeId, request: pb::VoteRequest) -> Result<pb::VoteResponse, Refusal> {
        self.note(peer, request.envelope.as_ref());
        Ok(pb::VoteResponse {
            envelope: Some(envelope(node(1), peer)),
            vote: request.vote,
            granted: true,
            last_log_id: None,
        })
    }

    async fn offer_snapshot(&self, _: NodeId, _: pb::SnapshotOffer) -> Result<pb::SnapshotAnswer, Refusal> {
        Err(Refusal::Stopped)
    }

    async fn install_snapshot(
        &self,
        _: NodeId,
        mut chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> Result<pb::SnapshotResponse, Refusal> {
        while let Some(chunk) = chunks.next().await {
            drop(self.gate.lock().await);
            match chunk.step {
                Some(pb::snapshot_chunk::Step::Data(data)) => {
                    self.saw(|seen| seen.snapshot_bytes += data.data.len());
                }
                Some(pb::snapshot_chunk::Step::End(_)) => {
                    return Ok(pb::SnapshotResponse { envelope: None, vote: None });
                }
                _ => {}
            }
        }
        Err(Refusal::Snapshot("the stream ended before the snapshot did".to_owned()))
    }

    async fn read_index(
        &self,
        peer: NodeId,
        request: pb::ReadIndexRequest,
    ) -> Result<pb::ReadIndexResponse, Refusal> {
        self.note(peer, request.envelope.as_ref());
        Err(Refusal::Stopped)
    }

    async fn ask_room(&self, _: NodeId, _: pb::RoomRequest) -> Result<pb::RoomResponse, Refusal> {
        Err(Refusal::Stopped)
    }

    async fn transfer_leader(
        &self,
        peer: NodeId,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, Refusal> {
        self.note(peer, request.envelope.as_ref());
        Err(Refusal::Block("no".to_owned()))
    }
}

impl CosignHandler for Recorder {
    fn incoming(&self, from: NodeId, batch: Vec<pb::Cosignature>) {
        self.saw(|seen| seen.hurried += usize::from(batch.is_empty()));
        self.saw(|seen| seen.cosignatures.extend(batch.into_iter().map(|cosignature| (from, cosignature))));
    }

    async fn get(
        &self,
        ledger: &LedgerName,
        from: TreeSize,
        limit: usize,
        refresh: bool,
    ) -> Vec<pb::Cosignature> {
        self.saw(|seen| seen.asked.push((ledger.as_str().to_owned(), from.get(), limit, refresh)));
        vec![cosignature(from.get())]
    }
}

impl EnrollHandler for Recorder {
    async fn enroll(&self, peer: NodeId, life: Life) -> Result<Enrolled, String> {
        self.saw(|seen| seen.enrolled.push((peer, life)));
        Ok(Enrolled { life, takes_part: true })
    }
}

impl MemberHandler for Recorder {
    async fn join(&self, peer: NodeId, record: Bytes) -> Joined {
        Joined::Refused(format!("node {peer} sent {} bytes", record.len()))
    }

    async fn epoch(&self, epoch: u64) -> (Bytes, Vec<pb::NodeCosignature>) {
        (Bytes::from(vec![u8::try_from(epoch).unwrap()]), Vec::new())
    }
}

/// Holds another block at every even height.
impl BlockHandler for Recorder {
    fn compare(&self, theirs: &[pb::BlockClaim]) -> Vec<pb::BlockClaim> {
        theirs.iter().filter(|block| block.height % 2 == 0).cloned().collect()
    }
}

/// Node 7 was removed.
impl Gate for Recorder {
    fn admit(&self, peer: NodeId) -> Result<(), TurnedAway> {
        match peer.get() {
            7 => Err(TurnedAway { why: "planted".to_owned(), removed_in: Some(4) }),
            _ => Ok(()),
        }
    }
}

fn cosignature(size: u64) -> pb::Cosignature {
    pb::Cosignature { ledger: "default".to_owned(), size, ..pb::Cosignature::default() }
}

/// Node 1, answering.
struct Answering {
    address: String,
    recorder: Recorder,
    refused: Refused,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Answering {
    async fn start(security: PeerSecurity) -> Self {
        Self::at("127.0.0.1:0", security).await
    }

    async fn at(address: &str, security: PeerSecurity) -> Self {
        Self::speaking(address, security, SPOKEN).await
    }

    async fn speaking(address: &str, security: PeerSecurity, spoken: Versions) -> Self {
        let listener = listen("peer", address, security.listening(), Limits::default()).await.unwrap();
        let address = listener.local_addr().to_string();
        let recorder = Recorder::default();
        let (stop, stopped) = oneshot::channel();
        let refused = Refused::default();
        let wire = Wire::new(id(1), spoken, refused.clone());
        let (raft, cosign, enroll) = (recorder.clone(), recorder.clone(), recorder.clone());
        let done = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            let (members, gate) = (Recorder::default(), Arc::new(Recorder::default()));
            let blocks = Arc::new(Recorder::default());
            let handlers = Handlers { raft, cosign, enroll, members, blocks, gate, wire };
            serve(listener.incoming(), node(1), handlers, MESSAGE_BYTES, shutdown).await.unwrap();
        });
        Self { address, recorder, refused, stop, done }
    }

    async fn stop(self) -> String {
        self.stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.done).await.unwrap().unwrap();
        self.address
    }
}
