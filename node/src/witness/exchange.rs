//! One request and one answer over HTTP/1.1, with hyper. The connection is kept for the next one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Uri,
    client::conn::http1::{self, SendRequest},
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::message::{Answer, Failure};

/// Longest body of an answer that is read, bytes.
const MAX_BODY: usize = 64 << 10;

/// Most bytes of an answer's head.
const MAX_HEAD: usize = 16 << 10;

/// Where a witness is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    host: String,
    port: u16,
    /// The path of the request.
    path: String,
    /// Host and port as the request names them.
    authority: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    timeout: Duration,
}

impl Place {
    /// The submission prefix `uri`, with TLS or without.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(uri: &Uri, tls: Option<Arc<ClientConfig>>, timeout: Duration) -> Result<Self, String> {
        let host = uri.host().ok_or("it names no host")?.trim_matches(['[', ']']).to_owned();
        let authority = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let path = format!("{}/add-checkpoint", uri.path().trim_end_matches('/'));
        let tls = match tls {
            None => None,
            Some(config) => {
                let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
                Some((config, name))
            }
        };
        Ok(Self { host, port, path, authority, tls, timeout })
    }
}

/// A connection to a witness, opened when it is needed.
#[derive(Debug)]
pub(super) struct Exchange {
    place: Place,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Exchange {
    pub(super) const fn new(place: Place) -> Self {
        Self { place, open: None }
    }

    /// Sends a body, and reads the answer.
    ///
    /// # Errors
    /// [`Failure::Unreachable`], [`Failure::Slow`], [`Failure::BadAnswer`].
    pub(super) async fn post(&mut self, body: String) -> Result<Answer, Failure> {
        let limit = self.place.timeout;
        let answered = tokio::time::timeout(limit, self.converse(Bytes::from(body))).await;
        let answered = answered.unwrap_or(Err(Failure::Slow));
        if answered.is_err() {
            // Whatever comes on it would be the answer to something else.
            self.open = None;
        }
        answered
    }

    async fn converse(&mut self, body: Bytes) -> Result<Answer, Failure> {
        if let Some(mut kept) = self.open.take() {
            // A connection that the witness has closed meanwhile is no failure.
            if kept.ready().await.is_ok()
                && let Ok(answer) = self.send(kept, body.clone()).await
            {
                return Ok(answer);
            }
        }
        let opened = self.connect().await?;
        self.send(opened, body).await
    }

    async fn send(&mut self, mut sender: SendRequest<Full<Bytes>>, body: Bytes) -> Result<Answer, Failure> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.place.path)
            .header(HOST, &self.place.authority)
            .header(USER_AGENT, concat!("quorate/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(Full::new(body))
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        let unreachable = |error: hyper::Error| Failure::Unreachable(error.to_string());
        let response = sender.send_request(request).await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let header = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = header.unwrap_or_default().to_owned();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|error| Failure::BadAnswer(format!("its body cannot be read: {error}")))?;
        self.open = Some(sender);
        Ok(Answer { status, content_type, body: body.to_bytes().to_vec() })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let unreachable = |error: &dyn std::fmt::Display| Failure::Unreachable(error.to_string());
        let Place { host, port, tls, .. } = &self.place;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| unreachable(&error))?;
        stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
        match tls {
            None => handshake(TokioIo::new(stream)).await,
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream =
                    connector.connect(name.clone(), stream).await.map_err(|error| unreachable(&error))?;
                handshake(TokioIo::new(stream)).await
            }
        }
    }
}

async fn handshake<T>(stream: T) -> Result<SendRequest<Full<Bytes>>, Failure>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let opened = builder.handshake(stream).await;
    let (sender, connection) = opened.map_err(|error| Failure::Unreachable(error.to_string()))?;
    // It ends with the sender.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a witness");
        }
    });
    Ok(sender)
}
