//! Connections of the HTTP port.

use std::{convert::Infallible, future::Future, pin::pin, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming as RequestBody, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::watch, task::JoinSet};

use super::{
    respond::{respond, timed_out},
    source::HttpSource,
};
use crate::tls::{Connection, Incoming};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For a request's head, from when the connection is ready for it (so also how long a connection may idle).
    pub head: Duration,
    /// For the source to answer.
    pub answer: Duration,
    /// A connection is closed after this time, once the request under way is answered...
    pub connection: Duration,
    /// ...or after this much longer, whether or not the client reads the answer. Also the time for requests
    /// under way when the server stops.
    pub grace: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            answer: Duration::from_secs(10),
            connection: Duration::from_secs(300),
            grace: Duration::from_secs(5),
        }
    }
}

/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// Serves `source` on all connections of `incoming` until `shutdown` completes; then stops accepting, gives
/// requests under way their grace, and returns.
pub async fn serve<S: HttpSource>(
    mut incoming: Incoming,
    source: Arc<S>,
    deadlines: Deadlines,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopping) = watch::channel(());
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let connection = tokio::select! {
            connection = incoming.accept() => connection,
            () = &mut shutdown => None,
        };
        let Some(connection) = connection else { break };
        while tasks.try_join_next().is_some() {}
        tasks.spawn(converse(connection, Arc::clone(&source), deadlines, stopping.clone()));
    }
    drop((incoming, stop));
    while tasks.join_next().await.is_some() {}
}

/// Answers the requests of one connection, one after the other. `stopping` ends when the server stops.
async fn converse<S: HttpSource>(
    connection: Connection,
    source: Arc<S>,
    deadlines: Deadlines,
    mut stopping: watch::Receiver<()>,
) {
    let remote = connection.info().remote;
    let service = service_fn(move |request: Request<RequestBody>| {
        let source = Arc::clone(&source);
        async move {
            let answer = tokio::time::timeout(deadlines.answer, respond(&*source, &request)).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|_| timed_out()))
        }
    });
    let mut conversation = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(deadlines.head)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(connection), service)
    );
    tokio::select! {
        ended = conversation.as_mut() => return log(ended, remote),
        _ = stopping.changed() => {}
        () = tokio::time::sleep(deadlines.connection) => {}
    }
    conversation.as_mut().graceful_shutdown();
    if let Ok(ended) = tokio::time::timeout(deadlines.grace, conversation).await {
        log(ended, remote);
    }
}

fn log(ended: hyper::Result<()>, remote: std::net::SocketAddr) {
    if let Err(error) = ended {
        tracing::debug!(listener = "http", %remote, %error, "connection ended");
    }
}
