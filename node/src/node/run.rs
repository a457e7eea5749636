//! Starts a node, serves, and stops it in good order.

use std::{future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use quorate_core::position::NodeId;
use tokio::{sync::Notify, task::JoinSet};

use super::{
    admission::{self, AdmissionError},
    door::Door,
    found::Founder,
    open::{self, NodeKeys, OpenError, Stores, Wires},
    register::{Register, RegisterError},
    stopped::{self, Doors, Who},
};
use crate::{
    api::{Absence, Api, ApiParts, LeaderContact, Listening, NodeBackend},
    chain::Chain,
    clock::Clock,
    cluster::Cluster,
    config::NodeConfig,
    consensus::{Consensus, ConsensusConfig, Member, MembershipError, StartError},
    disk::DiskGuard,
    evidence::EvidenceFiles,
    health::Health,
    http,
    machine::StateMachine,
    peer::Peers,
    sequencer::{Sequencer, SequencerParts},
    signer::{Signer, SignerParts, intake},
    store::{faults::StoreFault, log::LogStore, state::StateStore},
    tls::{self, ListenError, Listener, PeerIdentity, PeerSecurity, Reloader, Security},
};

/// How long calls under way may take when the node stops.
pub(super) const DRAIN: Duration = Duration::from_secs(3);

/// A start that waits for other nodes for longer says so to clients and monitoring.
const SILENT_START: Duration = Duration::from_secs(5);

/// Connections of other nodes.
const PEER_CONNECTIONS: usize = 64;

/// Connections of the HTTP port.
const HTTP_CONNECTIONS: usize = 512;

/// Why a node did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What it is made of cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A port cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Consensus did not start.
    #[error(transparent)]
    Consensus(#[from] StartError),
    /// This node must not take part.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// What is noted of the starts of nodes.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// What this node promised contradicts what it stored.
    #[error("{0}")]
    Signer(String),
    /// The cluster could not be made.
    #[error("the cluster could not be made: {0}")]
    Initialize(MembershipError),
    /// The state could not be flushed at the end; it is rebuilt at the next start.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl RunError {
    /// Whether this node's files are wrong for good, so that starting it again cannot help.
    fn is_damage(&self) -> bool {
        match self {
            Self::Open(OpenError::Log(fault)) => fault.is_damage(),
            Self::Open(OpenError::State(error)) => error.is_damage(),
            Self::Open(OpenError::Incomplete { .. }) | Self::Signer(_) => true,
            Self::Admission(AdmissionError::Lost { .. }) => true,
            Self::Register(error) | Self::Admission(AdmissionError::Register(error)) => {
                !matches!(error, RegisterError::Random(_))
            }
            Self::Consensus(StartError::Log(fault)) => fault.is_damage(),
            Self::Consensus(StartError::Store(fault)) => fault.is_damage(),
            Self::Consensus(StartError::Recovery(_)) => true,
            Self::Open(_)
            | Self::Consensus(StartError::Settings(_))
            | Self::Listen(_)
            | Self::Initialize(_)
            | Self::Store(_) => false,
        }
    }
}

/// Where a running node is reached.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    /// gRPC for clients.
    pub client: SocketAddr,
    /// gRPC for nodes.
    pub peer: SocketAddr,
    /// HTTP.
    pub http: SocketAddr,
}

