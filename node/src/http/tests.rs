//! The HTTP port over real sockets, spoken to byte by byte.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use quorate_core::name::LedgerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

use super::{Deadlines, Health, HttpSource, SourceError, TileIndex, TileWidth, serve};
use crate::tls::{Limits, Security, listen};

const SHORT: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Fake {
    diverged: AtomicBool,
}

impl HttpSource for Fake {
    fn live(&self) -> Health {
        Health::Good
    }

    fn ready(&self) -> Health {
        match self.diverged.load(Ordering::Relaxed) {
            true => Health::Bad("diverged at size 7".to_owned()),
            false => Health::Good,
        }
    }

    fn metrics(&self) -> String {
        "quorate_up 1\n".to_owned()
    }

    async fn checkpoint(&self, ledger: &LedgerName) -> Result<Bytes, SourceError> {
        match ledger.as_str() {
            "slow" => std::future::pending().await,
            "busy" => Err(SourceError::Unavailable("still catching up".to_owned())),
            "absent" => Err(SourceError::NotFound("no ledger \"absent\"".to_owned())),
            name => Ok(format!("origin/{name}\n7\n").into()),
        }
    }

    async fn tile(
        &self,
        ledger: &LedgerName,
        level: u8,
        index: TileIndex,
        width: TileWidth,
    ) -> Result<Bytes, SourceError> {
        Ok(format!("{ledger} {level} {} {}", index.get(), width.get()).into())
    }

    async fn entries(
        &self,
        _: &LedgerName,
        index: TileIndex,
        width: TileWidth,
    ) -> Result<Bytes, SourceError> {
        Ok(format!("entries {} {}", index.get(), width.get()).into())
    }
}

struct Server {
    address: String,
    source: Arc<Fake>,
    stop: oneshot::Sender<()>,
    done: tokio::task::JoinHandle<()>,
}

async fn start() -> Server {
    start_with(Deadlines::default()).await
}

async fn start_with(deadlines: Deadlines) -> Server {
    let listener = listen("http", "127.0.0.1:0", Security::Plaintext, Limits::default()).await.unwrap();
    let address = listener.local_addr().to_string();
    let source = Arc::new(Fake::default());
    let (stop, stopped) = oneshot::channel();
    let serving = serve(listener.incoming(), Arc::clone(&source), deadlines, async { drop(stopped.await) });
    Server { address, source, stop, done: tokio::spawn(serving) }
}

/// Sends one request and reads all there is; the head in lower case, and the body.
async fn ask(server: &Server, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

async fn get(server: &Server, path: &str) -> (String, String) {
    ask(server, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn health_and_metrics_are_served_and_say_why_not() {
    let server = start().await;
    let (head, body) = get(&server, "/livez").await;
    assert!(head.starts_with("http/1.1 200 ") && body == "ok\n", "{head}");
    let (head, _) = get(&server, "/readyz").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    server.source.diverged.store(true, Ordering::Relaxed);
    let (head, body) = get(&server, "/readyz?verbose").await;
    assert!(head.starts_with("http/1.1 503 ") && head.contains("retry-after: 1"), "{head}");
    assert_eq!(body, "diverged at size 7\n");
    let (head, body) = get(&server, "/metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert_eq!(body, "quorate_up 1\n");
}

#[tokio::test]
async fn tiles_may_be_cached_for_ever_and_checkpoints_not_at_all() {
    let server = start().await;
    let (head, body) = get(&server, "/invoices/checkpoint").await;
    assert!(head.contains("text/plain") && head.contains("cache-control: no-store"), "{head}");
    assert_eq!(body, "origin/invoices\n7\n");
    let (head, body) = get(&server, "/invoices/tile/1/x001/234.p/5").await;
    assert!(head.contains("application/octet-stream") && head.contains("immutable"), "{head}");
    assert_eq!(body, "invoices 1 1234 5");
    let (_, body) = get(&server, "/_system/tile/entries/000").await;
    assert_eq!(body, "entries 0 256");
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_late_503() {
    let server = start().await;
    for path in ["/", "/nothing", "/invoices/tile/0/7", "/absent/checkpoint"] {
        let (head, body) = get(&server, path).await;
        assert!(head.starts_with("http/1.1 404 ") && head.contains("no-store"), "{path}: {head}");
        assert!(body.starts_with("not found"), "{path}: {body}");
    }
    let (head, body) = get(&server, "/busy/checkpoint").await;
    assert!(head.starts_with("http/1.1 503 ") && body.contains("catching up"), "{head}");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_503() {
    let server = start_with(Deadlines { answer: SHORT, ..Deadlines::default() }).await;
    let (head, body) = get(&server, "/slow/checkpoint").await;
    assert!(head.starts_with("http/1.1 503 ") && body.contains("no answer in time"), "{head}");
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let server = start().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let request = format!("{method} /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let (head, _) = ask(&server, &request).await;
        assert!(head.starts_with("http/1.1 405 ") && head.contains("allow: get, head"), "{head}");
    }
    let (head, body) = ask(&server, "HEAD /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 200 ") && head.contains("content-length: 3"), "{head}");
    assert_eq!(body, "");
}

#[tokio::test]
async fn a_request_too_large_or_malformed_is_refused() {
    let server = start().await;
    let long = "a".repeat(64 << 10);
    let (head, _) = get(&server, &format!("/{long}")).await;
    assert!(head.starts_with("http/1.1 4"), "{head}");
    let (head, _) = ask(&server, "no http at all\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 400 "), "{head}");
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_hung_up_on() {
    let server = start_with(Deadlines { head: SHORT, ..Deadlines::default() }).await;
    for begun in ["", "GET /livez HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap());
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn no_connection_lasts_for_ever() {
    let server = start_with(Deadlines { connection: SHORT, grace: SHORT, ..Deadlines::default() }).await;
    let mut stuck = TcpStream::connect(&server.address).await.unwrap();
    stuck.write_all(b"GET /slow/checkpoint HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, stuck.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test]
async fn connections_are_kept_and_a_stop_ends_them() {
    let server = start().await;
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
    }
    server.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(4), server.done).await.unwrap().unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}
