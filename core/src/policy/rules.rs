//! A policy, once read: logs, witnesses, and the rule over them.

use std::fmt;

use super::PolicyFileError;
use super::quorum::Quorum;
use crate::hash::{Hash, sha256};
use crate::key::VerifierKey;
use crate::name::split_node;

/// Longest policy file that is read, in bytes.
pub const MAX_POLICY_BYTES: usize = 1 << 20;

/// A name or URL of a policy file: octets without space, tab and newline. Printing replaces what is not UTF-8;
/// [`Policy::to_bytes`] does not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Vec<u8>);

impl Label {
    pub(super) fn new(octets: &[u8]) -> Self {
        Self(octets.to_vec())
    }

    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

/// A log of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub(super) key: VerifierKey,
    pub(super) url: Option<Label>,
}

impl Log {
    /// Its key; the name of the key is the log's origin.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Where it can be read, if the file says so.
    #[must_use]
    pub const fn url(&self) -> Option<&Label> {
        self.url.as_ref()
    }
}

/// A cosigner of a policy: a replica or an outside witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    pub(super) name: Label,
    pub(super) key: VerifierKey,
    pub(super) url: Option<Label>,
}

impl Witness {
    /// What the file calls it. Means nothing elsewhere.
    #[must_use]
    pub const fn name(&self) -> &Label {
        &self.name
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Where it can be reached, if the file says so.
    #[must_use]
    pub const fn url(&self) -> Option<&Label> {
        self.url.as_ref()
    }
}

/// A trust policy that can be met, its keys pairwise distinct. Prints as a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub(super) logs: Vec<Log>,
    pub(super) witnesses: Vec<Witness>,
    pub(super) quorum: Quorum,
    /// The keys of all logs and witnesses, in this order: what a note is opened with.
    pub(super) keys: Vec<VerifierKey>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyFileError`] names the line and what is expected there.
    pub fn parse(file: impl AsRef<[u8]>) -> Result<Self, PolicyFileError> {
        super::parse::parse(file.as_ref())
    }

    /// The default policy of a cluster: one log, and more than half of these cosigners.
    ///
    /// # Errors
    /// [`PolicyFileError`], with the lines of the file that this would be: keys of the wrong type or not distinct.
    pub fn majority(log: &VerifierKey, cosigners: &[VerifierKey]) -> Result<Self, PolicyFileError> {
        Self::k_of_n(log, cosigners, (cosigners.len() / 2).saturating_add(1))
    }

    /// One log, and at least `k` of these cosigners. A replica of the log's cluster is called `node-<id>` in it,
    /// anybody else by the name of the key.
    ///
    /// # Errors
    /// The same as of [`Policy::majority`], and a `k` that these cosigners cannot meet.
    pub fn k_of_n(log: &VerifierKey, cosigners: &[VerifierKey], k: usize) -> Result<Self, PolicyFileError> {
        let cluster = log.name().rsplit_once('/').map(|(cluster, _)| cluster);
        let label = |key: &VerifierKey| match split_node(key.name()) {
            Some((of, node)) if Some(of) == cluster => format!("node-{node}"),
            _ => key.name().to_owned(),
        };
        let mut file = format!("log {log}\n");
        let mut group = format!("group cosigners {k}");
        for key in cosigners {
            let name = label(key);
            file.push_str(&format!("witness {name} {key}\n"));
            group.push_str(&format!(" {name}"));
        }
        Self::parse(format!("{file}{group}\nquorum cosigners\n"))
    }

    /// The logs; a checkpoint must be of one of them and signed by it.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The log with this origin. With several keys for one origin, the first.
    #[must_use]
    pub fn log(&self, origin: &str) -> Option<&Log> {
        self.logs.iter().find(|log| log.key.name() == origin)
    }

    /// All witnesses of the file, whether the quorum counts them or not.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// The witness with this public key, whatever the key's name.
    #[must_use]
    pub fn witness(&self, key: &VerifierKey) -> Option<&Witness> {
        self.witnesses.iter().find(|witness| witness.key.same_key(key))
    }

    /// The keys of all logs and witnesses: what its notes are opened with, for a caller that needs no quorum.
    #[must_use]
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// A short text to compare by voice: SHA-256 of the printed policy. Comments and spacing do not count; the
    /// order of the lines does.
    #[must_use]
    pub fn fingerprint(&self) -> Hash {
        sha256(&[&self.to_bytes()])
    }
}
