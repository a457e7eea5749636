//! The log as it grows, as a replica tells it.

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _, unfold};
use quorate_core::hash::leaf_hash;
use quorate_core::tree::Frontier;
use quorate_proto::convert::path_to_wire;
use quorate_proto::v1;
use tonic::Status;

use super::model::LedgerModel;
use super::server::{Mode, Node};

/// Leaves in a message, at most.
const LEAVES: u64 = 3;
/// How often the model is looked at; a stream with nothing to tell gives a sign of life every time.
const LOOK_EVERY: Duration = Duration::from_millis(50);

struct Told {
    sent: u64,
    believed: u64,
    begun: bool,
    signs: u64,
}

pub(crate) fn feed(
    node: Node,
    request: v1::SubscribeRequest,
) -> BoxStream<'static, Result<v1::SubscribeResponse, Status>> {
    let told = Told { sent: request.from, believed: request.trusted_size, begun: false, signs: 0 };
    unfold((node, request, told), |(node, request, mut told)| async move {
        let mode = node.state().mode;
        if mode == Mode::Hanging {
            std::future::pending::<()>().await;
        }
        if matches!(mode, Mode::Unavailable { .. }) {
            return Some((Err(Status::unavailable("stopping")), (node, request, told)));
        }
        let size = node.ledger(&request.ledger, |ledger| ledger.size()).ok()?;
        if told.begun && told.sent == size {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let message = node.ledger(&request.ledger, |ledger| told.next(&node, ledger, &request, mode));
        let message = message.map(|mut message| {
            if let Some(alter) = node.alterations().feed {
                alter(&mut message);
            }
            message
        });
        Some((message, (node, request, told)))
    })
    .boxed()
}

impl Told {
    fn next(
        &mut self,
        node: &Node,
        ledger: &LedgerModel,
        request: &v1::SubscribeRequest,
        mode: Mode,
    ) -> v1::SubscribeResponse {
        let mut message = v1::SubscribeResponse::default();
        let size = ledger.size();
        if self.begun {
            let to = size.min(self.sent + LEAVES);
            message.entries = (self.sent..to).map(|index| entry(ledger, index, request)).collect();
            self.sent = to;
        } else {
            let before = ledger.leaves.iter().take(usize::try_from(self.sent).unwrap());
            let edge: Frontier = before.map(|leaf| leaf_hash(leaf)).collect();
            message.edge = path_to_wire(edge.peaks());
        }
        self.signs += 1;
        let (cosigners, time) = {
            let state = node.state();
            (state.cosigners.clone(), state.cosign_time)
        };
        let time = if mode == Mode::CutOff { time } else { time + self.signs };
        message.checkpoint = Some(ledger.checkpoint_proof(size, self.believed, &cosigners, time));
        if self.sent > 0 && self.sent < size {
            message.path = path_to_wire(&ledger.consistency(self.sent, size));
        }
        (self.begun, self.believed) = (true, size);
        message
    }
}

fn entry(ledger: &LedgerModel, index: u64, request: &v1::SubscribeRequest) -> v1::LogEntry {
    let matches = |entry: &v1::LogEntry| {
        entry.operations.iter().any(|operation| operation[63..].starts_with(&request.prefix))
    };
    let entry = ledger.entry(index, request.contents);
    if matches(&entry) { entry } else { ledger.entry(index, false) }
}
