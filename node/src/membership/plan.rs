//! The next step towards what the records say: pure.
//!
//! Everything it depends on is in the state and in Raft, nothing is remembered from step to step: whoever leads takes the
//! same steps. A step that cannot be taken now is a reason to wait, in words for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use quorate_core::position::NodeId;
use quorate_ledger::registry::{NodeState, Registry};

use crate::consensus::{Membership, Progress};

/// Entries that a node may lack, or not have applied, and still counts as caught up. One that keeps up lacks a handful; one
/// that lacks thousands could be needed for a majority of signatures, or lead, only after seconds.
pub(crate) const CLOSE: u64 = 100;

/// A node that has not answered for longer counts as away.
pub(crate) const AWAY: Duration = Duration::from_secs(3);

/// What the leader sees.
#[derive(Debug)]
pub(crate) struct Situation<'a> {
    /// The leader itself.
    pub(crate) me: NodeId,
    /// The records.
    pub(crate) registry: &'a Registry,
    /// Raft's configuration.
    pub(crate) membership: &'a Membership,
    /// Whether a majority of the old and of the new set signed the beginning of the present epoch.
    pub(crate) certified: bool,
    /// How far the others are.
    pub(crate) progress: &'a BTreeMap<u64, Progress>,
    /// Index of the last entry of the leader's log.
    pub(crate) last: u64,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// All is as the records say.
    Nothing,
    /// Nothing can be done now.
    Wait(String),
    /// Finish a change of voters that was left half-way.
    FinishChange,
    /// Send the log to a node.
    AddLearner(NodeId),
    /// Hand leadership over, because this node leaves.
    HandOver(NodeId),
    /// Make these the voters.
    SetVoters(BTreeSet<u64>),
    /// Take the leaving nodes, which do not vote any more, out of the cosigner set.
    Retire(Vec<NodeId>),
    /// Stop sending the log to a removed node.
    Forget(NodeId),
}

impl Step {
    /// What the leader is about to do, for people; nothing for what is over at once.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Wait(why) => why.clone(),
            Self::FinishChange => "finishing a change of voters".to_owned(),
            Self::AddLearner(node) => format!("sending the log to node {node}"),
            Self::HandOver(node) => format!("handing leadership over to node {node}"),
            Self::SetVoters(voters) => {
                format!("making the nodes {} the voters", list(voters.iter().copied()))
            }
            Self::Retire(nodes) => {
                format!("taking node {} out of the cosigner set", list(nodes.iter().map(|node| node.get())))
            }
            Self::Forget(node) => format!("saying farewell to node {node}"),
        }
    }
}

/// Ids for people.
pub(crate) fn list(ids: impl IntoIterator<Item = u64>) -> String {
    ids.into_iter().map(|id| id.to_string()).collect::<Vec<_>>().join(", ")
}

