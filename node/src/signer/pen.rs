//! What may be signed: the promises of this node, kept durable.
//!
//! A record per ledger in the log store, key `signed/<ledger>`: size u64, root (32), time u64, big-endian. It is
//! written before the signature is handed out. *Crash before the record is durable:* nobody saw the signature; the
//! checkpoint is signed again after the restart. *Crash after:* the replay of the same block signs the same
//! statement with the same time, and Ed25519 is deterministic: the very same signature.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::{
    checkpoint::Checkpoint,
    hash::Hash,
    key::CosignerKey,
    name::{ClusterOrigin, LedgerName},
    position::TreeSize,
};

use super::book::Signed;
use crate::store::log::{LogFault, LogStore};

const PREFIX: &[u8] = b"signed/";

/// Why nothing can be signed. Fatal for the node.
#[derive(Debug, thiserror::Error)]
pub enum PenFault {
    /// The same size was signed before with another root.
    #[error(
        "ledger {ledger} at size {size}: this node signed the root {signed} and now computed {computed}: \
         its state is wrong; keep its files and replace it by a new node under a new id"
    )]
    TwoRoots {
        /// The ledger.
        ledger: LedgerName,
        /// The size.
        size: TreeSize,
        /// What was signed.
        signed: Hash,
        /// What was computed now.
        computed: Hash,
    },
    /// A record is not one.
    #[error(
        "the record of what was signed for {0:?} is damaged: replace this node by a new one under a new id"
    )]
    Record(String),
    /// The log store failed.
    #[error(transparent)]
    Log(#[from] LogFault),
    /// A time that cannot be signed.
    #[error("the clock says {0} seconds, which cannot be signed: correct the clock")]
    Time(u64),
}

/// What was last signed for a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastSigned {
    pub(crate) size: TreeSize,
    pub(crate) root: Hash,
    /// Seconds since the Unix epoch.
    pub(crate) time: u64,
}

impl LastSigned {
    fn encode(&self) -> Bytes {
        let mut record = Vec::with_capacity(48);
        record.extend_from_slice(&self.size.to_be_bytes());
        record.extend_from_slice(self.root.as_bytes());
        record.extend_from_slice(&self.time.to_be_bytes());
        record.into()
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let (size, rest) = record.split_first_chunk::<8>()?;
        let (root, rest) = rest.split_first_chunk::<32>()?;
        let time = <[u8; 8]>::try_from(rest).ok()?;
        Some(Self {
            size: TreeSize::from_be_bytes(*size),
            root: Hash::new(*root),
            time: u64::from_be_bytes(time),
        })
    }
}

/// One checkpoint to sign.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) ledger: LedgerName,
    pub(crate) size: TreeSize,
    pub(crate) root: Hash,
    /// Sign again with the present time, although it is the last one signed.
    pub(crate) refresh: bool,
}

/// The only holder of the cosigner key.
#[derive(Debug)]
pub(crate) struct Pen {
    key: CosignerKey,
    origin: ClusterOrigin,
    log: LogStore,
    last: BTreeMap<LedgerName, LastSigned>,
}

impl Pen {
    /// Reads what was promised.
    pub(crate) fn open(key: CosignerKey, origin: ClusterOrigin, log: LogStore) -> Result<Self, PenFault> {
        let last = promises(&log)?;
        Ok(Self { key, origin, log, last })
    }

    /// Signs what may be signed of `drafts`, in order, with the time `now` (seconds) or the last one signed, whichever
    /// is later. Returns when all of it is durable. Smaller sizes than the last signed are passed over: they were
    /// signed before a crash.
    pub(crate) async fn sign(
        &mut self,
        drafts: &[Draft],
        now: u64,
    ) -> Result<Vec<(LedgerName, TreeSize, Signed)>, PenFault> {
        let mut signed = Vec::with_capacity(drafts.len());
        let mut changed: BTreeMap<LedgerName, LastSigned> = BTreeMap::new();
        for draft in drafts {
            let last = changed.get(&draft.ledger).or_else(|| self.last.get(&draft.ledger));
            let Some(next) = next(draft, last, now)? else {
                continue;
            };
            let checkpoint = Checkpoint {
                origin: self.origin.ledger(&draft.ledger).as_str().to_owned(),
                size: draft.size,
                root: draft.root,
            };
            let cosignature =
                self.key.cosign(&checkpoint, next.time).map_err(|_| PenFault::Time(next.time))?;
            let entry = Signed { root: draft.root, time: next.time, signature: cosignature.signature };
            signed.push((draft.ledger.clone(), draft.size, entry));
            if last != Some(&next) {
                changed.insert(draft.ledger.clone(), next);
            }
        }
        self.promise(changed).await?;
        Ok(signed)
    }

    async fn promise(&mut self, changed: BTreeMap<LedgerName, LastSigned>) -> Result<(), PenFault> {
        if changed.is_empty() {
            return Ok(());
        }
        let key = |ledger: &LedgerName| [PREFIX, ledger.as_str().as_bytes()].concat();
        let records = changed.iter().map(|(ledger, last)| (key(ledger), last.encode())).collect();
        self.log.put_records(records)?.await;
        self.last.extend(changed);
        Ok(())
    }
}

