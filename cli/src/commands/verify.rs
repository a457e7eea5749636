//! `quorate verify`: a receipt, with a policy and without any network.

use std::ffi::OsString;
use std::path::PathBuf;

use quorate_client::{Hash, LogIndex, Receipt, VerifiedReceipt};
use quorate_core::checkpoint::Checkpoint;
use quorate_core::name::Origin;
use quorate_core::receipt::NamedBy;

use super::files::read_receipt;
use crate::artifact::{Found, Record, Source, Status, collect, sha256_of_file};
use crate::cli::online;
use crate::convert;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::keys::KeyAs;
use crate::output::json::{Artifact, ContinuedBy, Item};
use crate::output::{Table, json, text, time};
use crate::policy_files;
use crate::session::Session;

/// Verify a receipt, without any network
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs nothing but the policy: neither a cluster nor a trust store. With an artifact, also that
the receipt is about it. Exit code 10 if anything does not hold, 4 if the artifact is recorded
as not trusted. Only --old-policy asks the cluster.

  quorate verify --receipt now.tlog-proof --policy default.policy
  quorate verify app.rpm --receipt app.tlog-proof --policy default.policy
  quorate verify --receipt absent.tlog-proof --key greeting
  quorate verify --receipt old.tlog-proof --old-policy old.policy")]
pub(crate) struct Args {
    /// The artifact that the receipt must be about: a file, git://PATH@REV, or hash:HEX
    #[arg(value_name = "ARTIFACT")]
    artifact: Option<OsString>,

    /// The receipt (.tlog-proof)
    #[arg(long, value_name = "FILE")]
    receipt: PathBuf,

    /// The key that a receipt of state must speak of: shows its value, or that it had none
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    #[command(flatten)]
    key_as: KeyAs,

    /// The receipt is of a cluster whose history the present one continues: that cluster's policy; may be repeated. The
    /// receipt is verified by it, and then the present cluster proves that its history begins with the receipt's
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    old_policy: Vec<PathBuf>,
}

/// Verifies.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let policy = if args.old_policy.is_empty() { &global.settings()?.policy } else { &args.old_policy };
    let policy = policy_files::load(policy)?;
    let because = |source| CliError::Receipt { path: args.receipt.clone(), source };
    let receipt = Receipt::parse(&read_receipt(&args.receipt)?).map_err(because)?;
    let verified = receipt.verify(&policy).map_err(because)?;
    let mut document = describe(args, &verified);
    if let Some(key) = &args.key {
        let key = args.key_as.encoding.decode(key)?;
        document.items = vec![item_of_key(args, &verified, &key)?];
    }
    let mut exit = Exit::Done;
    if let Some(argument) = &args.artifact {
        let artifact = about(args, &verified, argument)?;
        if artifact.status != RECORDED && artifact.status != Status::Trusted.word() {
            exit = Exit::NotFound;
        }
        document.artifact = Some(artifact);
    }
    if !args.old_policy.is_empty() {
        let old = verified.checkpoint().checkpoint();
        document.continued_by = Some(online(global, async |session| continued(session, old).await)?);
    }
    let output = global.output();
    output.result("receipt", &document, |document| table(document, &verified))?;
    if exit == Exit::NotFound {
        output.warn("the receipt holds, and it says that the artifact is not to be relied on");
    }
    Ok(exit)
}

/// That the history of the present cluster begins with an old checkpoint.
async fn continued(session: &Session, old: &Checkpoint) -> Result<ContinuedBy, CliError> {
    let ledger = Origin::parse(&old.origin).map_err(|error| CliError::other(error.to_string()))?;
    let ledger = session.client.ledger(ledger.ledger().as_str());
    let continuation = ledger.continues(old).await?;
    Ok(ContinuedBy {
        cluster: session.client.cluster().to_string(),
        lineage: continuation.lineage.number.to_string(),
        lineage_kind: continuation.lineage.kind,
        checkpoint: convert::checkpoint(&continuation.checkpoint),
    })
}

/// The status of an artifact that the ledger holds without saying what to think of it.
const RECORDED: &str = "recorded";

fn describe(args: &Args, verified: &VerifiedReceipt) -> json::Receipt {
    let (proves, index, at, author, items) = match verified {
        VerifiedReceipt::Transaction(receipt) => {
            let transaction = receipt.transaction();
            let (index, at) = (transaction.index(), transaction.leaf().time);
            let item = |shown| convert::item_of_included(index, at, shown);
            let items = transaction.operations().iter().map(item).collect();
            ("transaction", Some(index), at, receipt.author(), items)
        }
        VerifiedReceipt::State(receipt) => {
            let items: Vec<Item> = receipt.readings().iter().map(convert::item_of_reading).collect();
            let last = verified.checkpoint().checkpoint().size.last_index();
            ("state", last, receipt.state().time(), None, items)
        }
    };
    json::Receipt {
        receipt: args.receipt.display().to_string(),
        proves,
        index: index.unwrap_or_default().to_string(),
        time: time::rfc3339(at),
        author,
        items,
        artifact: None,
        verified: true,
        continued_by: None,
        checkpoint: convert::checkpoint(verified.checkpoint()),
    }
}

