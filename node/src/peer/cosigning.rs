//! Cosignatures between the signer and its peers.
//!
//! Contract: sending never waits. Each peer has a bounded queue and one long-lived call; what does not fit, or is
//! queued while the peer is away, is dropped. The receiver notices what it lacks and asks ([`Outbox::ask`]), so
//! that nothing is lost for good.
//!
//! A batch without cosignatures says that somebody waits at its sender for certificates: what rests at the receiver is
//! signed now. It is a hint, and is lost like the rest.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use quorate_core::{
    name::LedgerName,
    position::{NodeId, TreeSize},
};
use quorate_proto::peer::v1 as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    envelope,
    handler::CosignHandler,
    peers::{Peers, Sender, peer_error},
    service::MAX_BATCH,
    wire::Client,
};
use crate::signer::{Outbox, Signer};

/// Batches that wait for one peer.
const QUEUE: usize = 256;
/// Time to open the call, and for a question's answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Rest after a call was lost.
const PAUSE: Duration = Duration::from_millis(100);
/// Cosignatures asked for at once.
const ASKED: u32 = 1024;

/// The queue towards one peer. Dropping it ends its call.
pub(super) struct Outgoing(mpsc::Sender<Vec<pb::Cosignature>>);

impl Outgoing {
    /// Starts the task that sends what is offered.
    pub(super) fn start(node: NodeId, client: Client, sender: Sender) -> Self {
        let (queue, offered) = mpsc::channel(QUEUE);
        tokio::spawn(Courier { node, client, sender, offered, held: None }.run());
        Self(queue)
    }

    /// Queues cosignatures if there is room.
    pub(super) fn offer(&self, cosignatures: Vec<pb::Cosignature>) {
        if self.0.try_send(cosignatures).is_err() {
            metrics::counter!("quorate_cosignatures_dropped_total").increment(1);
        }
    }
}

/// Carries batches to one peer.
struct Courier {
    node: NodeId,
    client: Client,
    sender: Sender,
    offered: mpsc::Receiver<Vec<pb::Cosignature>>,
    /// Taken from the queue, to be sent next.
    held: Option<Vec<pb::Cosignature>>,
}

impl Courier {
    /// Until nobody offers any more.
    async fn run(mut self) {
        while let Some(first) = self.next().await {
            if let Err(status) = self.call(first).await {
                tracing::debug!(peer = %self.node, error = %peer_error(self.node, &status), "cosignatures not sent");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// What waits, as one message within the limit of a batch; what one offer has beyond that is dropped.
    async fn next(&mut self) -> Option<pb::CosignBatch> {
        let mut cosignatures = match self.held.take() {
            Some(held) => held,
            None => self.offered.recv().await?,
        };
        // An empty batch says something of its own, and stays by itself.
        while (1..MAX_BATCH / 2).contains(&cosignatures.len())
            && let Ok(more) = self.offered.try_recv()
        {
            if more.is_empty() {
                self.held = Some(more);
                break;
            }
            cosignatures.extend(more);
        }
        cosignatures.truncate(MAX_BATCH);
        Some(pb::CosignBatch { envelope: Some(self.sender.envelope(self.node)), cosignatures })
    }

    /// One call, from a first message until it ends. Clean when there is nothing more to send.
    async fn call(&mut self, first: pb::CosignBatch) -> Result<(), Status> {
        let (messages, stream) = mpsc::channel(1);
        let mut message = Some(first);
        let request = self.sender.request(ReceiverStream::new(stream));
        let mut client = self.client.clone();
        let opened = tokio::time::timeout(TIMEOUT, client.cosign(request)).await;
        let opened = opened.map_err(|_| Status::deadline_exceeded(format!("no answer within {TIMEOUT:?}")));
        let mut answers = opened??.into_inner();
        loop {
            let sending = async {
                if let Some(message) = message.take() {
                    // A failure shows in the answers.
                    drop(messages.send(message).await);
                }
                self.next().await
            };
            tokio::select! {
                next = sending => match next {
                    Some(next) => message = Some(next),
                    None => return Ok(()),
                },
                ended = answers.message() => match ended? {
                    // The peer sends its own cosignatures over its own call.
                    Some(_) => return Err(Status::internal("an answer where there are none")),
                    None => return Err(Status::unavailable("the peer ended the call")),
                },
            }
        }
    }
}

impl Outbox for Peers {
    fn send(&self, cosignatures: Vec<pb::Cosignature>) {
        self.broadcast(&cosignatures);
    }

    fn hurry(&self) {
        self.broadcast(&[]);
    }

    fn ask(
        &self,
        node: NodeId,
        ledger: LedgerName,
        from: TreeSize,
        refresh: bool,
    ) -> BoxFuture<'static, Result<Vec<pb::Cosignature>, String>> {
        let this = self.clone();
        async move {
            let mut client = this.reach(node).map_err(|error| error.to_string())?;
            let request = this.request(pb::GetCosignaturesRequest {
                envelope: Some(envelope::envelope(this.own(), node)),
                ledger: ledger.as_str().to_owned(),
                from_size: from.get(),
                limit: ASKED,
                refresh,
            });
            let answer = tokio::time::timeout(TIMEOUT, client.get_cosignatures(request)).await;
            let answer = answer.map_err(|_| format!("node {node} did not answer within {TIMEOUT:?}"))?;
            let answer = answer.map_err(|status| peer_error(node, &status).to_string())?.into_inner();
            envelope::check(this.own(), node, answer.envelope.as_ref()).map_err(|error| error.to_string())?;
            Ok(answer.cosignatures)
        }
        .boxed()
    }
}

impl CosignHandler for Signer {
    fn incoming(&self, from: NodeId, batch: Vec<pb::Cosignature>) {
        if batch.is_empty() {
            self.hurried();
        } else {
            Signer::incoming(self, from, batch);
        }
    }

    async fn get(
        &self,
        ledger: &LedgerName,
        from: TreeSize,
        limit: usize,
        refresh: bool,
    ) -> Vec<pb::Cosignature> {
        self.own(ledger, from, limit, refresh).await
    }
}
