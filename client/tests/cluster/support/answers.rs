//! Honest answers of a replica, as messages.

use bytes::Bytes;
use quorate_core::answer::{KeyRange, TransactionProof};
use quorate_core::position::{LogIndex, TreeSize};
use quorate_core::state_tree::Query;
use quorate_proto::convert::{CheckpointParts, EntryParts, ItemParts, LeafAt};
use quorate_proto::v1;

use super::model::{LedgerModel, Record};

impl LedgerModel {
    /// The checkpoint at a size, with its proofs.
    pub(crate) fn checkpoint_proof(
        &self,
        size: u64,
        trusted: u64,
        nodes: &[u8],
        time: u64,
    ) -> v1::CheckpointProof {
        let consistency = match trusted {
            0 => Vec::new(),
            trusted if trusted <= size => self.consistency(trusted, size),
            trusted if trusted <= self.size() => self.consistency(size, trusted),
            _ => Vec::new(),
        };
        let note = self.note(size, nodes, time).to_string();
        CheckpointParts { note, commit: self.leaf(size - 1, size), consistency }.into()
    }

    fn show(&self, index: u64, key: &[u8]) -> TransactionProof {
        self.transaction(index, self.size(), Some(key))
    }

    /// What is said of one key, as of a log index if one is given.
    pub(crate) fn item(&self, key: &[u8], at: Option<u64>) -> Option<v1::Item> {
        let records = self.records(key);
        let newest = records.last()?;
        let held = records.iter().rfind(|record| at.is_none_or(|at| record.index <= at));
        let mut item = ItemParts { key: key.to_vec(), ..ItemParts::default() };
        if let Some(record) = held {
            item.index = Some(LogIndex::new(record.index));
            item.operation = record.operation.encode();
            item.contents = record.contents.clone();
            item.erased_by = record.erased_at.map(|erased| self.show(erased, key));
            item.written = (record.index != newest.index).then(|| self.show(record.index, key));
        }
        let next = records.iter().find(|record| at.is_some_and(|at| record.index > at));
        item.superseded_by = next.map(|next| self.show(next.index, key));
        Some(item.into())
    }

    /// A page of at most `limit` keys of a range, as of a log index.
    pub(crate) fn scan(
        &self,
        asked: &KeyRange,
        reverse: bool,
        limit: usize,
        at: Option<u64>,
    ) -> v1::ScanResponse {
        let covered = self.cover(asked, reverse, limit);
        let keys = self.records.keys().filter(|key| covered.contains(key));
        let mut items: Vec<v1::Item> = keys.filter_map(|key| self.item(key, at)).collect();
        if reverse {
            items.reverse();
        }
        let rest = asked.after(&covered, if reverse { descending() } else { ascending() }).unwrap();
        v1::ScanResponse {
            state_proof: self.prove(&covered.query()).into(),
            covered: Some(covered.into()),
            items,
            next_page_token: rest.map_or_else(Bytes::new, |rest| token(&rest, at.unwrap_or(self.size() - 1))),
            size: self.size(),
            at: at.unwrap_or(self.size() - 1),
            checkpoint: None,
        }
    }

    fn cover(&self, asked: &KeyRange, reverse: bool, limit: usize) -> KeyRange {
        let keys: Vec<&Vec<u8>> = self.records.keys().filter(|key| asked.contains(key)).collect();
        if keys.len() <= limit {
            return asked.clone();
        }
        match reverse {
            false => KeyRange::new(asked.first().to_vec(), Some(keys[limit].clone())).unwrap(),
            true => KeyRange::new(keys[keys.len() - limit].clone(), asked.end().map(<[u8]>::to_vec)).unwrap(),
        }
    }

    /// A page of at most `limit` writes of a key, from the one numbered `skip` in the order asked.
    pub(crate) fn history(&self, request: &v1::HistoryRequest, limit: usize) -> v1::HistoryResponse {
        let key = request.key.as_ref();
        let at = request.options.as_ref().and_then(|options| options.at);
        let mut records: Vec<&Record> =
            self.records(key).iter().filter(|record| at.is_none_or(|at| record.index <= at)).collect();
        if !request.oldest_first {
            records.reverse();
        }
        let skip = request.page_token.first().map_or(0, |skip| usize::from(*skip));
        let page: Vec<&&Record> = records.iter().skip(skip).take(limit).collect();
        let next = skip + page.len();
        let more = next < records.len();
        let superseded = self.records(key).iter().find(|record| at.is_some_and(|at| record.index > at));
        v1::HistoryResponse {
            checkpoint: None,
            state_proof: self.prove(&Query::Key(key.to_vec())).into(),
            superseded_by: superseded.map(|next| self.show(next.index, key).into()),
            writes: page.iter().map(|record| self.show(record.index, key).into()).collect(),
            erasures: page
                .iter()
                .filter_map(|record| record.erased_at)
                .map(|erased| self.show(erased, key).into())
                .collect(),
            next_page_token: if more { vec![u8::try_from(next).unwrap()].into() } else { Bytes::new() },
            size: self.size(),
        }
    }

    pub(crate) fn leaf_at(&self, index: u64, size: u64) -> v1::InclusionProofResponse {
        LeafAt { index: LogIndex::new(index), size: TreeSize::new(size), proof: self.leaf(index, size) }
            .into()
    }

    pub(crate) fn entry(&self, index: u64, contents: bool) -> v1::LogEntry {
        let mut entry = EntryParts {
            index: LogIndex::new(index),
            leaf: self.leaves[usize::try_from(index).unwrap()].clone(),
            ..EntryParts::default()
        };
        if let Some(stored) = self.transactions.get(&index) {
            entry.operations = stored.operations.iter().map(|operation| operation.encode()).collect();
            if contents {
                entry.contents = stored.contents.clone();
                entry.meta = self.transaction(index, self.size(), None).meta;
            }
        }
        entry.into()
    }
}

fn ascending() -> quorate_core::answer::Direction {
    quorate_core::answer::Direction::Ascending
}

fn descending() -> quorate_core::answer::Direction {
    quorate_core::answer::Direction::Descending
}

/// The rest of a scan and its log index: first, 0 or 1 and end, as length-prefixed bytes.
fn token(rest: &KeyRange, at: u64) -> Bytes {
    let mut bytes = at.to_be_bytes().to_vec();
    bytes.push(u8::try_from(rest.first().len()).unwrap());
    bytes.extend_from_slice(rest.first());
    if let Some(end) = rest.end() {
        bytes.extend_from_slice(end);
    }
    bytes.into()
}

pub(crate) fn read_token(bytes: &[u8]) -> (KeyRange, u64) {
    let at = u64::from_be_bytes(bytes[..8].try_into().unwrap());
    let first_len = usize::from(bytes[8]);
    let (first, end) = bytes[9..].split_at(first_len);
    let end = Some(end.to_vec()).filter(|end| !end.is_empty());
    (KeyRange::new(first.to_vec(), end).unwrap(), at)
}
