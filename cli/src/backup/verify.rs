//! `quorate backup verify`: an archive, offline.

use quorate_archive::Archive;
use quorate_archive_s3::Location;
use quorate_core::policy::Policy;

use super::args::VerifyArgs;
use super::documents::{Verified, VerifiedLedger};
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Table, time};
use crate::{convert, policy_files, progress};

/// By whose policy a backup is judged.
pub(super) struct Judge {
    pub(super) policy: Policy,
    /// Whether it was given, rather than taken from the backup.
    pub(super) given: bool,
}

impl Judge {
    /// The given policy, for the ledgers of the archive; or the one inside, with a warning.
    pub(super) fn of(global: &Global, archive: &Archive) -> Result<Self, CliError> {
        let files = global.settings()?.policy;
        if files.is_empty() {
            global.output().warn(
                "no policy was given, so the one inside the backup is used: it shows that nothing was altered \
                 since, not who signed; give --policy to see that too",
            );
            return Ok(Self { policy: archive.manifest().policy.clone(), given: false });
        }
        let policy = archive.policy_over(&policy_files::load(&files)?);
        let policy = policy.map_err(|source| CliError::Policy {
            path: files.first().cloned().unwrap_or_default(),
            source,
        })?;
        Ok(Self { policy, given: true })
    }

    /// `given` or `inside`.
    pub(super) const fn word(&self) -> &'static str {
        if self.given { "given" } else { "inside" }
    }
}

/// Verifies.
pub(super) fn run(global: &Global, args: &VerifyArgs) -> Result<Exit, CliError> {
    let document = verified(global, &args.from)?;
    let output = global.output();
    output.result("backup_verified", &document, table)?;
    if document.unfinished {
        output.hint("a backup into it runs or was interrupted: what lies beyond this one was not looked at");
    }
    Ok(Exit::Done)
}

fn verified(global: &Global, from: &Location) -> Result<Verified, CliError> {
    let archive = Archive::open_in(from.open()?)?;
    let judge = Judge::of(global, &archive)?;
    let leaves = leaves(&archive);
    let bar = progress::bar(global.output(), "verifying", usize::try_from(leaves).unwrap_or(usize::MAX));
    let verified = archive.verify(&judge.policy, |done| bar.inc(done))?;
    bar.finish_and_clear();
    let ledger = |ledger: &quorate_archive::VerifiedLedger| VerifiedLedger {
        ledger: ledger.name().to_string(),
        checkpoint: convert::checkpoint(ledger.certified()),
        state_root: ledger.state_root().to_string(),
        time: time::rfc3339(ledger.time()),
        transactions: ledger.transactions().to_string(),
        keys: ledger.keys().to_string(),
        erased: ledger.erased().to_string(),
        bytes: ledger.bytes().to_string(),
    };
    Ok(Verified {
        directory: from.to_string(),
        cluster: verified.cluster().to_string(),
        policy: judge.word(),
        policy_fingerprint: judge.policy.fingerprint().to_string(),
        unfinished: archive.is_unfinished(),
        leaves: leaves.to_string(),
        ledgers: verified.ledgers().iter().map(ledger).collect(),
    })
}

/// Leaves of all ledgers.
pub(super) fn leaves(archive: &Archive) -> u64 {
    archive.manifest().ledgers.iter().map(|ledger| ledger.checkpoint().size.get()).sum()
}

fn table(document: &Verified) -> String {
    let mut rows = Table::new(["LEDGER", "LEAVES", "TRANSACTIONS", "KEYS", "COSIGNERS", "STATE ROOT"]);
    for ledger in &document.ledgers {
        rows.row([
            ledger.ledger.clone(),
            ledger.checkpoint.size.clone(),
            ledger.transactions.clone(),
            ledger.keys.clone(),
            ledger.checkpoint.cosigners.len().to_string(),
            ledger.state_root.clone(),
        ]);
    }
    format!(
        "verified: {} holds {} leaves of {}; every root follows from them\n\n{rows}",
        document.directory, document.leaves, document.cluster
    )
}
