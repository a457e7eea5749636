//! The log as it grows: a stream that ends only with its reader, its connection or this node.
//!
//! Contract: after a first message that proves the right edge of the tree at `from`, every message carries the next
//! leaves and the path that proves them under a certified checkpoint; so a reader needs no other call, and believes
//! nothing that is not certified. At the end of the log the stream waits for the next certified checkpoint, without
//! looking for it, and gives a sign of life every few seconds: the newest checkpoint, signed again where its signatures
//! are old.
//!
//! Nothing is read ahead of the reader: a message is made when the connection has room for it, from the view of then. A
//! reader that is slow costs one message of memory here, and keeps nothing in the store alive.

use std::{sync::Arc, time::Duration};

use futures::stream::{self, BoxStream, StreamExt};
use quorate_core::position::TreeSize;
use quorate_proto::{convert, v1};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::{
    bounds::{self, Subscription},
    checkpoint::{Wanted, consistency_between},
    errors::{Problem, Reason},
    interface::{Api, Deadline, blocking, check_size},
    transactions::chunk,
};
use crate::store::state::LedgerView;

/// A stream that has nothing to tell gives a sign of life after this time.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// How long a checkpoint that others certified first is given to be applied here before it is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A stream of the log as it grows.
pub(crate) type Feed = BoxStream<'static, Result<v1::SubscribeResponse, Status>>;

/// What one reader has been sent.
struct Reader {
    api: Api,
    asked: Subscription,
    /// Size of the tree of all leaves up to the last one sent.
    sent: TreeSize,
    /// Size of the checkpoint that was sent last; before the first, what the reader believes in.
    believed: TreeSize,
    /// Whether the first message is gone.
    begun: bool,
    /// Lives as long as the stream.
    _permit: OwnedSemaphorePermit,
}

impl Api {
    /// The log from an index on, for ever.
    pub(super) async fn answer_subscribe(&self, request: v1::SubscribeRequest) -> Result<Feed, Problem> {
        let asked = bounds::subscription(&request)?;
        self.check_cosigners(&asked.wanted.need, "min_cosigners")?;
        let (from, trusted) = (TreeSize::new(asked.from.get()), asked.wanted.trusted);
        // A reader that comes from another replica may be ahead of this one: it waits for what is committed.
        self.find(&asked.ledger, |ledger| {
            if from > ledger.size() {
                let problem =
                    format_args!("log index {from} is beyond the end: the ledger has size {}", ledger.size());
                return Err(Reason::IndexBeyondEnd.of("from", problem));
            }
            check_size(ledger, trusted, "trusted_size")
        })
        .await?;
        let permit = self.stream_permit()?;
        let reader =
            Reader { api: self.clone(), asked, sent: from, believed: trusted, begun: false, _permit: permit };
        let messages = stream::try_unfold(reader, |mut reader| async move {
            match reader.next().await {
                Ok(message) => Ok(Some((message, reader))),
                Err(problem) => Err(reader.api.refusal(problem)),
            }
        });
        Ok(messages.boxed())
    }
}

impl Reader {
    /// The next message, once there is something to say.
    async fn next(&mut self) -> Result<v1::SubscribeResponse, Problem> {
        let mut quiet = std::pin::pin!(tokio::time::sleep(SIGN_OF_LIFE));
        loop {
            let ledger = self.view()?;
            let known = self.api.backend().newest_meeting(&self.asked.ledger, self.asked.wanted.need);
            let certified = known.min(ledger.size());
            // A replica that is behind the reader has nothing to say to it yet.
            let can_speak = certified > TreeSize::ZERO && certified >= self.sent;
            if can_speak && (!self.begun || certified > self.sent || quiet.is_elapsed()) {
                return self.message(&ledger, certified).await;
            }
            if quiet.is_elapsed() {
                quiet.set(tokio::time::sleep(SIGN_OF_LIFE));
            }
            let mut stopping = self.api.0.stopping.subscribe();
            tokio::select! {
                () = &mut quiet => {}
                () = tokio::time::sleep(LOOK_AGAIN), if known > certified => {}
                () = self.beyond(&ledger, certified), if known <= certified => {}
                // The sender is a part of the interface: it is not gone while this runs.
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }

    /// Returns when enough may have signed a larger size than this.
    async fn beyond(&self, ledger: &Arc<LedgerView>, certified: TreeSize) {
        let (backend, need) = (self.api.backend(), self.asked.wanted.need);
        if need.looks_outside() && ledger.size() > certified {
            // Who is missing is of no interest here: it is looked for again, but not at once.
            if backend.reach(Arc::clone(ledger), ledger.size(), need, SIGN_OF_LIFE).await.is_err() {
                tokio::time::sleep(SIGN_OF_LIFE).await;
            }
        } else {
            backend.certified_beyond(&self.asked.ledger, certified).await;
        }
    }

    /// The ledger as it is now, while this node serves.
    fn view(&self) -> Result<Arc<LedgerView>, Problem> {
        if let Some(fault) = self.api.parts().health.fault() {
            return Err(Reason::NodeStopped.refuse(format!("this node has stopped serving: {fault}")).into());
        }
        if *self.api.0.stopping.borrow() {
            return Err(Reason::NodeStopped.refuse("this node stops: go on at another replica").into());
        }
        let name = &self.asked.ledger;
        self.api.view().ledger(name).cloned().ok_or_else(|| {
            Reason::UnknownLedger
                .of("ledger", format_args!("there is no ledger {name}: create it first"))
                .into()
        })
    }

    async fn message(
        &mut self,
        ledger: &Arc<LedgerView>,
        certified: TreeSize,
    ) -> Result<v1::SubscribeResponse, Problem> {
        let mut message = v1::SubscribeResponse::default();
        let mut sent = self.sent;
        if !self.begun {
            let edge = ledger.frontier_at(sent)?;
            message.edge = convert::path_to_wire(edge.as_ref().map_or(&[], |edge| edge.peaks()));
        } else if certified > sent {
            let (view, from, contents) = (Arc::clone(ledger), sent.next_index(), self.asked.contents.clone());
            let chunk = blocking(move || chunk(&view, from, certified, &contents)).await?;
            (message.entries, sent) = (chunk.entries, TreeSize::new(chunk.next.get()));
        }
        if !self.begun || certified != self.believed || message.entries.is_empty() {
            let wanted = Wanted { trusted: self.believed, ..self.asked.wanted };
            let parts = self.api.parts();
            let time = Duration::from_millis(parts.limits.call_timeout_ms);
            let deadline = Deadline::after(&parts.clock, time);
            let checkpoint = self.api.checkpoint_proof(ledger, certified, wanted, &deadline).await?;
            message.checkpoint = Some(checkpoint.into());
        }
        if sent > TreeSize::ZERO && sent < certified {
            message.path = convert::path_to_wire(&consistency_between(ledger, sent, certified)?);
        }
        (self.sent, self.believed, self.begun) = (sent, certified, true);
        Ok(message)
    }
}
