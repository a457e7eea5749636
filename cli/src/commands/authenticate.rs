//! `quorate authenticate`: whether artifacts are recorded as trusted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_client::{CertifiedCheckpoint, Hash, KeyState, LogIndex, Read, Revision, Value};

use super::notarize::LISTED;
use super::receipts;
use super::retract::read_newest;
use super::what::What;
use crate::artifact::{Artifact, Record, Status};
use crate::clock::Stopwatch;
use crate::convert;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Table, json, text, time};
use crate::session::Session;

/// Check that artifacts are recorded as trusted
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 0 only if all of them are, 4 otherwise; those that are not are listed with the reason.
One flipped bit makes another artifact, which is unknown.

  quorate authenticate release.tar.gz --signer build@example.org
  quorate authenticate dist/ --receipt-dir receipts/
  quorate authenticate git://.@HEAD && make")]
pub(crate) struct Args {
    #[command(flatten)]
    what: What,

    /// Demand that the newest record claims this signer
    #[arg(long, value_name = "NAME")]
    signer: Option<String>,

    /// Save a receipt of each recorded artifact there, as `<SHA-256>.tlog-proof`
    #[arg(long, value_name = "DIR", conflicts_with = "no_verify")]
    receipt_dir: Option<PathBuf>,
}

/// What the ledger says about an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    status: &'static str,
    why: String,
    signer: Option<String>,
    place: Option<(LogIndex, Revision)>,
}

const TRUSTED: &str = Status::Trusted.word();

/// Checks.
pub(crate) async fn run(session: &Session, args: Args) -> Result<Exit, CliError> {
    let watch = Stopwatch::start();
    let hashed = args.what.hash(session.output).await?;
    let reads = read_newest(session, &hashed.distinct).await?;
    let newest = reads.iter().filter_map(|read| read.checkpoint.as_deref());
    let checkpoint = newest.max_by_key(|checkpoint| checkpoint.checkpoint().size);
    let judged = hashed.distinct.iter().zip(&reads);
    let verdicts: BTreeMap<Hash, Verdict> = judged
        .map(|(artifact, read)| (artifact.sha256, judge(artifact, read, args.signer.as_deref())))
        .collect();
    if let Some(directory) = &args.receipt_dir {
        save_receipts(session, directory, &verdicts).await?;
    }
    tell(session, &args, &hashed.all, &verdicts, checkpoint, watch.elapsed())
}

fn judge(artifact: &Artifact, read: &Read<Option<Value>>, demanded: Option<&str>) -> Verdict {
    let place = read.written.as_ref().map(|written| (written.index, written.revision));
    let verdict = |status, why: String, signer| Verdict { status, why, signer, place };
    let Some(value) = &read.value else {
        let why = match read.state {
            KeyState::NeverWritten => "no record of it".to_owned(),
            state => format!("its record {}", convert::state_sentence(state)),
        };
        return verdict("unknown", why, None);
    };
    let Some(record) = Record::read(artifact.key().as_bytes(), &value.value) else {
        return verdict("invalid", format!("index {} holds no record of an artifact", value.index), None);
    };
    let signer = Some(record.signer).filter(|signer| !signer.is_empty());
    let claimed = signer.clone().unwrap_or_else(|| "nobody".to_owned());
    match (record.status, demanded) {
        (Status::Trusted, Some(demanded)) if signer.as_deref() != Some(demanded) => {
            verdict("other_signer", format!("its signer (claimed) is {claimed}, not {demanded}"), signer)
        }
        (Status::Trusted, _) => verdict(TRUSTED, String::new(), signer),
        (status, _) => {
            let why = format!("recorded so at index {} by {claimed} (claimed)", value.index);
            verdict(status.word(), why, signer)
        }
    }
}

/// Fetches the receipt of each transaction once, and cuts out those of the artifacts.
async fn save_receipts(
    session: &Session,
    directory: &Path,
    verdicts: &BTreeMap<Hash, Verdict>,
) -> Result<(), CliError> {
    receipts::prepare(directory)?;
    let mut by_index: BTreeMap<LogIndex, Vec<String>> = BTreeMap::new();
    for (hash, verdict) in verdicts {
        if let Some((index, _)) = verdict.place {
            by_index.entry(index).or_default().push(hash.to_string());
        }
    }
    for (index, keys) in by_index {
        let receipt = session.ledger.receipt_for(index).await?;
        receipts::save(directory, &receipt, &keys)?;
    }
    Ok(())
}

