//! Takes the steps that the records ask for, as long as this node leads.
//!
//! *If we crash* between two steps, or within one: every step can be taken again, and the next leader finds in state and
//! Raft what is left to do. Nothing is remembered here but since when a removed node is waited for, so that it can still
//! learn of its removal before the log is no longer sent to it.

use std::{collections::BTreeMap, time::Duration};

use quorate_core::position::NodeId;
use quorate_ledger::registry::NodeRecord;

use super::{office::Office, plan::Step};
use crate::{
    consensus::{Member, MembershipError},
    health::Health,
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A step that takes longer is given up for now; Raft may finish it nevertheless.
const STEP: Duration = Duration::from_secs(10);

/// How long a removed node is sent the log on, so that it learns that it is removed.
const FAREWELL: Duration = Duration::from_secs(3);

/// Rest after a step that failed, or a hand-over.
const REST: Duration = Duration::from_secs(1);

/// Takes steps until the node has a fault.
pub(crate) async fn drive(office: Office, health: Health) {
    let mut farewells: BTreeMap<NodeId, Farewell> = BTreeMap::new();
    while health.is_good() {
        tokio::time::sleep(LOOK_EVERY).await;
        if !office.leads() {
            farewells.clear();
            continue;
        }
        let step = match office.next_step().await {
            Ok(step) => step,
            Err(fault) => return health.fail(fault.to_string()),
        };
        let step = match step {
            Step::Forget(node) if !Farewell::is_over(&mut farewells, node, &office) => {
                Step::Wait(format!("node {node} is told that it is removed"))
            }
            step => step,
        };
        office.says(step.words());
        match tokio::time::timeout(STEP, take(&office, step)).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => {
                tracing::info!(problem, "members: the step is taken again");
                tokio::time::sleep(REST).await;
            }
            Err(_) => tracing::info!("members: the step takes long"),
        }
    }
}

/// A removed node that is sent the log on.
struct Farewell {
    /// What it has to have to know: the end of the log when its removal was seen.
    entry: u64,
    rounds: u32,
}

impl Farewell {
    /// Whether a removed node knows, or was waited for long enough.
    fn is_over(farewells: &mut BTreeMap<NodeId, Self>, node: NodeId, office: &Office) -> bool {
        let last = office.status().last_log_index.unwrap_or(0);
        let farewell = farewells.entry(node).or_insert(Self { entry: last, rounds: 0 });
        farewell.rounds += 1;
        let matched = office.parts().consensus.replication().get(&node.get()).and_then(|it| it.matched);
        // A little longer, so that it hears that the entry is committed.
        let knows =
            matched.is_some_and(|matched| matched >= farewell.entry) && LOOK_EVERY * farewell.rounds >= REST;
        knows || LOOK_EVERY * farewell.rounds >= FAREWELL
    }
}

async fn take(office: &Office, step: Step) -> Result<(), String> {
    let consensus = &office.parts().consensus;
    let failed = |error: MembershipError| error.to_string();
    match step {
        Step::Nothing | Step::Wait(_) => Ok(()),
        Step::FinishChange => consensus.finish_change().await.map_err(failed),
        Step::AddLearner(node) => match office.registry().node(node) {
            Some(record) => consensus.add_learner(node.get(), member(record)).await.map_err(failed),
            None => Ok(()),
        },
        Step::HandOver(heir) => {
            consensus.transfer_leadership(heir.get()).await.map_err(failed)?;
            tokio::time::sleep(REST).await;
            Ok(())
        }
        Step::SetVoters(voters) => consensus.change_voters(voters).await.map_err(failed),
        Step::Retire(nodes) => office.retire(&nodes).await.map_err(|refusal| refusal.to_string()),
        Step::Forget(node) => consensus.forget(node.get()).await.map_err(failed),
    }
}

fn member(record: &NodeRecord) -> Member {
    Member { peer_address: record.peer_address.clone(), client_address: record.client_address.clone() }
}
