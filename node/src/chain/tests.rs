//! Rule 6 of docs/trust.md: which blocks a follower takes, and what it keeps of a leader that signs two.

use quorate_core::{
    block::BlockKey,
    evidence::{Culprit, Evidence, EvidenceKind, Keys, Verdict},
    key::CosignerKey,
    possession::Possession,
};
use quorate_ledger::view::Settings;

use super::*;
use crate::{
    block::seal,
    clock::ManualClock,
    cluster::Member,
    store::{
        log::{Identity, LogConfig},
        state::StateOptions,
    },
};

const CLUSTER: ClusterId = ClusterId::new([7; 16]);
const LEADER: NodeId = NodeId::new(1);
const TERM: u64 = 2;
const NOW: u64 = 1_790_000_000_000_000;

/// A follower with empty stores, and the keys of a leader.
struct Follower {
    chain: Chain,
    key: BlockKey,
    evidence: EvidenceFiles,
    home: tempfile::TempDir,
    _hand: ManualClock,
}

/// A cluster that one node founded.
fn cluster(key: &BlockKey) -> Cluster {
    let origin = ClusterOrigin::new("test", &CLUSTER).unwrap();
    let cosigner = CosignerKey::from_seed(&origin.node(LEADER), &[1; 32]).unwrap();
    let leader = Member {
        id: LEADER,
        client: "localhost:1".to_owned(),
        peer: "localhost:2".to_owned(),
        cosigner: cosigner.verifier().clone(),
        block_key: key.public(),
        possession: Possession { cosigner: [0; 64], block: [0; 64] },
    };
    Cluster {
        id: CLUSTER,
        origin,
        members: BTreeMap::from([(LEADER, leader)]),
        settings: Settings::default(),
        continues: None,
        joined: None,
    }
}

