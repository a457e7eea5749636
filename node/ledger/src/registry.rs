//! The nodes of a cluster: who ever was one, with which keys, and who cosigns.
//!
//! Contract: the registry is what the documents `cosigners`, `nodes/<id>` and `invitations/<id>` of `_system` say
//! together. It is judged where every replica judges alike, when a block is applied:
//!
//! * *ids ascend and are never used twice*: an invitation takes the id after the highest one that was ever taken;
//! * *keys are never used twice*: a node that registers shows keys that no node ever had, and proves that it has them;
//! * *an invitation is used once*: who registers under its id shows its secret before it ends, by the time of the log;
//! * *a node's states follow each other*: joining → member → leaving → removed, or joining → removed; a removed node never
//!   comes back, and nothing else of a record ever changes;
//! * *the set is the members*: it lists exactly the nodes that are members or leaving, and its epoch is one more than the
//!   one before. There is at most one set in a block, so every epoch has a checkpoint of its own.
//!
//! Who votes follows from this, and not the other way round: the members vote, those that leave do not any more.

use std::{collections::BTreeMap, sync::Arc};

use prost::bytes::Bytes;
use quorate_core::{
    hash::{Hash, sha256},
    name::{ClusterId, ClusterOrigin},
    position::{Epoch, Micros, NodeId},
    possession::{NodeStatement, Possession},
};

use crate::view::ClusterState;

mod checks;

pub use quorate_core::epochs::{COSIGNERS_KEY, Cosigner, CosignerSet};

use checks::{check_cosigner, check_set, check_step, public_keys};

/// What the key of a [`NodeRecord`] begins with, before the node's id in decimal.
pub const NODE_PREFIX: &[u8] = b"nodes/";
/// What the key of an [`InvitationRecord`] begins with, before the node's id in decimal.
pub const INVITATION_PREFIX: &[u8] = b"invitations/";

/// Most cosigners in a set.
pub const MAX_COSIGNERS: usize = 15;
/// How long an invitation may be valid, microseconds.
pub const MAX_INVITATION_US: u64 = 7 * 24 * 60 * 60 * 1_000_000;

/// Longest address, bytes.
const MAX_ADDRESS: usize = 255;
/// Bytes of an invitation's secret.
pub const SECRET_LEN: usize = 32;
/// Bytes of the name of a data directory.
const LIFE_LEN: usize = 16;

/// What became of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum NodeState {
    /// Not a state; never written.
    Unspecified = 0,
    /// It gets the log, and neither votes nor cosigns.
    Joining = 1,
    /// It votes and cosigns.
    Member = 2,
    /// It is to be removed: it still cosigns, and votes until it is a voter no more.
    Leaving = 3,
    /// It is none any more, for ever.
    Removed = 4,
}

impl NodeState {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Joining => "joining",
            Self::Member => "member",
            Self::Leaving => "leaving",
            Self::Removed => "removed",
        }
    }
}

/// A node that is or was one of the cluster.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NodeRecord {
    /// Its id, as in the key.
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// As in [`Cosigner`].
    #[prost(string, tag = "2")]
    pub vkey: String,
    /// As in [`Cosigner`].
    #[prost(bytes = "bytes", tag = "3")]
    pub block_public_key: Bytes,
    /// As in [`Cosigner`].
    #[prost(string, tag = "4")]
    pub client_address: String,
    /// As in [`Cosigner`].
    #[prost(string, tag = "5")]
    pub peer_address: String,
    /// What became of it.
    #[prost(enumeration = "NodeState", tag = "6")]
    pub state: i32,
    /// The statement of [`quorate_core::possession`], signed with its cosigner key, 64 bytes.
    #[prost(bytes = "bytes", tag = "7")]
    pub cosigner_proof: Bytes,
    /// The same, signed with its block key.
    #[prost(bytes = "bytes", tag = "8")]
    pub block_proof: Bytes,
    /// The secret of its invitation, 32 bytes; empty for a founder.
    #[prost(bytes = "bytes", tag = "9")]
    pub invitation_secret: Bytes,
    /// The name of its data directory, 16 random bytes; empty for a founder.
    #[prost(bytes = "bytes", tag = "10")]
    pub life: Bytes,
    /// The first epoch without it, once it is removed: the one in force then, if it never cosigned.
    #[prost(uint64, tag = "11")]
    pub removed_in_epoch: u64,
}

/// An id that is taken for a node that does not exist yet.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InvitationRecord {
    /// The id, as in the key.
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// What [`secret_hash`] gives for its secret, 32 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub secret_hash: Bytes,
    /// Microseconds since the Unix epoch: refused in a block whose time is later.
    #[prost(uint64, tag = "3")]
    pub expires_at: u64,
}

