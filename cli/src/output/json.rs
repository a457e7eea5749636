//! The documents that programs read, all of them: as JSON, and the same as YAML.
//!
//! Contract: one document per call. Its first fields are `schema` (1; another number if a field ever changes its
//! meaning or goes away; new fields may come within a schema) and `kind`. Fields come in the order below, and a field
//! without a value is `null`, not left out. Ids, indexes, sizes, revisions, terms and hashes are strings (hashes in
//! hex): readers whose numbers are floats lose nothing. Keys and values are `{"utf8": …}` or, if they are no UTF-8,
//! `{"base64": …}`. Times are RFC 3339, UTC, with microseconds for what the ledger dated and without for
//! cosignatures. `verified` says whether the proofs were checked, which is so unless `--no-verify` was given.

use serde::Serialize;

use super::{text, yaml};
use crate::error::CliError;
use crate::exit::Exit;

mod bench;

pub(crate) use bench::{Bench, BenchFailures, BenchLatency, BenchNode, BenchPart, BenchSweep};

/// The number of this set of documents.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a, T> {
    schema: u32,
    kind: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

/// A document with its head, indented, with a newline at the end.
pub(crate) fn document<T: Serialize>(kind: &'static str, body: &T) -> Result<String, CliError> {
    let document = Document { schema: SCHEMA, kind, body };
    let mut text =
        serde_json::to_string_pretty(&document).map_err(|error| unwritable(kind, &error.to_string()))?;
    text.push('\n');
    Ok(text)
}

/// A document of a stream of them, on a line of its own.
pub(crate) fn line<T: Serialize>(kind: &'static str, body: &T) -> Result<String, CliError> {
    let document = Document { schema: SCHEMA, kind, body };
    let text = serde_json::to_string(&document).map_err(|error| unwritable(kind, &error.to_string()))?;
    Ok(text + "\n")
}

/// The same document as YAML.
pub(crate) fn yaml_document<T: Serialize>(kind: &'static str, body: &T) -> Result<String, CliError> {
    yaml::text(&Document { schema: SCHEMA, kind, body }).map_err(|error| unwritable(kind, &error))
}

fn unwritable(kind: &str, error: &str) -> CliError {
    CliError::other(format!("the {kind} document cannot be written: {error}"))
}

/// An error: the document `error`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure<'a> {
    pub(crate) exit: u8,
    pub(crate) error: &'a str,
    pub(crate) next: Option<&'a str>,
}

/// An error as a document of one line.
pub(crate) fn error_line(exit: Exit, message: &str, next: Option<&str>) -> String {
    let body = &Failure { exit: exit.code(), error: message, next };
    let document = Document { schema: SCHEMA, kind: "error", body };
    serde_json::to_string(&document).unwrap_or_else(|_| message.to_owned())
}

/// An error as YAML.
pub(crate) fn yaml_error(exit: Exit, message: &str, next: Option<&str>) -> String {
    let text = yaml_document("error", &Failure { exit: exit.code(), error: message, next });
    text.map_or_else(|_| message.to_owned(), |text| text.trim_end().to_owned())
}

/// A key or a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bytes {
    /// UTF-8 text.
    Utf8(String),
    /// Anything else, as standard base64.
    Base64(String),
}

impl Bytes {
    /// These bytes, as text if they are UTF-8.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Utf8(text.to_owned()),
            Err(_) => Self::Base64(text::base64(bytes)),
        }
    }
}

/// A free attribute of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// The certified checkpoint behind an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Checkpoint {
    pub(crate) origin: String,
    pub(crate) size: String,
    pub(crate) log_root: String,
    pub(crate) cosigners: Vec<Cosignature>,
}

/// Who cosigned, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cosignature {
    pub(crate) name: String,
    pub(crate) time: String,
}

/// What a key holds: the body of `value`, and the items of `scan` and `history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Item {
    pub(crate) key: Bytes,
    /// Of what a key holds: `present`, `never_written`, `deleted`, `expired` or `erased`. Of a write in its history:
    /// `written`, `deleted` or `erased`.
    pub(crate) state: &'static str,
    pub(crate) value: Option<Bytes>,
    pub(crate) content_type: Option<String>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) index: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) time: Option<String>,
    pub(crate) expires_at: Option<String>,
}

