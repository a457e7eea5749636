//! Names: clusters, ledgers, and the origins and key names made of them.
//!
//! Contract: a value of these types has the form of `docs/formats.md` ("Names"), so that an origin is one
//! line of a checkpoint, a key name of a note and a path of an URL without any escaping.
//!
//! ```text
//! cluster origin   ledger.example/test/4420823c          name / first 8 hex digits of the cluster id
//! ledger           invoices                              [a-z0-9][a-z0-9._-]{0,63} other than node,
//!                                                        and the system's own: _system, _audit
//! origin           ledger.example/test/4420823c/invoices
//! node's key name  ledger.example/test/4420823c/node/3
//! ```
//!
//! A cluster origin has at most [`ClusterOrigin::MAX_LEN`] bytes: with the longest ledger name behind it, an
//! origin still fits its 255. A restored cluster has a new id, so other origins: nothing signed for one is ever
//! valid for the other.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::position::NodeId;

/// Between the cluster origin and the id of a node in a key name; also why no ledger may be called `node`.
const NODE: &str = "node";

/// Identity of a cluster: 16 random bytes, printed as 32 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId([u8; 16]);

impl ClusterId {
    /// These bytes, taken as they are.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads 32 lowercase hex digits.
    ///
    /// # Errors
    /// [`NameError::ClusterId`].
    pub fn from_hex(text: &str) -> Result<Self, NameError> {
        let mut bytes = [0; 16];
        let is_hex = hex::decode_to_slice(text, &mut bytes).is_ok();
        if !is_hex || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NameError::ClusterId { text: text.to_owned() });
        }
        Ok(Self(bytes))
    }

    /// The first 8 hex digits: what an origin shows.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(ClusterOrigin::ID_DIGITS).collect()
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ClusterId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::from_hex(text)
    }
}

impl TryFrom<&[u8]> for ClusterId {
    type Error = NameError;

    fn try_from(bytes: &[u8]) -> Result<Self, NameError> {
        <[u8; 16]>::try_from(bytes).map(Self).map_err(|_| NameError::ClusterIdLength { got: bytes.len() })
    }
}

/// Name of a ledger within its cluster. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerName(Arc<str>);

impl LedgerName {
    /// The cluster's own ledger: registry of ledgers, cosigner sets, replicated settings.
    pub const SYSTEM: &str = "_system";
    /// The cluster's own ledger of who did what.
    pub const AUDIT: &str = "_audit";
    /// Longest name in bytes.
    pub const MAX_LEN: usize = 64;

    /// A ledger's name; the system's two are taken too ([`LedgerName::is_system`] tells them apart).
    ///
    /// # Errors
    /// [`NameError::Ledger`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        let own = name == Self::SYSTEM || name == Self::AUDIT;
        if own || (name.len() <= Self::MAX_LEN && name != NODE && is_part(name)) {
            Ok(Self(name.into()))
        } else {
            Err(NameError::Ledger { text: name.to_owned() })
        }
    }

    /// `_system`.
    #[must_use]
    pub fn system() -> Self {
        Self(Self::SYSTEM.into())
    }

    /// `_audit`.
    #[must_use]
    pub fn audit() -> Self {
        Self(Self::AUDIT.into())
    }

    /// Whether it is one of the system's two, which nobody creates or writes by a public call.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0.starts_with('_')
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What all ledgers and nodes of a cluster have in front of their names. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterOrigin(Arc<str>);

impl ClusterOrigin {
    /// Longest cluster origin in bytes: leaves room for `/` and the longest ledger name.
    pub const MAX_LEN: usize = Origin::MAX_LEN - 1 - LedgerName::MAX_LEN;
    /// How many hex digits of the cluster id it ends with.
    pub const ID_DIGITS: usize = 8;

