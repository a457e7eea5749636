//! Linearizable reads: a round with a quorum tells a position, and whoever has applied it may answer.
//!
//! A round that starts after a read arrived serves that read, and a thousand that arrived with it: callers
//! wait in a queue, one round runs at a time, and each round takes everybody who is waiting. The leader
//! confirms its leadership with a quorum in every round; a lease is never trusted (clocks may jump, and
//! openraft's lease does not survive restarts).

use futures::future::BoxFuture;
use openraft::{
    LinearizerOption, ReadPolicy,
    errors::{LinearizableReadError, RaftError},
};
use quorate_proto::peer::v1 as pb;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::store::log::LogId;

use super::{
    network::Network,
    transport::PeerError,
    types::{NodeId, Raft, from_raft_id},
};

/// Reads that wait for a round, at most; more wait to be queued.
const QUEUE: usize = 4096;

/// Why there is no read position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This node does not lead, and the leader, if one is known, was not asked.
    #[error("this node does not lead; the leader is {}", leader.map_or_else(|| "unknown".to_owned(), |l| format!("node {l}")))]
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// The leader could not confirm that it still leads.
    #[error("leadership could not be confirmed by a quorum")]
    NoQuorum,
    /// The leader could not be asked.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// Consensus is not running any more.
    #[error("consensus has stopped")]
    Stopped,
}

type Answer = Result<LogId, ReadError>;

/// A queue of reads, served in rounds.
#[derive(Clone, Debug)]
pub(crate) struct ReadRounds {
    queue: mpsc::Sender<oneshot::Sender<Answer>>,
}

impl ReadRounds {
    /// Serves reads with `round`; the task ends when all handles are dropped.
    pub(crate) fn start(
        round: impl Fn() -> BoxFuture<'static, Answer> + Send + 'static,
    ) -> (Self, JoinHandle<()>) {
        let (queue, mut waiting) = mpsc::channel::<oneshot::Sender<Answer>>(QUEUE);
        let task = tokio::spawn(async move {
            let mut readers = Vec::new();
            while waiting.recv_many(&mut readers, QUEUE).await > 0 {
                let answer = round().await;
                for reader in readers.drain(..) {
                    // A reader that gave up is gone.
                    reader.send(answer.clone()).ok();
                }
            }
        });
        (Self { queue }, task)
    }

    /// A position that everything acknowledged before this call is at or below.
    pub(crate) async fn ask(&self) -> Answer {
        let (reader, answer) = oneshot::channel();
        self.queue.send(reader).await.map_err(|_| ReadError::Stopped)?;
        answer.await.map_err(|_| ReadError::Stopped)?
    }
}

/// One round of a node that believes it leads.
pub(crate) async fn leader_round(raft: Raft) -> Answer {
    let option = LinearizerOption::from(ReadPolicy::ReadIndex);
    match raft.get_read_log_id(option).await {
        Ok((read, _)) => Ok(from_raft_id(read.log_id())),
        Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
            Err(ReadError::NotLeader { leader: forward.leader_id })
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(ReadError::NoQuorum),
    }
}

/// One round of any node: its own if it leads, the leader's otherwise.
pub(crate) async fn member_round(own: NodeId, raft: Raft, local: ReadRounds, network: Network) -> Answer {
    let leader = match raft.current_leader().await {
        Some(leader) if leader != own => leader,
        _ => match local.ask().await {
            Err(ReadError::NotLeader { leader: Some(leader) }) if leader != own => leader,
            other => return other,
        },
    };
    match network.read_index(leader).await?.result {
        Some(pb::read_index_response::Result::ReadLogId(position)) => Ok(position.into()),
        Some(pb::read_index_response::Result::NotLeader(other)) => {
            Err(ReadError::NotLeader { leader: (other.leader != 0).then_some(other.leader) })
        }
        None => Err(PeerError::Failed { node: leader, why: "an empty answer".to_owned() }.into()),
    }
}
