//! Serves the interface on the connections of our own accept loop: the ledger service, gRPC health, reflection.

use std::{future::Future, pin::pin, time::Duration};

use quorate_proto::v1::{
    admin_server::AdminServer,
    ledger_server::{Ledger, LedgerServer},
};
use tokio::sync::watch;
use tonic::transport::Server;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::interface::Api;
use crate::tls::Incoming;

/// Calls on one connection at once, at most: more wait in the client.
const MAX_CALLS_PER_CONNECTION: u32 = 1_024;

/// A silent connection is asked whether it lives...
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// ...and dropped when it does not say so.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Window of a stream and of a connection, bytes: a value or a page arrives in one go.
const WINDOW: u32 = 4 << 20;

/// How often the health that gRPC reports is looked at.
const HEALTH_EVERY: Duration = Duration::from_millis(250);

/// After a stop, calls at work have this long to end.
const GRACE: Duration = Duration::from_secs(3);

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors for reflection, which are part of the program, do not decode.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The server library's.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

impl Api {
    /// Answers clients on all connections of `incoming` until `shutdown` completes; then takes no more calls and
    /// returns when those at work have ended, or after a few seconds.
    ///
    /// # Errors
    /// [`ServeError`]; with connections of our own making it does not happen.
    pub async fn serve(
        self,
        incoming: Incoming,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let message_bytes = self.parts().limits.message_bytes;
        let service = LedgerServer::new(self.clone()).max_decoding_message_size(message_bytes);
        let api = self.clone();
        let stop = async move {
            shutdown.await;
            api.0.stopping.send_replace(true);
        };
        let admin = self.parts().office.is_some().then(|| AdminServer::new(self.clone()));
        serve((service, admin), move || self.unready().is_none(), incoming, stop).await
    }
}

/// Serves the services with health, which says what `ready` says, and reflection.
pub(super) async fn serve<L: Ledger>(
    (service, admin): (LedgerServer<L>, Option<AdminServer<Api>>),
    ready: impl Fn() -> bool,
    incoming: Incoming,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = || {
        let builder = tonic_reflection::server::Builder::configure();
        builder.register_encoded_file_descriptor_set(quorate_proto::DESCRIPTORS)
    };
    let (stop, mut stopping) = watch::channel(false);
    let serving = Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(MAX_CALLS_PER_CONNECTION)
        .add_service(service)
        .add_optional_service(admin)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(incoming, async move {
            // An error means that the sender is gone, which is a stop too.
            drop(stopping.wait_for(|stop| *stop).await);
        });
    let (mut serving, mut reporting) = (pin!(serving), pin!(report(ready, reporter)));
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = &mut reporting => {}
        () = shutdown => {}
    }
    stop.send_replace(true);
    match tokio::time::timeout(GRACE, serving).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Ok(()),
    }
}

/// Keeps what the health service says in step with this node. Never ends.
async fn report(ready: impl Fn() -> bool, reporter: HealthReporter) {
    loop {
        let status = if ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", "quorate.v1.Ledger"] {
            reporter.set_service_status(service, status).await;
        }
        tokio::time::sleep(HEALTH_EVERY).await;
    }
}
