//! Starts a node, serves, and stops it in good order.

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use quorate_core::{block::BlockKey, position::NodeId};
use tokio::{sync::Notify, task::JoinSet};

use super::{
    admission::{self, AdmissionError},
    conviction,
    door::Door,
    found::Founder,
    handover,
    open::{self, NodeKeys, OpenError, Stores, Wires},
    register::{Register, RegisterError},
    stopped::{self, Doors, Who},
};
use crate::{
    api::{Absence, Api, ApiParts, LeaderContact, Listening, NodeBackend},
    chain::Chain,
    clock::Clock,
    cluster::Cluster,
    config::{Limits, NodeConfig},
    consensus::{Consensus, ConsensusConfig, Member, MembershipError, SnapshotSettings, StartError},
    disk::DiskGuard,
    evidence::EvidenceFiles,
    health::Health,
    http,
    machine::StateMachine,
    membership::{
        self,
        office::{Office, OfficeParts},
        roster::{Roster, farewell},
    },
    pace::{Load, Rates},
    peer::{Peers, SPOKEN, Wire},
    scrub::{self, ScrubParts, Scrubber},
    sequencer::{Sequencer, SequencerParts},
    signer::{Signer, SignerParts, intake},
    store::{faults::StoreFault, log::LogStore, state::StateStore},
    tls::{self, ListenError, Listener, PeerIdentity, PeerSecurity, Reloader, Security},
    upkeep::{CertificateEnds, Refused, Upkeep},
    witness::{self, SubmitterParts, WitnessError, WitnessSettings},
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
    /// It was a node of the cluster.
    #[error("{}", farewell(*.0))]
    Removed(u64),
    /// What is noted of the starts of nodes.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// What this node promised contradicts what it stored.
    #[error("{0}")]
    Signer(String),
    /// The cluster could not be made.
    #[error("the cluster could not be made: {0}")]
    Initialize(MembershipError),
    /// An outside witness cannot be asked.
    #[error("configuration: {0}")]
    Witness(#[from] WitnessError),
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
            Self::Admission(AdmissionError::Lost { .. }) | Self::Removed(_) => true,
            Self::Register(error) | Self::Admission(AdmissionError::Register(error)) => {
                !matches!(error, RegisterError::Random(_))
            }
            Self::Consensus(StartError::Log(fault)) => fault.is_damage(),
            Self::Consensus(StartError::Store(fault)) => fault.is_damage(),
            Self::Consensus(StartError::Recovery(_)) => true,
            Self::Open(_)
            | Self::Consensus(StartError::Settings(_))
            | Self::Listen(_)
            | Self::Witness(_)
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
    let me = open::own_id(&config, &cluster)?;
    config.witness.iter().try_for_each(WitnessSettings::check_files)?;
    let mut ports = Ports::bind(&config, &cluster).await?;
    // Ends with this function.
    let mut reloading = JoinSet::new();
    if let Some(reloader) = ports.reloader.take() {
        reloading.spawn(reloader.run(reload));
    }
    let (running, health) = (ports.running, Health::new());
    let (data_dir, refused) = (config.node.data_dir.clone(), Refused::default());
    let who = Who { me, cluster: &cluster, data_dir, refused };
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
    let keys = open::keys(config, cluster, who.me)?;
    let stores = open::stores(config, cluster)?;
    let roster = Roster::new(who.me, cluster, Arc::clone(&stores.state));
    if let Some(epoch) = roster.removed() {
        return Err(RunError::Removed(epoch));
    }
    let register = Register::open(who.me, cluster, &stores).await?;
    let bytes = config.limits.message_bytes;
    let wire = Wire::new(who.me, SPOKEN, who.refused.clone());
    let peers = Peers::speaking(ports.own, ports.peer_security.clone(), bytes, wire);
    for (node, address) in roster.addresses() {
        peers.learn_address(node, &address);
    }
    let admitting = (register.clone(), roster.clone());
    let door = Door::answer(ports.peer.clone(), admitting, &peers, bytes, health.clone());
    let admitted = async {
        let mut admitted = pin!(admission::admit(&register, &peers));
        if let Ok(admitted) = tokio::time::timeout(SILENT_START, &mut admitted).await {
            return admitted;
        }
        stopped::say(Absence::Waiting(waiting(&register)), who, ports.doors(), admitted, serving).await
    };
    tokio::select! {
        admitted = admitted => admitted?,
        // It registered, and was given up before it ever ran.
        epoch = sent_away(&peers, register.others().len()) => return Err(RunError::Removed(epoch)),
        () = &mut shutdown => {
            tracing::info!("stopping");
            return Ok(None);
        }
    }
    Node::start(config, cluster, ports, health, Opened { keys, stores, peers, roster, door }).await.map(Some)
}

/// Completes when more than half of the `others` say that this node was removed; gives the epoch.
async fn sent_away(peers: &Peers, others: usize) -> u64 {
    let mut heard = peers.farewells();
    match heard.wait_for(|heard| heard.len() > others / 2).await {
        Ok(heard) => heard.values().copied().min().unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
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
    certificates: CertificateEnds,
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
        let certificates = reloader.as_ref().map(Reloader::ends).unwrap_or_default();
        let peer_security = peer;
        Ok(Self { client, peer: peers, http, peer_security, reloader, certificates, own, clock, running })
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
    roster: Roster,
    door: Door,
}

/// A running node.
struct Node {
    consensus: Consensus,
    state: Arc<StateStore>,
    health: Health,
    door: Door,
    scrubber: Scrubber,
    chain: Arc<Chain>,
    peers: Peers,
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
        let Opened { keys, stores: Stores { log, state }, peers, roster, door } = opened;
        let (me, clock) = (ports.own.node, ports.clock.clone());
        let disk = DiskGuard::new(&store_dirs(&config.node.data_dir), config.storage.disk_reserve_bytes);
        tokio::spawn(disk.clone().watch());
        let vkey = keys.cosigner.verifier().to_string();
        let evidence = EvidenceFiles::open(&config.node.data_dir);
        let signer = SignerParts {
            me,
            origin: cluster.origin.clone(),
            key: keys.cosigner,
            log_secret: keys.log_secret,
            founders: cluster.members.values().map(|m| (m.id, m.cosigner.clone())).collect(),
            witnesses: config.witness.iter().map(WitnessSettings::key).collect::<Result<_, _>>()?,
            log: log.clone(),
            state: Arc::clone(&state),
            clock: clock.clone(),
            health: health.clone(),
            evidence: evidence.clone(),
        };
        let (signer, heads) = Signer::open(signer, Arc::new(peers.clone())).map_err(RunError::Signer)?;
        let (intake, checkpoints) = intake(log.clone(), signer.clone());
        let blocks = (log.clone(), Arc::clone(&state));
        let chain = Arc::new(Chain::new(cluster, blocks, clock.clone(), evidence.clone()));
        let machine = StateMachine::new(Arc::clone(&state), cluster.id, Arc::new(intake));
        let machine = Arc::new(machine.with_decoded(Arc::clone(chain.decoded())));
        let written = log.clone();
        let consensus = agree(config, cluster, log, machine, peers.clone(), Arc::clone(&chain)).await?;
        signer.start(heads, checkpoints);
        handover::start(&consensus, &disk);
        let order = (keys.block, config.limits.clone());
        let sequencer = sequence(cluster, ports, order, &consensus, &chain, health);
        let office = Office::new(OfficeParts {
            me,
            cluster: cluster.clone(),
            consensus: consensus.clone(),
            sequencer: sequencer.clone(),
            signer: signer.clone(),
            state: Arc::clone(&state),
            clock: clock.clone(),
        });
        let (mut upkeep, scrubber) = take_care(config, ports, &consensus, &state, health);
        upkeep.refused = peers.wire().refused();
        ask_witnesses(config, &office, health, &upkeep)?;
        membership::start(&office, vkey, roster, peers.clone(), health);
        tokio::spawn(Founder::new(office.parts()).run());
        let contact = LeaderContact::new(clock.clone());
        let listening = Listening::new(consensus.clone(), contact.clone());
        door.open(listening, signer.clone(), office.clone(), Arc::clone(&chain));
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
            office: Some(office),
            upkeep,
            evidence,
            load: Load::new(move || written.appended_bytes()),
        });
        Ok((Self { consensus, state, health: health.clone(), door, scrubber, chain, peers }, api))
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
        // It may have been fed other blocks than the others were.
        conviction::seek(&self.chain, &self.peers).await;
        std::future::pending().await
    }

    async fn stop(mut self) -> Result<(), RunError> {
        self.door.stop.send_replace(true);
        let servers = async { while self.door.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, servers).await.is_err() {
            tracing::info!("closing connections that are still in use");
        }
        self.door.servers.abort_all();
        self.scrubber.stop();
        self.consensus.shutdown().await;
        if self.health.is_good() {
            self.state.flush()?;
        }
        Ok(())
    }
}

