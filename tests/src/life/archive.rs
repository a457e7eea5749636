//! Backup, a flipped byte, restore, old receipts, export: by the commands that an operator types.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use quorate_client::{Client, Receipt, VerifiedReceipt};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    account::{Account, Open, per_second, seconds},
    gauge::Gauge,
    hand::Kept,
    plan::Plan,
    story::{Story, mebibytes},
};
use crate::{
    clock::now,
    cluster::{Cluster, binary},
    process,
    shell::{Ran, Shell},
};

/// Receipts that the restored cluster is asked about, by the library and by the command.
const ASKED: usize = 200;
const ASKED_BY_COMMAND: usize = 3;

/// What is left of the cluster before: its backup, its policy, and the folder of both.
pub(super) struct Old {
    pub(super) backup: PathBuf,
    pub(super) policy: PathBuf,
    pub(super) dir: TempDir,
}

/// A command, without anything of the caller's own settings.
fn quorate(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(["-o", "json"]).args(arguments).env_clear();
    // Neither is there: what a command needs is in its arguments.
    command.env("QUORATE_CONFIG", "/nonexistent/contexts").env("QUORATE_TRUST_DIR", "/nonexistent/trust");
    command
}

/// The document of a command that has to succeed.
fn done(command: &mut Command, plan: Plan) -> Value {
    let ran = Ran::from(process::output(command, plan.patience()));
    assert_eq!(ran.code, 0, "{command:?}: {}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}: {}", ran.stdout))
}

/// What a command says that has to refuse what it reads.
fn refused(command: &mut Command, plan: Plan) -> String {
    let ran = Ran::from(process::output(command, plan.patience()));
    assert_eq!(ran.code, 10, "{command:?}: {}", ran.stderr);
    let document: Value = serde_json::from_str(&ran.stderr).unwrap_or_default();
    document["error"].as_str().map_or(ran.stderr, str::to_owned)
}

/// A number, which documents have as a string.
fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// The first backup, while clients write.
pub(super) async fn full_backup(story: &mut Story) -> PathBuf {
    let mut step = Open::step("a backup is made while clients write");
    let backup = story.dir.path().join("backup");
    story.hands.wait_for(1).await;
    let since = now();
    let mut command = Command::new(binary());
    command.args(["-o", "json", "backup", "create", "--to", path(&backup)]);
    command.env_clear().envs(Shell::of(&story.cluster).variables());
    let gauge = Gauge::start(&story.cluster);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the quorate binary can be run");
    let own = Gauge::of(BTreeMap::from([(0, child.id())]));
    let made = tokio::task::spawn_blocking(move || child.wait_with_output());
    let made = tokio::time::timeout(story.plan.patience(), made).await.expect("the backup ends in time");
    let made =
        Ran::from(made.expect("the thread that waits ends").expect("a process of ours can be waited for"));
    let until = now();
    assert_eq!(made.code, 0, "{}", made.stderr);
    let made: Value = serde_json::from_str(&made.stdout).expect("a document");
    story.hands.wait_for(1).await;
    step.note("leaves", number(&made["added"]));
    step.note("keys_per_second", per_second(story.plan.keys, until - since));
    step.note("mib", mebibytes(&backup));
    let seen = story.hands.seen(since, until);
    match &story.quiet {
        Some(quiet) => seen.tell_beside(&mut step, quiet),
        None => seen.tell(&mut step),
    }
    let growth = gauge.stop().into_values().map(|memory| memory.growth()).max();
    step.note("memory_growth_of_a_node_at_most_mib", growth.unwrap_or_default());
    let most = own.stop().into_values().map(|memory| memory.most()).max();
    step.note("memory_of_the_command_mib", most.unwrap_or_default());
    story.account.done(step);
    backup
}

/// The policy that is in force at the end, for all that is verified offline.
pub(super) fn policy_file(client: &Client, dir: &TempDir) -> PathBuf {
    let path = dir.path().join("last.policy");
    fs::write(&path, client.policy().to_string()).expect("a policy can be kept");
    path
}

/// What was written since, and everything verified.
pub(super) fn incremental_backup(
    account: &mut Account,
    cluster: &Cluster,
    backup: &Path,
    policy: &Path,
    plan: Plan,
) {
    let mut step = Open::step("the backup is continued with what was written since");
    let mut create = quorate(&["backup", "create", "--to", path(backup)]);
    let made = done(create.envs(Shell::of(cluster).variables()), plan);
    assert_eq!(made["incremental"], true, "{made}");
    step.note("leaves", number(&made["added"]));
    account.done(step);

    let mut step = Open::step("the backup is verified");
    let verified = done(&mut quorate(&["backup", "verify", path(backup), "--policy", path(policy)]), plan);
    assert_eq!(
        (&verified["policy"], &verified["unfinished"]),
        (&"given".into(), &false.into()),
        "{verified}"
    );
    step.rate("leaves", "leaves_per_second", number(&verified["leaves"]));
    let keys = verified["ledgers"].as_array().expect("ledgers").iter().map(|one| number(&one["keys"])).sum();
    step.rate("keys", "keys_per_second", keys);
    account.done(step);
}

