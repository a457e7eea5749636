//! Pages of the runbook for which somebody has to lie: the thing is made to happen, the commands of the page are run, what it
//! says one sees is seen, and what it says to do helps.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::PathBuf, time::Duration};

use bytes::Bytes;
use quorate_client::{Policy, ReadOptions};
use quorate_core::{
    checkpoint::Checkpoint,
    evidence::Evidence,
    hash::Hash,
    note::SignedNote,
    policy::PolicyError,
    position::{Micros, NodeId, TreeSize},
};
use quorate_liar::{
    lie::Lie,
    notes::{seconds, sign},
    stage::{Stage, evidence_of, free_port, put},
    stolen::Stolen,
};
use quorate_node::{peer::Peers, signer::Outbox as _};
use quorate_proto::peer::v1 as pb;
use quorate_tests::{
    clock::now,
    cluster::Cluster,
    drill::{Drill, Page},
    http,
};

const LIAR: &str = env!("CARGO_BIN_EXE_quorate-liar");

/// How long something may take to show.
const SOON: Duration = Duration::from_secs(20);

/// The node whose key is stolen.
const VICTIM: u64 = 3;

/// Another root for the size of a checkpoint, or the same for a later size.
fn forged(of: &Checkpoint, later: u64) -> Checkpoint {
    let mut forged = of.clone();
    let mut root = *forged.root.as_bytes();
    root[0] ^= 1;
    (forged.root, forged.size) = (Hash::new(root), TreeSize::new(of.size.get() + later));
    forged
}

/// The note that a node shows of the ledger.
fn note(stage: &Stage, id: u64) -> SignedNote {
    let answer = http::get(stage.cluster.nodes[&id].http, "/default/checkpoint").unwrap();
    SignedNote::parse(&String::from_utf8(answer.body).unwrap()).unwrap()
}

/// The thief says to a node, in the victim's name, that it signed another root.
fn say(thief: &Stolen, to: u64, checkpoint: &Checkpoint) -> Peers {
    let security = thief.towards_nodes(Micros::from_secs(seconds()).unwrap()).unwrap();
    let peers = Peers::new(thief.identity(), security, 1 << 20);
    peers.learn_address(NodeId::new(to), &thief.cluster.members[&NodeId::new(to)].peer);
    let cosignature = thief.cosigner.cosign(checkpoint, seconds()).unwrap();
    peers.send(vec![pb::Cosignature {
        ledger: "default".to_owned(),
        size: checkpoint.size.get(),
        root: Bytes::copy_from_slice(checkpoint.root.as_bytes()),
        time_s: cosignature.time,
        signature: Bytes::copy_from_slice(&cosignature.signature),
        witness: None,
    }]);
    peers
}