/// Starts what this node does beside serving.
fn take_care(
    config: &NodeConfig,
    ports: &Ports,
    consensus: &Consensus,
    state: &Arc<StateStore>,
    health: &Health,
) -> (Upkeep, Scrubber) {
    let upkeep = Upkeep {
        transfers: consensus.transfers(),
        certificates: ports.certificates.clone(),
        ..Upkeep::default()
    };
    let scrubber = scrub::start(ScrubParts {
        settings: config.scrub.clone(),
        state: Arc::clone(state),
        log: consensus.log().clone(),
        clock: ports.clock.clone(),
        health: health.clone(),
        shown: upkeep.scrub.clone(),
    });
    (upkeep, scrubber)
}

/// Starts what puts requests in order, with the key that signs blocks and the limits of a block.
fn sequence(
    cluster: &Cluster,
    ports: &Ports,
    (key, limits): (BlockKey, Limits),
    consensus: &Consensus,
    chain: &Arc<Chain>,
    health: &Health,
) -> Sequencer {
    Sequencer::start(SequencerParts {
        me: ports.own.node,
        cluster: cluster.id,
        origin: cluster.origin.clone(),
        key,
        consensus: consensus.clone(),
        chain: Arc::clone(chain),
        clock: ports.clock.clone(),
        health: health.clone(),
        limits,
    })
}

