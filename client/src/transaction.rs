//! What is to be written: a transaction, built up and sent as one.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::answer::SentOperation;
use quorate_core::entry::{MAX_IDEMPOTENCY_KEY, MAX_KEY_LEN, MAX_OPS, Salt};
use quorate_core::position::{LogIndex, Micros, Revision};
use quorate_proto::v1;

use crate::error::Error;
use crate::random;

/// Writes to keys of one ledger that are done together or not at all.
///
/// A key occurs at most once. Unless an idempotency key is named, one is drawn when the transaction is committed; name
/// one to be able to ask again after this process has died.
#[derive(Clone, Default)]
#[must_use]
pub struct Transaction {
    pub(crate) writes: Vec<Write>,
    pub(crate) preconditions: Vec<Precondition>,
    pub(crate) idempotency_key: Option<Vec<u8>>,
    pub(crate) not_after: Option<Micros>,
    pub(crate) wait: Wait,
    pub(crate) timeout: Option<Duration>,
    pub(crate) min_cosigners: Option<u32>,
}

/// One write, with the salt that its value is digested with.
#[derive(Clone)]
pub(crate) enum Write {
    Put { key: Bytes, value: Bytes, options: PutOptions, salt: Option<Salt> },
    Delete { key: Bytes },
}

/// What goes with a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct PutOptions {
    /// Media type, such as `application/json`.
    pub content_type: Option<String>,
    /// Free attributes, in this order.
    pub attributes: Vec<(String, String)>,
    /// From when on the value reads as absent.
    pub expires_at: Option<Micros>,
}

/// What must hold for a transaction to be committed, judged at its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The key has a value.
    Exists(Bytes),
    /// The key has no value: never written, deleted, or expired.
    Absent(Bytes),
    /// The newest write of the key has this revision; `None`: it was never written.
    RevisionEquals(Bytes, Option<Revision>),
    /// The key was not written after this log index.
    NotModifiedAfter(Bytes, LogIndex),
}

/// When a commit is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// When the cosignatures that the policy asks for cover it: proven.
    #[default]
    Certified,
    /// When a majority has it on disk and it is applied: the leader's word.
    Committed,
}

impl Transaction {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key to a value.
    pub fn put(self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.put_with(key, value, PutOptions::default())
    }

    /// Sets a key to a value, with attributes or a time when it expires.
    pub fn put_with(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>, options: PutOptions) -> Self {
        self.writes.push(Write::Put { key: key.into(), value: value.into(), options, salt: None });
        self
    }

    /// Deletes a key that has a value or had one; its history stays.
    pub fn delete(mut self, key: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }

    /// Adds something that must hold.
    pub fn precondition(mut self, precondition: Precondition) -> Self {
        self.preconditions.push(precondition);
        self
    }

    /// Names the request, 1 to 64 bytes: asked again, it gives the first answer.
    pub fn idempotency_key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// When the request is no longer executed, and no longer known. At most 15 minutes from now.
    pub const fn not_after(mut self, time: Micros) -> Self {
        self.not_after = Some(time);
        self
    }

    /// When to answer.
    pub const fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// How long the call may take, all attempts together.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How many replicas must have cosigned it, if that is more than the policy asks for.
    pub const fn min_cosigners(mut self, count: u32) -> Self {
        self.min_cosigners = Some(count);
        self
    }

    /// How many writes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Draws what has to stay the same when the request is sent again: salts, and the idempotency key.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for what no server would take; [`Error::Config`] without random numbers.
    pub(crate) fn prepare(&mut self) -> Result<Vec<u8>, Error> {
        self.check()?;
        let unsalted: Vec<&mut Option<Salt>> =
            self.writes.iter_mut().filter_map(Write::missing_salt).collect();
        let drawn = random::salts(unsalted.len())?;
        unsalted.into_iter().zip(drawn).for_each(|(salt, drawn)| *salt = Some(drawn));
        match &self.idempotency_key {
            Some(key) => Ok(key.clone()),
            None => random::idempotency_key(),
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.writes.is_empty() || self.writes.len() > MAX_OPS {
            let message = format!("a transaction has 1 to {MAX_OPS} writes, not {}", self.writes.len());
            return Err(Error::invalid("writes", message));
        }
        self.check_keys()?;
        for (place, precondition) in self.preconditions.iter().enumerate() {
            check_key(|| format!("preconditions[{place}].key"), precondition.key())?;
        }
        match self.idempotency_key.as_ref().map(Vec::len) {
            Some(len) if !(1..=MAX_IDEMPOTENCY_KEY).contains(&len) => {
                let message = format!("it has 1 to {MAX_IDEMPOTENCY_KEY} bytes, not {len}");
                Err(Error::invalid("idempotency_key", message))
            }
            _ => Ok(()),
        }
    }

    /// Each write has a key, and each a key of its own.
    fn check_keys(&self) -> Result<(), Error> {
        let field = |place: usize| {
            let kind = match self.writes.get(place) {
                Some(Write::Delete { .. }) => "delete",
                _ => "put",
            };
            format!("writes[{place}].{kind}.key")
        };
        let mut keys: Vec<(&Bytes, usize)> = Vec::with_capacity(self.writes.len());
        for (place, write) in self.writes.iter().enumerate() {
            let (Write::Put { key, .. } | Write::Delete { key }) = write;
            check_key(|| field(place), key)?;
            keys.push((key, place));
        }
        keys.sort_unstable();
        let again = keys.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1);
        match again.min() {
            Some(place) => {
                Err(Error::invalid(field(place), "the key is already written by this transaction"))
            }
            None => Ok(()),
        }
    }

