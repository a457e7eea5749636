//! The liar between a leader and a follower: it answers at the follower's peer address with the follower's certificate,
//! and calls the follower with the certificate of whoever called. What the leader sends is altered on the way, and blocks
//! are signed anew with the leader's own block key: to the follower it is a leader that lies.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{StreamExt as _, future, stream, stream::BoxStream};
use prost::Message as _;
use quorate_core::{
    hash::Hash,
    name::LedgerName,
    position::{BlockHeight, NodeId, Term, TreeSize},
};
use quorate_ledger::block::Block;
use quorate_node::{
    block::{Link, seal},
    consensus::{PeerError, PeerTransport as _, Refusal},
    peer::{
        BlockHandler, CosignHandler, EnrollHandler, Enrolled, Gate, Joined, Life, MemberHandler, Peers,
        RaftHandler, TurnedAway,
    },
    signer::Outbox as _,
};
use quorate_proto::peer::v1 as pb;

use crate::{
    lie::Lie,
    snapshot::{Taken, everything},
    stolen::{Failure, Stolen},
};

/// How far ahead a block is dated.
const AHEAD_US: u64 = 120_000_000;

/// The other nodes as the follower is to see them: each with its block key, and connections in its name.
pub struct Caller {
    /// Its keys.
    pub stolen: Stolen,
    /// Calls that look like its own.
    pub peers: Peers,
}

/// The handlers of the follower's peer port.
#[derive(Clone)]
pub struct Between(Arc<Inner>);

struct Inner {
    lie: Lie,
    /// The first block that is altered.
    from_height: u64,
    follower: NodeId,
    callers: BTreeMap<NodeId, Caller>,
    /// Whether a block was altered already.
    lied: AtomicBool,
}

impl Between {
    /// Lies to `follower` in the names of `callers` about blocks from a height on.
    #[must_use]
    pub fn new(lie: Lie, from_height: u64, follower: NodeId, callers: Vec<Caller>) -> Self {
        let callers = callers.into_iter().map(|caller| (caller.stolen.id, caller)).collect();
        Self(Arc::new(Inner { lie, from_height, follower, callers, lied: AtomicBool::new(false) }))
    }

    fn caller(&self, peer: NodeId) -> Result<&Caller, Refusal> {
        self.0.callers.get(&peer).ok_or(Refusal::Stopped)
    }

    /// Alters what this leader sends; `true` if an entry was altered.
    fn alter(&self, leader: NodeId, request: &mut pb::AppendRequest) -> bool {
        let Some(caller) = self.0.callers.get(&leader) else { return false };
        let mut altered = false;
        for entry in &mut request.entries {
            if let Some(pb::entry::Payload::Block(payload)) = &mut entry.payload
                && let Some(other) = self.other_block(caller, payload)
            {
                *payload = other;
                altered = true;
            }
        }
        if self.0.lie == Lie::Equivocation && self.0.lied.load(Ordering::Relaxed) {
            // Nothing is called committed any more: the follower is to get the honest block before it applies the other.
            request.leader_commit = None;
        }
        altered
    }

    /// Another block for the same place, signed by its proposer, if it is to be lied about.
    fn other_block(&self, caller: &Caller, payload: &bytes::Bytes) -> Option<bytes::Bytes> {
        let signed = pb::SignedBlock::decode(payload.clone()).ok()?;
        let is_once = matches!(self.0.lie, Lie::Equivocation | Lie::AnotherBlock);
        if signed.height < self.0.from_height || signed.proposer != caller.stolen.id.get() {
            return None;
        }
        if is_once && self.0.lied.swap(true, Ordering::Relaxed) {
            return None;
        }
        let mut block = Block::decode(signed.body.clone()).ok()?;
        match self.0.lie {
            Lie::DatedAhead => block.time = block.time.saturating_add(AHEAD_US),
            Lie::Equivocation | Lie::AnotherBlock => block.time = block.time.saturating_add(1),
            _ => return None,
        }
        let before = signed.height.checked_sub(1)?;
        let hash = Hash::try_from(signed.previous.as_ref()).ok()?;
        let previous = Some(Link { height: BlockHeight::new(before), hash });
        let (cluster, id) = (caller.stolen.cluster.id, caller.stolen.id);
        let body = block.encode_to_vec().into();
        let (_, sealed) = seal(&caller.stolen.block, cluster, id, Term::new(signed.term), previous, body);
        println!("lied: block {} of node {id}", signed.height);
        Some(sealed)
    }
}

fn refused(error: &PeerError) -> Refusal {
    Refusal::Fault(error.to_string())
}

/// The envelope of an answer.
fn back(envelope: Option<&pb::Envelope>) -> Option<pb::Envelope> {
    envelope.map(|envelope| pb::Envelope { from: envelope.to, to: envelope.from, ..envelope.clone() })
}