/// Runs a node until `shutdown` completes. `started` is told where it is reached once it answers.
///
/// A node whose files are damaged is not started; it serves nothing but the reason until `shutdown` completes. One whose
/// data directory is empty is started when enough of the others know that it never took part; until then it says so.
/// `reload` asks for a look at the certificates at once; they are looked at every half minute anyway.
///
/// # Errors
/// [`RunError`]: nothing was changed when it did not start.
pub async fn run(
    config: NodeConfig,
    shutdown: impl Future<Output = ()> + Send,
    reload: Arc<Notify>,
    started: impl FnOnce(Running),
) -> Result<(), RunError> {
    let cluster = Cluster::load(&config.node.cluster_file).map_err(OpenError::from)?;
    // Before certificates are looked at: a wrong node.id is not a certificate's fault.
    let me = open::member(&config, &cluster)?.id;
    let mut ports = Ports::bind(&config, &cluster).await?;
    // Ends with this function.
    let mut reloading = JoinSet::new();
    if let Some(reloader) = ports.reloader.take() {
        reloading.spawn(reloader.run(reload));
    }
    let (running, health) = (ports.running, Health::new());
    let who = Who { me, cluster: &cluster, data_dir: config.node.data_dir.clone() };
    let (mut shutdown, mut started) = (pin!(shutdown), Some(started));
    let mut serving = || {
        if let Some(started) = started.take() {
            started(running);
        }
    };
    let begun = begin(&config, &who, &ports, &health, shutdown.as_mut(), &mut serving).await;
    let node = match begun {
        Ok(Some((node, api))) => node.serve(api, ports),
        Ok(None) => return Ok(()),
        Err(error) if error.is_damage() => {
            // The signer may have begun before consensus refused: this ends it.
            health.fail(error.to_string());
            let doors = ports.doors();
            // Nobody is to wait for an answer at the peer port.
            drop(ports);
            stopped::say(Absence::Fault(error.to_string()), &who, doors, shutdown, serving).await;
            tracing::info!("stopping");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    tracing::info!(client = %running.client, peer = %running.peer, http = %running.http, "serving");
    serving();
    tokio::select! {
        () = shutdown => tracing::info!("stopping"),
        () = node.watch_faults() => {}
    }
    node.stop().await
}

/// Opens everything, waits until this node may take part, and starts it. `None`: it was to stop before.
async fn begin(
    config: &NodeConfig,
    who: &Who<'_>,
    ports: &Ports,
    health: &Health,
    mut shutdown: impl Future<Output = ()> + Unpin,
    serving: impl FnOnce(),
) -> Result<Option<(Node, Api)>, RunError> {
    let cluster = who.cluster;
    let keys = open::keys(config, cluster, &open::member(config, cluster)?)?;
    let stores = open::stores(config, cluster)?;
    let register = Register::open(who.me, cluster, stores.log.clone()).await?;
    let bytes = config.limits.message_bytes;
    let peers = Peers::new(ports.own, ports.peer_security.clone(), bytes);
    for member in cluster.members.values() {
        peers.learn_address(member.id, &member.peer);
    }
    let door = Door::answer(ports.peer.clone(), ports.own, register.clone(), bytes, health.clone());
    let admitted = async {
        let mut admitted = pin!(admission::admit(&register, &peers));
        if let Ok(admitted) = tokio::time::timeout(SILENT_START, &mut admitted).await {
            return admitted;
        }
        stopped::say(Absence::Waiting(waiting(&register)), who, ports.doors(), admitted, serving).await
    };
    tokio::select! {
        admitted = admitted => admitted?,
        () = &mut shutdown => {
            tracing::info!("stopping");
            return Ok(None);
        }
    }
    Node::start(config, cluster, ports, health, Opened { keys, stores, peers, door }).await.map(Some)
}

/// Why a node with an empty data directory is not started yet.
fn waiting(register: &Register) -> String {
    let others: Vec<String> = register.others().iter().map(ToString::to_string).collect();
    format!(
        "the data directory is empty: this node waits until the other nodes ({}) have said that it never took part; \
         start those that do not run, or put back the data directory if it was lost",
        others.join(", ")
    )
}

/// The bound ports: nobody is let in yet.
struct Ports {
    client: Listener,
    peer: Listener,
    http: Listener,
    peer_security: PeerSecurity,
    reloader: Option<Reloader>,
    own: PeerIdentity,
    clock: Clock,
    running: Running,
}

impl Ports {
    async fn bind(config: &NodeConfig, cluster: &Cluster) -> Result<Self, RunError> {
        let clock = Clock::system();
        let own = PeerIdentity { cluster: cluster.id, node: NodeId::new(config.node.id) };
        let Wires { client, peer, reloader } = open::wires(config, own, &clock)?;
        let limits = |connections| tls::Limits { connections, ..tls::Limits::default() };
        let listen = &config.listen;
        let bind = async |name, address: SocketAddr, security, connections| {
            tls::listen(name, &address.to_string(), security, limits(connections)).await
        };
        let client = bind("client", listen.client, client, config.limits.connections).await?;
        let peers = bind("peer", listen.peer, peer.listening(), PEER_CONNECTIONS).await?;
        let http = bind("http", listen.http, Security::Plaintext, HTTP_CONNECTIONS).await?;
        let running =
            Running { client: client.local_addr(), peer: peers.local_addr(), http: http.local_addr() };
        Ok(Self { client, peer: peers, http, peer_security: peer, reloader, own, clock, running })
    }

    /// The ports that a node serves which does not take part.
    fn doors(&self) -> Doors {
        Doors { client: self.client.clone(), http: self.http.clone() }
    }
}

/// What a node is started from.
struct Opened {
    keys: NodeKeys,
    stores: Stores,
    peers: Peers,
    door: Door,
}

/// A running node.
struct Node {
    consensus: Consensus,
    state: Arc<StateStore>,
    health: Health,
    door: Door,
}

impl Node {
    /// Starts everything but the servers of clients, and takes part.
    async fn start(
        config: &NodeConfig,
        cluster: &Cluster,
        ports: &Ports,
        health: &Health,
        opened: Opened,
    ) -> Result<(Self, Api), RunError> {
        let Opened { keys, stores: Stores { log, state }, peers, door } = opened;
        let me = ports.own.node;
        let clock = ports.clock.clone();
        let disk = DiskGuard::new(&config.node.data_dir, config.storage.disk_reserve_bytes);
        tokio::spawn(disk.clone().watch());
        let evidence = EvidenceFiles::open(&config.node.data_dir);
        let (intake, checkpoints) = intake(log.clone());
        let signer = SignerParts {
            me,
            origin: cluster.origin.clone(),
            key: keys.cosigner,
            log_secret: keys.log_secret,
            members: cluster.members.values().map(|m| (m.id, m.cosigner.clone())).collect(),
            log: log.clone(),
            state: Arc::clone(&state),
            clock: clock.clone(),
            health: health.clone(),
            evidence: evidence.clone(),
        };
        let (signer, heads) = Signer::open(signer, Arc::new(peers.clone())).map_err(RunError::Signer)?;
        let chain = Arc::new(chain(cluster, &log, &state, &clock, evidence.clone()));
        let machine = Arc::new(StateMachine::new(Arc::clone(&state), cluster.id, Arc::new(intake)));
        let consensus = agree(config, cluster, log, machine, peers, Arc::clone(&chain)).await?;
        signer.start(heads, checkpoints);
        let sequencer = Sequencer::start(SequencerParts {
            me,
            cluster: cluster.id,
            origin: cluster.origin.clone(),
            key: keys.block,
            consensus: consensus.clone(),
            chain,
            clock: clock.clone(),
            health: health.clone(),
            limits: config.limits.clone(),
        });
        let founder = Founder {
            cluster: cluster.clone(),
            consensus: consensus.clone(),
            sequencer: sequencer.clone(),
            signer: signer.clone(),
            state: Arc::clone(&state),
            clock: clock.clone(),
        };
        tokio::spawn(founder.run());
        let contact = LeaderContact::new(clock.clone());
        door.open(Listening::new(consensus.clone(), contact.clone()), signer.clone());
        let api = Api::new(ApiParts {
            me,
            cluster: cluster.id,
            origin: cluster.origin.clone(),
            state: Arc::clone(&state),
            backend: NodeBackend::new(consensus.clone(), sequencer, signer, contact),
            health: health.clone(),
            clock,
            limits: config.limits.clone(),
            data_dir: config.node.data_dir.clone(),
            disk,
            evidence,
        });
        Ok((Self { consensus, state, health: health.clone(), door }, api))
    }

    /// Lets clients in.
    fn serve(mut self, api: Api, ports: Ports) -> Self {
        let (client, http) = (ports.client.incoming(), ports.http.incoming());
        let (on_client, on_http) = (self.door.stopping(), self.door.stopping());
        let (source, health) = (Arc::new(api.clone()), self.health.clone());
        self.door.servers.spawn(async move {
            if let Err(error) = api.serve(client, on_client).await {
                health.fail(format!("the client port has ended: {error}"));
            }
        });
        self.door.servers.spawn(http::serve(http, source, http::Deadlines::default(), on_http));
        self
    }

    /// Turns the end of consensus into a fault, and a fault into the end of consensus. Never returns: a node with a
    /// fault stays, to say so.
    async fn watch_faults(&self) {
        tokio::select! {
            fault = self.consensus.stopped() => {
                let fault = fault.unwrap_or_else(|| "consensus has stopped".to_owned());
                self.health.fail(fault);
            }
            _ = self.health.failed() => self.consensus.shutdown().await,
        }
        std::future::pending().await
    }

    async fn stop(mut self) -> Result<(), RunError> {
        self.door.stop.send_replace(true);
        let servers = async { while self.door.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, servers).await.is_err() {
            tracing::info!("closing connections that are still in use");
        }
        self.door.servers.abort_all();
        self.consensus.shutdown().await;
        if self.health.is_good() {
            self.state.flush()?;
        }
        Ok(())
    }
}

/// The chain of the blocks that the members propose.
fn chain(
    cluster: &Cluster,
    log: &LogStore,
    state: &Arc<StateStore>,
    clock: &Clock,
    evidence: EvidenceFiles,
) -> Chain {
    let keys = cluster.members.values().map(|member| (member.id, member.block_key)).collect();
    Chain::new(cluster.id, keys, log.clone(), Arc::clone(state), clock.clone(), evidence)
}

/// Starts consensus, and makes the cluster where this node has neither a log nor a vote.
async fn agree(
    config: &NodeConfig,
    cluster: &Cluster,
    log: LogStore,
    machine: Arc<StateMachine>,
    peers: Peers,
    guard: Arc<Chain>,
) -> Result<Consensus, RunError> {
    let fresh = log.bounds().last.is_none() && log.bounds().vote.is_none();
    let settings = consensus_config(config, cluster);
    let consensus = Consensus::start(&settings, log, machine, Arc::new(peers), guard).await?;
    if fresh {
        initialize(&consensus, cluster).await?;
    }
    Ok(consensus)
}

/// Makes the cluster, on every node with the same members: whoever is first does not matter.
async fn initialize(consensus: &Consensus, cluster: &Cluster) -> Result<(), RunError> {
    let members = cluster.members.values().map(|member| {
        let at = Member { peer_address: member.peer.clone(), client_address: member.client.clone() };
        (member.id.get(), at)
    });
    match consensus.initialize(members.collect()).await {
        Ok(()) | Err(MembershipError::AlreadyInitialized) => Ok(()),
        Err(error) => Err(RunError::Initialize(error)),
    }
}

fn consensus_config(config: &NodeConfig, cluster: &Cluster) -> ConsensusConfig {
    ConsensusConfig {
        heartbeat_ms: config.raft.heartbeat_ms,
        election_min_ms: config.raft.election_min_ms,
        election_max_ms: config.raft.election_max_ms,
        flush_after_entries: config.storage.snapshot_entries,
        keep_entries: config.storage.kept_entries,
        ..ConsensusConfig::new(*cluster.id.as_bytes(), config.node.id)
    }
}