/// What was last signed, per ledger.
pub(crate) fn promises(log: &LogStore) -> Result<BTreeMap<LedgerName, LastSigned>, PenFault> {
    let mut last = BTreeMap::new();
    for (name, record) in log.records_with_prefix(PREFIX) {
        let name = String::from_utf8_lossy(name.strip_prefix(PREFIX).unwrap_or(&name)).into_owned();
        let ledger = LedgerName::new(&name).map_err(|_| PenFault::Record(name.clone()))?;
        last.insert(ledger, LastSigned::decode(&record).ok_or(PenFault::Record(name))?);
    }
    Ok(last)
}

/// What signing a draft would promise; `None` when it must not be signed.
fn next(draft: &Draft, last: Option<&LastSigned>, now: u64) -> Result<Option<LastSigned>, PenFault> {
    let fresh = |time| LastSigned { size: draft.size, root: draft.root, time };
    let Some(last) = last else {
        return Ok(Some(fresh(now)));
    };
    if draft.size < last.size {
        return Ok(None);
    }
    if draft.size > last.size {
        return Ok(Some(fresh(now.max(last.time))));
    }
    if draft.root != last.root {
        return Err(PenFault::TwoRoots {
            ledger: draft.ledger.clone(),
            size: draft.size,
            signed: last.root,
            computed: draft.root,
        });
    }
    Ok(Some(fresh(if draft.refresh { now.max(last.time) } else { last.time })))
}

#[cfg(test)]
mod tests {
    use quorate_core::{hash::sha256, name::ClusterId, position::NodeId};

    use super::*;
    use crate::store::log::{Identity, LogConfig};

    fn draft(size: u64, root: u8, refresh: bool) -> Draft {
        let ledger = LedgerName::new("default").unwrap();
        Draft { ledger, size: TreeSize::new(size), root: sha256(&[&[root]]), refresh }
    }

    fn last(size: u64, root: u8, time: u64) -> LastSigned {
        LastSigned { size: TreeSize::new(size), root: sha256(&[&[root]]), time }
    }

    #[test]
    fn never_two_roots_for_one_size() {
        assert!(matches!(
            next(&draft(5, 2, false), Some(&last(5, 1, 10)), 20),
            Err(PenFault::TwoRoots { .. })
        ));
        assert!(matches!(
            next(&draft(5, 2, true), Some(&last(5, 1, 10)), 20),
            Err(PenFault::TwoRoots { .. })
        ));
    }

    #[test]
    fn never_a_smaller_size_again() {
        assert_eq!(next(&draft(4, 9, false), Some(&last(5, 1, 10)), 20).unwrap(), None);
        assert_eq!(next(&draft(4, 9, true), Some(&last(5, 1, 10)), 20).unwrap(), None);
    }

    #[test]
    fn times_never_fall_and_a_replay_says_the_same() {
        assert_eq!(next(&draft(6, 2, false), Some(&last(5, 1, 10)), 3).unwrap(), Some(last(6, 2, 10)));
        assert_eq!(next(&draft(5, 1, false), Some(&last(5, 1, 10)), 99).unwrap(), Some(last(5, 1, 10)));
        assert_eq!(next(&draft(5, 1, true), Some(&last(5, 1, 10)), 99).unwrap(), Some(last(5, 1, 99)));
        assert_eq!(next(&draft(5, 1, true), Some(&last(5, 1, 10)), 3).unwrap(), Some(last(5, 1, 10)));
    }

    #[test]
    fn records_round_trip_and_damage_is_seen() {
        let record = last(7, 3, 11).encode();
        assert_eq!(LastSigned::decode(&record), Some(last(7, 3, 11)));
        assert_eq!(LastSigned::decode(&record[1..]), None);
        assert_eq!(LastSigned::decode(&[record.as_ref(), &[0]].concat()), None);
    }

    fn copy(from: &std::path::Path, to: &std::path::Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }

    fn pen(directory: &std::path::Path) -> Pen {
        let identity = Identity { cluster_id: [7; 16], node_id: 1 };
        if !LogStore::exists(directory) {
            LogStore::create(directory, identity).unwrap();
        }
        let log = LogStore::open(directory, identity, LogConfig::default()).unwrap();
        let origin = ClusterOrigin::new("test", &ClusterId::new([7; 16])).unwrap();
        let key = CosignerKey::from_seed(&origin.node(NodeId::new(1)), &[1; 32]).unwrap();
        Pen::open(key, origin, log).unwrap()
    }

    /// Rule 2 of docs/trust.md, with its crash: the disk is as it was when the signature was handed out.
    #[tokio::test]
    async fn what_was_signed_before_a_crash_binds_after_it() {
        let home = tempfile::tempdir().unwrap();
        let (disk, image) = (home.path().join("log"), home.path().join("image"));
        let mut before = pen(&disk);
        let signed = before.sign(&[draft(4, 1, false), draft(5, 1, false)], 10).await.unwrap();
        copy(&disk, &image);
        let mut after = pen(&image);
        let other = after.sign(&[draft(5, 2, false)], 20).await;
        assert!(matches!(other, Err(PenFault::TwoRoots { .. })), "{other:?}");
        assert!(after.sign(&[draft(4, 2, false)], 20).await.unwrap().is_empty());
        // The same block again: the same statement, byte for byte.
        let again = after.sign(&[draft(5, 1, false)], 20).await.unwrap();
        assert_eq!(again, signed[1..]);
    }
}
