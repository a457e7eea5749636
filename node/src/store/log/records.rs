//! Durable records: small facts that must never be forgotten, in the same group fsync as the log.
//!
//! The signer keeps here what it last signed. Each write carries, in the same batch, a number and a
//! digest over *all* records: the exclusive or of `pair_digest(key, value)`. At start the digest is
//! recomputed, and the number is compared with the floor. A lost or damaged record is a fault.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_proto::peer::v1 as pb;

use super::{
    fault::LogFault,
    frame::{self, pair_digest},
    rows,
};

/// All records as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordsState {
    /// Counts the writes, from 1; 0 = never written.
    pub(crate) sequence: u64,
    /// Exclusive or of the digests of all records.
    pub(crate) digest: [u8; 32],
}

impl From<RecordsState> for pb::RecordsState {
    fn from(state: RecordsState) -> Self {
        Self { sequence: state.sequence, digest: Bytes::copy_from_slice(&state.digest) }
    }
}

impl TryFrom<pb::RecordsState> for RecordsState {
    type Error = LogFault;

    fn try_from(message: pb::RecordsState) -> Result<Self, LogFault> {
        let digest = message.digest.as_ref().try_into().map_err(|_| {
            LogFault::undecodable(
                "records",
                format!("digest of {} bytes instead of 32", message.digest.len()),
            )
        })?;
        Ok(Self { sequence: message.sequence, digest })
    }
}

/// Key and value of a row of the database.
type Row = (Vec<u8>, Vec<u8>);

/// The records in memory. One lock guards it together with the write of a batch, so that the order of
/// sequence numbers is the order in the write-ahead log.
#[derive(Debug, Default)]
pub(crate) struct Records {
    state: RecordsState,
    values: BTreeMap<Vec<u8>, Bytes>,
}

impl Records {
    /// Takes over what was found on disk; refuses records that do not match their digest.
    pub(crate) fn recover(state: RecordsState, values: BTreeMap<Vec<u8>, Bytes>) -> Result<Self, LogFault> {
        let mut digest = [0; 32];
        for (key, value) in &values {
            xor(&mut digest, &pair_digest(key, value));
        }
        if digest != state.digest {
            return Err(LogFault::RecordsDamaged { sequence: state.sequence });
        }
        Ok(Self { state, values })
    }

    pub(crate) fn state(&self) -> RecordsState {
        self.state
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.values.get(key).cloned()
    }

    /// Records whose key starts with `prefix`, by ascending key.
    pub(crate) fn with_prefix(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Bytes)> {
        self.values
            .range(prefix.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// The state after `changes`, and the rows that make it so. Nothing changes yet.
    pub(crate) fn plan(&self, changes: &[(Vec<u8>, Bytes)]) -> (RecordsState, Vec<Row>) {
        let mut after =
            RecordsState { sequence: self.state.sequence.saturating_add(1), digest: self.state.digest };
        let mut latest: BTreeMap<&[u8], &Bytes> = BTreeMap::new();
        for (key, value) in changes {
            if let Some(old) = latest.get(key.as_slice()).copied().or_else(|| self.values.get(key)) {
                xor(&mut after.digest, &pair_digest(key, old));
            }
            xor(&mut after.digest, &pair_digest(key, value));
            latest.insert(key, value);
        }
        let row = |(key, value): (&[u8], &Bytes)| {
            let stored_key = rows::record_key(key);
            let stored = frame::seal(&stored_key, value.to_vec());
            (stored_key, stored)
        };
        (after, latest.into_iter().map(row).collect())
    }

    /// Makes a planned change the present state, after its rows were written.
    pub(crate) fn commit(&mut self, after: RecordsState, changes: Vec<(Vec<u8>, Bytes)>) {
        self.state = after;
        self.values.extend(changes);
    }
}

fn xor(into: &mut [u8; 32], other: &[u8; 32]) {
    for (a, b) in into.iter_mut().zip(other) {
        *a ^= b;
    }
}
