//! Honest answers: bundles with exactly what each question needs.

use quorate_core::answer::{
    Bundle, Contents, Direction, HistoryCursor, KeyRange, LeafProof, RevealedOperation, TransactionProof,
};
use quorate_core::entry::op_path;
use quorate_core::position::{LogIndex, TreeSize};
use quorate_core::state_tree::Query;
use quorate_core::tree::inclusion_path;

use super::ledger::{Ledger, Record};

/// Which operations of a transaction an answer shows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown<'a> {
    /// All of them, without paths.
    All,
    /// Only the one on this key, with its path.
    Key(&'a [u8]),
}

impl Ledger {
    pub(crate) fn leaf_proof(&self, index: u64) -> LeafProof {
        let size = TreeSize::new(self.size());
        LeafProof {
            leaf: self.leaves[usize::try_from(index).unwrap()].clone(),
            path: inclusion_path(&self.tree, LogIndex::new(index), size).unwrap(),
        }
    }

    pub(crate) fn transaction_proof(&self, index: u64, shown: Shown<'_>) -> TransactionProof {
        let stored = &self.transactions[&index];
        let encoded: Vec<Vec<u8>> = stored.operations.iter().map(|operation| operation.encode()).collect();
        let operations = stored.operations.iter().enumerate().filter(|(_, operation)| match shown {
            Shown::All => true,
            Shown::Key(key) => operation.key == key,
        });
        let operations = operations.map(|(place, _)| RevealedOperation {
            operation: encoded[place].clone(),
            position: u32::try_from(place).unwrap(),
            path: match shown {
                Shown::All => Vec::new(),
                Shown::Key(_) => op_path(&encoded, place).unwrap(),
            },
            contents: stored.contents[place].clone(),
        });
        let LeafProof { leaf, path } = self.leaf_proof(index);
        let meta = matches!(shown, Shown::All).then(|| stored.meta.clone());
        TransactionProof { index: LogIndex::new(index), leaf, path, operations: operations.collect(), meta }
    }

    /// A bundle with the commit leaf and nothing else.
    fn bundle(&self) -> Bundle {
        Bundle { commit: Some(self.leaf_proof(self.last_index())), ..Bundle::default() }
    }

    /// Contents of a write, or the transaction that erased them.
    fn add_contents(&self, bundle: &mut Bundle, record: &Record) {
        match (&record.contents, record.erased_at) {
            (Some(contents), _) => bundle.contents.push(contents.clone()),
            (None, Some(at)) => self.add_transaction(bundle, at, &record.operation.key),
            (None, None) => {}
        }
    }

    fn add_transaction(&self, bundle: &mut Bundle, index: u64, key: &[u8]) {
        let proof = self.transaction_proof(index, Shown::Key(key));
        if bundle.transactions.iter().any(|other| other.index == proof.index) {
            // Two keys of one transaction: show it whole.
            bundle.transactions.retain(|other| other.index != proof.index);
            bundle.transactions.push(self.transaction_proof(index, Shown::All));
        } else {
            bundle.transactions.push(proof);
        }
    }

    fn newest(&self, key: &[u8]) -> Option<&Record> {
        self.records.get(key)?.last()
    }

    pub(crate) fn answer_get(&self, keys: &[&[u8]]) -> Bundle {
        let mut bundle = self.bundle();
        for key in keys {
            bundle.state_proofs.push(self.state.prove(&Query::Key(key.to_vec())));
            if let Some(record) = self.newest(key) {
                self.add_contents(&mut bundle, record);
            }
        }
        bundle
    }

