//! The cluster, what was acknowledged, and the steps in their order.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use quorate_client::{Client, Transaction};
use tempfile::TempDir;

use super::{
    account::{Account, Open},
    archive,
    gauge::Gauge,
    hand::{Hands, Kept, Seen},
    load, members,
    plan::Plan,
};
use crate::{clock::now, cluster::Cluster, http::metric, shell::Shell};

/// A life that goes on.
pub(super) struct Story {
    pub(super) plan: Plan,
    pub(super) account: Account,
    pub(super) cluster: Cluster,
    pub(super) client: Client,
    pub(super) hands: Hands,
    /// What the writers saw while nothing else happened.
    pub(super) quiet: Option<Seen>,
    /// For backups, exports and receipts.
    pub(super) dir: TempDir,
}

/// Goes through the life of a cluster; `prints`: what is found is printed as it is found.
///
/// # Panics
/// If anything is not as it must be: something acknowledged is lost, an answer is wrong, a command fails.
pub async fn live(plan: Plan, prints: bool) -> Account {
    let mut story = begin(plan, prints);
    let batches = first_keys(&mut story).await;
    quiet(&mut story).await;
    members::joins_by_snapshot(&mut story).await;
    members::dead_node_is_replaced(&mut story).await;
    members::five_and_three_again(&mut story).await;
    let backup = archive::full_backup(&mut story).await;
    let Story { plan, mut account, mut cluster, client, hands, dir, .. } = story;
    let mut step = Open::step("the writers stop, and all that they were told is there");
    let kept = hands.stop().await;
    step.note("acknowledged_verified_writes", kept.writes.len());
    nothing_is_lost(&mut step, &client, plan, &batches, &kept).await;
    account.done(step);
    equal_roots(&mut account, &cluster, &client).await;
    let policy = archive::policy_file(&client, &dir);
    archive::incremental_backup(&mut account, &cluster, &backup, &policy, plan);
    let old = archive::Old { backup, policy, dir };
    archive::one_byte(&mut account, &cluster, &old, plan);
    let new = archive::restore(&mut account, &mut cluster, &old, plan);
    archive::old_receipts(&mut account, &new, &old, &kept).await;
    let mut step = Open::step("the restored cluster has all of it, and goes on");
    let client = new.client("trust");
    step.note("keys_listed_and_proven", load::list(&client, plan, &kept).await);
    let more = Transaction::new().put("item/new", "value");
    client.ledger("default").commit(more).await.expect("the restored cluster takes writes");
    account.done(step);
    equal_roots(&mut account, &new, &client).await;
    archive::export(&mut account, &new, &old, plan);
    account
}

/// What a backup and a node that joins by snapshot leave to the writers: these two steps of a life alone, for more keys than
/// there is disk for all of it.
///
/// # Panics
/// As [`live`].
pub async fn costs(plan: Plan, prints: bool) -> Account {
    let mut story = begin(plan, prints);
    first_keys(&mut story).await;
    quiet(&mut story).await;
    let backup = archive::full_backup(&mut story).await;
    // A joining node needs the space.
    fs::remove_dir_all(&backup).expect("a backup of ours can be removed");
    members::joins_by_snapshot(&mut story).await;
    let Story { mut account, cluster, client, hands, .. } = story;
    let mut step = Open::step("the writers stop");
    let kept = hands.stop().await;
    step.note("acknowledged_verified_writes", kept.writes.len());
    let verified = kept.verify_receipts();
    step.note("receipts_verified_offline", verified.iter().map(|(_, count)| count).sum::<usize>());
    account.done(step);
    equal_roots(&mut account, &cluster, &client).await;
    account
}

/// A cluster of three, and writers who begin to write.
fn begin(plan: Plan, prints: bool) -> Story {
    let mut account = Account::new(prints);
    let mut step = Open::step("three nodes start");
    let cluster = Cluster::start_with(3, |text| config(text, plan));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let client = cluster.client("trust");
    let hands = Hands::start(client.clone(), plan.writers, &dir.path().join("receipts"));
    step.note("writers", plan.writers);
    step.note("raft_entries_behind_which_the_log_is_removed", plan.log_entries());
    account.done(step);
    Story { plan, account, cluster, client, hands, quiet: None, dir }
}

/// The configuration of a node: with so few entries kept, a new node needs a snapshot.
pub(super) fn config(text: String, plan: Plan) -> String {
    let entries = plan.log_entries();
    let (flushed, kept) =
        (format!("snapshot_entries = {entries}"), format!("kept_entries = {}", entries / 2));
    let text = text.replace("snapshot_entries = 20000", &flushed).replace("kept_entries = 10000", &kept);
    assert!(text.contains(&flushed) && text.contains(&kept), "the configuration has other defaults: {text}");
    text
}

