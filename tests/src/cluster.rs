//! Runs a cluster of real processes on loopback, and kills them.
//!
//! Each cluster has a directory and ports of its own, so that tests run in parallel. Only processes that this harness
//! started are ever ended, and all of them end with it.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    fs,
    hash::{BuildHasher as _, Hasher as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use quorate_client::{Client, FileTrust};
use quorate_core::{checkpoint::Checkpoint, key::VerifierKey, policy::Policy};
use tempfile::TempDir;

use crate::{
    clock::now,
    http, oracle, process,
    shell::{Ran, Shell},
};

/// How long a cluster may take to become ready.
const READY_IN: Duration = Duration::from_secs(30);

/// The first port that nodes are given, and how many of them there are.
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 20_000;

/// The `quorate` binary: `QUORATE_BIN`, or the one beside the test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("QUORATE_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    folder.join("quorate")
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its configuration file.
    pub config: PathBuf,
    /// Where clients reach it.
    pub client: SocketAddr,
    /// Its HTTP port.
    pub http: SocketAddr,
    process: Option<Child>,
}

/// An invitation that was made.
#[derive(Debug)]
pub struct Invited {
    /// The file.
    pub file: PathBuf,
    client: u16,
    http: u16,
}

/// A cluster of real processes.
#[derive(Debug)]
pub struct Cluster {
    dir: TempDir,
    /// The nodes by id.
    pub nodes: BTreeMap<u64, Node>,
}

impl Cluster {
    /// A running cluster of `count` nodes with the default configuration.
    pub fn start(count: u64) -> Self {
        Self::start_with(count, |config| config)
    }

    /// A running cluster whose configuration files were changed by `change`.
    pub fn start_with(count: u64, change: impl Fn(String) -> String) -> Self {
        Self::start_after(count, change, |_| ())
    }

    /// The same; `prepared` is called when all files are made, before a node runs.
    pub fn start_after(count: u64, change: impl Fn(String) -> String, prepared: impl FnOnce(&Self)) -> Self {
        let mut cluster = Self::prepare(count);
        for node in cluster.nodes.values() {
            let text = fs::read_to_string(&node.config).expect("the configuration can be read");
            fs::write(&node.config, change(text)).expect("the configuration can be written");
        }
        prepared(&cluster);
        for id in 1..=count {
            cluster.start_node(id);
        }
        cluster.wait_ready();
        cluster
    }

    /// A cluster whose files are made and whose nodes do not run.
    pub fn prepare(count: u64) -> Self {
        Self::made_by(count, |out| {
            let mut init = Command::new(binary());
            init.args(["init", "--name", "test.example/cluster", "--out"]).arg(out);
            init
        })
    }

