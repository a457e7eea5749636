//! Whether a receipt speaks of an artifact: a file, a commit, an image, known by its SHA-256.

use super::VerifiedReceipt;
use crate::answer::{Contents, ProvenWrite};
use crate::hash::{Hash, sha256};

/// A put in a verified receipt that names an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact<'a> {
    /// The put: key, log index, revision.
    pub write: ProvenWrite,
    /// What it wrote.
    pub contents: &'a Contents,
    /// How it names the artifact.
    pub named_by: NamedBy,
}

/// How a put names an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// Its key is the artifact's SHA-256, as 32 bytes or as 64 lowercase hex digits.
    Key,
    /// Its value is the artifact itself.
    Value,
}

impl VerifiedReceipt {
    /// The put in this receipt that names the artifact with this SHA-256, if there is one. A receipt of state
    /// names it only by a value that is not expired.
    #[must_use]
    pub fn artifact(&self, digest: &Hash) -> Option<Artifact<'_>> {
        self.values().into_iter().find_map(|(write, contents)| {
            let named_by = named_by(digest, write.key(), contents)?;
            Some(Artifact { write, contents, named_by })
        })
    }

    /// Every value that the receipt carries.
    fn values(&self) -> Vec<(ProvenWrite, &Contents)> {
        match self {
            Self::Transaction(receipt) => {
                let transaction = receipt.transaction();
                let shown = transaction.operations().iter();
                shown
                    .filter_map(|item| {
                        let write = ProvenWrite::new(transaction.index(), item.operation())?;
                        Some((write, item.contents()?))
                    })
                    .collect()
            }
            Self::State(receipt) => {
                let values = receipt.readings().iter().filter_map(|reading| reading.value());
                values.map(|value| (value.write().clone(), value.contents())).collect()
            }
        }
    }
}

fn named_by(digest: &Hash, key: &[u8], contents: &Contents) -> Option<NamedBy> {
    if key == digest.as_bytes() || key == digest.to_string().as_bytes() {
        return Some(NamedBy::Key);
    }
    (sha256(&[&contents.value]) == *digest).then_some(NamedBy::Value)
}
