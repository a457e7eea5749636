//! The chain of cosigner sets: who was away over many changes arrives; whoever forges a change does not.

use prost::Message as _;
use quorate_core::epochs::{COSIGNERS_KEY, Cosigner, CosignerSet, EpochChain, EpochError, EpochLink};
use quorate_core::key::CosignerKey;
use quorate_core::name::ClusterOrigin;
use quorate_core::policy::{Policy, ReplaceError};
use quorate_core::position::{Epoch, NodeId};

use crate::support::{Ledger, Op};

/// A cluster's ledger of itself. Node n has the place n − 1.
struct System {
    ledger: Ledger,
    time: u64,
}

fn cluster(ledger: &Ledger) -> ClusterOrigin {
    ClusterOrigin::parse(ledger.origin.rsplit_once('/').unwrap().0).unwrap()
}

impl System {
    /// With keys for nodes 1 to 7; the first three begin.
    fn new() -> Self {
        let mut ledger = Ledger::named(5, "_system");
        let cluster = cluster(&ledger);
        for node in 4..=7_u8 {
            let name = cluster.node(NodeId::new(u64::from(node)));
            ledger.nodes.push(CosignerKey::from_seed(&name, &[node; 32]).unwrap());
        }
        let mut system = Self { ledger, time: 1_000_000_000 };
        system.change(&system.set(1, &[1, 2, 3]));
        system
    }

    fn policy(&self, file: &str) -> Policy {
        let mut text = format!("log {}\n", self.ledger.log_key.verifier());
        for node in 1..=3 {
            text.push_str(&format!("witness n{node} {}\n", self.ledger.nodes[node - 1].verifier()));
        }
        Policy::parse(text + file).unwrap()
    }

    fn majority(&self) -> Policy {
        self.policy("group replicas 2 n1 n2 n3\nquorum replicas\n")
    }

    fn chain(&self) -> EpochChain {
        EpochChain::begin(self.majority(), cluster(&self.ledger)).unwrap()
    }

    fn cosigner(&self, node: u64) -> Cosigner {
        Cosigner {
            node_id: node,
            vkey: self.ledger.nodes[node as usize - 1].verifier().to_string(),
            block_public_key: vec![node as u8 + 100; 32].into(),
            client_address: format!("node{node}:7400"),
            peer_address: format!("node{node}:7500"),
        }
    }

    fn set(&self, epoch: u64, nodes: &[u64]) -> CosignerSet {
        CosignerSet { epoch, cosigners: nodes.iter().map(|node| self.cosigner(*node)).collect() }
    }

    fn change(&mut self, set: &CosignerSet) {
        self.time += 1_000_000;
        let put = Op::Put(COSIGNERS_KEY.to_vec(), set.encode_to_vec(), None);
        self.ledger.block(self.time, &[vec![put]]);
    }

    /// The state as it is, signed by these nodes.
    fn link(&self, signers: &[u64]) -> EpochLink {
        let places: Vec<usize> = signers.iter().map(|node| *node as usize - 1).collect();
        EpochLink {
            note: self.ledger.sign(&self.ledger.head(), &places, 1_000),
            bundle: self.ledger.answer_get(&[COSIGNERS_KEY]),
        }
    }

    /// Changes to a set, and gives the link that these nodes signed.
    fn step(&mut self, set: &CosignerSet, signers: &[u64]) -> EpochLink {
        self.change(set);
        self.link(signers)
    }
}

fn nodes(chain: &EpochChain) -> Vec<u64> {
    chain.members().iter().map(|member| member.node().get()).collect()
}

