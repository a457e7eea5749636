//! `quorate-liar`: one lie, told by a process of its own.
//!
//! ```text
//! quorate-liar clients --lie NAME --config NODE.toml [--config ACCOMPLICE.toml]… --upstream HOST:PORT… [--key KEY]
//! quorate-liar peers   --lie NAME --config FOLLOWER.toml --config OTHER.toml… --listen HOST:PORT --to HOST:PORT
//!                      [--from-height N]
//! ```
//!
//! The first configuration is that of the node it stands for. It prints `listening HOST:PORT`, and runs until it is ended.

use std::{io::Write as _, path::PathBuf, process::ExitCode, sync::Arc};

use quorate_core::position::Micros;
use quorate_liar::{
    MARKER,
    between::{Between, Caller},
    front::Front,
    lie::Lie,
    notes::seconds,
    stolen::{Failure, Stolen},
    upstream::Upstream,
};
use quorate_node::{
    peer::{self, Handlers, Peers, SPOKEN, Wire},
    tls::{Limits, listen},
    upkeep::Refused,
};

/// Largest message between nodes.
const MESSAGE_BYTES: usize = 64 << 20;

/// What the command line says.
struct Arguments {
    side: String,
    lie: Lie,
    configs: Vec<PathBuf>,
    upstream: Vec<String>,
    key: String,
    listen: String,
    to: String,
    from_height: u64,
}

impl Arguments {
    fn read() -> Result<Self, Failure> {
        let mut words = std::env::args().skip(1);
        let mut arguments = Self {
            side: words.next().unwrap_or_default(),
            lie: Lie::None,
            configs: Vec::new(),
            upstream: Vec::new(),
            key: "k".to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            to: String::new(),
            from_height: 0,
        };
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} takes a value"))?;
            match name.as_str() {
                "--lie" => {
                    arguments.lie = Lie::named(&value).ok_or_else(|| format!("there is no lie {value}"))?
                }
                "--config" => arguments.configs.push(value.into()),
                "--upstream" => arguments.upstream.push(value),
                "--key" => arguments.key = value,
                "--listen" => arguments.listen = value,
                "--to" => arguments.to = value,
                "--from-height" => arguments.from_height = value.parse()?,
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        Ok(arguments)
    }
}

fn listening(address: std::net::SocketAddr) {
    println!("listening {address}");
    std::io::stdout().flush().ok();
}

async fn clients(arguments: Arguments, stolen: Vec<Stolen>) -> Result<(), Failure> {
    let tls =
        stolen.first().and_then(|node| node.config.tls.clone()).ok_or("the node has no certificates")?;
    let upstream = Upstream::new(&arguments.upstream, &tls.authority)?;
    let front = Front::new(arguments.lie, stolen, upstream, "default", &arguments.key).await?;
    let port = front.bind(&arguments.listen).await?;
    listening(port.local_addr());
    front.serve(port).await
}

async fn peers(arguments: Arguments, mut stolen: Vec<Stolen>) -> Result<(), Failure> {
    let now = Micros::from_secs(seconds()).ok_or("the clock is wrong")?;
    let follower = stolen.remove(0);
    let mut callers = Vec::new();
    for node in stolen {
        let peers = Peers::new(node.identity(), node.towards_nodes(now)?, MESSAGE_BYTES);
        peers.learn_address(follower.id, &arguments.to);
        callers.push(Caller { stolen: node, peers });
    }
    let security = follower.towards_nodes(now)?.listening();
    let port = listen("liar", &arguments.listen, security, Limits::default()).await?;
    listening(port.local_addr());
    let between = Between::new(arguments.lie, arguments.from_height, follower.id, callers);
    let handlers = Handlers {
        raft: between.clone(),
        cosign: between.clone(),
        enroll: between.clone(),
        members: between.clone(),
        blocks: Arc::new(between.clone()),
        gate: Arc::new(between),
        wire: Wire::new(follower.id, SPOKEN, Refused::default()),
    };
    let for_ever = std::future::pending::<()>();
    Ok(peer::serve(port.incoming(), follower.identity(), handlers, MESSAGE_BYTES, for_ever).await?)
}

fn main() -> ExitCode {
    let run = || -> Result<(), Failure> {
        let arguments = Arguments::read()?;
        let stolen =
            arguments.configs.iter().map(|path| Stolen::read(path)).collect::<Result<Vec<_>, _>>()?;
        if stolen.is_empty() {
            return Err("--config says whose keys".into());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        match arguments.side.as_str() {
            "clients" => runtime.block_on(clients(arguments, stolen)),
            "peers" => runtime.block_on(peers(arguments, stolen)),
            other => Err(format!("clients or peers, not {other:?}").into()),
        }
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{MARKER}\nquorate-liar: {error}");
            ExitCode::FAILURE
        }
    }
}
