//! Who is a node of the cluster: each rule of the registry, and a request that breaks it.

use prost::{Message, bytes::Bytes};
use quorate_core::position::{Epoch, Micros, NodeId};
use quorate_ledger::{
    block::{Request, Write},
    outcome::{Rejection, RequestOutcome},
    registry::{CosignerSet, MAX_INVITATION_US, NodeRecord, NodeState, node_key},
};

use super::support::{
    nodes::{founders, invitation, joining, put_invitation, put_node, put_set, record_of, record_with},
    replica::{Replica, START, block},
    requests::{delete, put, request},
};

const HOUR: u64 = 3_600_000_000;

/// A cluster of the nodes 1, 2 and 3.
struct Cluster {
    replica: Replica,
    asked: u64,
}

impl Cluster {
    fn founded() -> Self {
        let mut cluster = Self { replica: Replica::with_ledgers(0, &[]), asked: 0 };
        cluster.done(founders(&[1, 2, 3]));
        cluster
    }

    /// With an invitation for node 4, which ends after an hour.
    fn with_invitation() -> Self {
        let mut cluster = Self::founded();
        cluster.done([put_invitation(&invitation(4, START + HOUR))]);
        cluster
    }

    fn request(&mut self, writes: impl IntoIterator<Item = Write>, time: u64) -> Request {
        self.asked += 1;
        request("_system", &self.asked.to_string(), Micros::new(time + 60_000_000), writes)
    }

    fn ask_at(&mut self, time: u64, writes: impl IntoIterator<Item = Write>) -> RequestOutcome {
        let request = self.request(writes, time);
        self.replica.ask(time, request)
    }

    #[track_caller]
    fn done(&mut self, writes: impl IntoIterator<Item = Write>) {
        let outcome = self.ask_at(START, writes);
        assert!(matches!(outcome, RequestOutcome::Committed(_)), "{outcome:?}");
    }

    /// The writes are refused for a reason with these words, and change nothing.
    #[track_caller]
    fn refused(&mut self, writes: impl IntoIterator<Item = Write>, words: &str) {
        self.refused_at(START, writes, words);
    }

    #[track_caller]
    fn refused_at(&mut self, time: u64, writes: impl IntoIterator<Item = Write>, words: &str) {
        let before = self.replica.store.cluster.registry.clone();
        match self.ask_at(time, writes) {
            RequestOutcome::Rejected(Rejection::Malformed { field, problem }) => {
                assert!(problem.contains(words), "{field}: {problem}");
            }
            other => panic!("not refused for {words:?}: {other:?}"),
        }
        assert_eq!(self.replica.store.cluster.registry, before);
    }

    fn set_with(&self, records: &[NodeRecord]) -> CosignerSet {
        let mut registry = (*self.replica.store.cluster.registry).clone();
        for record in records {
            registry = registry.with(record.clone());
        }
        registry.next_set()
    }

    /// The writes that make these the newest records, with the set that follows from them.
    fn change(&self, records: &[NodeRecord]) -> Vec<Write> {
        let set = put_set(&self.set_with(records));
        std::iter::once(set).chain(records.iter().map(put_node)).collect()
    }

    fn state(&self, id: u64) -> NodeState {
        self.replica.store.cluster.registry.node(NodeId::new(id)).unwrap().standing()
    }
}

fn removed(record: &NodeRecord, epoch: u64) -> NodeRecord {
    NodeRecord { removed_in_epoch: epoch, ..record.in_state(NodeState::Removed) }
}

#[test]
fn a_node_is_invited_registers_becomes_a_member_leaves_and_is_removed() {
    let mut cluster = Cluster::with_invitation();
    cluster.done([put_node(&joining(4))]);
    assert_eq!(cluster.state(4), NodeState::Joining);
    assert_eq!(cluster.replica.store.cluster.epoch, Epoch::new(1));

    let member = joining(4).in_state(NodeState::Member);
    let writes = cluster.change(std::slice::from_ref(&member));
    let request = cluster.request(writes, START);
    let effects = cluster.replica.apply(&block(START, [request]));
    let sets: Vec<_> =
        effects.outcome.checkpoints[0].sets.iter().map(|set| (set.epoch, set.cosigners.len())).collect();
    assert_eq!(sets, [(1, 3), (2, 4)], "a majority of the old and of the new set certify the change");

    let leaving = record_of(1).in_state(NodeState::Leaving);
    cluster.done([put_node(&leaving)]);
    let gone = removed(&leaving, 3);
    let writes = cluster.change(std::slice::from_ref(&gone));
    cluster.done(writes);
    let registry = &cluster.replica.store.cluster.registry;
    let ids: Vec<u64> = registry.cosigners().unwrap().cosigners.iter().map(|one| one.node_id).collect();
    assert_eq!((ids, registry.epoch()), (vec![2, 3, 4], Epoch::new(3)));
    assert_eq!(registry.highest_id(), NodeId::new(4));
    cluster.refused([put_node(&record_of(1))], "never comes back");
    cluster.refused([put_node(&leaving)], "never comes back");
}

