//! Receipts of single artifacts, cut out of that of their transaction.
//!
//! A transaction of many artifacts has one receipt, with all their records. Whoever gets one artifact should get a
//! receipt of that one only: the same leaf, checkpoint and signatures, one operation with its own inclusion path.

use std::fs;
use std::path::{Path, PathBuf};

use quorate_client::{Hash, Receipt};
use quorate_core::answer::{Contents, Meta, RevealedOperation, TransactionProof};
use quorate_core::entry::Operation;

use crate::error::CliError;

/// What the names of receipt files end in.
const EXTENSION: &str = "tlog-proof";

/// Makes the directory, and checks that it is one.
pub(super) fn prepare(directory: &Path) -> Result<(), CliError> {
    fs::create_dir_all(directory).map_err(CliError::io("create directory", directory))
}

/// Saves a receipt for each of these keys (hex digits) that the transaction wrote, as `<key>.tlog-proof`. They are not
/// made durable one by one: a lost one can be had again from the ledger.
pub(super) fn save(directory: &Path, receipt: &Receipt, keys: &[String]) -> Result<Vec<PathBuf>, CliError> {
    let mut saved = Vec::with_capacity(keys.len());
    let path = inclusion_path(receipt);
    for revealed in &receipt.extra().operations {
        let operation = Operation::decode(&revealed.operation).map_err(|error| {
            CliError::other(format!("the receipt holds an operation that is none: {error}"))
        })?;
        let Some(key) = keys.iter().find(|key| key.as_bytes() == operation.key) else {
            continue;
        };
        let file = directory.join(format!("{key}.{EXTENSION}"));
        let single = cut_out(receipt, &path, revealed);
        fs::write(&file, single.to_string()).map_err(CliError::io("write receipt", &file))?;
        saved.push(file);
    }
    Ok(saved)
}

/// Where the receipt of a key is saved.
pub(super) fn file_of(directory: &Path, key: &str) -> String {
    directory.join(format!("{key}.{EXTENSION}")).display().to_string()
}

/// The receipt with one of its operations only.
fn cut_out(receipt: &Receipt, path: &[Hash], revealed: &quorate_core::receipt::RevealedOperation) -> Receipt {
    let extra = receipt.extra();
    let salt = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).ok();
    let contents = salt(&revealed.salt).map(|salt| Contents {
        salt,
        attributes: revealed.attributes.clone(),
        value: revealed.value.clone(),
    });
    let hashes = revealed.path.iter().filter_map(|hash| Hash::try_from(hash.as_slice()).ok());
    let proof = TransactionProof {
        index: receipt.index(),
        leaf: extra.leaf.clone(),
        path: path.to_vec(),
        operations: vec![RevealedOperation {
            operation: revealed.operation.clone(),
            position: revealed.position,
            path: hashes.collect(),
            contents,
        }],
        meta: salt(&extra.meta_salt).map(|salt| Meta { salt, bytes: extra.meta.clone() }),
    };
    Receipt::of_transaction(receipt.note().clone(), &proof)
}

/// The inclusion path of the leaf: the lines of the file between the index and the empty line.
fn inclusion_path(receipt: &Receipt) -> Vec<Hash> {
    let text = receipt.to_string();
    let lines = text.lines().skip(3).take_while(|line| !line.is_empty());
    lines.filter_map(|line| Hash::from_base64(line).ok()).collect()
}