#[test]
fn who_was_away_over_many_changes_arrives_at_the_present_set() {
    let mut system = System::new();
    let mut chain = system.chain();
    let mut links = vec![system.link(&[1, 2])];
    links.push(system.step(&system.set(2, &[1, 2, 3, 4]), &[1, 2, 4]));
    links.push(system.step(&system.set(3, &[3, 4, 5]), &[1, 3, 4]));
    links.push(system.step(&system.set(4, &[4, 5, 6, 7]), &[4, 5, 6]));
    for (link, epoch) in links.into_iter().zip(1..) {
        assert_eq!(chain.follow(link).unwrap(), Epoch::new(epoch));
    }
    assert_eq!((chain.epoch(), nodes(&chain)), (Some(Epoch::new(4)), vec![4, 5, 6, 7]));
    assert_eq!(chain.members()[0].client_address(), "node4:7400");
    assert_eq!(chain.earlier_keys().len(), 3, "nodes 1 to 3");
    // None of those that the policy named is left; the rule is the same.
    let present = system.ledger.sign(&system.ledger.head(), &[3, 4, 5], 2_000);
    chain.policy().certify(present).unwrap();
    let too_few = system.ledger.sign(&system.ledger.head(), &[3, 4], 2_000);
    chain.policy().certify(too_few).unwrap_err();
    let old = system.ledger.sign(&system.ledger.head(), &[0, 1, 2], 2_000);
    chain.policy().certify(old).unwrap_err();
}

#[test]
fn a_link_takes_both_sets() {
    let mut system = System::new();
    let mut chain = system.chain();
    chain.follow(system.link(&[1, 2, 3])).unwrap();
    system.change(&system.set(2, &[3, 4, 5]));
    let before = chain.clone();
    let error = chain.follow(system.link(&[3, 4, 5])).unwrap_err();
    assert!(matches!(error, EpochError::NotByOld { .. }), "{error}");
    let error = chain.follow(system.link(&[1, 2, 3])).unwrap_err();
    assert!(matches!(error, EpochError::NotByNew { .. }), "{error}");
    assert_eq!(chain, before, "nothing was believed of either");
    chain.follow(system.link(&[1, 3, 4])).unwrap();
}

#[test]
fn epochs_are_neither_skipped_nor_repeated() {
    let mut system = System::new();
    let mut chain = system.chain();
    let first = system.link(&[1, 2, 3]);
    chain.follow(first.clone()).unwrap();
    let again = chain.follow(first).unwrap_err();
    assert!(matches!(again, EpochError::NotNext { .. }), "{again}");
    let skipped = system.step(&system.set(3, &[1, 2, 4]), &[1, 2, 3, 4]);
    assert!(matches!(chain.follow(skipped).unwrap_err(), EpochError::NotNext { .. }));
}

#[test]
fn the_first_link_is_of_the_set_that_the_policy_names() {
    let mut system = System::new();
    let mut chain = system.chain();
    let other = system.step(&system.set(7, &[1, 2, 4]), &[1, 2, 3, 4]);
    assert!(matches!(chain.follow(other).unwrap_err(), EpochError::NotThePolicys { .. }));
    let same = system.step(&system.set(9, &[1, 2, 3]), &[1, 2]);
    assert_eq!(chain.follow(same).unwrap(), Epoch::new(9), "a policy file may be of any epoch");
}

#[test]
fn a_document_that_is_not_the_proven_one_is_refused() {
    let mut system = System::new();
    let mut chain = system.chain();
    let mut forged = system.link(&[1, 2, 3]);
    forged.bundle.contents[0].value = system.set(1, &[1, 2, 4]).encode_to_vec();
    assert!(matches!(chain.follow(forged).unwrap_err(), EpochError::Proof(_)));
    let mut hidden = system.link(&[1, 2, 3]);
    hidden.bundle.state_proofs.clear();
    assert!(matches!(chain.follow(hidden).unwrap_err(), EpochError::Proof(_)));
    system.ledger.block(2_000_000_000, &[vec![Op::Delete(COSIGNERS_KEY.to_vec())]]);
    assert!(matches!(chain.follow(system.link(&[1, 2, 3])).unwrap_err(), EpochError::NoDocument));
}

