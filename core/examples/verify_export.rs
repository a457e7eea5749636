//! Verifies an export of a cluster (`quorate backup export`) with the core alone: no server, no client, no network.
//!
//! `verify_export DIR POLICY` recomputes, for each ledger, the log root from the leaves in the tiles, every tile above them,
//! each transaction's operations, values and meta against their digests, and the state root at every commit leaf; and holds
//! all of it against the checkpoint, which the policy must accept. Ends with an error at the first thing that is wrong.

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_core::{
    entry::{Leaf, OpKind, Operation, TransactionLeaf, meta_digest, ops_root},
    hash::{Hash, leaf_hash},
    policy::Policy,
    position::LogIndex,
    state_tree::MemoryStateTree,
    tree::Frontier,
};
use serde_json::Value;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Hashes of a full tile, entries of a full bundle.
const TILE: usize = 256;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, policy] = arguments.as_slice() else {
        eprintln!("usage: verify_export DIR POLICY");
        return ExitCode::from(2);
    };
    match export(Path::new(dir), Path::new(policy)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("not verified: {error}");
            ExitCode::from(10)
        }
    }
}

pub(crate) fn export(dir: &Path, policy: &Path) -> Outcome<()> {
    let index: Value = serde_json::from_slice(&fs::read(dir.join("export.json"))?)?;
    let names = index.get("ledgers").and_then(Value::as_array).ok_or("export.json names no ledgers")?;
    // The caller's rules; the names of the logs, which carry no trust, from the export.
    let given = Policy::parse(fs::read(policy)?)?.to_string();
    let inside = Policy::parse(fs::read(dir.join("policy"))?)?.to_string();
    let logs = inside.lines().filter(|line| line.starts_with("log "));
    let rules = given.lines().filter(|line| !line.starts_with("log "));
    let policy = Policy::parse(logs.chain(rules).map(|line| format!("{line}\n")).collect::<String>())?;
    for name in names {
        let name = name.as_str().ok_or("a ledger's name is no string")?;
        let leaves = ledger(&dir.join(name), &policy).map_err(|error| format!("{name}: {error}"))?;
        println!("verified: {name}, {leaves} leaves");
    }
    Ok(())
}

fn ledger(dir: &Path, policy: &Policy) -> Outcome<usize> {
    let certified = policy.open(&fs::read_to_string(dir.join("checkpoint"))?)?;
    let checkpoint = certified.checkpoint();
    let size = usize::try_from(checkpoint.size.get())?;
    let leaves = entries(dir, size)?;
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    if hashes.iter().copied().collect::<Frontier>().root() != checkpoint.root {
        return Err("the leaves do not lead to the checkpoint's root".into());
    }
    tiles(dir, hashes)?;
    states(dir, &leaves)?;
    Ok(size)
}

/// Groups of three digits, all but the last marked with an x; then the width of a partial tile.
fn tile_path(dir: &Path, level: &str, number: usize, width: usize) -> PathBuf {
    let digits = number.to_string();
    let padded = format!("{digits:0>width$}", width = digits.len().div_ceil(3).saturating_mul(3));
    let mut groups: Vec<String> =
        padded.as_bytes().chunks(3).map(|group| format!("x{}", String::from_utf8_lossy(group))).collect();
    if let Some(last) = groups.last_mut() {
        last.remove(0);
    }
    let partial = if width == TILE { String::new() } else { format!(".p/{width}") };
    dir.join("tile").join(level).join(format!("{}{partial}", groups.join("/")))
}

fn entries(dir: &Path, size: usize) -> Outcome<Vec<Vec<u8>>> {
    let mut leaves = Vec::with_capacity(size);
    while leaves.len() < size {
        let width = size.saturating_sub(leaves.len()).min(TILE);
        let bundle = fs::read(tile_path(dir, "entries", leaves.len().checked_div(TILE).unwrap_or(0), width))?;
        let mut rest = bundle.as_slice();
        for _ in 0..width {
            let (length, after) = rest.split_first_chunk::<2>().ok_or("a bundle of entries is cut off")?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (leaf, after) = after.split_at_checked(length).ok_or("a bundle of entries is cut off")?;
            leaves.push(leaf.to_vec());
            rest = after;
        }
        if !rest.is_empty() {
            return Err("a bundle of entries is too long".into());
        }
    }
    Ok(leaves)
}