async fn first_keys(story: &mut Story) -> BTreeMap<u64, u64> {
    let mut step = Open::step("keys are loaded, and clients write");
    story.hands.wait_for(1).await;
    let (gauge, since) = (Gauge::start(&story.cluster), now());
    let batches = load::load(&story.client, story.plan).await;
    step.rate("keys", "keys_per_second", story.plan.keys);
    story.hands.wait_for(1).await;
    story.hands.seen(since, now()).tell(&mut step);
    let most = gauge.stop().into_values().map(|memory| memory.most()).max();
    step.note("most_memory_of_a_node_mib", most.unwrap_or_default());
    story.account.done(step);
    batches
}

/// What the writers do while nothing else happens: what everything later is held against.
async fn quiet(story: &mut Story) {
    let mut step = Open::step("nothing else happens");
    purged(story).await;
    // What the load left to be flushed and merged is over first.
    tokio::time::sleep(story.plan.quiet() / 2).await;
    let (gauge, since) = (Gauge::start(&story.cluster), now());
    tokio::time::sleep(story.plan.quiet()).await;
    let seen = story.hands.seen(since, now());
    seen.tell(&mut step);
    let growth = gauge.stop().into_values().map(|memory| memory.growth()).max();
    step.note("memory_growth_of_a_node_at_most_mib", growth.unwrap_or_default());
    story.quiet = Some(seen);
    story.account.done(step);
}

/// Waits until every node has removed the beginning of its log: it has flushed its state twice by then.
async fn purged(story: &Story) {
    let start = now();
    for node in story.cluster.nodes.values() {
        while metric(node.http, "quorate_raft_last_log_index")
            .is_none_or(|last| last < 3 * story.plan.log_entries())
        {
            assert!(now() - start < story.plan.patience(), "too few entries were written");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Everything that was acknowledged is listed, and in the log once; every receipt holds offline.
async fn nothing_is_lost(
    step: &mut Open,
    client: &Client,
    plan: Plan,
    batches: &BTreeMap<u64, u64>,
    kept: &Kept,
) {
    let since = now();
    let listed = load::list(client, plan, kept).await;
    step.note("keys_listed_with_their_values_and_proven", listed);
    step.note("keys_listed_per_second", super::account::per_second(listed, now() - since));
    let since = now();
    step.note("leaves_of_the_log_read_and_proven", load::find_in_log(client, batches, plan, kept).await);
    step.note("seconds_for_the_log", super::account::seconds(now() - since));
    let policies = kept.verify_receipts();
    step.note("receipts_verified_offline", policies.iter().map(|(_, count)| count).sum::<usize>());
    step.note("policies_they_were_believed_by", policies.len());
}

/// Waits until all replicas show the same sizes and roots.
async fn equal_roots(account: &mut Account, cluster: &Cluster, client: &Client) {
    let mut step = Open::step("every node has the same roots");
    let start = now();
    let roots = loop {
        let mut seen = BTreeMap::new();
        for status in client.status().await.into_iter().filter_map(|(_, status)| status.ok()) {
            assert_eq!(status.fault, "", "node {}", status.node_id);
            if cluster.nodes.contains_key(&status.node_id) {
                let ledgers = status.ledgers.into_iter();
                let roots: Vec<_> =
                    ledgers.map(|one| (one.name, one.size, one.log_root, one.state_root)).collect();
                seen.insert(status.node_id, roots);
            }
        }
        let mut different: Vec<_> = seen.values().cloned().collect();
        different.dedup();
        if seen.len() == cluster.nodes.len() && different.len() == 1 {
            break different.remove(0);
        }
        assert!(now() - start < Duration::from_secs(60), "the replicas do not become equal: {seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    step.note("nodes", cluster.nodes.len());
    for (name, size, log_root, state_root) in roots.into_iter().filter(|(name, ..)| name == "default") {
        step.note("ledger", name);
        step.note("leaves", size);
        step.note("log_root", hex::encode(log_root));
        step.note("state_root", hex::encode(state_root));
    }
    account.done(step);
}

/// Runs a command of an operator that has to succeed.
pub(super) fn operator(cluster: &Cluster, plan: Plan, arguments: &[&str]) {
    let ran = Shell::of(cluster).operator().within(plan.patience()).run(arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
}

/// Bytes of all files below a folder, MiB.
pub(super) fn mebibytes(folder: &std::path::Path) -> u64 {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    bytes >> 20
}