/// `value`: the answer of `get`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Value {
    pub(crate) ledger: String,
    #[serde(flatten)]
    pub(crate) item: Item,
    /// The index as of which it was asked.
    pub(crate) at: Option<String>,
    pub(crate) size: String,
    pub(crate) receipt: Option<String>,
    pub(crate) verified: bool,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// `commit`: the answer of `put` and `delete`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Commit {
    pub(crate) ledger: String,
    pub(crate) key: Bytes,
    pub(crate) index: String,
    pub(crate) revision: Option<String>,
    pub(crate) size: String,
    /// Whether the request had been executed before: this is the first one's answer.
    pub(crate) known: bool,
    pub(crate) certified: bool,
    pub(crate) idempotency_key: Bytes,
    pub(crate) receipt: Option<String>,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// `history`: all writes of a key that were asked for.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct History {
    pub(crate) ledger: String,
    pub(crate) key: Bytes,
    /// `oldest_first` or `newest_first`.
    pub(crate) order: &'static str,
    pub(crate) writes: Vec<Item>,
    /// Whether these are all there are in this direction.
    pub(crate) complete: bool,
    pub(crate) verified: bool,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// `scan`: the keys of a prefix or range.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Scan {
    pub(crate) ledger: String,
    pub(crate) prefix: Option<Bytes>,
    pub(crate) first: Option<Bytes>,
    pub(crate) end: Option<Bytes>,
    pub(crate) reverse: bool,
    pub(crate) items: Vec<Item>,
    /// Whether these are all keys that were asked for; false when `--limit` cut them off.
    pub(crate) complete: bool,
    pub(crate) verified: bool,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// An operation of a transaction.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Operation {
    /// `put`, `delete` or `erase`.
    pub(crate) operation: &'static str,
    pub(crate) key: Bytes,
    pub(crate) revision: String,
    pub(crate) previous_index: Option<String>,
    pub(crate) expires_at: Option<String>,
    pub(crate) value_length: Option<String>,
    pub(crate) value_digest: Option<String>,
    pub(crate) value: Option<Bytes>,
}

/// `transaction`: the answer of `tx`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Transaction {
    pub(crate) ledger: String,
    pub(crate) index: String,
    pub(crate) time: String,
    pub(crate) not_after: String,
    /// By the word of the leader of that time.
    pub(crate) author: Option<String>,
    pub(crate) request_id: String,
    pub(crate) operations: Vec<Operation>,
    pub(crate) receipt: Option<String>,
    pub(crate) verified: bool,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// `change`: a transaction that `watch` tells of, one document per line.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Change {
    pub(crate) ledger: String,
    pub(crate) index: String,
    pub(crate) time: String,
    /// By the word of the leader of that time.
    pub(crate) author: Option<String>,
    pub(crate) request_id: String,
    pub(crate) operations: Vec<Operation>,
    /// Where to go on after it: `--from`.
    pub(crate) next: String,
}

/// A ledger of `audit`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Audited {
    pub(crate) ledger: String,
    pub(crate) size: String,
    pub(crate) log_root: String,
}

/// `audit`: what `audit --once` has recomputed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Audit {
    pub(crate) ledgers: Vec<Audited>,
}

/// `witness_key`: the public half of an auditor's key.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WitnessKey {
    pub(crate) name: String,
    pub(crate) vkey: String,
}

/// A ledger of `ledgers`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ledger {
    pub(crate) name: String,
    pub(crate) origin: String,
    pub(crate) log_vkey: String,
    pub(crate) size: Option<String>,
    /// Whether it takes no writes.
    pub(crate) frozen: bool,
    /// `null`: it was never frozen.
    pub(crate) freeze: Option<Freeze>,
}

/// Whether a ledger takes writes, as an operator said last.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Freeze {
    pub(crate) frozen: bool,
    pub(crate) reason: String,
    pub(crate) revision: String,
}

/// `ledgers`: the answer of `ledger list`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ledgers {
    pub(crate) ledgers: Vec<Ledger>,
    /// Whether the registry in `_system` proves names and keys. Sizes are the word of a replica.
    pub(crate) verified: bool,
}