/// The key of the record of a node.
#[must_use]
pub fn node_key(node: NodeId) -> Vec<u8> {
    [NODE_PREFIX, node.to_string().as_bytes()].concat()
}

/// The key of the invitation for a node.
#[must_use]
pub fn invitation_key(node: NodeId) -> Vec<u8> {
    [INVITATION_PREFIX, node.to_string().as_bytes()].concat()
}

/// H("quorate-invitation/v1\n" ‖ cluster id (16) ‖ node id u64 ‖ secret (32)): what is kept of an invitation's secret.
#[must_use]
pub fn secret_hash(cluster: &ClusterId, node: NodeId, secret: &[u8; SECRET_LEN]) -> Hash {
    sha256(&[b"quorate-invitation/v1\n", cluster.as_bytes(), &node.to_be_bytes(), secret])
}

/// The node id in a key; there is one way to write each.
pub(crate) fn id_of(prefix: &[u8], key: &[u8]) -> Result<NodeId, String> {
    let text = key.strip_prefix(prefix).and_then(|id| str::from_utf8(id).ok()).unwrap_or_default();
    match text.parse::<u64>() {
        Ok(id) if id > 0 && id.to_string() == text => Ok(NodeId::new(id)),
        _ => Err(format!("{text:?} is no node id: ids are decimal numbers from 1, without leading zeros")),
    }
}

impl NodeRecord {
    /// What became of it.
    #[must_use]
    pub fn standing(&self) -> NodeState {
        NodeState::try_from(self.state).unwrap_or(NodeState::Unspecified)
    }

    /// Whether the cosigner set lists it.
    #[must_use]
    pub fn cosigns(&self) -> bool {
        matches!(self.standing(), NodeState::Member | NodeState::Leaving)
    }

    /// As the cosigner set lists it.
    #[must_use]
    pub fn cosigner(&self) -> Cosigner {
        Cosigner {
            node_id: self.node_id,
            vkey: self.vkey.clone(),
            block_public_key: self.block_public_key.clone(),
            client_address: self.client_address.clone(),
            peer_address: self.peer_address.clone(),
        }
    }

    /// Checks what a record says by itself: names, keys, addresses, and that the node has the keys. Gives the public keys.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self, cluster: &ClusterId, origin: &ClusterOrigin) -> Result<[[u8; 32]; 2], String> {
        let keys = check_cosigner(&self.cosigner(), origin)?;
        let signature = |field: &str, bytes: &Bytes| {
            <[u8; 64]>::try_from(&**bytes).map_err(|_| format!("{field}: 64 bytes, not {}", bytes.len()))
        };
        let proof = Possession {
            cosigner: signature("cosigner_proof", &self.cosigner_proof)?,
            block: signature("block_proof", &self.block_proof)?,
        };
        let [cosigner, block] = keys;
        let statement = NodeStatement { cluster: *cluster, node: NodeId::new(self.node_id), cosigner, block };
        statement.verify(&proof).map_err(|error| error.to_string())?;
        Ok(keys)
    }

    /// The same node in another state.
    #[must_use]
    pub fn in_state(&self, state: NodeState) -> Self {
        Self { state: state.into(), ..self.clone() }
    }
}

/// Everything that is known of the nodes of a cluster. Empty before it is founded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    nodes: BTreeMap<NodeId, NodeRecord>,
    invitations: BTreeMap<NodeId, InvitationRecord>,
    cosigners: Option<Arc<CosignerSet>>,
    /// The number of the last set of the cluster that this one continues, until there is a set of this one.
    earlier: u64,
}

impl Registry {
    /// From the documents as they are stored, which were judged when they were written. Nodes and set of a cluster that
    /// this one continues have names of another origin: they are not this cluster's.
    #[must_use]
    pub fn from_documents(
        origin: &ClusterOrigin,
        nodes: impl IntoIterator<Item = NodeRecord>,
        invitations: impl IntoIterator<Item = InvitationRecord>,
        cosigners: Option<CosignerSet>,
    ) -> Self {
        let own = |node: &NodeRecord| node.cosigner().is_of(origin);
        let (cosigners, earlier) = match cosigners {
            Some(set) if set.is_of(origin) => (Some(Arc::new(set)), 0),
            Some(set) => (None, set.epoch),
            None => (None, 0),
        };
        let nodes = nodes.into_iter().filter(own).map(|node| (NodeId::new(node.node_id), node)).collect();
        let invitations = invitations.into_iter().map(|one| (NodeId::new(one.node_id), one)).collect();
        Self { nodes, invitations, cosigners, earlier }
    }

