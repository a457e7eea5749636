//! The accept loop.
//!
//! Contract: [`listen`] binds, [`Listener::incoming`] starts accepting, dropping the [`Incoming`] stops it and
//! frees the port (connections already handed out live on). Limits are enforced before work is done: over the
//! limit of connections a new one is closed at once; over the limit of handshakes new ones wait in the kernel's
//! queue, never for longer than the handshakes before them may take.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use quorate_core::position::NodeId;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream, lookup_host},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{Connection, IdentityError, PeerIdentity, PeerTls, ServerTls, connection, verify};

/// Connections accepted and waiting to be taken.
const READY: usize = 64;
/// Rest after the operating system refused to accept (no file descriptors left, for example).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How connections are protected.
#[derive(Clone, Debug)]
pub enum Security {
    /// Not at all: everything can be read and changed on the way. Only by an explicit flag.
    Plaintext,
    /// TLS towards clients.
    Server(ServerTls),
    /// Mutual TLS between nodes.
    Peer(PeerTls),
}

impl Security {
    fn config(&self) -> Option<Arc<ServerConfig>> {
        match self {
            Self::Plaintext => None,
            Self::Server(tls) => Some(tls.current()),
            Self::Peer(tls) => Some(tls.server()),
        }
    }
}

/// What a listener may hold at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; one more is closed at once.
    pub connections: usize,
    /// Handshakes under way; further clients wait.
    pub handshakes: usize,
    /// A handshake that takes longer is given up.
    pub handshake_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, handshakes: 128, handshake_timeout: Duration::from_secs(5) }
    }
}

/// A bound port that does not accept yet. Clones share the port: one may accept after the other, and it is closed with
/// the last of them.
#[derive(Clone, Debug)]
pub struct Listener {
    name: &'static str,
    socket: Arc<TcpListener>,
    local: SocketAddr,
    security: Security,
    limits: Limits,
}

/// Binds `address` ("host:port"; port 0 takes any free one). `name` says in errors, logs and metrics what the
/// port is for, such as "client".
///
/// # Errors
/// [`ListenError`].
pub async fn listen(
    name: &'static str,
    address: &str,
    security: Security,
    limits: Limits,
) -> Result<Listener, ListenError> {
    let resolved = lookup_host(address).await;
    let resolved =
        resolved.map_err(|source| ListenError::Address { name, address: address.to_owned(), source })?;
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for candidate in resolved {
        match TcpListener::bind(candidate).await.and_then(|socket| socket.local_addr().map(|at| (socket, at)))
        {
            Ok((socket, local)) => {
                return Ok(Listener { name, socket: Arc::new(socket), local, security, limits });
            }
            Err(error) => failure = error,
        }
    }
    Err(ListenError::bind(name, address, failure))
}

impl Listener {
    /// The address in use.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Starts to accept.
    #[must_use]
    pub fn incoming(self) -> Incoming {
        let (ready, connections) = mpsc::channel(READY);
        let accepting = Accepting {
            name: self.name,
            security: self.security,
            limits: self.limits,
            slots: Arc::new(Semaphore::new(self.limits.connections)),
            handshakes: Arc::new(Semaphore::new(self.limits.handshakes)),
            ready,
        };
        // Ends by itself when the other end of `ready` is dropped.
        tokio::spawn(accepting.run(self.socket));
        Incoming { connections }
    }
}

/// The connections of a listener, ready for use. Also a stream, as servers want it; it never ends by itself.
#[derive(Debug)]
pub struct Incoming {
    connections: mpsc::Receiver<Connection>,
}

impl Incoming {
    /// The next connection; `None` only when the process is being torn down.
    pub async fn accept(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(cx).map(|next| next.map(Ok))
    }
}

/// State of the accept loop.
struct Accepting {
    name: &'static str,
    security: Security,
    limits: Limits,
    slots: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    ready: mpsc::Sender<Connection>,
}

