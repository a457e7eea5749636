//! The keys that the requests of a block name in one ledger.
//!
//! Contract: each key is here once, in key order, with its newest write before the block and with what the block has
//! written to it so far. A request's uses of keys are those of its preconditions and then those of its writes, in
//! their order. So a key is looked for once, next to its neighbours, and from then on is a number: what a block of
//! many random keys costs is to find them.

use std::{
    cmp::Ordering,
    ops::{Index, IndexMut},
};

use prost::bytes::Bytes;

use crate::{block::Request, judge::Newest};

/// A transaction of the block, and an operation in it.
pub(crate) type Place = (usize, usize);

/// All keys that the requests of a block name in one ledger.
#[derive(Debug, Default)]
pub(crate) struct Keys<'b> {
    /// In key order, each once.
    keys: Vec<Key<'b>>,
    /// For each use, in the order of the requests: the number of its key.
    uses: Vec<usize>,
    /// In the order of the block.
    requests: Vec<Naming>,
}

/// A key.
#[derive(Debug)]
pub(crate) struct Key<'b> {
    pub(crate) bytes: &'b Bytes,
    /// Its newest write before the block; `None`: not read.
    pub(crate) before: Option<Option<Newest>>,
    /// What the block has written to it.
    pub(crate) written: Option<Written>,
}

/// What the block has written to one key.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) newest: Newest,
    /// Where the newest write is.
    pub(crate) place: Place,
    /// Where the block's earlier writes of the key are, in order of revision.
    earlier: Vec<Place>,
}

/// A request that names keys.
#[derive(Debug)]
struct Naming {
    /// Its position in the block.
    position: usize,
    first_use: usize,
    /// Whether two of its writes have the same key.
    repeats: bool,
}

/// One use of a key.
struct Use<'b> {
    /// The key's first bytes as a number: nearly all comparisons are of these.
    front: u128,
    key: &'b Bytes,
    number: usize,
    request: usize,
    is_write: bool,
}

impl<'b> Keys<'b> {
    /// The keys of these requests, with their positions in the block, in its order.
    pub(crate) fn of(requests: &[(usize, &'b Request)]) -> Self {
        let mut named: Vec<Use<'b>> = Vec::new();
        let mut namings = Vec::with_capacity(requests.len());
        for (request, (position, asked)) in requests.iter().enumerate() {
            namings.push(Naming { position: *position, first_use: named.len(), repeats: false });
            let conditions = asked.preconditions.iter().map(|precondition| (&precondition.key, false));
            let writes = asked.writes.iter().map(|write| (&write.key, true));
            for (key, is_write) in conditions.chain(writes) {
                named.push(Use { front: front(key), key, number: named.len(), request, is_write });
            }
        }
        named.sort_unstable_by(Use::order);
        let mut keys: Vec<Key<'b>> = Vec::with_capacity(named.len());
        let mut uses = vec![0; named.len()];
        let mut last: Option<&Use<'b>> = None;
        for one in &named {
            match last.filter(|last| last.front == one.front && last.key == one.key) {
                None => keys.push(Key { bytes: one.key, before: None, written: None }),
                // Uses of one key are in the order of the requests, so two writes of a request are neighbours.
                Some(last) if last.request == one.request && last.is_write => {
                    namings[one.request].repeats = true;
                }
                Some(_) => {}
            }
            uses[one.number] = keys.len() - 1;
            last = Some(one);
        }
        Self { keys, uses, requests: namings }
    }

    /// What the block has written, in key order.
    pub(crate) fn written(&self) -> impl Iterator<Item = &Written> {
        self.keys.iter().filter_map(|key| key.written.as_ref())
    }

    /// All of them, in key order, to note what is known of them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Key<'b>> {
        self.keys.iter_mut()
    }

    /// The numbers of the keys that the request at this position of the block names.
    pub(crate) fn of_request(&self, position: usize) -> &[usize] {
        let at = self.find(position);
        let end = self.requests.get(at + 1).map_or(self.uses.len(), |next| next.first_use);
        &self.uses[self.requests[at].first_use..end]
    }

    /// Whether two writes of the request at this position of the block have the same key.
    pub(crate) fn repeat(&self, position: usize) -> bool {
        self.requests[self.find(position)].repeats
    }

    fn find(&self, position: usize) -> usize {
        let found = self.requests.binary_search_by_key(&position, |naming| naming.position);
        found.expect("a request that is judged was announced")
    }
}

impl<'b> Index<usize> for Keys<'b> {
    type Output = Key<'b>;

    fn index(&self, number: usize) -> &Key<'b> {
        &self.keys[number]
    }
}

