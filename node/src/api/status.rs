//! Status: what this replica knows of itself and of the cluster. Unproven, for people and dashboards; answered even by
//! a node that has stopped serving, because then it matters most.

use std::{collections::BTreeMap, sync::Arc};

use quorate_core::{
    frozen::KNOWS_FREEZES,
    name::LedgerName,
    position::{Micros, NodeId, TreeSize},
};
use quorate_proto::v1;

use super::{
    errors::{Problem, Reason},
    interface::Api,
    resources,
};
use crate::{
    consensus::{Role, Status},
    membership::Office,
    peer::SPOKEN,
    store::state::{LedgerView, ReadView},
    upkeep::{Refused, Transfer},
    witness::Row,
};

/// Entries that are committed and not applied, from which on a node counts as not caught up.
const BEHIND: u64 = 1_000;

impl Api {
    /// How this replica is.
    pub(super) fn status_now(&self) -> v1::StatusResponse {
        let (parts, view) = (self.parts(), self.view());
        let consensus = self.backend().consensus();
        let index = |id: Option<crate::store::log::LogId>| id.map_or(0, |id| id.index);
        let fault = parts.health.fault().or_else(|| consensus.fault.clone()).unwrap_or_default();
        let used = resources::read(&parts.data_dir);
        let (scrub, (server, peer)) = (parts.upkeep.scrub.now(), parts.upkeep.certificates.now());
        v1::StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: parts.origin.as_str().to_owned(),
            cluster_id: parts.cluster.as_bytes().to_vec().into(),
            node_id: parts.me.get(),
            role: role(consensus.role).to_owned(),
            leader: consensus.leader.unwrap_or(0),
            term: consensus.term,
            last_log_index: consensus.last_log_index.unwrap_or(0),
            committed_index: index(consensus.committed),
            applied_index: index(view.applied().last),
            ledgers: view.ledgers().iter().map(|ledger| self.ledger_status(&view, ledger)).collect(),
            members: members(&view, &consensus),
            fault,
            leader_silence_ms: u64::try_from(self.backend().leader_silence().as_millis()).unwrap_or(u64::MAX),
            time: parts.clock.now().get(),
            limitation: self.limitation().unwrap_or_default(),
            memory_bytes: used.memory_bytes,
            written_bytes: used.written_bytes,
            transfers: parts.upkeep.transfers.now().into_iter().map(transfer).collect(),
            scrubbed_at: scrub.passed_at.map_or(0, Micros::get),
            scrubbing: scrub.running,
            scrub_read_bytes: scrub.read,
            server_certificate_ends_at: server.map_or(0, Micros::get),
            peer_certificate_ends_at: peer.map_or(0, Micros::get),
            disk_free_bytes: parts.disk.free().unwrap_or(0),
            evidence_files: u64::try_from(parts.evidence.count()).unwrap_or(u64::MAX),
            evidence_dir: parts.evidence.directory().display().to_string(),
            witnesses: parts.upkeep.witnesses.now().into_iter().map(witness).collect(),
            oldest_wire: SPOKEN.oldest,
            newest_wire: SPOKEN.newest,
            refused_peers: refused_peers(&parts.upkeep.refused),
            system_documents: KNOWS_FREEZES,
        }
    }

    /// What this node does not do now although it serves, and why.
    pub(super) fn limitation(&self) -> Option<String> {
        self.parts().disk.low()
    }

    /// Refuses a write that this node would have to lead, when there is no space for it. Another leader may have.
    pub(super) fn check_space(&self) -> Result<(), Problem> {
        match self.limitation() {
            Some(words) if self.backend().consensus().role == Role::Leader => {
                Err(Reason::DiskNearlyFull.refuse(format!("this call wrote nothing: {words}")).into())
            }
            _ => Ok(()),
        }
    }

    fn ledger_status(&self, view: &ReadView, ledger: &Arc<LedgerView>) -> v1::LedgerStatus {
        let head = ledger.head();
        v1::LedgerStatus {
            name: head.name.as_str().to_owned(),
            size: ledger.size().get(),
            log_root: head.frontier.root().as_bytes().to_vec().into(),
            state_root: head.state_root.as_bytes().to_vec().into(),
            certified_size: self.backend().certified_size(&head.name).get(),
            frozen: view.cluster().frozen.contains_key(&head.name),
        }
    }

    /// Why requests should not be sent here now; `None` when they should.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        if let Some(fault) = self.parts().health.fault() {
            return Some(fault);
        }
        let consensus = self.backend().consensus();
        if consensus.role == Role::Stopped {
            return Some(consensus.fault.unwrap_or_else(|| "consensus has stopped".to_owned()));
        }
        if self.parts().office.as_ref().is_some_and(Office::is_drained) {
            return Some(
                "this node is drained: `quorate member drain --undo` lets it serve again".to_owned(),
            );
        }
        if !consensus.recovered {
            return Some("what was committed before the start is being applied".to_owned());
        }
        if consensus.leader.is_none() {
            return Some("no leader is known".to_owned());
        }
        let view = self.view();
        // The founding transaction makes the first cosigner set and the ledger `default`; that of a cluster that continues
        // another says so, and makes the records of its ledgers anew.
        if view.cluster().registry.cosigners().is_none() || view.cluster().continues.is_some() {
            return Some(
                "the cluster is being founded, or its state has not reached this node yet".to_owned(),
            );
        }
        let (committed, applied) =
            (consensus.committed.map(|id| id.index), view.applied().last.map(|id| id.index));
        let behind = committed.unwrap_or(0).saturating_sub(applied.unwrap_or(0));
        (behind > BEHIND).then(|| format!("catching up: {behind} entries are committed and not applied"))
    }
}