impl Accepting {
    async fn run(self, socket: Arc<TcpListener>) {
        // Aborts handshakes under way when this ends.
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            let next = async {
                let turn = Arc::clone(&self.handshakes).acquire_owned().await;
                (turn, socket.accept().await)
            };
            let (turn, accepted) = tokio::select! {
                next = next => next,
                () = self.ready.closed() => return,
            };
            match (turn, accepted) {
                (Ok(turn), Ok((stream, remote))) => self.start(stream, remote, turn, &mut tasks),
                (Err(_), _) => return,
                (_, Err(error)) => {
                    tracing::warn!(listener = self.name, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Begins the handshake of one connection, if there is room for it.
    fn start(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        turn: OwnedSemaphorePermit,
        tasks: &mut JoinSet<()>,
    ) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            tracing::warn!(listener = self.name, %remote, limit = self.limits.connections, "too many connections");
            refused(self.name, "limit");
            return;
        };
        let (security, ready, name) = (self.security.clone(), self.ready.clone(), self.name);
        let timeout = self.limits.handshake_timeout;
        tasks.spawn(async move {
            let shaken = tokio::time::timeout(timeout, handshake(stream, &security)).await;
            drop(turn);
            let failure = match shaken {
                // The receiver is gone when the listener is being dropped; so is the connection then.
                Ok(Ok(connection)) => return drop(ready.send(connection.holding(slot)).await),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no handshake within {timeout:?}"),
            };
            refused(name, "handshake");
            match security {
                Security::Peer(_) => tracing::warn!(listener = name, %remote, %failure, "peer refused"),
                _ => tracing::debug!(listener = name, %remote, %failure, "connection refused"),
            }
        });
    }
}

fn refused(listener: &'static str, reason: &'static str) {
    metrics::counter!("quorate_connections_refused_total", "listener" => listener, "reason" => reason)
        .increment(1);
}

async fn handshake(stream: TcpStream, security: &Security) -> io::Result<Connection> {
    let (local, remote) = connection::prepare(&stream)?;
    let Some(config) = security.config() else {
        return Ok(Connection::plain(stream, local, remote));
    };
    let tls = TlsAcceptor::from(config).accept(stream).await.map_err(verify::reason)?;
    let (peer, operator) = match security {
        Security::Peer(_) => (Some(authenticated(&tls).map_err(io::Error::other)?), false),
        Security::Server(server) => (None, server.is_operator(tls.get_ref().1.peer_certificates())),
        Security::Plaintext => (None, false),
    };
    Ok(Connection::tls(tls.into(), local, remote, peer).of_operator(operator))
}

/// The node whose certificate the handshake accepted.
fn authenticated(tls: &tokio_rustls::server::TlsStream<TcpStream>) -> Result<NodeId, IdentityError> {
    let leaf = tls.get_ref().1.peer_certificates().and_then(<[_]>::first).ok_or(IdentityError::Absent)?;
    PeerIdentity::of_certificate(leaf).map(|peer| peer.node)
}

/// Why a port cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not "host:port", or a host that is unknown.
    #[error("the {name} address \"{address}\" is not usable: {source}; write it as \"host:port\"")]
    Address {
        /// What the port is for.
        name: &'static str,
        /// What was given.
        address: String,
        /// The reason.
        source: io::Error,
    },
    /// Another program listens there.
    #[error(
        "cannot listen on {address} ({name}): the port is in use by another program; stop that program \
         (`ss -ltnp` lists them) or configure another {name} address"
    )]
    InUse {
        /// What the port is for.
        name: &'static str,
        /// The address.
        address: String,
    },
    /// The operating system refused for another reason.
    #[error("cannot listen on {address} ({name}): {source}; {hint}", hint = bind_hint(source))]
    Bind {
        /// What the port is for.
        name: &'static str,
        /// The address.
        address: String,
        /// The reason.
        source: io::Error,
    },
}

impl ListenError {
    fn bind(name: &'static str, address: &str, source: io::Error) -> Self {
        let address = address.to_owned();
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { name, address },
            _ => Self::Bind { name, address, source },
        }
    }
}

/// What to do about an address that cannot be bound.
fn bind_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "choose a port from 1024 on, or grant the right to bind it",
        io::ErrorKind::AddrNotAvailable => "choose an address of this machine, or 0.0.0.0 for all",
        _ => "check the address",
    }
}