impl Situation<'_> {
    /// The next step.
    pub(crate) fn next(&self) -> Step {
        let [voters] = self.membership.configs.as_slice() else {
            return if self.membership.configs.is_empty() { Step::Nothing } else { Step::FinishChange };
        };
        let nodes = self.registry.nodes();
        let present = nodes.iter().filter(|(_, node)| node.standing() != NodeState::Removed);
        let unknown = present.map(|(id, _)| *id).find(|id| !self.membership.members.contains_key(&id.get()));
        if let Some(node) = unknown {
            return Step::AddLearner(node);
        }
        if nodes.is_empty() {
            return Step::Nothing;
        }
        if !self.certified {
            let epoch = self.registry.epoch();
            return Step::Wait(format!(
                "waiting until a majority of the old and of the new cosigner set have signed the beginning of epoch {epoch}"
            ));
        }
        let target: BTreeSet<u64> = self.in_state(NodeState::Member).collect();
        if target != *voters {
            return self.towards(target, voters);
        }
        let leaving: Vec<NodeId> = self.in_state(NodeState::Leaving).map(NodeId::new).collect();
        if !leaving.is_empty() {
            return Step::Retire(leaving);
        }
        let removed = |id: &&u64| {
            nodes.get(&NodeId::new(**id)).is_some_and(|node| node.standing() == NodeState::Removed)
        };
        match self.membership.members.keys().find(removed) {
            Some(id) => Step::Forget(NodeId::new(*id)),
            None => Step::Nothing,
        }
    }

    fn towards(&self, target: BTreeSet<u64>, voters: &BTreeSet<u64>) -> Step {
        if !target.contains(&self.me.get()) {
            let heirs = target.intersection(voters).copied();
            let heir = heirs.filter(|id| self.is_close(*id)).max_by_key(|id| self.reached(*id));
            return match heir {
                Some(heir) => Step::HandOver(NodeId::new(heir)),
                None => Step::Wait(
                    "waiting for a voter that has caught up, to hand leadership over to".to_owned(),
                ),
            };
        }
        if let Some(behind) = target.difference(voters).find(|id| !self.is_close(**id)) {
            return Step::Wait(format!("waiting until node {behind} has caught up and answers"));
        }
        match self.lost_quorum(&target) {
            Some(problem) => Step::Wait(format!("waiting: {problem}")),
            None => Step::SetVoters(target),
        }
    }

    /// The nodes in a state, by id.
    pub(crate) fn in_state(&self, state: NodeState) -> impl Iterator<Item = u64> {
        let nodes = self.registry.nodes().iter().filter(move |(_, node)| node.standing() == state);
        nodes.map(|(id, _)| id.get())
    }

    /// Whether a node answers and lacks little.
    pub(crate) fn is_close(&self, node: u64) -> bool {
        node == self.me.get() || (self.answers(node) && self.last.saturating_sub(self.reached(node)) <= CLOSE)
    }

    /// The last entry that a node has applied, as far as is known.
    pub(crate) fn reached(&self, node: u64) -> u64 {
        self.progress.get(&node).map_or(0, Progress::reached)
    }

    /// Whether a node answered lately.
    pub(crate) fn answers(&self, node: u64) -> bool {
        let silence = self.progress.get(&node).and_then(|progress| progress.silence);
        node == self.me.get() || silence.is_some_and(|silence| silence < AWAY)
    }

    /// Why these voters could not commit anything now.
    pub(crate) fn lost_quorum(&self, voters: &BTreeSet<u64>) -> Option<String> {
        let answering = voters.iter().filter(|id| self.answers(**id)).count();
        let needed = voters.len() / 2 + 1;
        (answering < needed).then(|| {
            let away = list(voters.iter().copied().filter(|id| !self.answers(*id)));
            format!(
                "of the voters {} only {answering} answer, and {needed} are a majority: node {away} does not answer",
                list(voters.iter().copied())
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{
        key::CosignerKey,
        name::{ClusterId, ClusterOrigin},
    };
    use quorate_ledger::registry::{CosignerSet, NodeRecord};

    use super::*;
    use crate::consensus::Member;

    /// A cluster seen by its leader, node 1.
    struct Scene {
        registry: Registry,
        membership: Membership,
        progress: BTreeMap<u64, Progress>,
        certified: bool,
    }

    impl Scene {
        /// These nodes in these states; Raft knows all, and these vote.
        fn new(nodes: &[(u64, NodeState)], voters: &[u64]) -> Self {
            let origin = ClusterOrigin::new("test", &ClusterId::new([1; 16])).unwrap();
            let vkey = |id: u64| {
                let key = CosignerKey::from_seed(&origin.node(NodeId::new(id)), &[7; 32]).unwrap();
                key.verifier().to_string()
            };
            let records = nodes.iter().map(|(id, state)| NodeRecord {
                node_id: *id,
                vkey: vkey(*id),
                state: (*state).into(),
                ..NodeRecord::default()
            });
            let set = CosignerSet { epoch: 2, cosigners: Vec::new() };
            let here = |matched| Progress {
                matched: Some(matched),
                applied: Some(matched),
                silence: Some(Duration::from_millis(50)),
            };
            Self {
                registry: Registry::from_documents(&origin, records, [], Some(set)),
                membership: Membership {
                    configs: vec![voters.iter().copied().collect()],
                    members: nodes.iter().map(|(id, _)| (*id, Member::default())).collect(),
                },
                progress: nodes.iter().map(|(id, _)| (*id, here(9_990))).collect(),
                certified: true,
            }
        }

        fn by(&self, me: u64) -> Step {
            let Self { registry, membership, progress, certified } = self;
            let situation = Situation {
                me: NodeId::new(me),
                registry,
                membership,
                certified: *certified,
                progress,
                last: 10_000,
            };
            situation.next()
        }

        fn away(mut self, node: u64) -> Self {
            self.progress.insert(node, Progress { silence: Some(AWAY * 2), ..self.progress[&node] });
            self
        }
    }

    use NodeState::{Joining, Leaving, Member as Voting, Removed};

    fn node(id: u64) -> NodeId {
        NodeId::new(id)
    }

    #[test]
    fn a_joining_node_gets_the_log_and_nothing_else() {
        let mut scene = Scene::new(&[(1, Voting), (2, Voting), (3, Voting), (4, Joining)], &[1, 2, 3]);
        assert_eq!(scene.by(1), Step::Nothing);
        scene.membership.members.remove(&4);
        assert_eq!(scene.by(1), Step::AddLearner(node(4)));
    }

    #[test]
    fn a_member_votes_once_the_set_is_certified_and_it_has_caught_up() {
        let scene = || Scene::new(&[(1, Voting), (2, Voting), (3, Voting), (4, Voting)], &[1, 2, 3]);
        assert_eq!(scene().by(1), Step::SetVoters(BTreeSet::from([1, 2, 3, 4])));
        let uncertified = Scene { certified: false, ..scene() };
        assert!(matches!(uncertified.by(1), Step::Wait(why) if why.contains("epoch 2")));
        assert!(matches!(scene().away(4).by(1), Step::Wait(why) if why.contains("node 4")));
        let mut behind = scene();
        behind.progress.insert(4, Progress { matched: Some(10), ..behind.progress[&4] });
        assert!(matches!(behind.by(1), Step::Wait(why) if why.contains("node 4")));
        behind.progress.insert(4, Progress { applied: Some(9_899), ..scene().progress[&4] });
        assert!(
            matches!(behind.by(1), Step::Wait(why) if why.contains("node 4")),
            "it has it, and not applied"
        );
        behind.progress.insert(4, Progress { applied: Some(9_900), ..scene().progress[&4] });
        assert_eq!(behind.by(1), scene().by(1));
        behind.progress.insert(4, Progress { applied: None, ..scene().progress[&4] });
        assert_eq!(behind.by(1), scene().by(1), "an older version does not tell");
    }

    #[test]
    fn a_leaving_node_stops_voting_then_cosigning_then_is_forgotten() {
        let nodes = |state| [(1, Voting), (2, Voting), (3, Voting), (4, state)];
        let scene = Scene::new(&nodes(Leaving), &[1, 2, 3, 4]);
        assert_eq!(scene.by(1), Step::SetVoters(BTreeSet::from([1, 2, 3])));
        assert_eq!(Scene::new(&nodes(Leaving), &[1, 2, 3]).by(1), Step::Retire(vec![node(4)]));
        assert_eq!(Scene::new(&nodes(Removed), &[1, 2, 3]).by(1), Step::Forget(node(4)));
    }

    #[test]
    fn a_leader_that_leaves_hands_over_to_the_furthest_that_stays() {
        let mut scene = Scene::new(&[(1, Leaving), (2, Voting), (3, Voting)], &[1, 2, 3]);
        scene
            .progress
            .insert(3, Progress { matched: Some(9_999), applied: Some(9_999), ..scene.progress[&3] });
        assert_eq!(scene.by(1), Step::HandOver(node(3)));
        assert_eq!(scene.away(3).by(1), Step::HandOver(node(2)));
        let alone = Scene::new(&[(1, Leaving), (2, Voting), (3, Voting)], &[1, 2, 3]).away(2).away(3);
        assert!(matches!(alone.by(1), Step::Wait(_)));
    }

    #[test]
    fn a_dead_node_is_replaced_in_one_change_of_voters() {
        let scene = Scene::new(&[(1, Voting), (2, Voting), (3, Leaving), (4, Voting)], &[1, 2, 3]).away(3);
        assert_eq!(scene.by(1), Step::SetVoters(BTreeSet::from([1, 2, 4])));
    }

    #[test]
    fn no_change_of_voters_that_would_lose_the_quorum() {
        let scene = Scene::new(&[(1, Voting), (2, Voting), (3, Leaving)], &[1, 2, 3]).away(2);
        assert!(matches!(scene.by(1), Step::Wait(why) if why.contains("node 2 does not answer")));
    }

    #[test]
    fn what_was_left_half_way_is_finished_first() {
        let mut scene = Scene::new(&[(1, Voting), (2, Voting), (3, Leaving)], &[1, 2, 3]);
        scene.membership.configs.push(BTreeSet::from([1, 2]));
        scene.membership.members.remove(&3);
        assert_eq!(scene.by(1), Step::FinishChange);
    }

    #[test]
    fn before_it_is_founded_nothing_is_done() {
        let mut scene = Scene::new(&[], &[1, 2, 3]);
        scene.certified = false;
        assert_eq!(scene.by(1), Step::Nothing);
        scene.membership = Membership::default();
        assert_eq!(scene.by(1), Step::Nothing);
    }
}
