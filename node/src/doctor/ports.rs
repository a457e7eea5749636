//! The ports: used by this node while it runs, free otherwise, and where the cluster file says.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use quorate_core::position::NodeId;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::Finding;
use crate::{cluster::Cluster, config::NodeConfig};

/// How long a port may take to answer.
const ANSWERS_IN: Duration = Duration::from_secs(2);

pub(super) async fn examine(config: &NodeConfig, cluster: &Cluster) -> Vec<Finding> {
    let listen = &config.listen;
    let mut found = Vec::new();
    let running = runs(listen.http).await;
    let state = if running { "this node runs" } else { "this node does not run" };
    found.push(Finding::ok("process", listen.http.to_string(), state));
    for (name, address) in
        [("client port", listen.client), ("peer port", listen.peer), ("HTTP port", listen.http)]
    {
        found.push(if running { answers(name, reachable(address)).await } else { is_free(name, address) });
    }
    if let Some(member) = cluster.members.get(&NodeId::new(config.node.id)) {
        for (name, told, address) in
            [("client address", &member.client, listen.client), ("peer address", &member.peer, listen.peer)]
        {
            found.push(same_port(name, told, address));
        }
    }
    found
}

/// Whether a node answers `/livez` there.
pub async fn runs(http: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(reachable(http)).await?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.ends_with(b" 200"))
    };
    matches!(tokio::time::timeout(ANSWERS_IN, ask).await, Ok(Ok(true)))
}

/// An address to dial for one that is listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

async fn answers(name: &'static str, address: SocketAddr) -> Finding {
    match tokio::time::timeout(ANSWERS_IN, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Finding::ok(name, address.to_string(), "it takes connections"),
        Ok(Err(error)) => {
            let next = "look at the log of this node, and at what a firewall does on this machine";
            Finding::fail(name, address.to_string(), format!("it takes no connections: {error}"), next)
        }
        Err(_) => {
            Finding::fail(name, address.to_string(), "it does not answer", "look at the log of this node")
        }
    }
}

fn is_free(name: &'static str, address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(name, address.to_string(), "it is free"),
        Err(error) => {
            let next = format!("`ss -ltnp 'sport = :{}'` shows who has it", address.port());
            Finding::fail(name, address.to_string(), error, next)
        }
    }
}

/// Others dial what the cluster file says; a difference is right only where something forwards.
fn same_port(name: &'static str, told: &str, listens: SocketAddr) -> Finding {
    let port = told.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port == Some(listens.port()) {
        return Finding::ok(name, told, format!("this node listens on port {}", listens.port()));
    }
    let found = format!("others dial {told}, and this node listens on port {}", listens.port());
    let next = "correct [listen], unless something forwards from the one to the other";
    Finding::warn(name, told, found, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[tokio::test]
    async fn a_port_that_is_taken_and_one_that_differs_are_found() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(is_free("client port", address).verdict, Verdict::Fail);
        assert_eq!(answers("client port", address).await.verdict, Verdict::Ok);
        assert!(!runs(address).await, "whoever listens there is no node");
        drop(taken);
        assert_eq!(is_free("client port", address).verdict, Verdict::Ok);
        assert_eq!(answers("client port", address).await.verdict, Verdict::Fail);
        let at = SocketAddr::from(([0, 0, 0, 0], 7400));
        assert_eq!(same_port("client address", "host:7400", at).verdict, Verdict::Ok);
        assert_eq!(same_port("client address", "[::1]:7410", at).verdict, Verdict::Warn);
    }
}
