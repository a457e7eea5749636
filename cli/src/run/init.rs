//! `quorate init`: the files of a cluster of several machines.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use quorate_node::cluster::{Cluster, SettingsFile};
use quorate_node::provision::{CONFIG_FILE, NodePlan, OPERATOR, Plan, provision};
use serde::Serialize;

use crate::clock;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;

/// Ports of a node where none are given: for clients, for nodes, HTTP.
const PORTS: [u16; 3] = [7400, 7401, 7402];

/// Make the keys, certificates and configurations of a new cluster
///
/// Makes one folder per node, to be copied to its machine, one for clients, one for operators, and one for the certificate
/// authority, whose key belongs on no node. Nothing is ever overwritten. docs/operations/three-machines.md goes through it all.
///
///   quorate init --name ledger.example/prod --out cluster \
///     --node 1=ledger-1.example --node 2=ledger-2.example --node 3=ledger-3.example
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Name of the cluster, part of everything it signs: a domain of yours and a path
    #[arg(long, value_name = "NAME")]
    name: String,

    #[command(flatten)]
    nodes: Nodes,

    /// Folder to make the files in
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// The nodes of a cluster that is made.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Nodes {
    /// A node: its id, from 1, and the host name or address under which all others reach it; then its ports for
    /// clients, nodes and HTTP [default: 7400:7401:7402]
    #[arg(long = "node", value_name = "ID=HOST[:CLIENT[:PEER[:HTTP]]]", required = true, value_parser = NodeSpec::parse)]
    nodes: Vec<NodeSpec>,

    /// Address the nodes listen on [default: all of the machine, or HOST if it is a loopback address]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<IpAddr>,

    /// Data directory on the nodes; a relative one is below the node's folder
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
}

impl Nodes {
    /// What the cluster is to be.
    pub(crate) fn plan(&self, name: String, settings: SettingsFile) -> Plan {
        let nodes = self.nodes.iter().map(|node| node.plan(self.listen)).collect();
        Plan { name, nodes, data_dir: self.data_dir.clone(), settings }
    }
}

/// What to do with the files of a cluster that was made, for people.
pub(crate) fn next_steps(out: &Path, nodes: &Nodes, cluster: &Cluster) -> String {
    let plan = nodes.plan(cluster.origin.name().to_owned(), SettingsFile::default());
    let made = made(out, &plan, cluster);
    let text = text(&made, &program());
    text.split_once("\n\n").map_or_else(|| text.clone(), |(_, steps)| steps.to_owned())
}

/// A `--node`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeSpec {
    id: u64,
    host: String,
    ports: [u16; 3],
}

impl NodeSpec {
    /// Reads `ID=HOST[:CLIENT[:PEER[:HTTP]]]`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (id, rest) = text.split_once('=').ok_or("expected ID=HOST, such as 1=ledger-1.example")?;
        let id = id
            .parse()
            .ok()
            .filter(|id| *id > 0)
            .ok_or_else(|| format!("{id:?} is no node id: ids start at 1"))?;
        let (host, ports) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, ports) = rest.split_once(']').ok_or("the ] after the address is missing")?;
                (
                    host,
                    ports.strip_prefix(':').or(ports.is_empty().then_some("")).ok_or("expected : after ]")?,
                )
            }
            None => rest.split_once(':').unwrap_or((rest, "")),
        };
        if host.is_empty() || host.contains(['/', ' ', '@']) {
            return Err(format!("{host:?} is no host name or address"));
        }
        let mut node = Self { id, host: host.to_owned(), ports: PORTS };
        let given: Vec<&str> = ports.split(':').filter(|port| !port.is_empty()).collect();
        if given.len() > PORTS.len() || ports.split(':').count() > given.len().max(1) {
            return Err("expected up to three ports, CLIENT:PEER:HTTP; IPv6 addresses are written as [::1]"
                .to_owned());
        }
        for (slot, port) in node.ports.iter_mut().zip(given) {
            *slot =
                port.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("{port:?} is no port"))?;
        }
        Ok(node)
    }

    /// A loopback address is used by several nodes of one machine, so each listens on its own.
    pub(crate) fn plan(&self, listen: Option<IpAddr>) -> NodePlan {
        let own = self.host.parse::<IpAddr>().ok().filter(IpAddr::is_loopback);
        let listen = listen.or(own).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let [client_port, peer_port, http_port] = self.ports;
        NodePlan { id: self.id, host: self.host.clone(), listen, client_port, peer_port, http_port }
    }
}

/// `init`: what was made.
#[derive(Debug, Serialize)]
struct Made {
    cluster: String,
    name: String,
    out: String,
    endpoints: Vec<String>,
    policies: Vec<String>,
    cacert: String,
    cert: String,
    cert_key: String,
    nodes: Vec<MadeNode>,
}

/// A node of it.
#[derive(Debug, Serialize)]
struct MadeNode {
    id: String,
    host: String,
    folder: String,
    config: String,
}

/// Makes the files.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let plan = args.nodes.plan(args.name.clone(), SettingsFile::default());
    let cluster = provision(&plan, &args.out, clock::now())
        .map_err(|error| CliError::usage(error.to_string(), "`quorate init --help` shows an example"))?;
    global.output().result("init", &made(&args.out, &plan, &cluster), |made| text(made, &program()))?;
    Ok(Exit::Done)
}