impl Follower {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let identity = Identity { cluster_id: *CLUSTER.as_bytes(), node_id: 2 };
        let (log_dir, state_dir) = (home.path().join("log"), home.path().join("state"));
        let options = StateOptions::default();
        StateStore::create(&state_dir, identity, &options).unwrap();
        LogStore::create(&log_dir, identity).unwrap();
        let log = LogStore::open(&log_dir, identity, LogConfig::default()).unwrap();
        let state = Arc::new(StateStore::open(&state_dir, identity, options).unwrap());
        let (clock, hand) = Clock::manual(Micros::new(NOW));
        let key = BlockKey::from_seed(&[1; 32]);
        let evidence = EvidenceFiles::open(home.path());
        let chain = Chain::new(&cluster(&key), (log, state), clock, evidence.clone());
        Self { chain, key, evidence, home, _hand: hand }
    }

    /// A block of the leader's that follows `previous`, as an entry of its term.
    fn entry(&self, key: &BlockKey, previous: Option<Link>, time: u64) -> (Link, LogEntry) {
        let block = Block { time, requests: Vec::new(), genesis: None };
        let body = Bytes::from(block.encode_to_vec());
        let (sealed, payload) = seal(key, CLUSTER, LEADER, Term::new(TERM), previous, body);
        let link = sealed.link();
        let id = LogId { term: TERM, index: link.height.get() };
        (link, LogEntry { id, payload: Payload::Block(payload) })
    }

    fn check(&self, entries: &[LogEntry]) -> Result<(), String> {
        self.chain.check(None, entries)
    }

    fn refused(&self, entries: &[LogEntry], words: &str) {
        let why = self.check(entries).unwrap_err();
        assert!(why.contains(words), "{why}");
    }

    /// The only evidence file, once it is there.
    fn kept(&self) -> Evidence {
        let directory = self.home.path().join(crate::evidence::DIRECTORY);
        for _ in 0..500 {
            let files = std::fs::read_dir(&directory).into_iter().flatten().flatten().map(|file| file.path());
            let mut files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
            if let Some(path) = files.next() {
                assert_eq!(files.next(), None, "the same contradiction is one file");
                return Evidence::parse(std::fs::read_to_string(path).unwrap().trim_end()).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("no evidence is kept")
    }
}

#[test]
fn blocks_that_are_signed_chained_and_not_ahead_are_taken_again_and_again() {
    let follower = Follower::new();
    let (first, one) = follower.entry(&follower.key, None, NOW);
    let (_, two) = follower.entry(&follower.key, Some(first), NOW + MAX_AHEAD_US);
    follower.check(&[one.clone(), two.clone()]).unwrap();
    follower.check(&[one, two]).unwrap();
    assert_eq!(follower.evidence.count(), 0);
}

#[test]
fn another_key_a_gap_another_term_and_a_date_ahead_are_refused() {
    let follower = Follower::new();
    let stranger = BlockKey::from_seed(&[2; 32]);
    let (_, forged) = follower.entry(&stranger, None, NOW);
    follower.refused(&[forged], "is not by the block key");
    let (first, one) = follower.entry(&follower.key, None, NOW);
    let nowhere = Link { height: first.height, hash: quorate_core::hash::Hash::ZERO };
    let (_, gap) = follower.entry(&follower.key, Some(nowhere), NOW);
    follower.refused(&[one.clone(), gap], "follows");
    let (_, ahead) = follower.entry(&follower.key, Some(first), NOW + MAX_AHEAD_US + 1);
    follower.refused(&[one.clone(), ahead], "and the clock here says");
    let later = LogEntry { id: LogId { term: TERM + 1, ..one.id }, ..one };
    follower.refused(&[later], "was sealed in term");
    assert_eq!(follower.evidence.count(), 0, "none of these is signed against anything");
}

#[test]
fn a_second_block_for_one_term_and_height_is_refused_and_kept_as_evidence() {
    let follower = Follower::new();
    let (first, one) = follower.entry(&follower.key, None, NOW);
    let (_, other) = follower.entry(&follower.key, None, NOW + 1);
    follower.check(std::slice::from_ref(&one)).unwrap();
    follower.refused(std::slice::from_ref(&other), "signed two blocks for term 2 and height 0");
    follower.refused(&[other], "signed two blocks");
    let evidence = follower.kept();
    let verdict = evidence.verify(&Keys::new(&[], &[follower.key.public()])).unwrap();
    let culprits = vec![Culprit::Proposer(follower.key.public())];
    assert_eq!(verdict, Verdict::Guilty { kind: EvidenceKind::Equivocation, culprits });
    // What was taken first stays: the chain goes on from it.
    let (_, two) = follower.entry(&follower.key, Some(first), NOW);
    follower.check(&[one, two]).unwrap();
}

#[test]
fn a_second_block_for_what_the_log_holds_is_refused_after_a_restart_too() {
    let follower = Follower::new();
    let (first, one) = follower.entry(&follower.key, None, NOW);
    let (_, other) = follower.entry(&follower.key, None, NOW + 1);
    // As after a start: nothing is remembered, and the log has it.
    follower.chain.log.append(vec![one.clone()], Box::new(|| ())).unwrap();
    follower.refused(&[other], "signed two blocks for term 2 and height 0");
    assert_eq!(follower.kept().kind(), EvidenceKind::Equivocation);
    let (_, two) = follower.entry(&follower.key, Some(first), NOW);
    follower.check(&[one, two]).unwrap();
}

#[test]
fn a_block_of_a_later_term_replaces_one_and_convicts_nobody() {
    let follower = Follower::new();
    let (_, one) = follower.entry(&follower.key, None, NOW);
    follower.check(&[one]).unwrap();
    let block = Block { time: NOW, requests: Vec::new(), genesis: None };
    let body = Bytes::from(block.encode_to_vec());
    let (_, payload) = seal(&follower.key, CLUSTER, LEADER, Term::new(TERM + 1), None, body);
    let id = LogId { term: TERM + 1, index: 0 };
    follower.check(&[LogEntry { id, payload: Payload::Block(payload) }]).unwrap();
    assert_eq!(follower.evidence.count(), 0);
}

#[test]
fn nodes_that_were_fed_different_blocks_convict_the_leader_by_comparing() {
    let (one, other) = (Follower::new(), Follower::new());
    let (first, common) = one.entry(&one.key, None, NOW);
    let (_, left) = one.entry(&one.key, Some(first), NOW);
    let (_, right) = other.entry(&other.key, Some(first), NOW + 1);
    one.check(&[common.clone(), left]).unwrap();
    other.check(&[common, right]).unwrap();
    assert!(one.chain.convict(&one.chain.held()).is_empty(), "nothing differs from itself");
    let answer = other.chain.convict(&one.chain.held());
    assert_eq!(answer.len(), 1);
    assert_eq!(one.chain.convict(&answer).len(), 1);
    for follower in [&one, &other] {
        assert_eq!(follower.kept().kind(), EvidenceKind::Equivocation);
    }
}

#[test]
fn claims_that_are_not_signed_so_prove_nothing() {
    let follower = Follower::new();
    let (_, one) = follower.entry(&follower.key, None, NOW);
    follower.check(&[one]).unwrap();
    let held = follower.chain.held();
    let [good] = held.as_slice() else { panic!("{held:?}") };
    for (what, bent) in [
        ("another body", pb::BlockClaim { body_hash: vec![7; 32].into(), ..good.clone() }),
        ("another place before", pb::BlockClaim { previous: vec![7; 32].into(), ..good.clone() }),
        ("no signature", pb::BlockClaim { signature: Bytes::new(), ..good.clone() }),
        ("another term", pb::BlockClaim { term: good.term + 1, ..good.clone() }),
        ("a stranger's", pb::BlockClaim { proposer: 9, ..good.clone() }),
    ] {
        assert!(follower.chain.convict(&[bent]).is_empty(), "{what}");
    }
    assert_eq!(follower.evidence.count(), 0);
}

#[test]
fn a_second_block_that_somebody_else_signed_is_no_evidence() {
    let follower = Follower::new();
    let (_, one) = follower.entry(&follower.key, None, NOW);
    follower.check(&[one]).unwrap();
    let (_, forged) = follower.entry(&BlockKey::from_seed(&[2; 32]), None, NOW + 1);
    follower.refused(&[forged], "is not by the block key");
    assert_eq!(follower.evidence.count(), 0);
}