#[test]
fn a_dead_node_is_replaced_in_one_step() {
    let mut cluster = Cluster::with_invitation();
    cluster.done([put_node(&joining(4))]);
    let writes =
        cluster.change(&[joining(4).in_state(NodeState::Member), record_of(3).in_state(NodeState::Leaving)]);
    cluster.done(writes);
    assert_eq!((cluster.state(3), cluster.state(4)), (NodeState::Leaving, NodeState::Member));
}

#[test]
fn ids_are_taken_one_after_the_other_and_never_again() {
    let mut cluster = Cluster::with_invitation();
    for taken in [1, 3, 4, 6] {
        cluster.refused([put_invitation(&invitation(taken, START + HOUR))], "never used twice");
    }
    cluster.done([put_invitation(&invitation(5, START + HOUR))]);
    cluster.refused([put_node(&joining(6))], "no invitation for node 6");
}

#[test]
fn an_invitation_is_for_one_node_for_a_time() {
    let mut cluster = Cluster::with_invitation();
    cluster.refused([put_invitation(&invitation(5, START))], "expires_at");
    cluster.refused([put_invitation(&invitation(5, START + MAX_INVITATION_US + 1))], "at most 7 days");
    let short = quorate_ledger::registry::InvitationRecord {
        secret_hash: Bytes::from_static(&[1; 31]),
        ..invitation(5, START + HOUR)
    };
    cluster.refused([put_invitation(&short)], "secret_hash");
    let other = NodeRecord { invitation_secret: Bytes::from_static(&[7; 32]), ..joining(4) };
    cluster.refused([put_node(&other)], "not that of the invitation");
    let none = NodeRecord { invitation_secret: Bytes::new(), ..joining(4) };
    cluster.refused([put_node(&none)], "invitation_secret");
    cluster.refused_at(START + HOUR + 1, [put_node(&joining(4))], "was valid until");
    let mut cluster = Cluster::with_invitation();
    let in_time = cluster.ask_at(START + HOUR, [put_node(&joining(4))]);
    assert!(matches!(in_time, RequestOutcome::Committed(_)), "{in_time:?}");
    cluster.refused_at(START + HOUR, [put_node(&joining(4))], "cannot be joining next");
}

#[test]
fn keys_are_proven_and_never_used_twice() {
    let mut cluster = Cluster::with_invitation();
    let with_keys_of = |record: NodeRecord| NodeRecord { state: joining(4).state, ..joining_as(record) };
    cluster.refused([put_node(&with_keys_of(record_with(4, 2)))], "never used twice");
    let bad = NodeRecord { block_proof: joining(4).cosigner_proof, ..joining(4) };
    cluster.refused([put_node(&bad)], "proof of possession of the block key");
    let stolen = NodeRecord { cosigner_proof: record_of(3).cosigner_proof, ..joining(4) };
    cluster.refused([put_node(&stolen)], "proof of possession of the cosigner key");
    // Also the keys of a node that is removed by now.
    let leaving = record_of(3).in_state(NodeState::Leaving);
    cluster.done([put_node(&leaving)]);
    let writes = cluster.change(&[removed(&leaving, 2)]);
    cluster.done(writes);
    cluster.refused([put_node(&with_keys_of(record_with(4, 3)))], "never used twice");
}

fn joining_as(record: NodeRecord) -> NodeRecord {
    NodeRecord { invitation_secret: joining(4).invitation_secret, life: joining(4).life, ..record }
}

