//! What others ask a witness to cosign (c2sp.org/tlog-witness, `add-checkpoint`). Pure.
//!
//! ```text
//! old <size> \n
//! <base64 of a hash> \n      the RFC 6962 consistency proof from the old size, at most 63 lines
//! \n
//! <checkpoint as a signed note>
//! ```
//!
//! Contract: [`Submission::judge`] is every check of the specification, against what was cosigned last of that origin. A
//! checkpoint that passes continues it; whoever stores that and signs must do so before anybody else is judged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_core::checkpoint::Checkpoint;
use quorate_core::hash::Hash;
use quorate_core::note::SignedNote;
use quorate_core::policy::Policy;
use quorate_core::position::TreeSize;
use quorate_core::proof::consistency;

/// Longest body that is read, bytes: a note with the signatures it can have, and a proof.
pub const MAX_BODY: usize = 256 << 10;
/// Most lines of a proof.
const MAX_PROOF: usize = 63;

/// A request, parsed; nothing is verified.
#[derive(Debug, Clone)]
pub struct Submission {
    old: TreeSize,
    path: Vec<Hash>,
    note: SignedNote,
}

/// What was cosigned last of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its size.
    pub size: TreeSize,
    /// Its root.
    pub root: Hash,
}

/// Why nothing is cosigned; each is a status of the specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400: the body is none, or its sizes are out of order.
    #[error("bad request: {0}")]
    Malformed(String),
    /// 403: no key of that log signed it.
    #[error("not signed by a key of log {origin}: {reason}")]
    NotSigned {
        /// The log.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// 404: the log is not one of those that are witnessed here.
    #[error("{0} is not witnessed here")]
    UnknownOrigin(String),
    /// 409: the old size is not the one that was cosigned last.
    #[error("{0}\n")]
    OtherSize(TreeSize),
    /// 409: another root for the size that was cosigned last.
    #[error("another root was cosigned for size {0}")]
    OtherRoot(TreeSize),
    /// 503: it is audited here, and that size is not recomputed yet, or its root is not remembered any more.
    #[error("size {0} is not recomputed here yet: ask again, with a newer checkpoint")]
    NotRecomputed(TreeSize),
    /// 422: the proof does not hold.
    #[error("the consistency proof does not hold: {0}")]
    NotConsistent(String),
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::NotSigned { .. } => 403,
            Self::UnknownOrigin(_) => 404,
            Self::OtherSize(_) | Self::OtherRoot(_) => 409,
            Self::NotConsistent(_) => 422,
            Self::NotRecomputed(_) => 503,
        }
    }

    /// The media type of the text that goes with it.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::OtherSize(_) => "text/x.tlog.size",
            _ => "text/plain; charset=utf-8",
        }
    }
}

impl Submission {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let bad = |what: &str| Refusal::Malformed(what.to_owned());
        if body.len() > MAX_BODY {
            return Err(bad("the body is too long"));
        }
        let text = std::str::from_utf8(body).map_err(|_| bad("the body is no text"))?;
        let (head, note) = text.split_once("\n\n").ok_or_else(|| bad("there is no empty line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or_else(|| bad("the first line is not \"old <size>\""))?;
        let path: Vec<Hash> = lines
            .map(|line| Hash::try_from(STANDARD.decode(line).ok()?.as_slice()).ok())
            .collect::<Option<_>>()
            .ok_or_else(|| bad("a line of the proof is not the base64 of a hash"))?;
        if path.len() > MAX_PROOF {
            return Err(bad("the proof has more than 63 lines"));
        }
        let note = SignedNote::parse(note).map_err(|error| bad(&error.to_string()))?;
        Ok(Self { old: TreeSize::new(old), path, note })
    }

    /// Whose checkpoint it is.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.note.checkpoint().origin
    }

    /// The size of the checkpoint.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.note.checkpoint().size
    }

    /// Whether it may be cosigned: by whom the logs are witnessed, and what was cosigned last of this one.
    ///
    /// # Errors
    /// [`Refusal`]: the first check of the specification that fails.
    pub fn judge(&self, logs: &Policy, recorded: Option<Recorded>) -> Result<&Checkpoint, Refusal> {
        let tree = self.note.checkpoint();
        let keys: Vec<_> = logs
            .logs()
            .iter()
            .map(|log| log.key())
            .filter(|key| key.name() == tree.origin)
            .cloned()
            .collect();
        if keys.is_empty() {
            return Err(Refusal::UnknownOrigin(tree.origin.clone()));
        }
        self.note
            .clone()
            .open(&keys)
            .map_err(|error| Refusal::NotSigned { origin: tree.origin.clone(), reason: error.to_string() })?;
        if self.old > tree.size {
            return Err(Refusal::Malformed(format!("old size {} is beyond size {}", self.old, tree.size)));
        }
        let last = recorded.map_or(TreeSize::ZERO, |recorded| recorded.size);
        if self.old != last {
            return Err(Refusal::OtherSize(last));
        }
        let Some(Recorded { size, root }) = recorded.filter(|recorded| recorded.size > TreeSize::ZERO) else {
            return match self.path.is_empty() {
                true => Ok(tree),
                false => Err(Refusal::NotConsistent("from size 0 it is empty".to_owned())),
            };
        };
        if size == tree.size && root != tree.root {
            return Err(Refusal::OtherRoot(size));
        }
        consistency::verify(size, &root, tree.size, &tree.root, &self.path)
            .map_err(|error| Refusal::NotConsistent(error.to_string()))?;
        Ok(tree)
    }
}

/// A decimal number without leading zeroes.
fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