    /// Every node that ever was one, by id.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<NodeId, NodeRecord> {
        &self.nodes
    }

    /// The record of a node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&id)
    }

    /// Every invitation, used or not, by id.
    #[must_use]
    pub const fn invitations(&self) -> &BTreeMap<NodeId, InvitationRecord> {
        &self.invitations
    }

    /// The invitation for an id, used or not.
    #[must_use]
    pub fn invitation(&self, id: NodeId) -> Option<&InvitationRecord> {
        self.invitations.get(&id)
    }

    /// The cosigner set in force; `None` before the first.
    #[must_use]
    pub const fn cosigners(&self) -> Option<&Arc<CosignerSet>> {
        self.cosigners.as_ref()
    }

    /// Its number; before the first, that of the last set of the cluster that is continued, or 0.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch::new(self.cosigners.as_ref().map_or(self.earlier, |set| set.epoch))
    }

    /// The highest id that was ever taken; 0 when none was.
    #[must_use]
    pub fn highest_id(&self) -> NodeId {
        let last = |id: Option<&NodeId>| id.map_or(0, |id| id.get());
        NodeId::new(
            last(self.nodes.last_key_value().map(|(id, _)| id))
                .max(last(self.invitations.last_key_value().map(|(id, _)| id))),
        )
    }

    /// The set that lists exactly the nodes which cosign, with the epoch after the present one.
    #[must_use]
    pub fn next_set(&self) -> CosignerSet {
        let cosigners = self.nodes.values().filter(|node| node.cosigns()).map(NodeRecord::cosigner);
        CosignerSet { epoch: self.epoch().get().saturating_add(1), cosigners: cosigners.collect() }
    }

    /// The registry with one record changed: what [`Registry::next_set`] is asked of before a change is proposed.
    #[must_use]
    pub fn with(&self, record: NodeRecord) -> Self {
        let mut changed = self.clone();
        changed.nodes.insert(NodeId::new(record.node_id), record);
        changed
    }
}

/// What is wrong, and with which write of the request.
type Misfit = (usize, String);

/// The registry while a request is judged.
#[derive(Debug)]
pub(crate) struct Draft {
    before: Arc<Registry>,
    after: Option<Registry>,
    cluster: Option<(ClusterId, ClusterOrigin)>,
    /// In force before the block.
    epoch: Epoch,
    time: Micros,
    /// The last write that has to fit the others.
    last: usize,
    /// The nodes that the request removes, with the epoch that they say.
    removed: Vec<(usize, NodeId, u64)>,
    has_set: bool,
}

impl Draft {
    pub(crate) fn new(cluster: &ClusterState, epoch: Epoch, time: Micros) -> Self {
        Self {
            before: Arc::clone(&cluster.registry),
            after: None,
            cluster: cluster.id.zip(cluster.origin.clone()),
            epoch,
            time,
            last: 0,
            removed: Vec::new(),
            has_set: false,
        }
    }

    fn after(&mut self) -> &mut Registry {
        self.after.get_or_insert_with(|| (*self.before).clone())
    }

    fn cluster(&self) -> Result<(ClusterId, ClusterOrigin), String> {
        self.cluster.clone().ok_or_else(|| "the cluster has no origin".to_owned())
    }

    /// A new set.
    pub(crate) fn set(&mut self, set: CosignerSet, position: usize) -> Result<(), String> {
        let (_, origin) = self.cluster()?;
        let epoch = self.before.epoch();
        if epoch.next().map(Epoch::get) != Some(set.epoch) {
            return Err(format!(
                "epoch is {}, and must be one more than the present one, {epoch}",
                set.epoch
            ));
        }
        if epoch != self.epoch {
            return Err("the block changes the set already: send the request again".to_owned());
        }
        check_set(&set, &origin)?;
        self.last = position;
        self.has_set = true;
        let after = self.after();
        (after.cosigners, after.earlier) = (Some(Arc::new(set)), 0);
        Ok(())
    }

    /// A new record of a node.
    pub(crate) fn node(&mut self, id: NodeId, record: NodeRecord, position: usize) -> Result<(), String> {
        if record.node_id != id.get() {
            return Err(format!("node_id is {}, and the key says {id}", record.node_id));
        }
        match self.before.node(id).cloned() {
            None => self.register(id, &record)?,
            Some(before) => {
                check_step(&before, &record)?;
                if record.standing() == NodeState::Removed {
                    self.removed.push((position, id, record.removed_in_epoch));
                }
            }
        }
        self.last = position;
        self.after().nodes.insert(id, record);
        Ok(())
    }