/// Starts asking the outside witnesses.
fn ask_witnesses(
    config: &NodeConfig,
    office: &Office,
    health: &Health,
    upkeep: &Upkeep,
) -> Result<(), WitnessError> {
    let parts = office.parts();
    witness::start(SubmitterParts {
        witnesses: config.witness.clone(),
        origin: parts.cluster.origin.clone(),
        signer: parts.signer.clone(),
        state: Arc::clone(&parts.state),
        consensus: parts.consensus.clone(),
        clock: parts.clock.clone(),
        health: health.clone(),
        board: upkeep.witnesses.clone(),
    })
}

/// Where a node stores; each may be a file system of its own.
fn store_dirs(data_dir: &Path) -> [PathBuf; 3] {
    [data_dir.to_owned(), data_dir.join("log"), data_dir.join("state")]
}

/// Starts consensus, and makes the cluster where this node has neither a log nor a vote. A cluster that continues another
/// is made already: its first entry stands for a history, and a node without that gets it as a snapshot.
async fn agree(
    config: &NodeConfig,
    cluster: &Cluster,
    log: LogStore,
    machine: Arc<StateMachine>,
    peers: Peers,
    guard: Arc<Chain>,
) -> Result<Consensus, RunError> {
    // A node that joined later is told by the leader which cluster it is in.
    let founds = cluster.members.contains_key(&NodeId::new(config.node.id)) && cluster.continues.is_none();
    let fresh = founds && log.bounds().last.is_none() && log.bounds().vote.is_none();
    if log.bounds().last.is_none() && cluster.continues.is_some() {
        tracing::warn!(
            "this cluster continues the history of another one, and this node has nothing of it: it waits until a node \
             that has sends a snapshot"
        );
    }
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
        snapshot: SnapshotSettings {
            rates: Rates {
                idle: config.snapshot.bytes_per_second,
                busy: config.snapshot.busy_bytes_per_second,
            },
            kept: Duration::from_secs(config.snapshot.kept_seconds),
            held_log_bytes: config.snapshot.held_log_bytes,
        },
        ..ConsensusConfig::new(*cluster.id.as_bytes(), config.node.id)
    }
}