    /// The writes for the wire.
    pub(crate) fn writes_to_wire(&self) -> Vec<v1::Write> {
        self.writes.iter().map(Write::to_wire).collect()
    }

    /// The preconditions for the wire.
    pub(crate) fn preconditions_to_wire(&self) -> Vec<v1::Precondition> {
        self.preconditions.iter().map(Precondition::to_wire).collect()
    }
}

/// Number of writes and length of keys only: values have no place in a log file.
impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("writes", &self.writes.len()).finish_non_exhaustive()
    }
}

impl PutOptions {
    /// Nothing special.
    pub fn new() -> Self {
        Self::default()
    }

    /// Media type, such as `application/json`.
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        self.content_type = Some(media_type.into());
        self
    }

    /// Adds a free attribute.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// From when on the value reads as absent.
    pub const fn expires_at(mut self, time: Micros) -> Self {
        self.expires_at = Some(time);
        self
    }

    /// The bytes that are digested and kept: none if nothing is said.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let attribute =
            |(name, value): &(String, String)| v1::Attribute { name: name.clone(), value: value.clone() };
        let message = v1::ValueAttributes {
            content_type: self.content_type.clone().unwrap_or_default(),
            attributes: self.attributes.iter().map(attribute).collect(),
        };
        message.encode_to_vec()
    }
}

impl Precondition {
    /// The key it is about.
    #[must_use]
    pub const fn key(&self) -> &Bytes {
        match self {
            Self::Exists(key)
            | Self::Absent(key)
            | Self::RevisionEquals(key, _)
            | Self::NotModifiedAfter(key, _) => key,
        }
    }

    fn to_wire(&self) -> v1::Precondition {
        use v1::precondition::Condition;
        let condition = match self {
            Self::Exists(_) => Condition::MustExist(true),
            Self::Absent(_) => Condition::MustNotExist(true),
            Self::RevisionEquals(_, revision) => Condition::RevisionEquals(revision.map_or(0, Revision::get)),
            Self::NotModifiedAfter(_, index) => Condition::NotModifiedAfter(index.get()),
        };
        v1::Precondition { key: self.key().clone(), condition: Some(condition) }
    }
}

impl Write {
    /// Where its salt belongs, if it needs one that is not drawn yet.
    fn missing_salt(&mut self) -> Option<&mut Option<Salt>> {
        match self {
            Self::Put { salt, .. } if salt.is_none() => Some(salt),
            Self::Put { .. } | Self::Delete { .. } => None,
        }
    }

    fn to_wire(&self) -> v1::Write {
        let write = match self {
            Self::Put { key, value, options, salt } => v1::write::Write::Put(v1::Put {
                key: key.clone(),
                value: value.clone(),
                attributes: options.encoded().into(),
                expires_at: options.expires_at.map_or(0, Micros::get),
                salt: salt.map(|salt| Bytes::copy_from_slice(&salt)).unwrap_or_default(),
            }),
            Self::Delete { key } => v1::write::Write::Delete(v1::Delete { key: key.clone() }),
        };
        v1::Write { write: Some(write) }
    }
}

/// The writes as they were sent, to be compared with the answer.
pub(crate) fn sent_operations<'a>(
    writes: &'a [Write],
    attributes: &'a [Vec<u8>],
    salts: &[Option<Salt>],
) -> Vec<SentOperation<'a>> {
    let salts = salts.iter().copied().chain(std::iter::repeat(None));
    let each = writes.iter().zip(attributes).zip(salts);
    each.map(|((write, attributes), other_salt)| match write {
        Write::Put { key, value, options, salt } => SentOperation::Put {
            key,
            value,
            attributes,
            salt: other_salt.or(*salt),
            expires_at: options.expires_at,
        },
        Write::Delete { key } => SentOperation::Delete { key },
    })
    .collect()
}

/// The attributes of each write, as they are digested.
pub(crate) fn encoded_attributes(writes: &[Write]) -> Vec<Vec<u8>> {
    let attributes = writes.iter().map(|write| match write {
        Write::Put { options, .. } => options.encoded(),
        Write::Delete { .. } => Vec::new(),
    });
    attributes.collect()
}

/// A key has 1 to 1,024 bytes. `field`: what it is called in the error.
pub(crate) fn check_key<F: Into<String>>(field: impl FnOnce() -> F, key: &[u8]) -> Result<(), Error> {
    if (1..=MAX_KEY_LEN).contains(&key.len()) {
        return Ok(());
    }
    Err(Error::invalid(field(), format!("a key has 1 to {MAX_KEY_LEN} bytes, not {}", key.len())))
}
