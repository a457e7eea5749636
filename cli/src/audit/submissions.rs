//! `POST /add-checkpoint` (c2sp.org/tlog-witness): of the ledgers that are audited here, and of logs of others.
//!
//! Plain HTTP: what is asked and what is answered is public, and signed. Bodies, connections and times are bounded.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use quorate_audit::{Answer, LogWitness, MAX_BODY, StoreError, Submission, Submitted};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::error::CliError;

/// Connections at once.
const CONNECTIONS: usize = 64;
/// For a request's head, and so for how long a connection may idle.
const HEAD: Duration = Duration::from_secs(10);
/// For the rest of a request, and its answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Plain text.
const TEXT: &str = "text/plain; charset=utf-8";

/// Who answers.
#[derive(Debug)]
pub(super) struct Witnessing {
    /// For logs that are not audited.
    pub(super) witness: LogWitness,
    /// The audits, by origin: each has its own memory of what it signed, and nobody else speaks of its ledger.
    pub(super) audited: BTreeMap<String, mpsc::Sender<Submitted>>,
}

/// Serves until it is dropped.
pub(super) async fn serve(
    listen: SocketAddr,
    witness: Witnessing,
) -> Result<impl Future<Output = ()>, CliError> {
    let bound = TcpListener::bind(listen).await;
    let listener = bound.map_err(|error| CliError::other(format!("cannot listen on {listen}: {error}")))?;
    let (witness, places) = (Arc::new(witness), Arc::new(Semaphore::new(CONNECTIONS)));
    Ok(async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let witness = Arc::clone(&witness);
                    tokio::spawn(async move {
                        converse(stream, witness).await;
                        drop(place);
                    });
                }
                // Out of descriptors, or the client is gone already: neither gets better by trying at once.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
}

/// Answers the requests of one connection. What goes wrong with it is the client's.
async fn converse(stream: TcpStream, witness: Arc<Witnessing>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let witness = Arc::clone(&witness);
        async move {
            let answered = tokio::time::timeout(ANSWER, answer(request, witness)).await;
            let late = |_| respond(StatusCode::REQUEST_TIMEOUT, TEXT, "too slow\n".to_owned());
            Ok::<_, Infallible>(answered.unwrap_or_else(late))
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD);
    server.serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn answer(request: Request<Incoming>, witness: Arc<Witnessing>) -> Response<Full<Bytes>> {
    if request.uri().path() != "/add-checkpoint" {
        return respond(StatusCode::NOT_FOUND, TEXT, "POST /add-checkpoint\n".to_owned());
    }
    if request.method() != Method::POST {
        return respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "POST /add-checkpoint\n".to_owned());
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
        return respond(
            StatusCode::BAD_REQUEST,
            TEXT,
            "the body cannot be read, or is too long\n".to_owned(),
        );
    };
    let body = body.to_bytes();
    match judged(witness, body).await {
        Ok(Ok(Answer::Cosigned(line))) => respond(StatusCode::OK, TEXT, line),
        Ok(Ok(Answer::Refused(refusal))) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            let text = refusal.to_string();
            let text = if text.ends_with('\n') { text } else { text + "\n" };
            respond(status, refusal.content_type(), text)
        }
        Ok(Err(error)) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        Err(Failed) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the witness failed\n".to_owned()),
    }
}

/// Whoever answers has ended.
struct Failed;

async fn judged(witness: Arc<Witnessing>, body: Bytes) -> Result<Result<Answer, StoreError>, Failed> {
    let submission = match Submission::parse(&body) {
        Ok(submission) => submission,
        Err(refusal) => return Ok(Ok(Answer::Refused(refusal))),
    };
    let Some(audit) = witness.audited.get(submission.origin()).cloned() else {
        let answered = tokio::task::spawn_blocking(move || witness.witness.add_checkpoint(&body)).await;
        return answered.map_err(|_| Failed);
    };
    let (answer, answered) = oneshot::channel();
    audit.send(Submitted { submission, answer }).await.map_err(|_| Failed)?;
    answered.await.map(Ok).map_err(|_| Failed)
}

fn respond(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
