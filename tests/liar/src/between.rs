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
    hash::{Hash, sha256},
    name::LedgerName,
    position::{BlockHeight, NodeId, Term, TreeSize},
};
use quorate_ledger::block::Block;
use quorate_node::{
    block::{Link, seal},
    consensus::{PeerError, PeerTransport as _, Refusal},
    peer::{CosignHandler, EnrollHandler, Enrolled, Life, Peers, RaftHandler},
    signer::Outbox as _,
};
use quorate_proto::peer::v1 as pb;

use crate::{lie::Lie, stolen::Stolen};

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

/// Flips a byte in the middle of the largest piece of a snapshot, and states the hash of what is sent.
fn alter_snapshot(chunks: BoxStream<'static, pb::SnapshotChunk>) -> BoxStream<'static, pb::SnapshotChunk> {
    let mut file = Vec::new();
    let chunks = chunks.map(move |mut chunk| {
        if let Some(pb::snapshot_chunk::Step::Data(data)) = &mut chunk.step {
            if data.data.len() > 4_096 {
                let mut bytes = data.data.to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                data.data = bytes.into();
                println!("lied: a byte of a snapshot");
            }
            file.extend_from_slice(&data.data);
            if data.last {
                data.sha256 = sha256(&[&file]).as_bytes().to_vec().into();
                file.clear();
            }
        }
        chunk
    });
    chunks.boxed()
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

    async fn install_snapshot(
        &self,
        peer: NodeId,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> Result<pb::SnapshotResponse, Refusal> {
        let chunks = if self.0.lie == Lie::AlteredSnapshot { alter_snapshot(chunks) } else { chunks };
        let installed = self.caller(peer)?.peers.install_snapshot(self.0.follower.get(), chunks).await;
        installed.map_err(|error| refused(&error))
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