/// A replica of `status`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Replica {
    pub(crate) endpoint: String,
    /// Why it did not answer; all other fields are `null` then.
    pub(crate) error: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) version: Option<String>,
    /// Versions of the wire between nodes that it speaks: `1`, or `1-3`.
    pub(crate) wire: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) term: Option<String>,
    /// Raft entries that are committed and not applied here.
    pub(crate) lag: Option<String>,
    pub(crate) size: Option<String>,
    pub(crate) certified_size: Option<String>,
    pub(crate) log_root: Option<String>,
    pub(crate) state_root: Option<String>,
    pub(crate) memory_bytes: Option<String>,
    pub(crate) written_bytes: Option<String>,
    pub(crate) fault: Option<String>,
    /// What it does not do now although it serves.
    pub(crate) limitation: Option<String>,
    /// Nodes that it does not talk to.
    pub(crate) refused_peers: Vec<RefusedPeer>,
    /// Proofs that another node lied, kept in files on its machine; `null` if there are none.
    pub(crate) kept_evidence: Option<KeptEvidence>,
    /// How it looks after itself.
    pub(crate) upkeep: Option<Upkeep>,
    /// Root of the log at the size at which all are compared, as proven by a certified checkpoint of this replica.
    pub(crate) proven_log_root: Option<String>,
    /// Whether the replica's own signature is on that checkpoint, beside those that certify it.
    pub(crate) signed_by_itself: Option<bool>,
    /// Why the checkpoint it shows is not believed.
    pub(crate) distrust: Option<String>,
    /// How what it shows stands to what the others show: `agrees`, `behind`, `silent` or `different`.
    pub(crate) history: Option<&'static str>,
    /// Whether the ledger is frozen, so that it takes no writes, by the replica's own word.
    pub(crate) frozen: Option<bool>,
}

/// A node that another one does not talk to.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RefusedPeer {
    pub(crate) node: String,
    pub(crate) why: String,
}

/// What a replica keeps of lies of others.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct KeptEvidence {
    /// How many files.
    pub(crate) files: String,
    /// The directory on the replica's machine.
    pub(crate) directory: String,
}

/// How a replica looks after itself.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Upkeep {
    /// Snapshots on their way.
    pub(crate) transfers: Vec<Transfer>,
    /// When everything that it stores had been read again and found right; `null` if that is not known.
    pub(crate) scrubbed: Option<String>,
    pub(crate) scrubbing: bool,
    pub(crate) server_certificate_ends: Option<String>,
    pub(crate) peer_certificate_ends: Option<String>,
    /// Whether one of them ends within 30 days, or has ended.
    pub(crate) certificate_ends_soon: bool,
    pub(crate) disk_free_bytes: String,
    /// Outside witnesses that it asks, of the ledger that is shown.
    pub(crate) witnesses: Vec<Witness>,
}

/// What an outside witness has cosigned, by the word of a replica that asks it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Witness {
    pub(crate) name: String,
    pub(crate) ledger: String,
    pub(crate) size: String,
    /// How far that is behind the newest checkpoint that this replica has certified, in leaves.
    pub(crate) behind: String,
    /// When it cosigned; `null` if it did not.
    pub(crate) cosigned: Option<String>,
    pub(crate) submitted: String,
    pub(crate) accepted: String,
    /// Why it did not cosign the last checkpoint it was sent; `null`: it did.
    pub(crate) problem: Option<String>,
}

/// A snapshot on its way.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Transfer {
    /// `sent` or `received`.
    pub(crate) direction: String,
    pub(crate) peer: String,
    pub(crate) done_bytes: String,
    pub(crate) total_bytes: String,
    pub(crate) checking: bool,
}

/// `status`: the word of each replica; what `proven_log_root` and `distrust` say is verified.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    pub(crate) ledger: String,
    pub(crate) cluster: Option<String>,
    /// The leader that most of those that answered follow.
    pub(crate) leader: Option<String>,
    /// `equal`, `differ`, or `unknown` where there are no two to compare.
    pub(crate) roots: &'static str,
    /// The size at which certified checkpoints of the replicas were compared; `null` if they were not.
    pub(crate) compared_size: Option<String>,
    /// Whether `roots` is proven; otherwise it is the replicas' own word.
    pub(crate) verified: bool,
    /// Where the proof is, if signed statements of the replicas contradict each other.
    pub(crate) evidence: Option<String>,
    pub(crate) replicas: Vec<Replica>,
}

/// `checkpoint`: a certified checkpoint with its signatures.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CheckpointNote {
    pub(crate) ledger: String,
    #[serde(flatten)]
    pub(crate) checkpoint: Checkpoint,
    /// The signed note itself.
    pub(crate) note: String,
    pub(crate) file: Option<String>,
}