fn tiles(dir: &Path, mut below: Vec<Hash>) -> Outcome<()> {
    for level in 0_u8.. {
        if below.is_empty() {
            break;
        }
        for (number, hashes) in below.chunks(TILE).enumerate() {
            let path = tile_path(dir, &level.to_string(), number, hashes.len());
            let expected: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
            if fs::read(&path)? != expected {
                return Err(format!("{} does not follow from the leaves", path.display()).into());
            }
        }
        let full = below.chunks_exact(TILE);
        below = full.map(|tile| tile.iter().copied().collect::<Frontier>().root()).collect();
    }
    Ok(())
}

/// The present state, and the values that are not there and were not erased so far.
#[derive(Default)]
struct State {
    tree: MemoryStateTree,
    absent: BTreeSet<(u64, Vec<u8>)>,
}

fn states(dir: &Path, leaves: &[Vec<u8>]) -> Outcome<()> {
    let mut state = State::default();
    let mut lines = BufReader::new(fs::File::open(dir.join("leaves.jsonl"))?).lines();
    for (index, leaf) in (0_u64..).zip(leaves) {
        let line: Value = serde_json::from_str(&lines.next().ok_or("leaves.jsonl ends early")??)?;
        state.leaf(index, leaf, &line).map_err(|problem| format!("leaf {index}: {problem}"))?;
    }
    match state.absent.first() {
        Some((index, _)) => Err(format!("a value written at {index} is missing and was not erased").into()),
        None if lines.next().is_some() => Err("leaves.jsonl has more lines than there are leaves".into()),
        None => Ok(()),
    }
}

impl State {
    fn leaf(&mut self, index: u64, leaf: &[u8], line: &Value) -> Outcome<()> {
        if line.get("index").and_then(Value::as_u64) != Some(index) || bytes(line, "leaf")? != leaf {
            return Err("its line in leaves.jsonl shows another one".into());
        }
        match Leaf::decode(leaf)? {
            Leaf::Transaction(leaf) => self.transaction(index, &leaf, line),
            Leaf::Commit(commit) if commit.state_root == self.tree.root() => Ok(()),
            Leaf::Commit(_) => Err("the operations lead to another state root".into()),
            Leaf::Opaque(_) => Err("a leaf of a later version".into()),
        }
    }

    fn transaction(&mut self, index: u64, leaf: &TransactionLeaf, line: &Value) -> Outcome<()> {
        let mut operations = Vec::new();
        for shown in line.get("operations").and_then(Value::as_array).into_iter().flatten() {
            operations.push(self.operation(index, shown)?);
        }
        let salt = bytes(line, "meta_salt")?.try_into().map_err(|_| "a salt has 16 bytes")?;
        let opens = meta_digest(&salt, &bytes(line, "meta")?) == leaf.meta_digest;
        if opens && ops_root(&operations) == leaf.ops_root {
            return Ok(());
        }
        Err("the operations or the meta do not open the leaf".into())
    }

    fn operation(&mut self, index: u64, shown: &Value) -> Outcome<Vec<u8>> {
        let encoded = bytes(shown, "operation")?;
        let operation = Operation::decode(&encoded)?;
        match (operation.kind, shown.get("wrote")) {
            (OpKind::Put, Some(wrote)) => {
                let salt = bytes(wrote, "salt")?.try_into().map_err(|_| "a salt has 16 bytes")?;
                if !operation.wrote(&salt, &bytes(wrote, "attributes")?, &bytes(wrote, "value")?) {
                    return Err("a value does not open its digest".into());
                }
            }
            (OpKind::Put, None) => drop(self.absent.insert((index, operation.key.clone()))),
            (OpKind::Erase, None) => {
                let erased = operation.prev_index.map_or(u64::MAX, LogIndex::get);
                self.absent.remove(&(erased, operation.key.clone()));
            }
            (OpKind::Delete, None) => {}
            (OpKind::Delete | OpKind::Erase, Some(_)) => return Err("contents of what wrote nothing".into()),
        }
        if operation.kind.is_write() {
            self.tree.insert(LogIndex::new(index), encoded.clone())?;
        }
        Ok(encoded)
    }
}

fn bytes(line: &Value, field: &str) -> Outcome<Vec<u8>> {
    let text = line.get(field).and_then(Value::as_str).ok_or_else(|| format!("{field} is missing"))?;
    Ok(STANDARD.decode(text)?)
}