fn wait_evidence(stage: &Stage, id: u64) -> PathBuf {
    let (start, folder) = (now(), stage.cluster.path().join(format!("node-{id}")));
    loop {
        if let Some(file) = evidence_of(&folder).pop() {
            return file;
        }
        assert!(now() - start < SOON, "node {id} keeps no evidence:\n{}", stage.cluster.log(id));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs commands of the page that have to succeed.
fn done(drill: &Drill, commands: &[String]) {
    assert!(!commands.is_empty());
    for command in commands {
        let ran = drill.run(command);
        assert_eq!(ran.code, 0, "{command}: {}", ran.stderr);
    }
}

fn not_met(policy: &Policy, note: SignedNote) -> usize {
    match policy.certify(note) {
        Err(PolicyError::NotMet { have, .. }) => have,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_cosigner_key_is_found_out_and_counts_for_nothing() {
    let mut stage = Stage::with(Cluster::start(3), LIAR);
    for n in 0..10 {
        put(&stage.honest("writer").ledger("default"), "k", &n.to_string()).await;
    }
    let thief = Stolen::read(&stage.config(VICTIM)).unwrap();
    let real = note(&stage, VICTIM);

    // It is used against a node that knows what the victim signed: the evidence names the key.
    let lie = forged(real.checkpoint(), 0);
    let _connection = say(&thief, 1, &lie);
    let evidence = fs::read_to_string(wait_evidence(&stage, 1)).unwrap();
    let (kind, named) = stage.verify_elsewhere(&evidence, false);
    assert_eq!((kind.as_str(), named), ("fork", vec!["guilty".to_owned(), "node/3".to_owned()]));
    let drill = Drill::on(&stage.cluster);
    drill.page("stolen-key");
    drill.page("kept-evidence");

    // What the page says to do: `_system/cosigners` first, then the node.
    assert_eq!(stage.cluster.new_node(), 4);
    let steps = Page::read("runbook/stolen-key").blocks("sh @operator");
    let (change, policy): (Vec<String>, Vec<String>) =
        steps.into_iter().partition(|command| command.contains("member"));
    done(&Drill::on(&stage.cluster).operator(), &change);
    stage.cluster.wait_unready(VICTIM, "this node was removed from the cluster");
    let former = stage.cluster.forget(VICTIM).unwrap().config;
    put(&stage.honest("followed").ledger("default"), "k", "after").await;
    done(&Drill::on(&stage.cluster).operator(), &policy);

    // A later checkpoint, forged: by the new policy the stolen key is nobody's.
    let old = Policy::parse(fs::read(stage.cluster.path().join("client/default.policy")).unwrap()).unwrap();
    let new = Policy::parse(fs::read(stage.cluster.path().join("new.policy")).unwrap()).unwrap();
    let later = forged(note(&stage, 1).checkpoint(), 1_000);
    let alone = || sign(&later, std::slice::from_ref(&thief));
    assert_eq!(not_met(&new, alone()), 0, "the new policy counts the stolen key");
    // By the old policy it counts as what it was: one of two that are needed; with a second stolen key it is believed.
    assert_eq!(not_met(&old, alone()), 1);
    let two = [former.clone(), stage.config(2)].map(|config| Stolen::read(&config).unwrap());
    let both = || sign(&later, &two);
    assert!(old.certify(both()).is_ok(), "an old policy believes two stolen keys");
    assert_eq!(not_met(&new, both()), 1, "the new policy counts the accomplice alone");
    // Of the time before the change there is what the victim signed: both together are evidence by public keys alone.
    let signed = |note: SignedNote| note.open(old.keys()).unwrap();
    let contradiction = sign(&lie, std::slice::from_ref(&thief));
    let evidence = Evidence::of_notes(&signed(with_victim(&thief, &real)), &signed(contradiction)).unwrap();
    let (kind, named) = stage.verify_elsewhere(&evidence.to_json(), false);
    assert_eq!((kind.as_str(), named), ("fork", vec!["guilty".to_owned(), "node/3".to_owned()]));

    // A client that follows refuses it from a replica, too, although two keys signed that it once counted.
    let liar = stage.lie_with(Lie::RemovedCosigner, &[stage.config(2), former]);
    let deceived = stage.deceived(&liar, "followed").ledger("default");
    let refused = deceived.get("k", ReadOptions::new()).await.unwrap_err();
    assert!(refused.is_untrusted() && refused.to_string().contains("not believed"), "{refused}");
}

/// What the victim itself signed for this checkpoint.
fn with_victim(victim: &Stolen, real: &SignedNote) -> SignedNote {
    let known = std::slice::from_ref(victim.cosigner.verifier());
    let opened = real.clone().open(known).unwrap();
    match opened.cosigners().next() {
        Some(_) => real.clone(),
        // The note carries a majority, which may be the two others: it signed the same.
        None => sign(real.checkpoint(), std::slice::from_ref(victim)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_diverged_is_kept_off_and_replaced() {
    let mut cluster = Cluster::prepare(3);
    // The others reach node 3 through the liar, which feeds it another block.
    let config = cluster.nodes[&VICTIM].config.clone();
    let text = fs::read_to_string(&config).unwrap();
    let line = text.lines().find(|line| line.starts_with("peer = \"127.0.0.1:")).unwrap().to_owned();
    let listen: u16 = line.trim_end_matches('"').rsplit_once(':').unwrap().1.parse().unwrap();
    let to = free_port();
    fs::write(&config, text.replace(&line, &format!("peer = \"127.0.0.1:{to}\""))).unwrap();
    cluster.start_node(1);
    cluster.start_node(2);
    let mut stage = Stage::with(cluster, LIAR);
    let liar = stage.lie_between(Lie::AnotherBlock, VICTIM, (listen, to), 8);
    stage.cluster.wait_ready();
    stage.cluster.start_node(VICTIM);
    stage.cluster.wait_ready();
    for n in 0..12 {
        put(&stage.honest("writer").ledger("default"), "k", &n.to_string()).await;
    }
    stage.cluster.wait_unready(VICTIM, "diverged: ledger");
    let drill = Drill::on(&stage.cluster);
    let seen = drill.page("diverged-node");
    assert!(seen.contains("diverged-node.md"), "the doctor does not name the page: {seen}");
    // The others agree: it is off, and replaced, as the page says.
    drop(liar);
    let kept = stage.cluster.path().join("kept");
    quorate_tests::folder::copy(&stage.cluster.path().join("node-3/data"), &kept).unwrap();
    stage.cluster.terminate(VICTIM);
    let new = stage.cluster.new_node();
    let replace = format!("quorate member replace {VICTIM} --by {new}");
    done(&Drill::on(&stage.cluster).operator(), &[replace]);
    stage.cluster.forget(VICTIM);
    stage.cluster.wait_ready();
    put(&stage.honest("after").ledger("default"), "k", "after").await;
    let status = Drill::on(&stage.cluster).run("quorate status");
    assert_eq!(status.code, 0, "{}{}", status.stdout, status.stderr);
}
