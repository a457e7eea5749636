//! Whether a node with an empty data directory may take part: asked of the others before Raft is started.
//!
//! A node that lost its directory has forgotten its vote and what it acknowledged. Under its old id it could vote twice,
//! or help to elect a leader that lacks a committed entry. Its directory looks like that of a node that never ran; the
//! others tell them apart, because a node takes part only after enough of them noted its *life*, the random name of its
//! directory. Of n nodes with majority m, it may take part when nobody knows another life of it and
//!
//! * n − m + 1 others have answered, or all of them: whoever admitted an earlier life of it is among these; or
//! * m − 1 others have answered that do not take part either: the cluster is being founded, and some nodes may be
//!   down. The others are waited for a little first.
//!
//! *Crash here:* the life is on disk before it is told, a note before it is answered, and that this node takes part
//! before Raft is started. A start that was interrupted asks again, with the same life.
//!
//! What this does not find is in `docs/decisions/0012-a-lost-directory.md`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quorate_core::position::NodeId;
use tokio::task::JoinSet;

use super::register::{Register, RegisterError};
use crate::peer::{Enrolled, Life, Peers};

/// How long all others are waited for before a cluster is founded without some of them.
const PATIENCE: Duration = Duration::from_secs(3);

/// Pause between questions to one node.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How often the log says who is waited for.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Why a node does not take part.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// It did before, with another directory.
    #[error(
        "the data directory is empty, and node {witness} knows that this node ran before with another one: its vote and \
         what it acknowledged are lost, so it must not take part again; put its data directory back, or replace \
         this node by a new one under a new id"
    )]
    Lost {
        /// Who knows.
        witness: NodeId,
    },
    /// Its notes.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// What the answers so far mean.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Admitted,
    Wait,
    Lost(NodeId),
}

/// Answers so far. `companions` are nodes that did not take part when they answered, or when they asked here.
#[derive(Debug, Default)]
struct Answers {
    all: BTreeMap<NodeId, Enrolled>,
    companions: usize,
}

impl Answers {
    /// Of `nodes` nodes in the cluster. `patient`: those who are silent may still answer.
    fn verdict(&self, nodes: usize, own: Life, patient: bool) -> Verdict {
        if let Some((witness, _)) = self.all.iter().find(|(_, enrolled)| enrolled.life != own) {
            return Verdict::Lost(*witness);
        }
        let majority = (nodes / 2).saturating_add(1);
        let enough = nodes.saturating_sub(majority).saturating_add(1);
        let answered = self.all.len();
        if answered >= enough || answered.saturating_add(1) >= nodes {
            return Verdict::Admitted;
        }
        if !patient && self.companions.saturating_add(1) >= majority {
            return Verdict::Admitted;
        }
        Verdict::Wait
    }
}

/// Why the nodes that have not answered have not.
type Silent = Arc<Mutex<BTreeMap<NodeId, String>>>;

/// Returns when this node may take part, and has noted that it does; waits for that as long as it takes.
pub(super) async fn admit(register: &Register, peers: &Peers) -> Result<(), AdmissionError> {
    if register.takes_part() {
        return Ok(());
    }
    let nodes = register.others().len().saturating_add(1);
    let (silent, mut asking) = (Silent::default(), JoinSet::new());
    for node in register.others() {
        asking.spawn(ask(peers.clone(), *node, register.own(), Arc::clone(&silent)));
    }
    let mut answers = BTreeMap::new();
    let mut patient = true;
    let mut patience = std::pin::pin!(tokio::time::sleep(PATIENCE));
    let mut say = tokio::time::interval(SAY_EVERY);
    // The first is at once.
    say.tick().await;
    loop {
        let companion = |(id, enrolled): &(&NodeId, &Enrolled)| !enrolled.takes_part || register.knows(**id);
        let companions = answers.iter().filter(companion).count();
        let so_far = Answers { all: answers, companions };
        match so_far.verdict(nodes, register.own(), patient) {
            Verdict::Admitted => break,
            Verdict::Lost(witness) => return Err(AdmissionError::Lost { witness }),
            Verdict::Wait => answers = so_far.all,
        }
        tokio::select! {
            Some(Ok((node, enrolled))) = asking.join_next() => drop(answers.insert(node, enrolled)),
            () = &mut patience, if patient => patient = false,
            _ = say.tick() => tracing::warn!(
                silent = ?silent.lock().unwrap_or_else(PoisonError::into_inner),
                "the data directory is empty: waiting for the other nodes to say that this one never took part"
            ),
        }
    }
    Ok(register.take_part().await?)
}

/// Asks one node until it answers.
async fn ask(peers: Peers, node: NodeId, own: Life, silent: Silent) -> (NodeId, Enrolled) {
    loop {
        let why = match peers.enroll(node, own).await {
            Ok(enrolled) => {
                silent.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
                return (node, enrolled);
            }
            Err(error) => error.to_string(),
        };
        silent.lock().unwrap_or_else(PoisonError::into_inner).insert(node, why);
        tokio::time::sleep(ASK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(number: u8) -> Life {
        Life::from_bytes(&[number; 16]).unwrap()
    }

    /// The verdict over `count` answers that know this life, of nodes that take part but for `companions`.
    fn verdict(nodes: usize, count: u64, companions: usize, patient: bool) -> Verdict {
        let one = |id| (NodeId::new(id + 2), Enrolled { life: life(1), takes_part: true });
        Answers { all: (0..count).map(one).collect(), companions }.verdict(nodes, life(1), patient)
    }

    #[test]
    fn one_that_knows_another_life_is_enough_to_refuse() {
        let mut all: BTreeMap<_, _> =
            (2..5).map(|id| (NodeId::new(id), Enrolled { life: life(1), takes_part: false })).collect();
        all.insert(NodeId::new(5), Enrolled { life: life(2), takes_part: false });
        let answers = Answers { all, companions: 4 };
        assert_eq!(answers.verdict(5, life(1), false), Verdict::Lost(NodeId::new(5)));
    }

    #[test]
    fn a_founded_cluster_needs_whoever_may_have_admitted_an_earlier_life() {
        for (nodes, enough) in [(2, 1), (3, 2), (4, 2), (5, 3), (6, 3), (7, 4)] {
            let majority = u64::try_from(nodes / 2 + 1).unwrap();
            assert_eq!(verdict(nodes, enough, 0, true), Verdict::Admitted, "{nodes} nodes");
            assert_eq!(verdict(nodes, enough - 1, 0, false), Verdict::Wait, "{nodes} nodes");
            // Those who admitted it before, at least m − 1, and these cannot be disjoint.
            assert!(enough + majority - 1 > u64::try_from(nodes).unwrap() - 1);
        }
    }

    #[test]
    fn a_majority_founds_a_cluster_when_the_others_stay_silent() {
        assert_eq!(verdict(1, 0, 0, true), Verdict::Admitted);
        assert_eq!(verdict(3, 1, 1, true), Verdict::Wait);
        assert_eq!(verdict(3, 1, 1, false), Verdict::Admitted);
        assert_eq!(verdict(3, 1, 0, false), Verdict::Wait);
        assert_eq!(verdict(5, 2, 2, false), Verdict::Admitted);
        assert_eq!(verdict(5, 2, 1, false), Verdict::Wait);
    }
}
