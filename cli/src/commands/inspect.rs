//! `quorate inspect`: everything that is recorded about a key or an artifact.

use std::ffi::OsString;
use std::path::Path;

use quorate_client::{HistoryEntry, Read, Value};

use super::history::{Writes, collect as writes_of};
use crate::artifact::{Found, Record, Source, collect, sha256_of_file};
use crate::convert;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::json::{Artifact, Bytes};
use crate::output::{Table, json, text, time};
use crate::session::Session;

/// Most writes that are shown.
const MOST: u32 = 1_000;

/// Show everything that is recorded about a key or an artifact
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An existing file, git://PATH@REV, hash:HEX and 64 hex digits name an artifact; anything else is
a key. Shows what is there now, every write of it, and of an artifact every status it was given,
by whom (claimed).")]
pub(crate) struct Args {
    /// A key, a file, git://PATH@REV, hash:HEX or 64 hex digits
    #[arg(value_name = "KEY|PATH|HASH")]
    what: OsString,
}

/// Shows.
pub(crate) async fn run(session: &Session, args: &Args) -> Result<Exit, CliError> {
    let key = key_of(&args.what)?;
    let read = session.ledger.get(&key, session.read_options()).await?;
    let writes = writes_of(session, &key, false, MOST, session.read_options()).await?;
    let records: Vec<(&HistoryEntry, Record)> = writes
        .entries
        .iter()
        .filter_map(|entry| Some((entry, Record::read(&key, &entry.value.as_ref()?.value)?)))
        .collect();
    let document = json::Inspection {
        ledger: session.ledger_name.clone(),
        key: Bytes::of(&key),
        now: convert::item_of_read(&key, &read),
        writes: writes.entries.iter().map(|entry| convert::item_of_history(&key, entry)).collect(),
        notarizations: records.iter().map(|(entry, record)| document(&key, entry, record)).collect(),
        verified: read.checkpoint.is_some(),
        checkpoint: read.checkpoint.as_deref().map(convert::checkpoint),
    };
    let exit = if read.written.is_none() { Exit::NotFound } else { Exit::Done };
    session.output.result("inspection", &document, |_| table(&key, &read, &writes, &records))?;
    session.output.hint(&convert::proof_line(read.checkpoint.as_deref()));
    Ok(exit)
}

/// The key that an argument names.
fn key_of(argument: &OsString) -> Result<Vec<u8>, CliError> {
    let path = Path::new(argument);
    if path.is_file() {
        return Ok(sha256_of_file(path)?.0.to_string().into_bytes());
    }
    let text = argument.to_string_lossy();
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase().into_bytes());
    }
    let source = Source::parse(argument)?;
    if matches!(source, Source::Path(_)) {
        return Ok(argument.as_encoded_bytes().to_vec());
    }
    match <[Found; 1]>::try_from(collect(&[source], &[])?.found) {
        Ok([Found::Ready(artifact)]) => Ok(artifact.key().into_bytes()),
        _ => Err(CliError::usage(
            format!("{text} names more than one artifact"),
            "name one commit, such as git://.@HEAD",
        )),
    }
}

fn document(key: &[u8], entry: &HistoryEntry, record: &Record) -> Artifact {
    Artifact {
        name: record.name.clone(),
        artifact: match record.kind.as_str() {
            "file" => "file",
            "git" => "git",
            "hash" => "hash",
            _ => "other",
        },
        sha256: String::from_utf8_lossy(key).into_owned(),
        status: record.status.word(),
        claimed_signer: Some(record.signer.clone()).filter(|signer| !signer.is_empty()),
        index: Some(entry.index.to_string()),
        revision: Some(entry.revision.to_string()),
        receipt: None,
    }
}

fn table(
    key: &[u8],
    read: &Read<Option<Value>>,
    writes: &Writes,
    records: &[(&HistoryEntry, Record)],
) -> String {
    let mut shown = format!("key {} {}\n", text::key(key), convert::state_sentence(read.state));
    if let Some(written) = &read.written {
        shown.push_str(&format!(
            "newest write: revision {}, index {}, {} bytes\n",
            written.revision, written.index, written.value_len
        ));
    }
    if let Some((_, newest)) = records.first() {
        shown.push_str(&format!(
            "artifact: {} ({}, {} bytes)\n",
            text::line(&newest.name),
            text::line(&newest.kind),
            newest.size
        ));
        for (name, value) in &newest.metadata {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            shown.push_str(&format!("  {}: {}\n", text::line(name), text::line(&value)));
        }
    } else if let Some(value) = &read.value {
        shown.push_str(&format!("value: {}\n", text::value(&value.value)));
    }
    if writes.entries.is_empty() {
        return shown;
    }
    let mut table = Table::new(["REVISION", "INDEX", "TIME", "WRITE", "STATUS", "SIGNER (CLAIMED)"]);
    for entry in &writes.entries {
        let record = records.iter().find(|(other, _)| other.index == entry.index).map(|(_, record)| record);
        table.row([
            entry.revision.to_string(),
            entry.index.to_string(),
            entry.time.map(time::rfc3339).unwrap_or_default(),
            convert::item_of_history(key, entry).state.to_owned(),
            record.map(|record| record.status.word().to_owned()).unwrap_or_default(),
            record.map(|record| record.signer.clone()).unwrap_or_default(),
        ]);
    }
    let more = if writes.complete { "" } else { "(older writes: `quorate history`)\n" };
    format!("{shown}\n{table}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_files_are_artifacts_and_everything_else_is_a_key() {
        let hex = "AB".repeat(32);
        assert_eq!(key_of(&hex.clone().into()).unwrap(), hex.to_ascii_lowercase().as_bytes());
        assert_eq!(key_of(&format!("hash:{hex}").into()).unwrap(), hex.to_ascii_lowercase().as_bytes());
        assert_eq!(key_of(&"greeting".into()).unwrap(), b"greeting");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "abc").unwrap();
        let sha256 = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(key_of(&path.into()).unwrap(), sha256);
    }
}