    /// The origin of the cluster with this name (for example `ledger.example/test`) and id.
    ///
    /// # Errors
    /// [`NameError::Cluster`], [`NameError::ClusterOriginLength`].
    pub fn new(name: &str, cluster_id: &ClusterId) -> Result<Self, NameError> {
        if !is_path(name) {
            return Err(NameError::Cluster { text: name.to_owned() });
        }
        let text = format!("{name}/{}", cluster_id.short());
        if text.len() > Self::MAX_LEN {
            return Err(NameError::ClusterOriginLength { got: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// Reads a cluster origin.
    ///
    /// # Errors
    /// [`NameError::ClusterOrigin`], [`NameError::ClusterOriginLength`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (name, id) = text.rsplit_once('/').unwrap_or(("", text));
        let is_id =
            id.len() == Self::ID_DIGITS && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_id || !is_path(name) {
            return Err(NameError::ClusterOrigin { text: text.to_owned() });
        }
        if text.len() > Self::MAX_LEN {
            return Err(NameError::ClusterOriginLength { got: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// The name without the id.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(name, _)| name)
    }

    /// Whether a cluster with this id can have this origin.
    #[must_use]
    pub fn has_id(&self, cluster_id: &ClusterId) -> bool {
        self.0.rsplit_once('/').is_some_and(|(_, id)| id == cluster_id.short())
    }

    /// The origin of one of its ledgers.
    #[must_use]
    pub fn ledger(&self, ledger: &LedgerName) -> Origin {
        Origin { text: format!("{self}/{ledger}").into(), cluster: self.clone(), ledger: ledger.clone() }
    }

    /// The key name of one of its nodes, under which that node cosigns.
    #[must_use]
    pub fn node(&self, node: NodeId) -> String {
        format!("{self}/{NODE}/{node}")
    }

    /// The node whose key name this is; `None` if it is none of this cluster's.
    #[must_use]
    pub fn node_of(&self, key_name: &str) -> Option<NodeId> {
        let (cluster, node) = split_node(key_name)?;
        (cluster == self.as_str()).then_some(node)
    }

    /// The cluster origin.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The origin line of a ledger's checkpoints, and the name of its log key. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    text: Arc<str>,
    cluster: ClusterOrigin,
    ledger: LedgerName,
}

impl Origin {
    /// Longest origin in bytes.
    pub const MAX_LEN: usize = 255;

    /// Reads the origin of a ledger.
    ///
    /// # Errors
    /// [`NameError`] of the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (cluster, ledger) =
            text.rsplit_once('/').ok_or_else(|| NameError::Origin { text: text.to_owned() })?;
        Ok(ClusterOrigin::parse(cluster)?.ledger(&LedgerName::new(ledger)?))
    }

    /// The cluster's part.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterOrigin {
        &self.cluster
    }

    /// The ledger's name.
    #[must_use]
    pub const fn ledger(&self) -> &LedgerName {
        &self.ledger
    }

    /// The origin.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// How all names print, parse and compare: as their text.
macro_rules! text {
    ($name:ident, $parse:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::$parse(text)
            }
        }
    };
}

text!(LedgerName, new);
text!(ClusterOrigin, parse);
text!(Origin, parse);

/// Text or bytes that are no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not 32 lowercase hex digits.
    #[error("cluster id {text:?}: expected 32 lowercase hex digits")]
    ClusterId {
        /// The text.
        text: String,
    },
    /// Not 16 bytes.
    #[error("cluster id: expected 16 bytes, not {got}")]
    ClusterIdLength {
        /// How many there were.
        got: usize,
    },
    /// Not a ledger's name.
    #[error(
        "ledger name {text:?}: expected 1 to 64 characters a-z, 0-9, '.', '_' or '-', the first a letter or a \
         digit, and not the word \"node\""
    )]
    Ledger {
        /// The text.
        text: String,
    },
    /// Not a cluster's name.
    #[error(
        "cluster name {text:?}: expected parts of a-z, 0-9, '.', '_' and '-' joined by '/', each starting with a \
         letter or a digit, such as ledger.example/test"
    )]
    Cluster {
        /// The text.
        text: String,
    },
    /// Not a cluster's origin.
    #[error("cluster origin {text:?}: expected <cluster name>/<first 8 hex digits of the cluster id>")]
    ClusterOrigin {
        /// The text.
        text: String,
    },
    /// A cluster origin too long for its ledgers.
    #[error(
        "cluster origin: {got} bytes, at most {} are allowed; choose a shorter cluster name",
        ClusterOrigin::MAX_LEN
    )]
    ClusterOriginLength {
        /// Its length in bytes.
        got: usize,
    },
    /// Not a ledger's origin.
    #[error("origin {text:?}: expected <cluster origin>/<ledger name>")]
    Origin {
        /// The text.
        text: String,
    },
}

/// The cluster origin (as text, unchecked) and node id in a node's key name.
pub(crate) fn split_node(key_name: &str) -> Option<(&str, NodeId)> {
    let (rest, digits) = key_name.rsplit_once('/')?;
    let cluster = rest.strip_suffix(NODE)?.strip_suffix('/')?;
    Some((cluster, NodeId::new(crate::note::text::parse_decimal(digits)?)))
}