    /// The same, made by a command of which only the nodes are missing: `init`, or one that continues another cluster.
    pub fn made_by(count: u64, command: impl FnOnce(&Path) -> Command) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let out = dir.path().join("cluster");
        let mut init = command(&out);
        let mut nodes = BTreeMap::new();
        for id in 1..=count {
            let [client, peer, http] = free_ports();
            init.args(["--node", &format!("{id}=127.0.0.1:{client}:{peer}:{http}")]);
            let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let config = out.join(format!("node-{id}/quorate.toml"));
            nodes.insert(id, Node { config, client: address(client), http: address(http), process: None });
        }
        init.args(["--listen", "127.0.0.1"]);
        let made = init.output().expect("the quorate binary can be run (set QUORATE_BIN)");
        assert!(made.status.success(), "no cluster: {}", String::from_utf8_lossy(&made.stderr));
        Self { dir, nodes }
    }

    /// The folder with everything of the cluster.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("cluster")
    }

    /// Starts a node that does not run.
    pub fn start_node(&mut self, id: u64) {
        self.start_node_by(id, &mut Command::new(binary()));
    }

    /// Starts a node that does not run: this command is `quorate`, or whatever becomes it.
    pub fn start_node_by(&mut self, id: u64, program: &mut Command) {
        let log = self.log_file(id);
        let node = self.nodes.get_mut(&id).expect("a node of the cluster");
        let log = fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let process = program
            .args(["server", "--config"])
            .arg(&node.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the quorate binary can be run");
        node.process = Some(process);
    }

    /// Invites a node, as an operator does; gives its id and the file.
    pub fn invite(&self) -> (u64, Invited) {
        let [client, peer, http] = free_ports();
        let file = self.path().join(format!("invitation-{client}"));
        let host = format!("127.0.0.1:{client}:{peer}:{http}");
        let ran = Shell::of(self).operator().run([
            "member",
            "invite",
            "--authority",
            "authority",
            "--host",
            &host,
            "--out",
            &file.display().to_string(),
            "-o",
            "json",
        ]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let made: serde_json::Value = serde_json::from_str(&ran.stdout).expect("a document");
        let id = made["node"].as_str().and_then(|id| id.parse().ok()).expect("a node id");
        (id, Invited { file, client, http })
    }

    /// Has an invited node join; it belongs to the cluster then, and does not run.
    pub fn join(&mut self, id: u64, invited: &Invited) -> Ran {
        let dir = self.path().join(format!("node-{id}"));
        let (file, folder) = (invited.file.display().to_string(), dir.display().to_string());
        let ran = Shell::of(self).run(["join", "--invite", &file, "--dir", &folder]);
        if ran.code == 0 {
            self.joined(id, invited);
        }
        ran
    }

    /// A node has joined in its folder of this cluster; it belongs to the cluster now, and does not run.
    pub fn joined(&mut self, id: u64, invited: &Invited) {
        let config = self.path().join(format!("node-{id}/quorate.toml"));
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (client, http) = (address(invited.client), address(invited.http));
        self.nodes.insert(id, Node { config, client, http, process: None });
    }

    /// A new node that joined, runs, and has caught up.
    pub fn new_node(&mut self) -> u64 {
        self.new_node_with(|config| config)
    }

    /// The same, with a configuration changed by `change`.
    pub fn new_node_with(&mut self, change: impl Fn(String) -> String) -> u64 {
        let (id, invited) = self.invite();
        let ran = self.join(id, &invited);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let config = &self.nodes[&id].config;
        let text = fs::read_to_string(config).expect("the configuration can be read");
        fs::write(config, change(text)).expect("the configuration can be written");
        self.start_node(id);
        let ran = Shell::of(self).operator().run(["member", "add", &id.to_string(), "--wait", "30s"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        id
    }

    /// Starts a node that joined in another folder.
    pub fn adopt(&mut self, id: u64, config: PathBuf, ports: [u16; 3]) {
        let [client, _, http] = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        self.nodes.insert(id, Node { config, client, http, process: None });
        self.start_node(id);
    }

    /// Kills a node, if it runs, and takes it off the list; its files stay.
    pub fn forget(&mut self, id: u64) -> Option<Node> {
        self.kill(id);
        self.nodes.remove(&id)
    }

    /// The members as an operator sees them.
    pub fn members(&self) -> serde_json::Value {
        let ran = Shell::of(self).operator().run(["member", "list", "-o", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).expect("a document")
    }

    /// A policy that is met by `threshold` of all nodes that ever registered.
    pub fn policy_of_all(&self, threshold: usize) -> Policy {
        let members = self.members();
        let vkeys = members["members"].as_array().expect("members").iter();
        let keys: Vec<VerifierKey> = vkeys
            .map(|member| member["cosigner_vkey"].as_str().expect("a vkey"))
            .map(|vkey| VerifierKey::parse(vkey).expect("a vkey"))
            .collect();
        let policy = self.policy();
        let logs: Vec<&VerifierKey> = policy.logs().iter().map(|log| log.key()).collect();
        let first = Policy::k_of_n(logs[0], &keys, threshold).expect("a policy");
        let rest = logs[1..].iter().map(|log| format!("log {log}\n")).collect::<String>();
        Policy::parse(rest + &first.to_string()).expect("a policy")
    }

    /// Runs a node until it ends by itself, for nodes that must refuse to start.
    pub fn run_node(&self, id: u64) -> Output {
        let node = &self.nodes[&id];
        let mut server = Command::new(binary());
        process::output(server.args(["server", "--config"]).arg(&node.config), Duration::from_secs(20))
    }

    /// Kills a node with SIGKILL and waits until it is gone.
    pub fn kill(&mut self, id: u64) {
        if let Some(mut process) = self.nodes.get_mut(&id).and_then(|node| node.process.take()) {
            process.kill().expect("a process of ours can be killed");
            process.wait().expect("a killed process ends");
        }
    }

    /// Asks a node to stop with SIGTERM; its exit code, `None` if it did not end in good order by itself.
    pub fn terminate(&mut self, id: u64) -> Option<i32> {
        let mut process = self.nodes.get_mut(&id).and_then(|node| node.process.take())?;
        process::signal(&mut process, "TERM", Duration::from_secs(20)).code()
    }

    /// The process id of a node that runs.
    pub fn pid(&self, id: u64) -> u32 {
        self.nodes[&id].process.as_ref().expect("a node that runs").id()
    }

    /// The process id of a node, if it was started and not ended.
    pub fn running(&self, id: u64) -> Option<u32> {
        self.nodes.get(&id)?.process.as_ref().map(Child::id)
    }

    /// Waits until a node ends by itself; `None` if it does not within `limit`.
    pub fn wait_end(&mut self, id: u64, limit: Duration) -> Option<ExitStatus> {
        let node = self.nodes.get_mut(&id)?;
        if !process::wait(node.process.as_mut()?, limit) {
            return None;
        }
        node.process.take()?.wait().ok()
    }

    /// Whether a node's process runs.
    pub fn runs(&mut self, id: u64) -> bool {
        let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut());
        process.is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// Waits until every node that runs is ready.
    pub fn wait_ready(&self) {
        let start = now();
        for (id, node) in self.nodes.iter().filter(|(_, node)| node.process.is_some()) {
            loop {
                if http::get(node.http, "/readyz").is_ok_and(|answer| answer.status == 200) {
                    break;
                }
                assert!(
                    now() - start < READY_IN,
                    "node {id} is not ready after {READY_IN:?}:\n{}",
                    self.log(*id)
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Waits until a node is not ready for a reason that contains `words`, and gives the reason.
    pub fn wait_unready(&self, id: u64, words: &str) -> String {
        let start = now();
        let mut said = String::new();
        while now() - start < READY_IN {
            if let Ok(answer) = http::get(self.nodes[&id].http, "/readyz") {
                said = String::from_utf8_lossy(&answer.body).into_owned();
                if answer.status == 503 && said.contains(words) {
                    return said;
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("node {id} does not say {words:?}, but {said:?}:\n{}", self.log(id));
    }

    /// The file that a node's log is in.
    pub fn log_file(&self, id: u64) -> PathBuf {
        self.path().join(format!("node-{id}.log"))
    }

    /// The end of a node's log.
    pub fn log(&self, id: u64) -> String {
        let text = fs::read_to_string(self.log_file(id)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Size of the largest checkpoint that a running node shows of a ledger.
    pub fn size(&self, ledger: &str) -> u64 {
        let running = self.nodes.iter().filter(|(_, node)| node.process.is_some());
        running.map(|(id, _)| self.checkpoint(*id, ledger).size.get()).max().expect("a node that runs")
    }

    /// The newest certified checkpoint that a node shows of a ledger. A node that was just started asks the others for
    /// the cosignatures that it lacks, and shows none until it has them.
    pub fn checkpoint(&self, id: u64, ledger: &str) -> Checkpoint {
        let start = now();
        loop {
            let answer = http::get(self.nodes[&id].http, &format!("/{ledger}/checkpoint"));
            let answer = answer.expect("an answer over HTTP");
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            if answer.status == 200 {
                return oracle::checkpoint_of(&body).expect("a note of a checkpoint");
            }
            assert!(now() - start < READY_IN, "node {id} shows no checkpoint of {ledger}: {body}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The policy of the cluster: its ledgers `_system` and `default`.
    pub fn policy(&self) -> Policy {
        let read = |name: &str| {
            fs::read_to_string(self.path().join("client").join(name)).expect("a policy file made by init")
        };
        let logs: String =
            read("_system.policy").lines().filter(|l| l.starts_with("log ")).map(line).collect();
        Policy::parse(logs + &read("default.policy")).expect("the policy files of init are policies")
    }

    /// A client of all replicas, with a trust store in the directory `trust` of the cluster.
    pub fn client(&self, trust: &str) -> Client {
        self.client_by(self.policy(), trust)
    }

    /// The same by another policy.
    pub fn client_by(&self, policy: Policy, trust: &str) -> Client {
        let authority =
            fs::read(self.path().join("client/authority.crt")).expect("the authority's certificate");
        let store = FileTrust::open(self.path().join(trust)).expect("a trust store");
        Client::builder()
            .endpoints(self.nodes.values().map(|node| format!("https://{}", node.client)))
            .policy(policy)
            .ca_pem(authority)
            .trust(Arc::new(store))
            .timeout(Duration::from_secs(20))
            .build()
            .expect("a client")
    }

    /// A command of the command line for this cluster, with a trust store in the directory `trust` of the cluster.
    pub fn command(&self, trust: &str, args: &[&str]) -> Command {
        let client = self.path().join("client");
        let endpoints: Vec<String> =
            self.nodes.values().map(|node| format!("https://{}", node.client)).collect();
        let mut command = Command::new(binary());
        command.args(args).args(["--endpoints", &endpoints.join(",")]);
        for policy in ["_system.policy", "default.policy"] {
            command.arg("--policy").arg(client.join(policy));
        }
        command.arg("--cacert").arg(client.join("authority.crt"));
        command.arg("--trust-dir").arg(self.path().join(trust));
        command.env("QUORATE_CONFIG", self.path().join("no-contexts.toml")).stdin(Stdio::null());
        command
    }

    /// The id of the node that leads, as a majority of the nodes says. For a moment after a leader was killed the others
    /// still name it: a node that does not run is never the answer.
    pub async fn leader(&self, client: &Client) -> u64 {
        let start = now();
        loop {
            let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
            for (_, status) in client.status().await {
                if let Ok(status) = status
                    && self.nodes.get(&status.leader).is_some_and(|node| node.process.is_some())
                {
                    *votes.entry(status.leader).or_default() += 1;
                }
            }
            if let Some((leader, _)) = votes.into_iter().find(|(_, count)| *count > self.nodes.len() / 2) {
                return leader;
            }
            assert!(now() - start < READY_IN, "no leader after {READY_IN:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            if std::thread::panicking() {
                eprintln!("node {id}:\n{}", self.log(id));
            }
            self.kill(id);
        }
    }
}

/// For [`Cluster::start_with`]: thresholds with which every node flushes its state, and removes its log behind that,
/// after a few dozen entries.
///
/// # Panics
/// If the configuration has other defaults than this knows.
pub fn small_logs(text: String) -> String {
    let text = text.replace("snapshot_entries = 20000", "snapshot_entries = 40");
    let text = text.replace("kept_entries = 10000", "kept_entries = 20");
    assert!(text.contains("snapshot_entries = 40") && text.contains("kept_entries = 20"), "{text}");
    text
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

/// Ports that were free a moment ago, for a node or whatever a test starts beside it. They are below the range that the operating system takes for outgoing
/// connections: otherwise a client could sit on the port of a node that was killed and is to start again.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static BASE: LazyLock<u16> = LazyLock::new(|| {
        // Differs from process to process, so that tests that run at once look at different ports.
        let random = RandomState::new().build_hasher().finish() % u64::from(PORTS);
        u16::try_from(random).unwrap_or_default()
    });
    std::array::from_fn(|_| {
        let ports = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed));
        let mut ports =
            ports.map(|next| FIRST_PORT + BASE.wrapping_add(next) % PORTS).take(usize::from(PORTS));
        let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        ports.find(is_free).expect("a free port on loopback")
    })
}
