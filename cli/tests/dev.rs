//! `quorate dev` and its nodes, as processes: what is started ends, what is killed comes back, what was written stays.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; they wait by the clock")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary, with its files of the user below `home`.
fn quorate(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    quorate(home).args(arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running `quorate dev`; killed when a test fails.
struct Dev {
    process: Child,
    document: Value,
}

impl Dev {
    /// Starts it and waits for its document.
    fn start(home: &Path, arguments: &[&str]) -> Self {
        let mut command = quorate(home);
        let mut process = command
            .args(["dev", "-o", "json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        for line in BufReader::new(process.stdout.as_mut().unwrap()).lines().map(Result::unwrap) {
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let document = serde_json::from_str(&text).unwrap_or_else(|_| {
            let mut errors = String::new();
            process.stderr.as_mut().unwrap().read_to_string(&mut errors).unwrap();
            panic!("quorate dev gave {text:?} and said: {errors}")
        });
        Self { process, document }
    }

    fn node(&self, number: usize, field: &str) -> String {
        let value = &self.document["nodes"][number][field];
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// Sends a signal and waits for the end; gives the exit code and what went to stderr.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        send(signal, self.process.id());
        let status = wait_for(|| self.process.try_wait().unwrap());
        let mut errors = String::new();
        self.process.stderr.as_mut().unwrap().read_to_string(&mut errors).unwrap();
        (status.code(), errors)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Its nodes end with it.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn send(signal: &str, pid: impl ToString) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// Tries until there is something.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "nothing after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a process has ended and been waited for.
fn is_gone(pid: &str) -> bool {
    !Path::new("/proc").join(pid).exists()
}

fn answers(http: &str) -> bool {
    TcpStream::connect(http.trim_start_matches("http://")).is_ok()
}

#[test]
fn a_killed_node_is_reported_comes_back_and_all_end_together() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("cluster").display().to_string();
    let dev = Dev::start(home.path(), &["--dir", &dir]);
    assert_eq!(dev.document["nodes"].as_array().unwrap().len(), 3);
    assert!(run(home.path(), &["put", "greeting", "hello"]).status.success(), "the context is the default");

    send("-9", dev.node(1, "pid"));
    wait_for(|| is_gone(&dev.node(1, "pid")).then_some(()));
    let put = run(home.path(), &["put", "greeting", "again"]);
    assert!(put.status.success(), "two of three go on: {}", errors(&put));
    let healthy = |node| run(home.path(), &["health", "--http", &dev.node(node, "http")]).status.success();
    wait_for(|| healthy(1).then_some(()));

    send("-TERM", dev.node(2, "pid"));
    // Its port closes first; its stores only when it has ended.
    wait_for(|| is_gone(&dev.node(2, "pid")).then_some(()));
    let put = run(home.path(), &["put", "greeting", "and again"]);
    assert!(put.status.success(), "the returned node is needed now: {}", errors(&put));
    let mut again = quorate(home.path());
    let mut again =
        again.args(["server", "--config", &dev.node(2, "config")]).stderr(Stdio::null()).spawn().unwrap();
    wait_for(|| healthy(2).then_some(()));
    send("-TERM", again.id());
    assert_eq!(wait_for(|| again.try_wait().unwrap()).code(), Some(0), "a server stops in good order");

    let (restart, https) = (dev.node(2, "restart_command"), [0, 1].map(|node| dev.node(node, "http")));
    let (code, errors) = dev.end("-INT");
    assert_eq!(code, Some(0), "{errors}");
    for words in ["node 2 ", "signal 9", "started again in 2 s", "node 2 runs again", "exit code 0", &restart]
    {
        assert!(errors.contains(words), "{words} is not in: {errors}");
    }
    assert!(!https.iter().any(|http| answers(http)), "its nodes have ended");

    let dev = Dev::start(home.path(), &["--dir", &dir]);
    assert_eq!(https, [0, 1].map(|node| dev.node(node, "http")), "ports are kept");
    let get = run(home.path(), &["get", "greeting", "--raw"]);
    assert_eq!(get.stdout, b"and again", "data is kept: {}", self::errors(&get));
}

#[test]
fn nodes_end_even_when_dev_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("cluster").display().to_string();
    let dev = Dev::start(home.path(), &["--dir", &dir, "--nodes", "1"]);
    let http = dev.node(0, "http");
    let second = run(home.path(), &["dev", "--dir", &dir]);
    assert_eq!(second.status.code(), Some(2));
    assert!(errors(&second).contains("running already"), "{}", errors(&second));
    assert_eq!(dev.end("-9").0, None);
    wait_for(|| (!answers(&http)).then_some(()));
}

#[test]
fn what_is_wrong_with_a_node_is_said_and_nothing_is_started() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("c").display().to_string();
    let init =
        run(home.path(), &["init", "--name", "test.example/c", "--node", "1=127.0.0.1", "--out", &out]);
    assert!(init.status.success(), "{}", errors(&init));
    let config = format!("{out}/node-1/quorate.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    for (from, to, code, words) in [
        ("id = 1", "id = \"one\"", 2, "node.id"),
        ("heartbeat_ms", "hartbeat_ms", 2, "did you mean \"heartbeat_ms\""),
        ("filter = \"", "filter = \"x=loud,", 2, "log.filter"),
        ("keys/block.key", "keys/log.secret", 1, "not the block key of node 1"),
        ("tls/server.crt", "tls/none.crt", 1, "none.crt"),
    ] {
        std::fs::write(&config, good.replace(from, to)).unwrap();
        let output = run(home.path(), &["server", "--config", &config]);
        assert_eq!(output.status.code(), Some(code), "{to}: {}", errors(&output));
        assert!(errors(&output).contains(words), "{to}: {}", errors(&output));
    }
    assert!(!Path::new(&format!("{out}/node-1/data/log")).exists(), "nothing was made");
    let second =
        run(home.path(), &["init", "--name", "test.example/c", "--node", "1=127.0.0.1", "--out", &out]);
    assert_eq!(second.status.code(), Some(2));
    assert!(errors(&second).contains("already holds a cluster"), "{}", errors(&second));
}