    /// A page of at most `limit` keys, and what it covers.
    pub(crate) fn answer_scan(
        &self,
        asked: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> (Bundle, KeyRange) {
        let covered = self.cover(asked, direction, limit);
        let mut bundle = self.bundle();
        bundle.state_proofs.push(self.state.prove(&covered.query()));
        for (key, records) in self.records.iter().filter(|(key, _)| covered.contains(key)) {
            assert!(!records.is_empty(), "key {key:?} without a write");
            self.add_contents(&mut bundle, records.last().unwrap());
        }
        (bundle, covered)
    }

    fn cover(&self, asked: &KeyRange, direction: Direction, limit: usize) -> KeyRange {
        let mut keys: Vec<&Vec<u8>> = self.records.keys().filter(|key| asked.contains(key)).collect();
        if keys.len() <= limit {
            return asked.clone();
        }
        match direction {
            Direction::Ascending => {
                let end = keys[limit].clone();
                KeyRange::new(asked.first().to_vec(), Some(end)).unwrap()
            }
            Direction::Descending => {
                keys.reverse();
                let first = keys[limit - 1].clone();
                KeyRange::new(first, asked.end().map(<[u8]>::to_vec)).unwrap()
            }
        }
    }

    /// A page of at most `limit` writes of a key's history.
    pub(crate) fn answer_history(&self, cursor: &HistoryCursor, limit: usize) -> Bundle {
        let mut bundle = self.bundle();
        bundle.state_proofs.push(self.state.prove(&Query::Key(cursor.key().to_vec())));
        let records = self.records.get(cursor.key()).map_or(&[][..], Vec::as_slice);
        let at = cursor.index().map(LogIndex::get);
        let page: Vec<&Record> = match cursor.direction() {
            Direction::Ascending => {
                records.iter().filter(|record| at.is_none_or(|at| record.index > at)).take(limit).collect()
            }
            Direction::Descending => {
                let older = records.iter().rev().filter(|record| at.is_none_or(|at| record.index <= at));
                older.take(limit).collect()
            }
        };
        for record in page {
            self.add_transaction(&mut bundle, record.index, cursor.key());
            if let Some(at) = record.erased_at {
                self.add_transaction(&mut bundle, at, cursor.key());
            }
        }
        bundle
    }

    /// What keys held as of a log index, with a state proof per key.
    pub(crate) fn answer_as_of(&self, keys: &[&[u8]], index: u64) -> Bundle {
        let mut bundle = self.bundle();
        bundle.point = Some(self.leaf_proof(index));
        for key in keys {
            bundle.state_proofs.push(self.state.prove(&Query::Key(key.to_vec())));
            self.add_as_of(&mut bundle, key, index);
        }
        bundle
    }

    /// What a key held as of a log index before its newest write, from the log alone.
    pub(crate) fn answer_as_of_from_log(&self, key: &[u8], index: u64) -> Bundle {
        let mut bundle = Bundle { point: Some(self.leaf_proof(index)), ..Bundle::default() };
        self.add_as_of(&mut bundle, key, index);
        let next = self.records[key].iter().find(|record| record.index > index).unwrap();
        if !bundle.transactions.iter().any(|shown| shown.index.get() == next.index) {
            self.add_transaction(&mut bundle, next.index, key);
        }
        bundle
    }

    pub(crate) fn answer_scan_as_of(
        &self,
        asked: &KeyRange,
        direction: Direction,
        limit: usize,
        index: u64,
    ) -> (Bundle, KeyRange) {
        let covered = self.cover(asked, direction, limit);
        let mut bundle = self.bundle();
        bundle.point = Some(self.leaf_proof(index));
        bundle.state_proofs.push(self.state.prove(&covered.query()));
        let keys: Vec<&Vec<u8>> = self.records.keys().filter(|key| covered.contains(key)).collect();
        for key in keys {
            self.add_as_of(&mut bundle, key, index);
        }
        (bundle, covered)
    }

    /// The write that held, unless the state proof shows it, and the next one, unless the state proof shows it.
    fn add_as_of(&self, bundle: &mut Bundle, key: &[u8], index: u64) {
        let records = self.records.get(key).map_or(&[][..], Vec::as_slice);
        let then = records.iter().rfind(|record| record.index <= index);
        let is_newest = |record: &Record| records.last().is_some_and(|last| last.index == record.index);
        if let Some(record) = then {
            if is_newest(record) {
                self.add_contents(bundle, record);
                return;
            }
            self.add_transaction(bundle, record.index, key);
            if let Some(at) = record.erased_at {
                self.add_transaction(bundle, at, key);
            }
        }
        match records.iter().find(|record| record.index > index) {
            Some(next) if !is_newest(next) => self.add_transaction(bundle, next.index, key),
            _ => {}
        }
    }

    /// Contents as the records have them.
    pub(crate) fn contents(&self, key: &[u8], index: u64) -> Option<&Contents> {
        let records = self.records.get(key)?;
        records.iter().find(|record| record.index == index)?.contents.as_ref()
    }
}