impl Between {
    /// Sends on another snapshot than the one that the leader sends.
    async fn install_another(
        &self,
        peer: NodeId,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> Result<pb::SnapshotResponse, Failure> {
        use pb::snapshot_answer::Result as Out;
        let mut chunks = chunks.peekable();
        let first = std::pin::Pin::new(&mut chunks).peek().await;
        let envelope = first.and_then(|chunk| chunk.envelope.clone());
        let taken = Taken::receive(chunks.boxed()).await?;
        let (caller, to) = (self.0.callers.get(&peer).ok_or("a stranger")?, self.0.follower.get());
        let altered = taken.altered(&caller.stolen)?;
        println!("lied: a snapshot");
        let offer = pb::SnapshotOffer { envelope: envelope.clone(), header: Some(altered.header.clone()) };
        let vote = match caller.peers.offer_snapshot(to, offer).await?.result {
            Some(Out::Missing(missing)) => {
                let pieces = altered.pieces(envelope.as_ref(), &missing);
                caller.peers.install_snapshot(to, pieces).await?.vote
            }
            Some(Out::Settled(vote)) => Some(vote),
            None => return Err("an answer that says nothing".into()),
        };
        Ok(pb::SnapshotResponse { envelope: back(envelope.as_ref()), vote })
    }
}

impl RaftHandler for Between {
    fn append(
        &self,
        peer: NodeId,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> BoxStream<'static, Result<pb::AppendResponse, Refusal>> {
        let Ok(caller) = self.caller(peer) else {
            return stream::once(future::ready(Err(Refusal::Stopped))).boxed();
        };
        let (this, lie) = (self.clone(), self.0.lie);
        let altered = requests.map(move |mut request| {
            this.alter(peer, &mut request);
            request
        });
        let opened = caller.peers.append(self.0.follower.get(), altered.boxed());
        let this = self.clone();
        let answers = async move {
            match opened.await {
                Ok(answers) => answers
                    .map(move |answer| {
                        // The leader is not to hear that another block than its own was taken: it sends its own, too.
                        if lie == Lie::Equivocation && this.0.lied.load(Ordering::Relaxed) && answer.is_ok() {
                            return Err(Refusal::Stopped);
                        }
                        answer.map_err(|error| refused(&error))
                    })
                    .boxed(),
                Err(error) => stream::once(future::ready(Err(refused(&error)))).boxed(),
            }
        };
        stream::once(answers).flatten().boxed()
    }

    async fn vote(&self, peer: NodeId, request: pb::VoteRequest) -> Result<pb::VoteResponse, Refusal> {
        self.caller(peer)?.peers.vote(self.0.follower.get(), request).await.map_err(|error| refused(&error))
    }

    async fn offer_snapshot(
        &self,
        peer: NodeId,
        offer: pb::SnapshotOffer,
    ) -> Result<pb::SnapshotAnswer, Refusal> {
        let header = offer.header.as_ref().filter(|_| self.0.lie == Lie::AlteredSnapshot);
        if let Some(header) = header {
            let result = Some(pb::snapshot_answer::Result::Missing(everything(header)));
            return Ok(pb::SnapshotAnswer { envelope: back(offer.envelope.as_ref()), result });
        }
        let answer = self.caller(peer)?.peers.offer_snapshot(self.0.follower.get(), offer).await;
        answer.map_err(|error| refused(&error))
    }

    async fn install_snapshot(
        &self,
        peer: NodeId,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> Result<pb::SnapshotResponse, Refusal> {
        if self.0.lie == Lie::AlteredSnapshot {
            let installed = self.install_another(peer, chunks).await;
            return installed.map_err(|error| Refusal::Fault(error.to_string()));
        }
        let installed = self.caller(peer)?.peers.install_snapshot(self.0.follower.get(), chunks).await;
        installed.map_err(|error| refused(&error))
    }

    async fn ask_room(&self, peer: NodeId, request: pb::RoomRequest) -> Result<pb::RoomResponse, Refusal> {
        let answer = self.caller(peer)?.peers.ask_room(self.0.follower.get(), request).await;
        answer.map_err(|error| refused(&error))
    }

    async fn read_index(
        &self,
        peer: NodeId,
        request: pb::ReadIndexRequest,
    ) -> Result<pb::ReadIndexResponse, Refusal> {
        let answer = self.caller(peer)?.peers.read_index(self.0.follower.get(), request).await;
        answer.map_err(|error| refused(&error))
    }

    async fn transfer_leader(
        &self,
        peer: NodeId,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, Refusal> {
        let answer = self.caller(peer)?.peers.transfer_leader(self.0.follower.get(), request).await;
        answer.map_err(|error| refused(&error))
    }
}

impl CosignHandler for Between {
    fn incoming(&self, from: NodeId, batch: Vec<pb::Cosignature>) {
        if let Ok(caller) = self.caller(from) {
            caller.peers.send(batch);
        }
    }

    async fn get(
        &self,
        ledger: &LedgerName,
        from: TreeSize,
        _: usize,
        refresh: bool,
    ) -> Vec<pb::Cosignature> {
        let Some(caller) = self.0.callers.values().next() else { return Vec::new() };
        caller.peers.ask(self.0.follower, ledger.clone(), from, refresh).await.unwrap_or_default()
    }
}

impl EnrollHandler for Between {
    async fn enroll(&self, peer: NodeId, life: Life) -> Result<Enrolled, String> {
        let caller = self.caller(peer).map_err(|refusal| refusal.to_string())?;
        caller.peers.enroll(self.0.follower, life).await.map_err(|error| error.to_string())
    }
}

impl MemberHandler for Between {
    async fn join(&self, _: NodeId, _: bytes::Bytes) -> Joined {
        Joined::Refused("this node registers nobody".to_owned())
    }

    async fn epoch(&self, epoch: u64) -> (bytes::Bytes, Vec<pb::NodeCosignature>) {
        let Some(caller) = self.0.callers.values().next() else { return Default::default() };
        let kept = caller.peers.epoch(self.0.follower, epoch).await;
        kept.map(|kept| (kept.state_proof, kept.cosignatures)).unwrap_or_default()
    }
}

impl BlockHandler for Between {
    fn compare(&self, _: &[pb::BlockClaim]) -> Vec<pb::BlockClaim> {
        Vec::new()
    }
}

impl Gate for Between {
    fn admit(&self, _: NodeId) -> Result<(), TurnedAway> {
        Ok(())
    }
}
