//! Lies of a leader to a follower: told between real nodes, with the leader's own keys.

use std::{fs, path::PathBuf, time::Duration};

use crate::honest::evidence_anywhere;
use quorate_liar::{
    lie::Lie,
    row::Row,
    stage::{Liar, Stage, believe, evidence_of, free_port, put},
};
use quorate_tests::{
    clock::now,
    cluster::{Cluster, small_logs},
    http,
    shell::Shell,
};

/// The follower that is lied to.
const FOLLOWER: u64 = 3;

/// The kind of evidence that block keys are needed for.
const EQUIVOCATION: &str = "equivocation";

/// How long something may take to show.
const SOON: Duration = Duration::from_secs(20);

/// A cluster whose node 3 is reached by the others through the liar.
struct Scene {
    stage: Stage,
    ports: (u16, u16),
    liar: Option<Liar>,
}

impl Scene {
    /// Nodes 1 and 2 run; node 3 does not yet, so that it does not lead.
    fn set(liar: &str, lie: Lie, from_height: u64, change: impl Fn(String) -> String) -> Self {
        let mut cluster = Cluster::prepare(3);
        for node in cluster.nodes.values() {
            let text = change(fs::read_to_string(&node.config).unwrap());
            fs::write(&node.config, text).unwrap();
        }
        let config = cluster.nodes[&FOLLOWER].config.clone();
        let text = fs::read_to_string(&config).unwrap();
        let line = text.lines().find(|line| line.starts_with("peer = \"127.0.0.1:")).unwrap().to_owned();
        let listen: u16 = line.trim_end_matches('"').rsplit_once(':').unwrap().1.parse().unwrap();
        let to = free_port();
        fs::write(&config, text.replace(&line, &format!("peer = \"127.0.0.1:{to}\""))).unwrap();
        cluster.start_node(1);
        cluster.start_node(2);
        let stage = Stage::with(cluster, liar);
        let liar = stage.lie_between(lie, FOLLOWER, (listen, to), from_height);
        stage.cluster.wait_ready();
        Self { stage, ports: (listen, to), liar: Some(liar) }
    }

    fn start_follower(&mut self) {
        self.stage.cluster.start_node(FOLLOWER);
    }

    /// Ends the lies: what the leader says reaches the follower as it is.
    fn end_lies(&mut self) {
        self.liar = None;
        self.liar = Some(self.stage.lie_between(Lie::None, FOLLOWER, self.ports, 0));
    }

    async fn write(&self, count: u32) {
        let client = self.stage.honest("writer");
        for n in 0..count {
            put(&client.ledger("default"), "k", &n.to_string()).await;
        }
    }

