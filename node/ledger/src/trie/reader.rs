//! Reading buckets from the store, many of them through one cursor.

use std::cell::RefCell;

use super::{
    assemble::assemble,
    bucket::Bucket,
    cache::{Cached, Meter},
    node::Stub,
};
use crate::view::{LeafCursor, LeafSource, LedgerId};

/// A source of leaves with the cursor that was opened last: whoever reads many buckets of a ledger keeps one reader,
/// and the store prepares its reads once.
pub struct LeafReader<'s, S: LeafSource> {
    source: &'s S,
    cursor: RefCell<Option<(LedgerId, S::Leaves<'s>)>>,
}

impl<S: LeafSource> std::fmt::Debug for LeafReader<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeafReader").finish_non_exhaustive()
    }
}

/// Why a bucket was not read.
pub(super) enum ReadError<E> {
    /// The store failed.
    Source(E),
    /// The leaves are not the bucket's.
    Damaged(String),
}

impl<'s, S: LeafSource> LeafReader<'s, S> {
    /// A reader that has not read yet.
    pub fn new(source: &'s S) -> Self {
        Self { source, cursor: RefCell::new(None) }
    }

    /// The bucket that `stub` describes, if that is what the store has.
    pub(super) fn read(
        &self,
        ledger: LedgerId,
        stub: &Stub,
        meter: &Meter,
    ) -> Result<Cached, ReadError<S::Error>> {
        let mut bucket = Bucket::with_capacity(stub.len(), stub.first_key.len());
        let mut kept = self.cursor.borrow_mut();
        let open = kept.take().filter(|(of, _)| *of == ledger).map(|(_, cursor)| cursor);
        let cursor = open.map_or_else(|| self.source.leaves(ledger), Ok).map_err(ReadError::Source)?;
        let (_, cursor) = kept.insert((ledger, cursor));
        let mut in_order = true;
        cursor
            .read(&stub.first_key, stub.len(), |index, fixed, key| in_order &= bucket.push(index, fixed, key))
            .map_err(ReadError::Source)?;
        if in_order {
            check(stub, bucket, meter).map_err(ReadError::Damaged)
        } else {
            Err(ReadError::Damaged("they are not operations in the order of their keys".to_owned()))
        }
    }
}

/// Computes a bucket's hashes, and compares it with what is known of it.
fn check(stub: &Stub, bucket: Bucket, meter: &Meter) -> Result<Cached, String> {
    if bucket.len() != stub.len() {
        return Err(format!("there are {} leaves, not {}", bucket.len(), stub.len()));
    }
    if bucket.is_empty() {
        return Err("there are none".to_owned());
    }
    let built = assemble(bucket, None, meter).node;
    match built.held() {
        Some(bucket) if *built.hash() == stub.hash && *built.first_key() == stub.first_key => Ok(bucket),
        _ => Err(format!("their root is {}, not {}", built.hash(), stub.hash)),
    }
}
