//! Against a naive model: a list, a vote and a map, under random operations and restarts.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::executor::block_on;
use proptest::prelude::*;

use super::{append, create, entry, id, open};
use crate::store::log::{LogEntry, LogId, LogStore, Vote};

#[derive(Clone, Debug)]
enum Step {
    /// Append so many entries, in the present term or the next.
    Append(u64, bool),
    /// Keep so many of the entries that are not committed.
    Truncate(u64),
    /// Purge so many entries.
    Purge(u64),
    /// Commit so many more.
    Commit(u64),
    Vote,
    Put(u8, u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..12_u64, any::<bool>()).prop_map(|(count, next)| Step::Append(count, next)),
        1 => (0..10_u64).prop_map(Step::Truncate),
        1 => (1..10_u64).prop_map(Step::Purge),
        1 => (1..10_u64).prop_map(Step::Commit),
        1 => Just(Step::Vote),
        2 => (0..4_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Default)]
struct Model {
    term: u64,
    log: Vec<LogEntry>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    vote: Option<Vote>,
    records: BTreeMap<Vec<u8>, Bytes>,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.log.last().map(|e| e.id).or(self.purged)
    }

    fn next(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    /// The last of the first `count` entries that may be kept, at least up to the commit position.
    fn keep(&self, count: u64) -> Option<LogId> {
        let least = self.committed.max(self.purged).map_or(0, |id| id.index + 1);
        let keep = self.next().min(least + count);
        self.log.iter().map(|e| e.id).rfind(|id| id.index < keep).or(self.purged)
    }

    fn take(&mut self, step: &Step, store: &LogStore) {
        match step {
            Step::Append(count, next_term) => {
                self.term += u64::from(*next_term);
                let new: Vec<_> = (self.next()..self.next() + count).map(|i| entry(self.term, i)).collect();
                append(store, new.clone());
                self.log.extend(new);
            }
            Step::Truncate(count) => {
                let last = self.keep(*count);
                block_on(store.truncate_after(last)).unwrap();
                self.log.retain(|e| last.is_some_and(|last| e.id.index <= last.index));
                self.term += 1;
            }
            Step::Purge(count) => {
                let upto = self.log.iter().take(usize::try_from(*count).unwrap()).map(|e| e.id).last();
                if let Some(upto) = upto.filter(|upto| Some(*upto) <= self.committed) {
                    store.purge(upto).unwrap();
                    self.log.retain(|e| e.id.index > upto.index);
                    self.purged = Some(upto);
                }
            }
            Step::Commit(count) => {
                let upto = self.committed.map_or(0, |c| c.index + 1) + count;
                if let Some(entry) = self.log.iter().rfind(|e| e.id.index < upto) {
                    let committed = self.committed.max(Some(entry.id)).unwrap();
                    store.save_committed(committed).unwrap();
                    self.committed = Some(committed);
                }
            }
            Step::Vote => {
                self.term += 1;
                let vote = Vote { term: self.term, node_id: self.term % 3 + 1, committed: false };
                block_on(store.save_vote(vote)).unwrap();
                self.vote = Some(vote);
            }
            Step::Put(key, value) => {
                let (key, value) = (vec![b'k', *key], Bytes::from(vec![*value; 3]));
                let twice = vec![(key.clone(), Bytes::new()), (key.clone(), value.clone())];
                block_on(store.put_records(twice).unwrap());
                self.records.insert(key, value);
            }
            Step::Reopen => {}
        }
    }

    fn check(&self, store: &LogStore) {
        let bounds = store.bounds();
        assert_eq!(bounds.last, self.last());
        assert_eq!(bounds.purged, self.purged);
        assert_eq!(bounds.committed, self.committed);
        assert_eq!(bounds.vote, self.vote);
        assert_eq!(store.read(0, u64::MAX, usize::MAX).unwrap(), self.log);
        let records: Vec<_> = self.records.clone().into_iter().collect();
        assert_eq!(store.records_with_prefix(b"k"), records);
        for e in &self.log {
            assert_eq!(store.id_at(e.id.index).unwrap(), Some(id(e.id.term, e.id.index)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_store_behaves_like_a_list(steps in proptest::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = create(&dir);
        let mut model = Model { term: 1, ..Model::default() };
        for step in steps {
            if matches!(step, Step::Reopen) {
                drop(store);
                store = open(&dir.path().join("log")).unwrap();
            }
            model.take(&step, &store);
            model.check(&store);
        }
    }
}