/// One byte of the backup is flipped: it is neither verified nor restored, and the file is named.
pub(super) fn one_byte(account: &mut Account, cluster: &Cluster, old: &Old, plan: Plan) {
    let mut step = Open::step("one byte of the backup is flipped, and nothing accepts it");
    let folder = old.backup.join("ledgers/default");
    let mut segments: Vec<PathBuf> =
        fs::read_dir(folder).expect("segments").flatten().map(|entry| entry.path()).collect();
    segments.sort();
    let segment = &segments[segments.len() / 2];
    let flip = || {
        let file = fs::File::options().read(true).write(true).open(segment).expect("a segment");
        let at = file.metadata().expect("a segment").len() / 2;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("a byte of a segment");
        file.write_all_at(&[byte[0] ^ 1], at).expect("a byte of a segment can be changed");
    };
    flip();
    let (backup, policy) = (path(&old.backup), path(&old.policy));
    let name = segment.file_name().unwrap_or_default().to_string_lossy();
    let verify = refused(&mut quorate(&["backup", "verify", backup, "--policy", policy]), plan);
    let out = old.dir.path().join("of-an-altered-backup");
    let mut restore = quorate(&["backup", "restore", backup, "--policy", policy, "--node", "1=127.0.0.1"]);
    let restored = refused(restore.arg("--out").arg(&out), plan);
    for said in [&verify, &restored] {
        assert!(said.contains(&*name) && said.contains("SHA-256"), "{said}");
    }
    assert!(!out.exists(), "a cluster was made of an altered backup");
    flip();
    let shown = |said: &str| said.trim().replace(&format!("{}/", path(old.dir.path())), "");
    step.note("verify", shown(&verify));
    step.note("restore", shown(&restored));
    // The cluster itself never noticed.
    assert!(cluster.nodes.len() == 3, "three nodes serve");
    account.done(step);
}

/// The old cluster ends for good, and a new one continues it.
pub(super) fn restore(account: &mut Account, cluster: &mut Cluster, old: &Old, plan: Plan) -> Cluster {
    for id in cluster.nodes.keys().copied().collect::<Vec<_>>() {
        assert_eq!(cluster.terminate(id), Some(0), "node {id} stops in good order");
    }
    let mut step = Open::step("a new cluster is made of the backup");
    let mut new = Cluster::made_by(3, |out| {
        let policy = path(&old.policy);
        let mut command = quorate(&["backup", "restore", path(&old.backup), "--policy", policy, "--out"]);
        command.arg(out);
        command
    });
    step.rate("keys", "keys_per_second", plan.keys);
    step.note("mib_of_a_node", mebibytes(&new.path().join("node-1")));
    account.done(step);
    let mut step = Open::step("the new cluster starts");
    for id in 1..=3 {
        new.start_node(id);
    }
    new.wait_ready();
    step.note("seconds_until_all_are_ready", seconds(step.took()));
    account.done(step);
    new
}

/// Old receipts hold against the new cluster.
pub(super) async fn old_receipts(account: &mut Account, new: &Cluster, old: &Old, kept: &Kept) {
    let mut step = Open::step("old receipts hold against the new cluster");
    let client = new.client("trust of receipts");
    let mut sizes = BTreeSet::new();
    let some = kept.some(ASKED);
    for write in &some {
        let receipt = Receipt::parse(&kept.receipt(write)).expect("a receipt that was kept is one");
        let verified = receipt.verify(write.policy()).expect("it holds by the policy of its time");
        let VerifiedReceipt::Transaction(transaction) = &verified else {
            panic!("it is the receipt of a write")
        };
        assert_eq!(transaction.transaction().index().get(), write.index, "{}", write.key.name());
        let checkpoint = verified.checkpoint().checkpoint();
        sizes.insert(checkpoint.size.get());
        let continued = client.ledger("default").continues(checkpoint).await;
        let continued = continued.expect("the new cluster proves that it continues this");
        assert_eq!(continued.lineage.kind, "restored");
    }
    step.note("receipts", some.len());
    step.note("old_checkpoints_that_it_continues", sizes.len());
    let chosen = kept.some(ASKED_BY_COMMAND);
    for (number, write) in chosen.iter().enumerate() {
        let file = |what: &str| old.dir.path().join(format!("old-{number}.{what}"));
        let (receipt, policy) = (file("tlog-proof"), file("policy"));
        fs::write(&receipt, kept.receipt(write)).expect("a receipt can be written");
        fs::write(&policy, write.policy().to_string()).expect("a policy can be written");
        let shell = Shell::of(new);
        let ran = shell.run(["verify", "--receipt", path(&receipt), "--old-policy", path(&policy)]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    step.note("of_them_by_quorate_verify", chosen.len());
    account.done(step);
}

/// An export of a backup of the new cluster, verified by a program that shares the core and nothing else.
pub(super) fn export(account: &mut Account, new: &Cluster, old: &Old, plan: Plan) {
    let mut step = Open::step("the backup is exported");
    let out = old.dir.path().join("export");
    let (backup, policy) = (path(&old.backup), path(&old.policy));
    done(quorate(&["backup", "export", backup, "--policy", policy, "--out"]).arg(&out), plan);
    step.note("mib", mebibytes(&out));
    account.done(step);
    let mut step = Open::step("the export is verified by a program that shares only the core");
    let folder = binary().parent().map(|folder| folder.join("examples/verify_export")).unwrap_or_default();
    assert!(folder.exists(), "{} is not there: cargo build --workspace --examples", folder.display());
    let mut verify = Command::new(folder);
    let ran = Ran::from(process::output(verify.arg(&out).arg(&old.policy), plan.patience()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for line in ran.stdout.lines() {
        step.note("it_says", line);
    }
    assert_eq!(new.nodes.len(), 3, "the new cluster serves");
    account.done(step);
}