    /// A node that was none before.
    fn register(&mut self, id: NodeId, record: &NodeRecord) -> Result<(), String> {
        let (cluster, origin) = self.cluster()?;
        let keys = record.check(&cluster, &origin)?;
        for node in self.after().nodes.values() {
            if public_keys(node).iter().any(|key| keys.iter().any(|own| key.as_slice() == own.as_slice())) {
                return Err(format!(
                    "one of its keys is or was one of node {}: keys are never used twice",
                    node.node_id
                ));
            }
        }
        if record.removed_in_epoch != 0 {
            return Err("removed_in_epoch must be 0 for a node that is not removed".to_owned());
        }
        if self.before.cosigners.is_none() {
            let founder = record.standing() == NodeState::Member
                && record.invitation_secret.is_empty()
                && record.life.is_empty();
            return if founder {
                Ok(())
            } else {
                Err("a founder is a member from the beginning, without invitation and life".to_owned())
            };
        }
        if record.standing() != NodeState::Joining {
            return Err("state must be joining for a node that registers".to_owned());
        }
        if record.life.len() != LIFE_LEN {
            return Err(format!("life: {LIFE_LEN} bytes, not {}", record.life.len()));
        }
        self.check_invitation(&cluster, id, record)
    }

    fn check_invitation(&self, cluster: &ClusterId, id: NodeId, record: &NodeRecord) -> Result<(), String> {
        let Some(invitation) = self.before.invitation(id) else {
            return Err(format!("there is no invitation for node {id}: ids are taken by invitations"));
        };
        let secret = <[u8; SECRET_LEN]>::try_from(&*record.invitation_secret).map_err(|_| {
            format!("invitation_secret: {SECRET_LEN} bytes, not {}", record.invitation_secret.len())
        })?;
        if secret_hash(cluster, id, &secret).as_bytes().as_slice() != &*invitation.secret_hash {
            return Err(format!("invitation_secret is not that of the invitation for node {id}"));
        }
        if self.time.get() > invitation.expires_at {
            let (end, time) = (Micros::new(invitation.expires_at), self.time);
            return Err(format!(
                "the invitation for node {id} was valid until {end} µs, and it is {time} µs"
            ));
        }
        Ok(())
    }

    /// A new invitation.
    pub(crate) fn invite(&mut self, id: NodeId, record: InvitationRecord) -> Result<(), String> {
        if record.node_id != id.get() {
            return Err(format!("node_id is {}, and the key says {id}", record.node_id));
        }
        let highest = self.after().highest_id();
        if highest.get().checked_add(1) != Some(id.get()) {
            return Err(format!(
                "the next id is the one after {highest}: ids are never used twice, and ascend"
            ));
        }
        if self.before.cosigners.is_none() {
            return Err("the cluster is not founded yet".to_owned());
        }
        if record.secret_hash.len() != Hash::LEN {
            return Err(format!("secret_hash: {} bytes, not {}", Hash::LEN, record.secret_hash.len()));
        }
        let end = Micros::new(record.expires_at);
        if !end.since(self.time).is_some_and(|time| (1..=MAX_INVITATION_US).contains(&time)) {
            return Err(format!(
                "expires_at {end} µs must be after the block's time {} µs, and at most 7 days after it",
                self.time
            ));
        }
        self.after().invitations.insert(id, record);
        Ok(())
    }

    /// The registry after the request, if it changes anything and all of it fits together.
    pub(crate) fn finish(self) -> Result<Option<Registry>, Misfit> {
        let Some(after) = self.after else {
            return Ok(None);
        };
        let wrong = |problem: String| Err((self.last, problem));
        let listed = after.cosigners.as_ref().map_or(&[][..], |set| &set.cosigners);
        let cosigning: Vec<Cosigner> =
            after.nodes.values().filter(|node| node.cosigns()).map(NodeRecord::cosigner).collect();
        if listed != cosigning {
            let names = |all: &[Cosigner]| {
                all.iter().map(|one| one.node_id.to_string()).collect::<Vec<_>>().join(", ")
            };
            let (listed, cosigning) = (names(listed), names(&cosigning));
            return wrong(format!(
                "the set lists the nodes {listed}; members and leaving ones are {cosigning}: both change together, and \
                 agree in keys and addresses"
            ));
        }
        if !cosigning.is_empty() && !after.nodes.values().any(|node| node.standing() == NodeState::Member) {
            return wrong("no node would stay a member".to_owned());
        }
        for (position, id, said) in self.removed {
            let epoch = after.epoch();
            if said != epoch.get() {
                return Err((
                    position,
                    format!("removed_in_epoch of node {id} is {said}, and must be {epoch}"),
                ));
            }
        }
        Ok(Some(after))
    }
}