    /// Waits until the follower's log says these words, and gives the line.
    fn wait_said(&self, words: &str) -> String {
        let start = now();
        loop {
            let log = fs::read_to_string(self.stage.cluster.path().join("node-3.log")).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            assert!(
                now() - start < SOON,
                "node 3 does not say {words:?}:\n{}",
                self.stage.cluster.log(FOLLOWER)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until one of these nodes keeps evidence of a kind, and verifies it elsewhere; gives whom it names.
    fn wait_evidence(&self, nodes: &[u64], kind: &str) -> Vec<String> {
        let start = now();
        loop {
            let folders = nodes.iter().map(|id| self.stage.cluster.path().join(format!("node-{id}")));
            let of_kind = |file: &PathBuf| file.display().to_string().contains(&format!("evidence-{kind}-"));
            if let Some(file) = folders.flat_map(|folder| evidence_of(&folder)).find(of_kind) {
                let text = fs::read_to_string(&file).unwrap();
                let (verified, named) = self.stage.verify_elsewhere(&text, kind == EQUIVOCATION);
                assert_eq!(verified, kind, "{}", file.display());
                return named;
            }
            assert!(now() - start < SOON, "no {kind} at {nodes:?}:\n{}", self.stage.cluster.log(FOLLOWER));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What `quorate status` says of a node.
    fn status_of(&self, id: u64) -> serde_json::Value {
        let ran = Shell::of(&self.stage.cluster).run(["status", "-o", "json"]);
        let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let mut replicas = document["replicas"].as_array().unwrap().iter();
        replicas.find(|one| one["node"] == *id.to_string()).unwrap_or_else(|| panic!("{document}")).clone()
    }

    /// An operator sees that there is evidence, as docs/operations/runbook/kept-evidence.md says.
    fn says_what_to_do(&self) {
        let shell = Shell::of(&self.stage.cluster);
        let status = shell.run(["status"]);
        assert!(status.stdout.contains("keeps evidence that a node lied (1 in "), "{}", status.stdout);
        assert!(status.stdout.contains("quorate evidence verify FILE"), "{}", status.stdout);
        let doctor = shell.run(["doctor"]);
        assert!(doctor.stdout.contains("kept-evidence.md"), "{}", doctor.stdout);
        let ready = http::get(self.stage.cluster.nodes[&FOLLOWER].http, "/readyz").unwrap();
        let ready = String::from_utf8_lossy(&ready.body).into_owned();
        assert!(ready.contains("it keeps evidence that a node lied: 1 file in "), "{ready}");
        let metrics = http::get(self.stage.cluster.nodes[&FOLLOWER].http, "/metrics").unwrap();
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        assert!(metrics.contains("quorate_evidence_files 1"), "{metrics}");
    }

    /// The block keys of the nodes that may have led.
    fn leaders(&self) -> Vec<String> {
        let text = fs::read_to_string(self.stage.cluster.path().join("node-1/cluster.toml")).unwrap();
        let keys = text.lines().filter_map(|line| line.strip_prefix("block_key = "));
        keys.take(2).map(|key| format!("block key {}", &key.trim_matches('"')[..12])).collect()
    }
}

/// The message of a line of the log.
fn message(line: &str) -> String {
    line.split_once("refused: ").map_or(line, |(_, rest)| rest).to_owned()
}

pub(crate) async fn a_block_dated_ahead(liar: &str) -> Row {
    let mut scene = Scene::set(liar, Lie::DatedAhead, 8, |text| text);
    scene.start_follower();
    scene.stage.cluster.wait_ready();
    scene.write(12).await;
    let line = scene.wait_said("and the clock here says");
    // The others go on; when the lies end, the follower has what they have.
    scene.end_lies();
    scene.write(1).await;
    believe(&scene.stage.honest("all")).await;
    Row { lie: "a block dated far ahead", said: message(&line), evidence: None, named: Vec::new() }
}

pub(crate) async fn a_second_block(liar: &str) -> Row {
    let mut scene = Scene::set(liar, Lie::Equivocation, 8, |text| text);
    scene.start_follower();
    scene.stage.cluster.wait_ready();
    scene.write(12).await;
    let line = scene.wait_said("signed two blocks for term");
    let named = scene.wait_evidence(&[FOLLOWER], EQUIVOCATION);
    assert!(named[0] == "guilty" && scene.leaders().contains(&named[1]) && named.len() == 2, "{named:?}");
    scene.says_what_to_do();
    Row {
        lie: "a second block for one place",
        said: message(&line),
        evidence: Some(EQUIVOCATION.to_owned()),
        named,
    }
}

pub(crate) async fn another_block_for_one_follower(liar: &str) -> Row {
    let mut scene = Scene::set(liar, Lie::AnotherBlock, 8, |text| text);
    scene.start_follower();
    scene.stage.cluster.wait_ready();
    scene.write(12).await;
    // It computes another root than the others sign, and stops: it is not healed.
    let fault = scene.stage.cluster.wait_unready(FOLLOWER, "diverged");
    // The node that stopped compares its blocks with the others': the leader's two signatures convict the leader.
    let named = scene.wait_evidence(&[FOLLOWER], EQUIVOCATION);
    assert!(named[0] == "guilty" && scene.leaders().contains(&named[1]) && named.len() == 2, "{named:?}");
    let status = scene.status_of(FOLLOWER);
    assert!(status["fault"].as_str().unwrap().starts_with("diverged"), "{status}");
    assert!(status["kept_evidence"]["directory"].as_str().unwrap().ends_with("evidence"), "{status}");
    // It was fed another block. If it signed what followed from it before it heard of the others' signatures, these keep a
    // disagreement that names two; nothing calls it guilty by itself.
    for evidence in evidence_anywhere(&scene.stage) {
        let (kind, named) = scene.stage.verify_elsewhere(&evidence, true);
        if kind == "disagreement" {
            assert_eq!((named[0].as_str(), named.len()), ("suspects", 3));
            assert!(named.contains(&"node/3".to_owned()), "{named:?}");
        }
        let guilty = named[0] == "guilty" && named.contains(&"node/3".to_owned());
        assert!(!guilty, "{kind}: {named:?}");
    }
    Row {
        lie: "a block different on each follower",
        said: fault,
        evidence: Some(EQUIVOCATION.to_owned()),
        named,
    }
}

pub(crate) async fn an_altered_snapshot(liar: &str) -> Row {
    let mut scene = Scene::set(liar, Lie::AlteredSnapshot, 0, small_logs);
    scene.write(150).await;
    scene.start_follower();
    let refused = scene.wait_said("a snapshot was refused");
    let ready = http::get(scene.stage.cluster.nodes[&FOLLOWER].http, "/readyz").unwrap();
    assert_ne!(ready.status, 200, "it has nothing to serve");
    scene.end_lies();
    scene.stage.cluster.wait_ready();
    believe(&scene.stage.honest("all")).await;
    Row { lie: "a snapshot with altered data", said: message(&refused), evidence: None, named: Vec::new() }
}
