//! One accepted or dialled connection.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use quorate_core::position::NodeId;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::TlsStream;

/// A quiet connection is probed after this time...
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// ...then this often; the kernel gives up after a few probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// What is known of the other side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// This side's address.
    pub local: SocketAddr,
    /// The other side's.
    pub remote: SocketAddr,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// The node at the other end, as its certificate proves. `None` for clients and on plaintext connections.
    pub peer: Option<NodeId>,
    /// Whether a client proved by its certificate that it is an operator of the cluster.
    pub operator: bool,
}

/// An open connection, encrypted or not. While it lives it holds its place in the listener's limit.
pub struct Connection {
    io: Io,
    info: ConnectionInfo,
    slot: Option<OwnedSemaphorePermit>,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(super) fn plain(stream: TcpStream, local: SocketAddr, remote: SocketAddr) -> Self {
        let info = ConnectionInfo { local, remote, encrypted: false, peer: None, operator: false };
        Self { io: Io::Plain(stream), info, slot: None }
    }

    pub(super) fn tls(
        stream: TlsStream<TcpStream>,
        local: SocketAddr,
        remote: SocketAddr,
        peer: Option<NodeId>,
    ) -> Self {
        let info = ConnectionInfo { local, remote, encrypted: true, peer, operator: false };
        Self { io: Io::Tls(Box::new(stream)), info, slot: None }
    }

    /// Notes whether the other side is an operator.
    pub(super) fn of_operator(mut self, operator: bool) -> Self {
        self.info.operator = operator;
        self
    }

    /// Keeps a place in a limit for as long as the connection lives.
    pub(super) fn holding(mut self, slot: OwnedSemaphorePermit) -> Self {
        self.slot = Some(slot);
        self
    }

    /// What is known of the other side.
    #[must_use]
    pub const fn info(&self) -> ConnectionInfo {
        self.info
    }
}

/// Sets what every connection here needs (small writes leave at once, dead peers are noticed), and reads the
/// local and the remote address.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<(SocketAddr, SocketAddr)> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    Ok((stream.local_addr()?, stream.peer_addr()?))
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("info", &self.info)
            .field("counted", &self.slot.is_some())
            .finish_non_exhaustive()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
