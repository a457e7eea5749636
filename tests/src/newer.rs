//! Data directories as a program of a later release would leave them: whatever else is in them, they say that it is of a newer
//! format.

use std::{fs, path::Path};

use quorate_core::hash::sha256;

/// The state of the node in this folder is of a newer format.
///
/// # Panics
/// If there is none, or it is of another format than this knows.
pub fn state(folder: &Path) {
    let file = folder.join("data/state/IDENTITY");
    let text = fs::read_to_string(&file).expect("the identity of a state");
    assert!(text.starts_with("quorate-state 2\n"), "{text}");
    let text = text.replace("quorate-state 2\n", "quorate-state 3\n");
    let facts = text.split_inclusive('\n').take(3).collect::<String>();
    let hash = sha256(&[facts.as_bytes()]);
    fs::write(file, format!("{facts}sha256 {hash}\n")).expect("a file");
}

/// The log of the node in this folder is of a newer format. The file is a Protocol Buffers message, whose first field is the
/// format, and its hash.
///
/// # Panics
/// If there is none, or it is of another format than this knows.
pub fn log(folder: &Path) {
    let file = folder.join("data/log/IDENTITY");
    let mut bytes = fs::read(&file).expect("the identity of a log");
    bytes.truncate(bytes.len() - 32);
    assert_eq!(bytes[..2], [8, 1], "the first field is the format");
    bytes[1] = 2;
    let hash = sha256(&[&bytes]);
    bytes.extend_from_slice(hash.as_bytes());
    fs::write(file, bytes).expect("a file");
}