fn tell(
    session: &Session,
    args: &Args,
    all: &[Artifact],
    verdicts: &BTreeMap<Hash, Verdict>,
    checkpoint: Option<&CertifiedCheckpoint>,
    elapsed: Duration,
) -> Result<Exit, CliError> {
    let judged: Vec<(&Artifact, &Verdict)> =
        all.iter().filter_map(|artifact| Some((artifact, verdicts.get(&artifact.sha256)?))).collect();
    let refused =
        judged.iter().filter(|(_, verdict)| verdict.status != TRUSTED).count() + (all.len() - judged.len());
    let document = json::Authentication {
        ledger: session.ledger_name.clone(),
        trusted: refused == 0,
        demanded_signer: args.signer.clone(),
        artifacts: judged.iter().map(|(artifact, verdict)| document(artifact, verdict, args)).collect(),
        not_trusted: refused.to_string(),
        seconds: time::seconds_exact(elapsed),
        verified: checkpoint.is_some(),
        checkpoint: checkpoint.map(convert::checkpoint),
    };
    session.output.result("authentication", &document, |_| {
        let proof = convert::proof_line(checkpoint);
        let count = text::count(all.len(), "artifact");
        let summary = match refused {
            0 => format!("authenticated {count}: all trusted"),
            refused => format!("{} of {count} NOT trusted", text::thousands(refused)),
        };
        format!("{}{summary}, in {}; {proof}\n", table(&judged), time::seconds(elapsed))
    })?;
    Ok(if refused == 0 { Exit::Done } else { Exit::NotFound })
}

fn document(artifact: &Artifact, verdict: &Verdict, args: &Args) -> json::Artifact {
    let directory = args.receipt_dir.as_deref().filter(|_| verdict.place.is_some());
    json::Artifact {
        name: artifact.name.clone(),
        artifact: artifact.kind.word(),
        sha256: artifact.key(),
        status: verdict.status,
        claimed_signer: verdict.signer.clone(),
        index: verdict.place.map(|(index, _)| index.to_string()),
        revision: verdict.place.map(|(_, revision)| revision.to_string()),
        receipt: directory.map(|directory| receipts::file_of(directory, &artifact.key())),
    }
}

/// All that are not trusted; with few artifacts, the others too.
fn table(judged: &[(&Artifact, &Verdict)]) -> String {
    let all = judged.len() <= LISTED;
    let mut table = Table::new(["STATUS", "NAME", "SIGNER (CLAIMED)", "WHY", "SHA-256"]);
    for (artifact, verdict) in judged.iter().filter(|(_, verdict)| all || verdict.status != TRUSTED) {
        table.row([
            verdict.status.replace('_', " "),
            artifact.name.clone(),
            verdict.signer.clone().unwrap_or_default(),
            verdict.why.clone(),
            artifact.key(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use quorate_client::TreeSize;

    use super::*;
    use crate::artifact::Kind;

    fn artifact() -> Artifact {
        let sha256 = Hash::new([0xab; 32]);
        Artifact { name: "a".into(), kind: Kind::File, size: 1, sha256, metadata: BTreeMap::new() }
    }

    fn read(value: Option<Vec<u8>>, state: KeyState) -> Read<Option<Value>> {
        let (index, revision) = (LogIndex::new(7), Revision::new(2));
        let value = value.map(|value| Value {
            value: value.into(),
            attributes: Vec::new().into(),
            index,
            revision,
            expires_at: None,
        });
        Read { value, state, written: None, size: TreeSize::new(9), checkpoint: None }
    }

    fn recorded(status: Status, signer: &str) -> Read<Option<Value>> {
        let record = Record::new(&artifact(), status, signer, &[]);
        read(Some(record.to_bytes().unwrap()), KeyState::Present)
    }

    fn status(read: &Read<Option<Value>>, demanded: Option<&str>) -> &'static str {
        judge(&artifact(), read, demanded).status
    }

    #[test]
    fn only_a_trusted_record_of_this_artifact_is_trusted() {
        assert_eq!(status(&recorded(Status::Trusted, "me"), None), "trusted");
        assert_eq!(status(&recorded(Status::Untrusted, "me"), None), "untrusted");
        assert_eq!(status(&recorded(Status::Unsupported, "me"), None), "unsupported");
        assert_eq!(status(&read(None, KeyState::NeverWritten), None), "unknown");
        assert_eq!(status(&read(None, KeyState::Deleted), None), "unknown");
        assert_eq!(status(&read(Some(b"{}".to_vec()), KeyState::Present), None), "invalid");
        let of_other =
            Record { hash: "cd".repeat(32), ..Record::new(&artifact(), Status::Trusted, "me", &[]) };
        assert_eq!(status(&read(Some(of_other.to_bytes().unwrap()), KeyState::Present), None), "invalid");
    }

    #[test]
    fn a_demanded_signer_must_be_the_claimed_one() {
        assert_eq!(status(&recorded(Status::Trusted, "me"), Some("me")), "trusted");
        assert_eq!(status(&recorded(Status::Trusted, "you"), Some("me")), "other_signer");
        assert_eq!(status(&recorded(Status::Trusted, ""), Some("me")), "other_signer");
        assert_eq!(status(&recorded(Status::Trusted, ""), Some("nobody")), "other_signer");
        assert_eq!(status(&recorded(Status::Untrusted, "me"), Some("me")), "untrusted");
    }

    #[test]
    fn the_reason_names_the_place_and_that_the_signer_is_claimed() {
        let verdict = judge(&artifact(), &recorded(Status::Untrusted, "me"), None);
        assert_eq!(verdict.why, "recorded so at index 7 by me (claimed)");
    }
}