fn witness(((name, ledger), row): ((String, LedgerName), Row)) -> v1::WitnessStatus {
    v1::WitnessStatus {
        name,
        ledger: ledger.as_str().to_owned(),
        size: row.size.get(),
        time_s: row.time_s,
        submitted: row.submitted,
        accepted: row.accepted,
        problem: row.problem.unwrap_or_default(),
    }
}

/// The peers that this node does not talk to.
pub(super) fn refused_peers(refused: &Refused) -> Vec<v1::RefusedPeer> {
    let peer = |(node, why): (NodeId, String)| v1::RefusedPeer { node_id: node.get(), why };
    refused.now().into_iter().map(peer).collect()
}

fn transfer(transfer: Transfer) -> v1::SnapshotTransfer {
    v1::SnapshotTransfer {
        direction: transfer.direction.name().to_owned(),
        peer: transfer.peer,
        done_bytes: transfer.done,
        total_bytes: transfer.total,
        checking: transfer.checking,
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
        Role::Stopped => "stopped",
    }
}

/// The nodes that are or were members, from the registry and from consensus, by id.
fn members(view: &ReadView, consensus: &Status) -> Vec<v1::Member> {
    let membership = &consensus.membership;
    let mut members: BTreeMap<u64, v1::Member> = BTreeMap::new();
    for (id, member) in &membership.members {
        let member = v1::Member {
            node_id: *id,
            client_address: member.client_address.clone(),
            peer_address: member.peer_address.clone(),
            cosigner_vkey: String::new(),
            voter: membership.is_voter(*id),
            state: String::new(),
        };
        members.insert(*id, member);
    }
    for (id, node) in view.cluster().registry.nodes() {
        let member = members.entry(id.get()).or_default();
        member.node_id = id.get();
        member.client_address = node.client_address.clone();
        member.peer_address = node.peer_address.clone();
        member.cosigner_vkey = node.vkey.clone();
        member.state = node.standing().name().to_owned();
    }
    members.into_values().collect()
}

/// How far the newest certified checkpoint is behind, in leaves.
pub(super) fn certification_lag(size: TreeSize, certified: TreeSize) -> u64 {
    size.since(certified).unwrap_or(0)
}