#[test]
fn a_record_that_contradicts_itself_is_refused() {
    let mut cluster = Cluster::with_invitation();
    let mut refuse = |words: &str, change: fn(&mut NodeRecord)| {
        let mut record = joining(4);
        change(&mut record);
        cluster.refused([put(&node_key(NodeId::new(4)), &record.encode_to_vec())], words);
    };
    refuse("node_id is 5", |record| record.node_id = 5);
    refuse("vkey", |record| record.vkey = record_of(3).vkey);
    refuse("block_public_key", |record| record.block_public_key.truncate(31));
    refuse("peer_address", |record| record.peer_address.clear());
    refuse("client_address", |record| record.client_address = "x".repeat(256));
    refuse("cosigner_proof: 64 bytes", |record| record.cosigner_proof.truncate(63));
    refuse("must be joining", |record| record.state = NodeState::Member.into());
    refuse("must be joining", |record| record.state = 9);
    refuse("life", |record| record.life.clear());
    refuse("removed_in_epoch", |record| record.removed_in_epoch = 1);
    for key in [&b"nodes/04"[..], b"nodes/0", b"nodes/", b"nodes/x", b"nodes/+4", b"invitations/05"] {
        cluster.refused([put(key, &joining(4).encode_to_vec())], "no node id");
    }
    cluster.refused([delete(&node_key(NodeId::new(1)))], "neither deleted");
}

#[test]
fn states_follow_each_other_and_nothing_else_changes() {
    let mut cluster = Cluster::founded();
    let one = record_of(1);
    let moved = NodeRecord { peer_address: "elsewhere:1".to_owned(), ..one.in_state(NodeState::Leaving) };
    cluster.refused([put_node(&moved)], "nothing but its state");
    for state in [NodeState::Joining, NodeState::Member, NodeState::Removed] {
        cluster.refused([put_node(&one.in_state(state))], "next");
    }
    cluster.done([put_node(&one.in_state(NodeState::Leaving))]);
    cluster.refused([put_node(&one)], "cannot be member next");
    let early = removed(&one, 1);
    let writes = cluster.change(&[early]);
    cluster.refused(writes, "removed_in_epoch of node 1 is 1, and must be 2");
}

#[test]
fn the_set_is_the_members_and_changes_with_them() {
    let mut cluster = Cluster::with_invitation();
    cluster.done([put_node(&joining(4))]);
    let member = joining(4).in_state(NodeState::Member);
    cluster.refused([put_node(&member)], "both change together");
    let set = cluster.set_with(std::slice::from_ref(&member));
    cluster.refused([put_set(&set)], "both change together");
    let mut moved = set.clone();
    moved.cosigners[3].peer_address = "elsewhere:1".to_owned();
    cluster.refused([put_set(&moved), put_node(&member)], "agree in keys and addresses");
    let skipped = CosignerSet { epoch: 3, ..set.clone() };
    cluster.refused([put_set(&skipped), put_node(&member)], "one more than the present one");
    // Somebody who was never registered, with good keys.
    let mut stranger = cluster.set_with(&[]);
    stranger.cosigners.push(record_of(5).cosigner());
    cluster.refused([put_set(&stranger)], "both change together");
    cluster.done([put_set(&set), put_node(&member)]);
}

#[test]
fn a_node_that_never_became_a_member_is_given_up_without_a_new_set() {
    let mut cluster = Cluster::with_invitation();
    cluster.done([put_node(&joining(4))]);
    cluster.refused([put_node(&removed(&joining(4), 2))], "must be 1");
    cluster.done([put_node(&removed(&joining(4), 1))]);
    assert_eq!(cluster.replica.store.cluster.epoch, Epoch::new(1));
}

#[test]
fn somebody_stays() {
    let mut cluster = Cluster::founded();
    for node in [1, 2] {
        cluster.done([put_node(&record_of(node).in_state(NodeState::Leaving))]);
    }
    cluster.refused([put_node(&record_of(3).in_state(NodeState::Leaving))], "no node would stay");
}

#[test]
fn founders_are_members_from_the_beginning() {
    let mut cluster = Cluster { replica: Replica::with_ledgers(0, &[]), asked: 0 };
    let mut writes = founders(&[1, 2, 3]);
    writes.truncate(3);
    cluster.refused(writes, "both change together");
    let mut writes = founders(&[1, 2]);
    writes.push(put_node(&joining(3)));
    cluster.refused(writes, "a founder is a member");
    cluster.refused([put_invitation(&invitation(1, START + HOUR))], "not founded");
}