fn item_of_key(args: &Args, verified: &VerifiedReceipt, key: &[u8]) -> Result<Item, CliError> {
    let other = |reason: String| CliError::Unverified {
        message: format!("{} does not speak of the key {}: {reason}", args.receipt.display(), text::key(key)),
        next: "leave out --key to see what the receipt is about".to_owned(),
    };
    match verified {
        VerifiedReceipt::State(receipt) => {
            let reading = receipt.get(key).map_err(|error| other(error.to_string()))?;
            Ok(convert::item_of_reading(&reading))
        }
        VerifiedReceipt::Transaction(receipt) => {
            let transaction = receipt.transaction();
            let shown = transaction
                .operation_on(key)
                .ok_or_else(|| other("it shows no operation on it".to_owned()))?;
            Ok(convert::item_of_included(transaction.index(), transaction.leaf().time, shown))
        }
    }
}

/// That the receipt is about this artifact, and what it says of it.
fn about(args: &Args, verified: &VerifiedReceipt, argument: &OsString) -> Result<Artifact, CliError> {
    let (name, kind, digest) = hash(argument)?;
    let Some(found) = verified.artifact(&digest) else {
        return Err(CliError::Unverified {
            message: format!("{name} (SHA-256 {digest}) is not what {} is about", args.receipt.display()),
            next: "the artifact is not the one that was recorded, or the receipt is another one's; `quorate \
                   authenticate` asks the ledger itself"
                .to_owned(),
        });
    };
    let record =
        Record::read(found.write.key(), &found.contents.value).filter(|_| found.named_by == NamedBy::Key);
    let signer = record.as_ref().map(|record| record.signer.clone()).filter(|signer| !signer.is_empty());
    Ok(Artifact {
        name,
        artifact: kind,
        sha256: digest.to_string(),
        status: record.map_or(RECORDED, |record| record.status.word()),
        claimed_signer: signer,
        index: Some(found.write.index().to_string()),
        revision: Some(found.write.operation().revision.to_string()),
        receipt: Some(args.receipt.display().to_string()),
    })
}

/// Name, kind and digest of the one artifact that an argument names.
fn hash(argument: &OsString) -> Result<(String, &'static str, Hash), CliError> {
    let source = Source::parse(argument)?;
    if let Source::Path(path) = &source {
        return Ok((path.display().to_string(), "file", sha256_of_file(path)?.0));
    }
    let found = collect(&[source], &[])?.found;
    match <[Found; 1]>::try_from(found) {
        Ok([Found::Ready(artifact)]) => Ok((artifact.name.clone(), artifact.kind.word(), artifact.sha256)),
        _ => Err(CliError::usage(
            format!("{} names more than one artifact", argument.to_string_lossy()),
            "a receipt is about one: name a file, git://PATH@REV, or hash:HEX",
        )),
    }
}

fn table(document: &json::Receipt, verified: &VerifiedReceipt) -> String {
    let origin = text::line(&document.checkpoint.origin);
    let what = match verified {
        VerifiedReceipt::Transaction(_) => {
            let author = document.author.as_deref().map(text::line).unwrap_or_else(|| "not shown".to_owned());
            let index = LogIndex::new(document.index.parse().unwrap_or_default());
            format!(
                "transaction {index} of {origin}, {}, author {author} (by the word of the leader)",
                document.time
            )
        }
        VerifiedReceipt::State(_) => {
            format!("state of {origin} at size {}, {}", document.checkpoint.size, document.time)
        }
    };
    let mut lines = format!("verified: {what}\n{}\n", convert::certified_by(verified.checkpoint()));
    if let Some(by) = &document.continued_by {
        lines.push_str(&format!(
            "in the history of {} ({} under lineage/{} in its _system), at size {}\n",
            text::line(&by.cluster),
            text::line(&by.lineage_kind),
            by.lineage,
            by.checkpoint.size
        ));
    }
    if let Some(artifact) = &document.artifact {
        let signer = artifact.claimed_signer.as_deref().map_or_else(|| "nobody".to_owned(), text::line);
        let name = text::line(&artifact.name);
        lines.push_str(&format!("artifact {name}: {}, signer (claimed): {signer}\n", artifact.status));
    }
    let mut table = Table::new(["KEY", "STATE", "REVISION", "INDEX", "VALUE"]);
    for item in &document.items {
        let or_empty = |cell: &Option<String>| cell.clone().unwrap_or_default();
        table.row([
            convert::cell(&item.key),
            item.state.replace('_', " "),
            or_empty(&item.revision),
            or_empty(&item.index),
            item.value.as_ref().map(convert::cell).unwrap_or_default(),
        ]);
    }
    if document.items.is_empty() {
        lines.push_str("it carries no values; --key KEY asks it for one\n");
        return lines;
    }
    lines.push_str(&table.to_string());
    lines
}
