//! A cluster of one node, as `quorate init` makes it and `quorate server` runs it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary, with its files of the user below `home`.
fn quorate(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// A node that runs; killed when this is dropped.
pub(crate) struct Server {
    process: Child,
    home: PathBuf,
    /// The folder that `init` made.
    pub(crate) folder: PathBuf,
    ports: [u16; 3],
}

impl Server {
    /// A new cluster `name` below `home`.
    pub(crate) fn start(home: &Path, name: &str) -> Self {
        Self::start_with(home, name, |config| config)
    }

    /// The same, with its configuration changed.
    pub(crate) fn start_with(home: &Path, name: &str, change: impl Fn(String) -> String) -> Self {
        let ports = free_ports();
        let folder = init(home, name, ports);
        configure(&folder, change);
        Self::run(home, folder, ports)
    }

    /// Kills the node, changes its configuration and starts it again.
    #[allow(dead_code, reason = "not every test does it")]
    pub(crate) fn restart_with(mut self, change: impl Fn(String) -> String) -> Self {
        self.kill();
        configure(&self.folder, change);
        Self::run(&self.home.clone(), self.folder.clone(), self.ports)
    }

    /// Stops this node, and starts it and a copy of it, which has the same keys and data and other ports.
    #[allow(dead_code, reason = "not every test does it")]
    pub(crate) fn split(mut self, name: &str) -> (Self, Self) {
        self.kill();
        let (home, folder, ports) = (self.home.clone(), self.folder.clone(), self.ports);
        let copy = home.join(name);
        let copied = Command::new("cp").arg("-rp").args([&folder, &copy]).status();
        assert!(copied.unwrap().success());
        let others = free_ports();
        let moved =
            |text: String, (old, new): (&u16, u16)| text.replace(&format!(":{old}\""), &format!(":{new}\""));
        configure(&copy, |text| ports.iter().zip(others).fold(text, moved));
        (Self::run(&home, folder, ports), Self::run(&home, copy, others))
    }

    fn run(home: &Path, folder: PathBuf, ports: [u16; 3]) -> Self {
        let process = quorate(home)
            .args(["server", "--config"])
            .arg(folder.join("node-1/quorate.toml"))
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let server = Self { process, home: home.to_owned(), folder, ports };
        let http = format!("127.0.0.1:{}", ports[2]);
        wait_for(|| {
            let health = quorate(home).args(["health", "--http", &http]).output();
            health.unwrap().status.success().then_some(())
        });
        server
    }

    /// The address of its client port.
    pub(crate) fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports[0])
    }

    /// Runs a command against this node, believing the authority of the cluster in `folder`.
    pub(crate) fn command(&self, folder: &Path, arguments: &[&str]) -> Output {
        let client = self.folder.join("client");
        let policy = format!("{0}/default.policy,{0}/_system.policy", client.display());
        let mut command = quorate(&self.home);
        command.args(arguments).env("QUORATE_ENDPOINTS", self.endpoint()).env("QUORATE_POLICY", policy);
        command.env("QUORATE_CACERT", folder.join("client/authority.crt")).env("QUORATE_TIMEOUT", "5s");
        command.output().unwrap()
    }

    /// Sends SIGHUP.
    #[allow(dead_code, reason = "not every test does it")]
    pub(crate) fn hang_up(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    /// The value of a metric, if it is there.
    #[allow(dead_code, reason = "not every test does it")]
    pub(crate) fn metric(&self, name: &str) -> Option<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[2])).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    }

    fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn configure(folder: &Path, change: impl Fn(String) -> String) {
    let config = folder.join("node-1/quorate.toml");
    fs::write(&config, change(fs::read_to_string(&config).unwrap())).unwrap();
}

/// Makes the files of a cluster of one node; gives its folder.
pub(crate) fn init(home: &Path, name: &str, [client, peer, http]: [u16; 3]) -> PathBuf {
    let out = home.join(name);
    let node = format!("1=127.0.0.1:{client}:{peer}:{http}");
    let mut command = quorate(home);
    let made =
        command.args(["init", "--name", "test.example/c", "--node", &node, "--out"]).arg(&out).output();
    assert!(made.unwrap().status.success());
    out
}

fn free_ports() -> [u16; 3] {
    let held = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Tries until there is something.
pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "nothing after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