impl<'b> IndexMut<usize> for Keys<'b> {
    fn index_mut(&mut self, number: usize) -> &mut Key<'b> {
        &mut self.keys[number]
    }
}

impl Key<'_> {
    /// Notes a write of the block.
    pub(crate) fn write(&mut self, newest: Newest, place: Place) {
        match &mut self.written {
            Some(written) => {
                written.earlier.push(written.place);
                (written.newest, written.place) = (newest, place);
            }
            None => self.written = Some(Written { newest, place, earlier: Vec::new() }),
        }
    }
}

impl Written {
    /// Where the block's write is that so many of its writes of the key followed.
    pub(crate) fn place_before(&self, back: usize) -> Option<Place> {
        match back.checked_sub(1) {
            None => Some(self.place),
            Some(back) => self.earlier.iter().rev().nth(back).copied(),
        }
    }
}

impl Use<'_> {
    /// By key, and uses of one key in the order of the requests.
    fn order(&self, other: &Self) -> Ordering {
        let keys = self.front.cmp(&other.front).then_with(|| self.key.cmp(other.key));
        keys.then(self.number.cmp(&other.number))
    }
}

/// The first 16 bytes of a key, zeros behind a shorter one: never in another order than the keys.
fn front(key: &[u8]) -> u128 {
    if let Some(front) = key.first_chunk::<16>() {
        return u128::from_be_bytes(*front);
    }
    let mut front = [0; 16];
    front[..key.len()].copy_from_slice(key);
    u128::from_be_bytes(front)
}

#[cfg(test)]
mod tests {
    use quorate_core::position::{LogIndex, Revision};

    use super::*;
    use crate::block::{Precondition, Write};

    fn request(asked: &[&'static [u8]], written: &[&'static [u8]]) -> Request {
        let precondition =
            |key: &&'static [u8]| Precondition { key: Bytes::from_static(key), condition: None };
        let write = |key: &&'static [u8]| Write { key: Bytes::from_static(key), put: None, erase: None };
        Request {
            preconditions: asked.iter().map(precondition).collect(),
            writes: written.iter().map(write).collect(),
            ..Request::default()
        }
    }

    fn named<'k>(keys: &'k Keys<'_>, position: usize) -> Vec<&'k [u8]> {
        keys.of_request(position).iter().map(|number| &**keys[*number].bytes).collect()
    }

    #[test]
    fn keys_are_in_order_and_each_use_finds_its_own() {
        let long: &[u8] = b"sixteen bytes ..and more";
        let requests = [
            request(&[b"b", b"a\0"], &[b"a", long]),
            request(&[], &[b"sixteen bytes ..", b"a", b""]),
            request(&[], &[]),
        ];
        let positions = [0, 4, 9];
        let asked: Vec<_> = positions.into_iter().zip(&requests).collect();
        let keys = Keys::of(&asked);
        let all: Vec<&[u8]> = keys.keys.iter().map(|key| &**key.bytes).collect();
        assert_eq!(all, [b"".as_slice(), b"a", b"a\0", b"b", b"sixteen bytes ..", long]);
        assert_eq!(named(&keys, 0), [b"b".as_slice(), b"a\0", b"a", long]);
        assert_eq!(named(&keys, 4), [b"sixteen bytes ..".as_slice(), b"a", b""]);
        assert!(named(&keys, 9).is_empty());
    }

    #[test]
    fn only_two_writes_of_one_request_repeat() {
        let requests = [
            request(&[b"k", b"k"], &[b"k", b"l"]),
            request(&[], &[b"k", b"l"]),
            request(&[b"l"], &[b"m", b"k", b"m"]),
        ];
        let asked: Vec<_> = requests.iter().enumerate().collect();
        let keys = Keys::of(&asked);
        assert_eq!([0, 1, 2].map(|position| keys.repeat(position)), [false, false, true]);
    }

    #[test]
    fn writes_of_a_key_are_found_from_the_newest_back() {
        let requests = [request(&[], &[b"k"])];
        let asked: Vec<_> = requests.iter().enumerate().collect();
        let mut keys = Keys::of(&asked);
        for n in 1..=3_u64 {
            let newest = Newest {
                index: LogIndex::new(n),
                revision: Revision::new(n),
                kind: quorate_core::entry::OpKind::Put,
                expires_at: None,
            };
            keys[0].write(newest, (usize::try_from(n).unwrap(), 0));
        }
        let written = keys[0].written.as_ref().unwrap();
        assert_eq!(written.newest.revision, Revision::new(3));
        let places: Vec<_> = (0..4).map(|back| written.place_before(back)).collect();
        assert_eq!(places, [Some((3, 0)), Some((2, 0)), Some((1, 0)), None]);
    }
}
