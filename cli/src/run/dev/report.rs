//! What `quorate dev` tells about the cluster it started.

use std::fmt::Write as _;
use std::path::Path;

use quorate_node::provision::OPERATOR;
use serde::Serialize;

use super::crew::{Death, Next};
use super::folder::DevNode;

/// The `dev` document.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    dir: String,
    /// The context that other commands use from now on.
    context: String,
    pub(super) endpoints: Vec<String>,
    pub(super) policies: Vec<String>,
    pub(super) cacert: String,
    /// Of an operator, with its key.
    pub(super) cert: String,
    pub(super) cert_key: String,
    pub(super) trust_dir: String,
    nodes: Vec<Node>,
    /// To be pasted into any other terminal.
    first_command: String,
}

/// A node of it.
#[derive(Debug, Serialize)]
struct Node {
    id: String,
    pid: u32,
    endpoint: String,
    http: String,
    config: String,
    data_dir: String,
    log: String,
    /// Starts this node again after it was stopped.
    restart_command: String,
}

impl Report {
    /// About the cluster in `dir`.
    pub(super) fn new<'a>(
        dir: &Path,
        context: &str,
        program: &str,
        nodes: impl Iterator<Item = (&'a DevNode, u32)>,
    ) -> Self {
        let client = dir.join("client");
        let nodes: Vec<Node> = nodes.map(|(node, pid)| describe(node, pid, program)).collect();
        Self {
            dir: dir.display().to_string(),
            context: context.to_owned(),
            endpoints: nodes.iter().map(|node| node.endpoint.clone()).collect(),
            policies: ["default", "_system"]
                .map(|l| client.join(format!("{l}.policy")).display().to_string())
                .to_vec(),
            cacert: client.join("authority.crt").display().to_string(),
            cert: dir.join(OPERATOR).join("operator.crt").display().to_string(),
            cert_key: dir.join(OPERATOR).join("operator.key").display().to_string(),
            trust_dir: dir.join("trust").display().to_string(),
            nodes,
            first_command: format!("{program} put greeting hello && {program} get greeting"),
        }
    }

    /// The same for people.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{} nodes are running, data in {}\n\n", self.nodes.len(), self.dir);
        for node in &self.nodes {
            let Node { id, pid, endpoint, http, .. } = node;
            writeln!(text, "  node {id}   {endpoint}   {http}   pid {pid}").unwrap_or(());
        }
        let policy = self.policies.first().map_or("", String::as_str);
        write!(
            text,
            "\n  policy   {policy}\n  context  {context}, the default from now on\n\n\
             In another terminal:\n\n  {command}\n\nCtrl-C stops the cluster; the same command continues it.\n",
            context = self.context,
            command = self.first_command
        )
        .unwrap_or(());
        text
    }
}

fn describe(node: &DevNode, pid: u32, program: &str) -> Node {
    Node {
        id: node.id.to_string(),
        pid,
        endpoint: format!("https://{}", node.client),
        http: format!("http://{}", node.http),
        config: node.config.display().to_string(),
        data_dir: node.data_dir.display().to_string(),
        log: node.log.display().to_string(),
        restart_command: restart(node, program),
    }
}

fn restart(node: &DevNode, program: &str) -> String {
    format!("{program} server --config {}", quoted(&node.config.display().to_string()))
}

/// A word for the shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// What is told about a node that died.
pub(super) fn death(death: &Death, program: &str) -> String {
    let Death { node, pid, how, last_words, next } = death;
    let mut text = format!("node {} (pid {pid}) has ended {how}", node.id);
    if !how.contains("signal") {
        write!(text, "; {} ends with:\n{last_words}", node.log.display()).unwrap_or(());
    }
    let by_hand = restart(node, program);
    match next {
        Next::Again(pause) => write!(text, "\nit is started again in {} s", pause.as_secs()),
        Next::Stays => write!(text, "\nto start it again, in another terminal:\n  {by_hand}"),
        Next::GivenUp(deaths) => write!(
            text,
            "\nit died {deaths} times within seconds of its start, so it is left alone; its log is {}; to start it again, in \
             another terminal:\n  {by_hand}",
            node.log.display()
        ),
    }
    .unwrap_or(());
    text
}

/// What is told about a node that was started again.
pub(super) fn restarted(id: u64, pid: u32) -> String {
    format!("node {id} runs again (pid {pid})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64) -> DevNode {
        let folder = format!("/d/node-{id}");
        DevNode {
            id,
            client: format!("127.0.0.1:74{id}0"),
            http: format!("127.0.0.1:74{id}2"),
            config: format!("{folder}/quorate.toml").into(),
            data_dir: format!("{folder}/data").into(),
            log: format!("{folder}/quorate.log").into(),
        }
    }

    #[test]
    fn the_document_keeps_its_fields_and_their_order() {
        let nodes = [node(1)];
        let report = Report::new(Path::new("/d"), "dev", "quorate", nodes.iter().map(|node| (node, 17)));
        let expected = r#"{
  "schema": 1,
  "kind": "dev",
  "dir": "/d",
  "context": "dev",
  "endpoints": [
    "https://127.0.0.1:7410"
  ],
  "policies": [
    "/d/client/default.policy",
    "/d/client/_system.policy"
  ],
  "cacert": "/d/client/authority.crt",
  "cert": "/d/operator/operator.crt",
  "cert_key": "/d/operator/operator.key",
  "trust_dir": "/d/trust",
  "nodes": [
    {
      "id": "1",
      "pid": 17,
      "endpoint": "https://127.0.0.1:7410",
      "http": "http://127.0.0.1:7412",
      "config": "/d/node-1/quorate.toml",
      "data_dir": "/d/node-1/data",
      "log": "/d/node-1/quorate.log",
      "restart_command": "quorate server --config /d/node-1/quorate.toml"
    }
  ],
  "first_command": "quorate put greeting hello && quorate get greeting"
}
"#;
        assert_eq!(crate::output::json::document("dev", &report).unwrap(), expected);
    }

    #[test]
    fn people_read_endpoints_pids_policy_and_a_first_command() {
        let nodes = [node(1), node(2)];
        let report = Report::new(Path::new("/d"), "dev", "quorate", nodes.iter().map(|node| (node, 17)));
        let text = report.text();
        for words in
            ["https://127.0.0.1:7420", "pid 17", "/d/client/default.policy", "\n  quorate put greeting hello"]
        {
            assert!(text.contains(words), "{words} is not in:\n{text}");
        }
    }

    #[test]
    fn a_death_comes_with_what_is_done_about_it() {
        let mut node = node(2);
        node.config = "/my data/quorate.toml".into();
        let told = |next| {
            let (how, last_words) = ("by signal 9".to_owned(), "x".to_owned());
            death(&Death { node: node.clone(), pid: 9, how, last_words, next }, "quorate")
        };
        let again = told(Next::Again(std::time::Duration::from_secs(4)));
        assert_eq!(again, "node 2 (pid 9) has ended by signal 9\nit is started again in 4 s");
        for next in [Next::Stays, Next::GivenUp(6)] {
            assert!(
                told(next).ends_with("quorate server --config '/my data/quorate.toml'"),
                "{}",
                told(next)
            );
        }
        assert!(told(Next::GivenUp(6)).contains("died 6 times"));
    }
}
