//! The chain itself.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{COSIGNERS_KEY, CosignerSet};
use super::error::EpochError;
use crate::answer::{Bundle, Proven, Reading};
use crate::key::VerifierKey;
use crate::name::ClusterOrigin;
use crate::note::SignedNote;
use crate::policy::Policy;
use crate::position::{Epoch, NodeId};

/// A replica of a verified set. Only documents that a chain has verified give one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub(super) node: NodeId,
    pub(super) key: VerifierKey,
    pub(super) block_key: [u8; 32],
    pub(super) client_address: String,
}

impl Member {
    /// Its node id.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Its cosigner key.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Where clients reach it, `host:port`, as the document says.
    #[must_use]
    pub fn client_address(&self) -> &str {
        &self.client_address
    }

    pub(super) fn public_keys(&self) -> [&[u8; 32]; 2] {
        [self.key.public_key(), &self.block_key]
    }
}

/// What leads from one set to the next. Unverified.
#[derive(Debug, Clone)]
pub struct EpochLink {
    /// A checkpoint of `_system`, signed by quorums of both sets.
    pub note: SignedNote,
    /// The commit leaf there, the state proof of the key `cosigners`, and the document.
    pub bundle: Bundle,
}

/// The newest set of replicas that is proven, and the policy for it.
///
/// Invariant: `policy` has exactly the replicas of `members`, once the epoch is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochChain {
    cluster: ClusterOrigin,
    policy: Policy,
    epoch: Option<Epoch>,
    members: Vec<Member>,
    /// Public keys of all sets so far, this one's too, and whose they were.
    keys: BTreeMap<[u8; 32], NodeId>,
    nodes: BTreeSet<NodeId>,
    /// Cosigner keys of earlier sets, which notes of then are signed with.
    earlier: Vec<VerifierKey>,
}

impl EpochChain {
    /// Begins with the replicas of a policy, whose epoch is not known yet.
    ///
    /// # Errors
    /// [`EpochError::NoReplicas`]; [`EpochError::Rule`] if the policy says nothing about other replicas.
    pub fn begin(policy: Policy, cluster: ClusterOrigin) -> Result<Self, EpochError> {
        let keys: Vec<VerifierKey> = policy.replicas(&cluster).map(|witness| witness.key().clone()).collect();
        if keys.is_empty() {
            return Err(EpochError::NoReplicas { cluster });
        }
        policy.with_replicas(&cluster, &keys)?;
        let node = |key: &VerifierKey| cluster.node_of(key.name());
        Ok(Self {
            keys: keys.iter().filter_map(|key| Some((*key.public_key(), node(key)?))).collect(),
            nodes: keys.iter().filter_map(node).collect(),
            cluster,
            policy,
            epoch: None,
            members: Vec::new(),
            earlier: Vec::new(),
        })
    }

    /// The policy for the newest set: for every log that the first one was for.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The epoch of the newest set; `None` before the first link.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// The replicas of the newest set; none before the first link.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Cosigner keys of the sets before: notes from their time are signed with them.
    #[must_use]
    pub fn earlier_keys(&self) -> &[VerifierKey] {
        &self.earlier
    }

    /// Follows a link: to the next set; the first link of all leads to the set that the policy names, and says its epoch.
    /// Unless it is believed, nothing changes.
    ///
    /// # Errors
    /// [`EpochError`] says which check failed.
    pub fn follow(&mut self, link: EpochLink) -> Result<Epoch, EpochError> {
        let next = self.epoch.and_then(Epoch::next).unwrap_or_default();
        let by_old = self.policy.certify(link.note.clone());
        let by_old = by_old.map_err(|source| EpochError::NotByOld { epoch: next, source })?;
        let proven = Proven::open(by_old, link.bundle)?;
        let Reading::Value(document) = proven.get(COSIGNERS_KEY)? else {
            return Err(EpochError::NoDocument);
        };
        let (epoch, members) = CosignerSet::read(document.bytes(), &self.cluster)?;
        if let Some(trusted) = self.epoch {
            if epoch != next {
                return Err(EpochError::NotNext { trusted, got: epoch });
            }
            self.check_unused(epoch, &members)?;
        } else {
            self.check_is_the_policys(epoch, &members)?;
        }
        let keys: Vec<VerifierKey> = members.iter().map(|member| member.key.clone()).collect();
        let policy = self.policy.with_replicas(&self.cluster, &keys)?;
        policy.certify(link.note).map_err(|source| EpochError::NotByNew { epoch, source })?;
        self.accept(epoch, members, policy);
        Ok(epoch)
    }

    fn accept(&mut self, epoch: Epoch, members: Vec<Member>, policy: Policy) {
        for member in &members {
            self.nodes.insert(member.node);
            for key in member.public_keys() {
                self.keys.insert(*key, member.node);
            }
        }
        let gone = self.members.iter().filter(|old| members.iter().all(|new| new.key != old.key));
        self.earlier.extend(gone.map(|member| member.key.clone()));
        (self.epoch, self.members, self.policy) = (Some(epoch), members, policy);
    }

    fn check_is_the_policys(&self, epoch: Epoch, members: &[Member]) -> Result<(), EpochError> {
        let named: BTreeSet<_> =
            self.policy.replicas(&self.cluster).map(|one| one.key().to_string()).collect();
        let listed: BTreeSet<_> = members.iter().map(|member| member.key.to_string()).collect();
        if named == listed { Ok(()) } else { Err(EpochError::NotThePolicys { got: epoch }) }
    }

    /// Who stays keeps both keys and the id; whoever is new has none that was ever used.
    fn check_unused(&self, epoch: Epoch, members: &[Member]) -> Result<(), EpochError> {
        for member in members {
            let stays = self.members.iter().any(|old| {
                (old.node, &old.key, old.block_key) == (member.node, &member.key, member.block_key)
            });
            let reused = |what| EpochError::Reused { node: member.node, epoch, what };
            if stays {
                continue;
            }
            if member.public_keys().iter().any(|key| self.keys.contains_key(*key)) {
                return Err(reused("a key"));
            }
            if self.nodes.contains(&member.node) {
                return Err(reused("a node id"));
            }
        }
        Ok(())
    }
}
