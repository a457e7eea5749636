//! The parts of an answer, put together for verification.

use std::collections::BTreeMap;

use quorate_core::answer::{Bundle, Contents, LeafProof, RevealedOperation, TransactionProof};
use quorate_core::position::LogIndex;
use quorate_proto::convert::{ItemParts, WireError};
use quorate_proto::v1;

/// What an answer consists of, besides its checkpoint.
///
/// A replica shows a transaction once for every key it answers for, each time with that key's operation. Here they
/// become one, since it is one transaction that is proven.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    bundle: Bundle,
    transactions: BTreeMap<LogIndex, TransactionProof>,
}

impl Parts {
    /// Adds a state proof; proofs are in the order of the keys asked for. Empty: there is none.
    pub(crate) fn add_state_proof(&mut self, proof: Vec<u8>) {
        if !proof.is_empty() {
            self.bundle.state_proofs.push(proof);
        }
    }

    /// Adds what is said of one key.
    pub(crate) fn add_item(&mut self, item: ItemParts) {
        if let Some(contents) = item.contents {
            self.add_contents(contents);
        }
        for transaction in [item.erased_by, item.written, item.superseded_by].into_iter().flatten() {
            self.add_transaction(transaction);
        }
    }

    /// The same from the wire, with errors named from the message that holds it in `field`.
    pub(crate) fn add_wire_item(
        &mut self,
        field: impl std::fmt::Display,
        item: v1::Item,
    ) -> Result<(), WireError> {
        self.add_item(ItemParts::try_from(item).map_err(|error| error.within(field))?);
        Ok(())
    }

    /// Adds transactions from the wire.
    pub(crate) fn add_wire_transactions(
        &mut self,
        field: &str,
        transactions: impl IntoIterator<Item = v1::Transaction>,
    ) -> Result<(), WireError> {
        for (place, transaction) in transactions.into_iter().enumerate() {
            let proof = TransactionProof::try_from(transaction);
            self.add_transaction(proof.map_err(|error| error.within(format_args!("{field}[{place}]")))?);
        }
        Ok(())
    }

    /// Adds contents of a put, wherever it is.
    pub(crate) fn add_contents(&mut self, contents: Contents) {
        self.bundle.contents.push(contents);
    }

    /// Adds a transaction, or what it shows beyond what is there.
    pub(crate) fn add_transaction(&mut self, proof: TransactionProof) {
        match self.transactions.get_mut(&proof.index) {
            None => {
                self.transactions.insert(proof.index, proof);
            }
            Some(known) => merge(known, proof),
        }
    }

    pub(super) fn set_ground(&mut self, commit: LeafProof, point: Option<LeafProof>) {
        self.bundle.commit = Some(commit);
        self.bundle.point = point;
    }

    pub(super) fn into_bundle(self) -> Bundle {
        let Self { mut bundle, transactions } = self;
        bundle.transactions.extend(transactions.into_values());
        bundle
    }
}

/// Makes one of two showings of a transaction.
///
/// Nothing is compared here: both claim to be the transaction at one index, and what is kept is proven to be. What is
/// dropped is never shown to anybody.
fn merge(known: &mut TransactionProof, other: TransactionProof) {
    if known.meta.is_none() {
        known.meta = other.meta;
    }
    // A showing of all operations needs no paths, and cannot be mixed with one that does. Otherwise what is new is added
    // to what is there: of a large transaction, it mostly is one operation more.
    let known_operations = std::mem::take(&mut known.operations);
    let known_is_whole = is_whole(&known_operations);
    let other_is_whole = is_whole(&other.operations);
    let (mut base, extra) = match known_is_whole || !other_is_whole {
        true => (known_operations, other.operations),
        false => (other.operations, known_operations),
    };
    let base_is_whole = known_is_whole || other_is_whole;
    for operation in extra {
        match base.binary_search_by_key(&operation.position, |shown| shown.position) {
            Ok(place) => {
                if let Some(shown) = base.get_mut(place)
                    && shown.contents.is_none()
                {
                    shown.contents = operation.contents;
                }
            }
            Err(_) if base_is_whole => {}
            Err(place) => base.insert(place, operation),
        }
    }
    known.operations = base;
}

/// Whether this can be a showing of all operations at once: none has a path. (The only operation of a transaction has
/// none either: then it is all of them.)
fn is_whole(operations: &[RevealedOperation]) -> bool {
    !operations.is_empty() && operations.iter().all(|operation| operation.path.is_empty())
}