/// `[a-z0-9][a-z0-9._-]*`
fn is_part(part: &str) -> bool {
    let mut bytes = part.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && bytes.all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

/// Parts joined by slashes.
fn is_path(path: &str) -> bool {
    path.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ClusterId =
        ClusterId::new(*b"\x44\x20\x82\x3c\xfd\xe6\xf1\xc2\x6b\x30\xf9\x0e\xc7\xdd\x01\xe4");

    #[test]
    fn origins_are_built_of_their_parts() {
        let cluster = ClusterOrigin::new("ledger.example/test-1", &ID).unwrap();
        assert_eq!(cluster.as_str(), "ledger.example/test-1/4420823c");
        assert_eq!(cluster.name(), "ledger.example/test-1");
        assert!(cluster.has_id(&ID) && !cluster.has_id(&ClusterId::new([0; 16])));
        let origin = cluster.ledger(&LedgerName::new("default").unwrap());
        assert_eq!(origin.to_string(), "ledger.example/test-1/4420823c/default");
        assert_eq!(Origin::parse(origin.as_str()), Ok(origin.clone()));
        assert_eq!((origin.cluster(), origin.ledger().as_str()), (&cluster, "default"));
        let node = cluster.node(NodeId::new(12));
        assert_eq!(node, "ledger.example/test-1/4420823c/node/12");
        assert_eq!(cluster.node_of(&node), Some(NodeId::new(12)));
    }

    #[test]
    fn a_node_name_of_another_form_or_cluster_is_none() {
        let cluster = ClusterOrigin::new("a", &ID).unwrap();
        for other in [
            "a/4420823c/node/012",
            "a/4420823c/node/",
            "a/4420823c/nodes/1",
            "a/4420823c/xnode/1",
            "a/4420823c/node/1/",
            "a/44208230/node/1",
            "node/1",
            "1",
            "",
        ] {
            assert_eq!(cluster.node_of(other), None, "{other}");
        }
    }

    #[test]
    fn ledger_names_outside_the_alphabet_are_refused() {
        let longest = "a".repeat(64);
        for name in ["a", "0", "a.b_c-d", "default", "_system", "_audit", "nodes", &longest] {
            assert_eq!(LedgerName::new(name).unwrap().as_str(), name);
        }
        let too_long = "a".repeat(65);
        for name in ["", "node", "_", "_other", ".a", "-a", "A", "a/b", "a b", "a+b", "ä", "a\n", &too_long]
        {
            assert!(LedgerName::new(name).is_err(), "{name:?}");
        }
        assert!(LedgerName::system().is_system() && !LedgerName::new("a_").unwrap().is_system());
    }

    #[test]
    fn cluster_names_without_empty_parts_only() {
        for name in ["", "/", "a/", "/a", "a//b", "A", "a/.b", "a/..", "a b", "_a"] {
            assert!(ClusterOrigin::new(name, &ID).is_err(), "{name:?}");
            assert!(ClusterOrigin::parse(&format!("{name}/4420823c")).is_err(), "{name:?}");
        }
        for origin in ["4420823c", "/4420823c", "a/4420823", "a/4420823C", "a/4420823cc", ""] {
            assert!(ClusterOrigin::parse(origin).is_err(), "{origin:?}");
        }
    }

    #[test]
    fn the_longest_origin_fits() {
        let longest = "a".repeat(ClusterOrigin::MAX_LEN - 9);
        let cluster = ClusterOrigin::new(&longest, &ID).unwrap();
        let origin = cluster.ledger(&LedgerName::new(&"b".repeat(64)).unwrap());
        assert_eq!(origin.as_str().len(), Origin::MAX_LEN);
        let got = ClusterOrigin::MAX_LEN + 1;
        let refused = Err(NameError::ClusterOriginLength { got });
        assert_eq!(ClusterOrigin::new(&format!("{longest}a"), &ID), refused);
        assert_eq!(ClusterOrigin::parse(&format!("{longest}a/4420823c")), refused);
    }

    #[test]
    fn cluster_ids_are_lowercase_hex() {
        let text = "4420823cfde6f1c26b30f90ec7dd01e4";
        assert_eq!(ClusterId::from_hex(text), Ok(ID));
        assert_eq!(format!("{ID} {ID:?}"), format!("{text} {text}"));
        assert!(ClusterId::from_hex(&text.to_uppercase()).is_err());
        assert!(ClusterId::from_hex(&text[1..]).is_err());
        assert!(ClusterId::try_from(&[0_u8; 15][..]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_refused_or_is_the_name(text in "(\\PC|[a-z0-9./_-]{1,9}|/node/[0-9]{1,3}|/4420823c){0,6}") {
            if let Ok(origin) = Origin::parse(&text) {
                assert_eq!(origin.as_str(), text);
            }
            if let Ok(cluster) = ClusterOrigin::parse(&text) {
                assert_eq!(cluster.as_str(), text);
            }
            if let Some((cluster, node)) = split_node(&text) {
                assert_eq!(format!("{cluster}/node/{node}"), text);
            }
        }
    }
}