fn made(out: &Path, plan: &Plan, cluster: &Cluster) -> Made {
    let show = |path: &[&str]| {
        path.iter().fold(out.to_owned(), |folder, name| folder.join(name)).display().to_string()
    };
    let node = |node: &NodePlan| {
        let folder = format!("node-{}", node.id);
        MadeNode {
            id: node.id.to_string(),
            host: node.host.clone(),
            folder: show(&[&folder]),
            config: show(&[&folder, CONFIG_FILE]),
        }
    };
    Made {
        cluster: cluster.id.to_string(),
        name: plan.name.clone(),
        out: out.display().to_string(),
        endpoints: cluster.members.values().map(|member| format!("https://{}", member.client)).collect(),
        policies: ["default", "_system"]
            .map(|ledger| show(&["client", &format!("{ledger}.policy")]))
            .to_vec(),
        cacert: show(&["client", "authority.crt"]),
        cert: show(&[OPERATOR, "operator.crt"]),
        cert_key: show(&[OPERATOR, "operator.key"]),
        nodes: plan.nodes.iter().map(node).collect(),
    }
}

/// How this program was called.
pub(super) fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "quorate".to_owned())
}

fn text(made: &Made, program: &str) -> String {
    let mut text = format!("cluster {} ({}) in {}\n\n", made.name, made.cluster, made.out);
    let mut line = |words: String| writeln!(text, "{words}").unwrap_or(());
    line("Each node's folder holds its secret keys. Copy it to its machine, and start it there:".to_owned());
    for node in &made.nodes {
        line(format!("  scp -rp {} {}:", node.folder, node.host));
        line(format!("  {program} server --config node-{}/{CONFIG_FILE}        # on {}", node.id, node.host));
    }
    line("\nClients need the folder client, which holds nothing secret, and then:".to_owned());
    line(format!("  export QUORATE_ENDPOINTS={}", made.endpoints.join(",")));
    line(format!("  export QUORATE_POLICY={}", made.policies.join(",")));
    line(format!("  export QUORATE_CACERT={}", made.cacert));
    line(format!("  {program} put greeting hello"));
    line(format!("\nWho has {}/{OPERATOR} may add and remove nodes: `{program} member --help`.", made.out));
    line(format!("Keep {}/authority off the nodes: its key makes certificates for new ones.", made.out));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> (u64, String, [u16; 3]) {
        let spec = NodeSpec::parse(text).unwrap();
        (spec.id, spec.host, spec.ports)
    }

    #[test]
    fn ports_that_are_not_given_are_the_usual_ones() {
        assert_eq!(spec("1=ledger-1.example"), (1, "ledger-1.example".to_owned(), PORTS));
        assert_eq!(spec("2=10.0.0.2:8000"), (2, "10.0.0.2".to_owned(), [8000, 7401, 7402]));
        assert_eq!(spec("3=host:1:2:3"), (3, "host".to_owned(), [1, 2, 3]));
        assert_eq!(spec("4=[::1]"), (4, "::1".to_owned(), PORTS));
        assert_eq!(spec("5=[2001:db8::5]:8000:8001"), (5, "2001:db8::5".to_owned(), [8000, 8001, 7402]));
    }

    #[test]
    fn what_is_no_node_is_refused_with_the_reason() {
        for (wrong, word) in [
            ("ledger-1", "ID=HOST"),
            ("0=host", "start at 1"),
            ("one=host", "\"one\""),
            ("1=", "no host"),
            ("1=https://host", "port"),
            ("1=host:0", "\"0\""),
            ("1=host:70000", "\"70000\""),
            ("1=host:1:2:3:4", "three ports"),
            ("1=2001:db8::5", "[::1]"),
            ("1=[::1", "]"),
        ] {
            let error = NodeSpec::parse(wrong).unwrap_err();
            assert!(error.contains(word), "{wrong}: {error}");
        }
    }

    #[test]
    fn nodes_of_one_machine_listen_on_their_own_loopback_address() {
        let listen = |text, listen| NodeSpec::parse(text).unwrap().plan(listen).listen.to_string();
        assert_eq!(listen("1=127.0.1.1", None), "127.0.1.1");
        assert_eq!(listen("1=10.0.0.1", None), "0.0.0.0");
        assert_eq!(listen("1=ledger-1.example", None), "0.0.0.0");
        assert_eq!(listen("1=127.0.1.1", Some("0.0.0.0".parse().unwrap())), "0.0.0.0");
    }

    #[test]
    fn what_is_printed_names_every_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = ["1=a.example", "2=b.example", "3=c.example"]
            .map(|text| NodeSpec::parse(text).unwrap().plan(None));
        let plan = Plan {
            name: "ledger.example/prod".to_owned(),
            nodes: nodes.to_vec(),
            data_dir: "data".into(),
            settings: SettingsFile::default(),
        };
        let out = dir.path().join("cluster");
        let cluster = provision(&plan, &out, clock::now()).unwrap();
        let made = made(Path::new("cluster"), &plan, &cluster);
        let text = text(&made, "quorate");
        for words in [
            "scp -rp cluster/node-2 b.example:",
            "quorate server --config node-2/quorate.toml",
            "QUORATE_ENDPOINTS=https://a.example:7400,https://b.example:7400,https://c.example:7400",
            "QUORATE_POLICY=cluster/client/default.policy,cluster/client/_system.policy",
        ] {
            assert!(text.contains(words), "{words} is not in:\n{text}");
        }
        for file in
            made.policies.iter().chain([&made.cacert]).chain(made.nodes.iter().map(|node| &node.config))
        {
            assert!(dir.path().join(file).is_file(), "{file} was not made");
        }
    }
}
