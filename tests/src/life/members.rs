//! Nodes join by snapshot, are replaced, lead, and go, while clients write.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use super::{
    account::{Open, seconds},
    gauge::{Gauge, Memory},
    story::{Story, config, operator},
};
use crate::{clock::now, http::metric};

/// A new node gets the state as a snapshot, and votes.
pub(super) async fn joins_by_snapshot(story: &mut Story) {
    let mut step = Open::step("a node joins by snapshot while clients write");
    let id = join(story, &mut step).await;
    let since = now();
    operator(&story.cluster, story.plan, &["member", "promote", &id.to_string()]);
    step.note("seconds_to_become_a_voter", seconds(now() - since));
    story.hands.wait_for(1).await;
    story.account.done(step);
}

/// A node is killed and loses its directory; a new one takes its place.
pub(super) async fn dead_node_is_replaced(story: &mut Story) {
    let mut step = Open::step("a node dies with its directory, and is replaced");
    let since = now();
    story.cluster.forget(3);
    fs::remove_dir_all(story.cluster.path().join("node-3"))
        .expect("the directory of a dead node can be removed");
    let id = join(story, &mut step).await;
    operator(&story.cluster, story.plan, &["member", "replace", "3", "--by", &id.to_string()]);
    story.hands.wait_for(1).await;
    step.note("seconds_until_it_was_replaced", seconds(now() - since));
    let pause = story.hands.seen(since, now()).pause;
    step.note("longest_pause_in_all_of_it_ms", pause.as_millis());
    story.account.done(step);
}

/// A fifth one comes, leads, and two of the first go.
pub(super) async fn five_and_three_again(story: &mut Story) {
    let mut step = Open::step("five nodes, another leader, and three nodes again");
    let id = join(story, &mut step).await;
    let since = now();
    operator(&story.cluster, story.plan, &["member", "promote", &id.to_string()]);
    assert_eq!(voters(story), 5, "voters after the fifth was promoted");
    let moved = now();
    operator(&story.cluster, story.plan, &["member", "transfer", &id.to_string()]);
    story.hands.wait_for(10).await;
    step.note("pause_when_leadership_moved_ms", story.hands.seen(moved, now()).pause.as_millis());
    for gone in [1, 2] {
        operator(&story.cluster, story.plan, &["member", "remove", &gone.to_string()]);
        story.cluster.forget(gone);
    }
    assert_eq!(voters(story), 3, "voters after two were removed");
    story.hands.wait_for(10).await;
    let pause = story.hands.seen(since, now()).pause;
    step.note("longest_pause_in_all_of_it_ms", pause.as_millis());
    story.account.done(step);
}

fn voters(story: &Story) -> usize {
    let members = story.cluster.members();
    let members = members["members"].as_array().expect("a list of members");
    members.iter().filter(|member| member["voter"] == true).count()
}

/// Invites a node, lets it join, and waits until it has the state, as a snapshot; gives its id.
async fn join(story: &mut Story, step: &mut Open) -> u64 {
    let (id, invited) = story.cluster.invite();
    let ran = story.cluster.join(id, &invited);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let path = story.cluster.nodes[&id].config.clone();
    let text = fs::read_to_string(&path).expect("the configuration can be read");
    fs::write(&path, config(text, story.plan)).expect("the configuration can be written");
    story.cluster.start_node(id);
    // Memory counts from when it runs.
    let start = now();
    while metric(story.cluster.nodes[&id].http, "quorate_raft_last_log_index").is_none() {
        assert!(
            now() - start < story.plan.patience(),
            "node {id} does not start:\n{}",
            story.cluster.log(id)
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let gauge = Gauge::start(&story.cluster);
    let (since, until) = transfer(story, id).await;
    story.hands.wait_for(1).await;
    tell(story, step, id, (since, until), &gauge.stop());
    operator(
        &story.cluster,
        story.plan,
        &["member", "add", &id.to_string(), "--wait", &format!("{}s", story.plan.patience().as_secs())],
    );
    id
}

/// Waits until a node has installed a snapshot: from when to when it was on its way.
async fn transfer(story: &Story, id: u64) -> (Instant, Instant) {
    let address = story.cluster.nodes[&id].http;
    let start = now();
    let mut since = None;
    loop {
        if metric(address, "quorate_snapshots_installed_total").is_some_and(|count| count > 0) {
            // Where it was over before it could be seen to begin, all of the time counts.
            return (since.unwrap_or(start), now());
        }
        let received = metric(address, "quorate_snapshot_total_bytes{direction=\"received\"}");
        if since.is_none() && received.is_some_and(|bytes| bytes > 0) {
            since = Some(now());
        }
        assert!(
            now() - start < story.plan.patience(),
            "node {id} has installed no snapshot:\n{}",
            story.cluster.log(id)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn tell(
    story: &Story,
    step: &mut Open,
    id: u64,
    (since, until): (Instant, Instant),
    memory: &BTreeMap<u64, Memory>,
) {
    let bytes =
        metric(story.cluster.nodes[&id].http, "quorate_snapshot_bytes_total{direction=\"installed\"}");
    step.note("node", id);
    step.note("snapshot_mib", bytes.unwrap_or_default() >> 20);
    step.note("snapshot_seconds", seconds(until - since));
    let seen = story.hands.seen(since, until);
    match &story.quiet {
        Some(quiet) => seen.tell_beside(step, quiet),
        None => seen.tell(step),
    }
    let others = memory.iter().filter(|(one, _)| **one != id).map(|(_, memory)| memory.growth()).max();
    step.note("memory_growth_of_the_receiver_mib", memory.get(&id).map_or(0, |memory| memory.growth()));
    step.note("memory_growth_of_the_others_at_most_mib", others.unwrap_or_default());
}
