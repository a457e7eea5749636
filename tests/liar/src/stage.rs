//! Real nodes, a lying process beside them, and real clients in front: what the scenarios share.

use std::{
    error::Error as _,
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use quorate_client::{CheckpointOptions, Client, Error, Evidence, FileTrust, Ledger, Policy, Transaction};
use quorate_tests::{cluster::Cluster, process, shell::Ran};
use tempfile::TempDir;

use crate::{lie::Lie, row::Row};

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Three real nodes, and folders of our own for what clients remember.
#[derive(Debug)]
pub struct Stage {
    /// The nodes.
    pub cluster: Cluster,
    home: TempDir,
    /// The program that lies.
    liar: PathBuf,
}

/// A lying process. It ends with this value.
#[derive(Debug)]
pub struct Liar {
    process: Child,
    /// Where it is reached.
    pub address: SocketAddr,
    // Kept open: it says there when it lied.
    _said: BufReader<ChildStdout>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        // It may have ended by itself, which the scenario notices.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Stage {
    /// Three running nodes; `liar` is the program `quorate-liar`.
    pub fn start(liar: &str) -> Self {
        Self::with(Cluster::start(3), liar)
    }

    /// A cluster that is there.
    pub fn with(cluster: Cluster, liar: &str) -> Self {
        Self { cluster, home: tempfile::tempdir().expect("a folder"), liar: liar.into() }
    }

    /// The configuration of a node: where its keys are.
    pub fn config(&self, id: u64) -> PathBuf {
        self.cluster.nodes[&id].config.clone()
    }

    /// A folder beside those of the cluster.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A client of these addresses, with a trust store of its own.
    pub fn client(&self, endpoints: &[SocketAddr], policy: Policy, trust: &str) -> Client {
        let authority = fs::read(self.cluster.path().join("client/authority.crt")).expect("the authority");
        Client::builder()
            .endpoints(endpoints.iter().map(|address| format!("https://{address}")))
            .policy(policy)
            .ca_pem(authority)
            .trust(Arc::new(FileTrust::open(self.folder(trust)).expect("a trust store")))
            .timeout(LIMIT)
            .build()
            .expect("a client")
    }

    /// A client of the honest nodes.
    pub fn honest(&self, trust: &str) -> Client {
        let endpoints: Vec<_> = self.cluster.nodes.values().map(|node| node.client).collect();
        self.client(&endpoints, self.cluster.policy(), trust)
    }

    /// A client that knows the liar alone.
    pub fn deceived(&self, liar: &Liar, trust: &str) -> Client {
        self.client(&[liar.address], self.cluster.policy(), trust)
    }

    /// Starts the liar towards clients, with the keys of these nodes; it stands for the first.
    pub fn lie(&self, lie: Lie, nodes: &[u64]) -> Liar {
        let configs: Vec<PathBuf> = nodes.iter().map(|id| self.config(*id)).collect();
        self.lie_with(lie, &configs)
    }

    /// The same with the configurations of nodes, which may be members no more.
    pub fn lie_with(&self, lie: Lie, configs: &[PathBuf]) -> Liar {
        let mut command = Command::new(&self.liar);
        command.args(["clients", "--lie", lie.name()]);
        for config in configs {
            command.arg("--config").arg(config);
        }
        for node in self.cluster.nodes.values() {
            command.args(["--upstream", &node.client.to_string()]);
        }
        run(command)
    }

    /// Starts the liar between the other nodes and the node `follower`, which listens at `to`.
    pub fn lie_between(&self, lie: Lie, follower: u64, (listen, to): (u16, u16), from_height: u64) -> Liar {
        let mut command = Command::new(&self.liar);
        command.args(["peers", "--lie", lie.name()]);
        command.arg("--config").arg(self.config(follower));
        for id in self.cluster.nodes.keys().filter(|id| **id != follower) {
            command.arg("--config").arg(self.config(*id));
        }
        command.args(["--listen", &format!("127.0.0.1:{listen}"), "--to", &format!("127.0.0.1:{to}")]);
        command.args(["--from-height", &from_height.to_string()]);
        run(command)
    }

    /// Evidence, checked in an empty folder with nothing but the policy (and, for blocks, the cluster file): its kind, and
    /// whom it names.
    pub fn verify_elsewhere(&self, evidence: &str, with_block_keys: bool) -> (String, Vec<String>) {
        let elsewhere = tempfile::tempdir().expect("an empty folder");
        let at = |name: &str| elsewhere.path().join(name);
        fs::write(at("evidence.json"), evidence).expect("a file");
        fs::copy(self.cluster.path().join("client/default.policy"), at("default.policy"))
            .expect("the policy");
        let mut command = Command::new(quorate_tests::cluster::binary());
        command.args(["evidence", "verify", "evidence.json", "--policy", "default.policy", "-o", "json"]);
        if with_block_keys {
            fs::copy(self.cluster.path().join("node-1/cluster.toml"), at("cluster.toml"))
                .expect("the cluster file");
            command.args(["--cluster-file", "cluster.toml"]);
        }
        command.current_dir(elsewhere.path()).env_clear().env("HOME", elsewhere.path());
        let ran = Ran::from(process::output(&mut command, LIMIT));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let document: serde_json::Value = serde_json::from_str(&ran.stdout).expect("json");
        let keys = document["keys"].as_array().into_iter().flatten();
        let keys = keys.filter_map(|key| key.as_str()).map(short);
        let verdict = document["verdict"].as_str().unwrap_or_default().to_owned();
        let lie = document["lie"].as_str().unwrap_or_default().to_owned();
        (lie, std::iter::once(verdict).chain(keys).collect())
    }

    /// The line of a lie that a client refused with this error.
    ///
    /// # Panics
    /// If the error is no doubt in what was answered.
    pub fn refused(&self, lie: &'static str, error: &Error) -> Row {
        assert!(error.is_untrusted(), "{lie}: {error}");
        let evidence =
            error.evidence().map(|evidence: &Evidence| self.verify_elsewhere(&evidence.to_json(), false));
        let (evidence, named) = evidence.map_or((None, Vec::new()), |(kind, named)| (Some(kind), named));
        let said = story(error);
        // Which address it came from says nothing here.
        let said = said.split_once(" is not believed: ").map_or(said.as_str(), |(_, why)| why).to_owned();
        Row { lie, said, evidence, named }
    }
}

/// The last part of a key's name: `node/2`; the first digits of a block key.
fn short(key: &str) -> String {
    match key.rsplit_once("/node/") {
        Some((_, id)) => format!("node/{id}"),
        None => key.chars().take("block key ".len() + 12).collect(),
    }
}

/// An error with its causes.
fn story(error: &Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}

fn run(mut command: Command) -> Liar {
    let mut process = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut said = BufReader::new(process.stdout.take().expect("its output"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("listening ").and_then(|address| address.parse().ok());
    let address = address.unwrap_or_else(|| panic!("{command:?} says {line:?}"));
    Liar { process, address, _said: said }
}

/// Writes a key.
pub async fn put(ledger: &Ledger, key: &str, value: &str) -> u64 {
    let written = ledger.commit(Transaction::new().put(key.to_owned(), value.to_owned())).await;
    written.unwrap_or_else(|error| panic!("put {key}: {error}")).index.get()
}

/// Believes the newest checkpoint, with the cosignatures of all three.
pub async fn believe(client: &Client) -> u64 {
    let all = CheckpointOptions::latest().min_cosigners(3).wait(LIMIT);
    let believed = client.ledger("default").checkpoint(all).await;
    believed.unwrap_or_else(|error| panic!("a checkpoint: {error}")).checkpoint().size.get()
}

/// The evidence files of a node.
pub fn evidence_of(node: &Path) -> Vec<PathBuf> {
    let config = fs::read_to_string(node.join("quorate.toml")).unwrap_or_default();
    let data = config.lines().find_map(|line| line.strip_prefix("data_dir = ")).unwrap_or_default();
    let directory = node.join(data.trim_matches('"')).join("evidence");
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    listener.local_addr().expect("its address").port()
}
