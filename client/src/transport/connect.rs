//! Where a replica is, and how a connection to it is opened.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::error::ConfigError;

/// How long opening a connection may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection is pinged this often, idle or not...
const PING_INTERVAL: Duration = Duration::from_secs(4);
/// ...and closed if a ping is not answered in this time.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Flow control window of one call: a large value travels without waiting for the other side.
const STREAM_WINDOW: u32 = 4 << 20;
/// Flow control window of a connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Calls that may wait for their turn on a connection.
const QUEUE: usize = 4096;

/// The address of a replica, as the user wrote it and as it is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointAddress {
    text: Arc<str>,
    host: String,
    port: u16,
    encrypted: bool,
}

impl EndpointAddress {
    /// Reads `https://host:port`, `http://host:port` or `host:port`; the last is encrypted unless `plaintext`.
    pub(crate) fn parse(text: &str, plaintext: bool) -> Result<Self, ConfigError> {
        let error =
            |problem: &str| ConfigError::Endpoint { endpoint: text.to_owned(), problem: problem.to_owned() };
        let (encrypted, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err(error("unknown scheme")),
            None => (!plaintext, text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| error("it names no port"))?;
        let port = port.parse().map_err(|_| error("the port is no number from 0 to 65535"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', '@', '?', '#']) {
            return Err(error("it names no host"));
        }
        let scheme = if encrypted { "https" } else { "http" };
        let address =
            Self { text: format!("{scheme}://{authority}").into(), host: host.to_owned(), port, encrypted };
        address.uri()?;
        Ok(address)
    }

    /// The address, in full.
    pub(crate) const fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Another address of the same cluster, `host:port`, dialled the same way.
    pub(crate) fn sibling(&self, authority: &str) -> Result<Self, ConfigError> {
        Self::parse(authority, !self.encrypted)
    }

    /// A channel that connects when it is first used.
    pub(crate) fn channel(&self, tls: Option<Arc<ClientConfig>>) -> Result<Channel, ConfigError> {
        let endpoint = Endpoint::from(self.uri()?)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .buffer_size(QUEUE);
        let dial = Arc::new(self.dialler(tls)?);
        Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let dial = Arc::clone(&dial);
            async move { dial.connect().await.map(TokioIo::new) }
        })))
    }

    fn uri(&self) -> Result<Uri, ConfigError> {
        self.text.parse().map_err(|error: <Uri as std::str::FromStr>::Err| ConfigError::Endpoint {
            endpoint: self.text.to_string(),
            problem: error.to_string(),
        })
    }

    fn dialler(&self, tls: Option<Arc<ClientConfig>>) -> Result<Dialler, ConfigError> {
        let tls = match (self.encrypted, tls) {
            (false, _) => None,
            (true, None) => {
                let help = "an https endpoint needs the certificate of the cluster's authority: ClientBuilder::ca_pem";
                return Err(ConfigError::Missing { setting: "CA certificate", help });
            }
            (true, Some(config)) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|error| {
                    ConfigError::Endpoint { endpoint: self.text.to_string(), problem: error.to_string() }
                })?;
                Some((TlsConnector::from(config), name))
            }
        };
        Ok(Dialler { host: self.host.clone(), port: self.port, tls })
    }
}

/// Opens connections to one address.
struct Dialler {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A byte stream, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Dialler {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some((tls, name)) => Ok(Box::new(tls.connect(name.clone(), stream).await?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_scheme() {
        for (text, plaintext, full, encrypted) in [
            ("https://a.example:1", true, "https://a.example:1", true),
            ("http://[::1]:2/", false, "http://[::1]:2", false),
            ("127.0.0.1:7400", false, "https://127.0.0.1:7400", true),
            ("127.0.0.1:7400", true, "http://127.0.0.1:7400", false),
        ] {
            let address = EndpointAddress::parse(text, plaintext).unwrap();
            assert_eq!((address.text().as_ref(), address.encrypted), (full, encrypted));
        }
        assert_eq!(EndpointAddress::parse("http://[::1]:2", false).unwrap().host, "::1");
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for text in ["", "a", "ftp://a:1", "http://:1", "http://a:99999", "http://a/b:1", "https://"] {
            let error = EndpointAddress::parse(text, false).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