/// `receipt`: the answer of `verify`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Receipt {
    pub(crate) receipt: String,
    /// `transaction` or `state`.
    pub(crate) proves: &'static str,
    pub(crate) index: String,
    pub(crate) time: String,
    pub(crate) author: Option<String>,
    pub(crate) items: Vec<Item>,
    pub(crate) artifact: Option<Artifact>,
    pub(crate) verified: bool,
    pub(crate) checkpoint: Checkpoint,
    /// With `--old-policy`: the present cluster, whose history begins with that of the receipt.
    pub(crate) continued_by: Option<ContinuedBy>,
}

/// The cluster that continues the history of a receipt.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ContinuedBy {
    pub(crate) cluster: String,
    /// Number of the document in its `_system` that says so.
    pub(crate) lineage: String,
    /// `restored` or `recovered`.
    pub(crate) lineage_kind: String,
    pub(crate) checkpoint: Checkpoint,
}

/// An artifact: of `notarization`, `authentication`, `retraction`, `receipt` and `inspection`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Artifact {
    pub(crate) name: String,
    pub(crate) artifact: &'static str,
    pub(crate) sha256: String,
    /// `trusted`, `untrusted`, `unsupported`, `unknown` or `other_signer`; `invalid` for a record that is none.
    pub(crate) status: &'static str,
    /// Who says so, by their own word.
    pub(crate) claimed_signer: Option<String>,
    pub(crate) index: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) receipt: Option<String>,
}

/// `notarization` and `retraction`: what `notarize`, `untrust` and `unsupport` wrote.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Notarization {
    pub(crate) ledger: String,
    /// The status that was written.
    pub(crate) status: &'static str,
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) distinct: String,
    pub(crate) transactions: String,
    pub(crate) size: String,
    pub(crate) seconds: String,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// `authentication`: the answer of `authenticate`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Authentication {
    pub(crate) ledger: String,
    pub(crate) trusted: bool,
    pub(crate) demanded_signer: Option<String>,
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) not_trusted: String,
    pub(crate) seconds: String,
    pub(crate) verified: bool,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// `inspection`: everything known of a key.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Inspection {
    pub(crate) ledger: String,
    pub(crate) key: Bytes,
    pub(crate) now: Item,
    /// Newest first.
    pub(crate) writes: Vec<Item>,
    /// For a notarized artifact: each record, newest first.
    pub(crate) notarizations: Vec<Artifact>,
    pub(crate) verified: bool,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// A key of `policy`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PolicyKey {
    pub(crate) name: String,
    pub(crate) vkey: String,
}

/// `policy`: what a policy says, and what it is worth.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Policy {
    pub(crate) files: Vec<String>,
    pub(crate) fingerprint: String,
    pub(crate) logs: Vec<PolicyKey>,
    pub(crate) witnesses: Vec<PolicyKey>,
    pub(crate) counted_witnesses: String,
    pub(crate) threshold: String,
    /// With how many lying witnesses a fork is still impossible; `null` if not even with none.
    pub(crate) fork_impossible_up_to: Option<String>,
    pub(crate) may_be_down: String,
    pub(crate) provably_guilty: String,
}

/// `policy_export`: a policy file and its fingerprint.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PolicyExport {
    pub(crate) ledger: String,
    pub(crate) fingerprint: String,
    pub(crate) file: Option<String>,
    pub(crate) policy: String,
}

/// A context of `contexts`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) default: bool,
    pub(crate) endpoints: Vec<String>,
    pub(crate) policy: Vec<String>,
    pub(crate) cacert: Option<String>,
    pub(crate) cert: Option<String>,
    pub(crate) cert_key: Option<String>,
    pub(crate) trust_dir: Option<String>,
    pub(crate) plaintext: bool,
}

/// `contexts`: the answers of `context list`, `show` and `use`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Contexts {
    pub(crate) file: String,
    pub(crate) contexts: Vec<Context>,
}

/// `evidence`: a proof that somebody lied, checked with public keys alone.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Evidence {
    pub(crate) file: String,
    /// `fork`, `rewrite`, `rollback`, `equivocation` or `disagreement`.
    pub(crate) lie: &'static str,
    /// `guilty`: each of the keys; `suspects`: one of the two.
    pub(crate) verdict: &'static str,
    pub(crate) keys: Vec<String>,
    pub(crate) origin: Option<String>,
    pub(crate) sizes: Vec<String>,
    pub(crate) log_roots: Vec<String>,
    pub(crate) verified: bool,
}