#[test]
fn keys_and_ids_are_never_used_again() {
    let alter = |change: &dyn Fn(&System, &mut CosignerSet)| {
        let mut system = System::new();
        let mut chain = system.chain();
        chain.follow(system.link(&[1, 2, 3])).unwrap();
        let away = system.step(&system.set(2, &[1, 2, 4]), &[1, 2, 3, 4]);
        chain.follow(away).unwrap();
        let mut set = system.set(3, &[1, 2, 4, 5]);
        change(&system, &mut set);
        let link = system.step(&set, &[1, 2, 3, 4, 5, 6]);
        chain.follow(link)
    };
    alter(&|_, _| {}).unwrap();
    // Node 3, which left, is back.
    let back = alter(&|system, set| *set = system.set(3, &[1, 2, 3, 4]));
    assert!(matches!(back.unwrap_err(), EpochError::Reused { what: "a key", .. }));
    // Somebody new takes its id.
    let taken = alter(&|system, set| {
        let name = cluster(&system.ledger).node(NodeId::new(3));
        let key = CosignerKey::from_seed(&name, &[33; 32]).unwrap();
        let new = Cosigner {
            node_id: 3,
            vkey: key.verifier().to_string(),
            block_public_key: vec![99; 32].into(),
            ..system.cosigner(3)
        };
        set.cosigners.insert(2, new);
    });
    assert!(matches!(taken.unwrap_err(), EpochError::Reused { what: "a node id", .. }));
    // Somebody new has the block key of one that left.
    let block = alter(&|_, set| set.cosigners[3].block_public_key = vec![103; 32].into());
    assert!(matches!(block.unwrap_err(), EpochError::Reused { what: "a key", .. }));
    // A node has a new key under its id.
    let changed = alter(&|_, set| set.cosigners[0].block_public_key = vec![77; 32].into());
    assert!(matches!(changed.unwrap_err(), EpochError::Reused { .. }));
}

#[test]
fn a_document_that_contradicts_itself_is_refused() {
    type Change = fn(&mut CosignerSet);
    let changes: [(&str, Change); 6] = [
        ("nobody", |set| set.cosigners.clear()),
        ("ascending", |set| set.cosigners.swap(0, 1)),
        ("occurs twice", |set| set.cosigners[1].block_public_key = set.cosigners[0].block_public_key.clone()),
        ("32 bytes", |set| set.cosigners[1].block_public_key = vec![1; 31].into()),
        ("named", |set| set.cosigners[1].node_id = 9),
        ("vkey", |set| set.cosigners[1].vkey = "nonsense".to_owned()),
    ];
    for (word, change) in changes {
        let mut system = System::new();
        let mut chain = system.chain();
        let mut set = system.set(1, &[1, 2, 3]);
        change(&mut set);
        let error = chain.follow(system.step(&set, &[1, 2, 3])).unwrap_err();
        assert!(matches!(error, EpochError::Document { .. }), "{word}: {error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[test]
fn outside_witnesses_stay_and_are_asked_for() {
    let mut system = System::new();
    let witness = CosignerKey::from_seed("witness.example/w", &[44; 32]).unwrap();
    let file = format!("witness w {}\ngroup all 4 n1 n2 n3 w\nquorum all\n", witness.verifier());
    let mut chain = EpochChain::begin(system.policy(&file), cluster(&system.ledger)).unwrap();
    let sign = |mut link: EpochLink| {
        let cosignature = witness.cosign(link.note.checkpoint(), 1_000).unwrap();
        link.note.add(cosignature.to_line());
        link
    };
    let first = system.link(&[1, 2, 3]);
    assert!(matches!(chain.follow(first.clone()).unwrap_err(), EpochError::NotByOld { .. }));
    chain.follow(sign(first)).unwrap();
    let second = system.step(&system.set(2, &[1, 2, 3, 4]), &[1, 2, 3, 4]);
    chain.follow(sign(second)).unwrap();
    assert_eq!(chain.policy().threshold(), 5);
}

#[test]
fn a_policy_that_does_not_say_what_to_ask_of_others_is_no_beginning() {
    let system = System::new();
    let cluster = cluster(&system.ledger);
    for file in ["quorum n1\n", "group a 2 n1 n2\ngroup b 1 n3\ngroup c 2 a b\nquorum c\n"] {
        let error = EpochChain::begin(system.policy(file), cluster.clone()).unwrap_err();
        assert!(matches!(error, EpochError::Rule(ReplaceError::Structure { .. })), "{file}: {error}");
    }
    let nobody = Policy::parse(format!("log {}\nquorum none\n", system.ledger.log_key.verifier())).unwrap();
    let error = EpochChain::begin(nobody, cluster).unwrap_err();
    assert!(matches!(error, EpochError::NoReplicas { .. }), "{error}");
}
