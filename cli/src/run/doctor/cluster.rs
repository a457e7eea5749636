//! The cluster as it answers: judged from what each replica says of itself, and from what they prove.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_client::{Client, Comparison, Error, Status};
use quorate_node::clock::Clock;
use quorate_node::cluster::Cluster;
use quorate_node::doctor::{Finding, Verdict};
use tokio::net::TcpStream;

const SECOND_US: u64 = 1_000_000;
const DAY_US: u64 = 24 * 60 * 60 * SECOND_US;

/// A clock that differs by more is a warning, and a failure: blocks dated 60 s ahead are refused.
const CLOCK_WARN_US: u64 = SECOND_US;
const CLOCK_FAIL_US: u64 = 30 * SECOND_US;

/// Certificates that end sooner are a warning, and free space below this, bytes.
const CERTIFICATE_US: u64 = 30 * DAY_US;
const SPACE: u64 = 1 << 30;

/// What a replica answered.
type Answer = (String, Result<Status, Error>);

/// Asks everybody. Gives the findings, and whether the replicas do not show one history.
pub(super) async fn examine(
    client: &Client,
    ledger: &str,
    members: Option<&Cluster>,
    clock: &Clock,
) -> (Vec<Finding>, bool) {
    let before = clock.now().get();
    let answers = client.status().await;
    let asked = (before, clock.now().get());
    let mut findings: Vec<Finding> = answers.iter().flat_map(|answer| replica(answer, asked)).collect();
    findings.push(quorum(&answers));
    findings.push(versions(&answers));
    if let Some(members) = members {
        findings.extend(identities(&answers, members));
    }
    let compared = client.ledger(ledger).compare_replicas().await;
    let (finding, differ) = agreement(ledger, compared);
    findings.push(finding);
    (findings, differ)
}

/// Whether the peer ports of the other members take connections from here.
pub(super) async fn peer_ports(members: &Cluster, own: u64, limit: Duration) -> Vec<Finding> {
    let others = members.members.values().filter(|member| member.id.get() != own);
    let dial = async |address: &str| {
        let limit = limit.min(Duration::from_secs(3));
        match tokio::time::timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Finding::ok("peer port of others", address, "it takes connections"),
            Ok(Err(error)) => unreachable(address, &error.to_string()),
            Err(_) => unreachable(address, "no answer"),
        }
    };
    futures::future::join_all(others.map(|member| dial(&member.peer))).await
}

fn unreachable(address: &str, why: &str) -> Finding {
    let next = "is that node up, and does a firewall stand between? Nodes must reach each other there";
    Finding::fail("peer port of others", address, why, next)
}

/// What one replica says.
fn replica((endpoint, answer): &Answer, asked: (u64, u64)) -> Vec<Finding> {
    let status = match answer {
        Ok(status) => status,
        Err(error) => {
            let next = "docs/operations/runbook/node-down.md";
            return vec![Finding::fail("reachable", endpoint, error, next)];
        }
    };
    let name = format!("node {} at {endpoint}", status.node_id);
    let mut found =
        vec![Finding::ok("reachable", &name, format!("{}, version {}", status.role, status.version))];
    if !status.fault.is_empty() {
        let next = "docs/operations/runbook/damaged-node.md, or diverged-node.md if it says so";
        found.push(Finding::fail("fault", &name, &status.fault, next));
    }
    if !status.limitation.is_empty() {
        let next = "docs/operations/runbook/disk-full.md";
        found.push(Finding::warn("limitation", &name, &status.limitation, next));
    }
    for peer in &status.refused_peers {
        let next = "docs/operations/upgrade.md";
        found.push(Finding::fail("refused", &name, format!("does not talk to {}", peer.why), next));
    }
    if status.evidence_files > 0 {
        let kept = format!("{} files in {} on its machine", status.evidence_files, status.evidence_dir);
        let next =
            "copy them away, then `quorate evidence verify FILE` (docs/operations/runbook/kept-evidence.md)";
        found.push(Finding::fail("evidence of a lie", &name, kept, next));
    }
    found.push(clocks(&name, status.time, asked));
    found.extend(certificates(&name, status));
    if status.disk_free_bytes > 0 {
        let verdict = if status.disk_free_bytes < SPACE { Verdict::Warn } else { Verdict::Ok };
        let free = format!("{} MiB are free", status.disk_free_bytes >> 20);
        found.push(Finding::new(verdict, "space", &name, free, "docs/operations/runbook/disk-full.md"));
    }
    let behind = status.committed_index.saturating_sub(status.applied_index);
    if behind > 1_000 {
        let next = "wait; if it grows, its disk or processor is too slow";
        found.push(Finding::warn("catching up", &name, format!("{behind} entries are not applied"), next));
    }
    found
}

/// Judges a clock that was read at some time between two readings of the own one.
fn clocks(name: &str, theirs: u64, (before, after): (u64, u64)) -> Finding {
    let off = before.saturating_sub(theirs).max(theirs.saturating_sub(after));
    let verdict = match off {
        CLOCK_FAIL_US.. => Verdict::Fail,
        CLOCK_WARN_US.. => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let found = match off {
        0 => "as here, as far as can be told".to_owned(),
        off => format!("{}.{:03} s from the one here", off / SECOND_US, off / 1_000 % 1_000),
    };
    Finding::new(
        verdict,
        "clock",
        name,
        found,
        "run NTP on both machines (docs/operations/runbook/clock-wrong.md)",
    )
}

fn certificates(name: &str, status: &Status) -> Vec<Finding> {
    let next = "`quorate certificates renew` (docs/operations/runbook/certificate-expired.md)";
    let ends = [
        ("server certificate", status.server_certificate_ends_at),
        ("peer certificate", status.peer_certificate_ends_at),
    ];
    let judge = |(check, ends): (&'static str, u64)| {
        let left = ends.saturating_sub(status.time);
        let verdict = match left {
            0 => Verdict::Fail,
            left if left < CERTIFICATE_US => Verdict::Warn,
            _ => Verdict::Ok,
        };
        Finding::new(verdict, check, name, format!("in use for {} days more", left / DAY_US), next)
    };
    ends.into_iter().filter(|(_, ends)| *ends > 0).map(judge).collect()
}

/// Whether a majority is well and follows one leader.
fn quorum(answers: &[Answer]) -> Finding {
    let all = answers.len();
    let well: Vec<&Status> = answers
        .iter()
        .filter_map(|(_, answer)| answer.as_ref().ok())
        .filter(|status| status.fault.is_empty())
        .collect();
    let next = "look at the nodes that are not well (docs/operations/runbook/node-down.md)";
    let count = format!("{} of {all} nodes are well", well.len());
    if well.len() <= all / 2 {
        let found = format!("{count}: not a majority, so nothing can be written");
        return Finding::fail("quorum", "the cluster", found, next);
    }
    let leader = well.iter().map(|status| status.leader).find(|leader| {
        *leader != 0 && well.iter().filter(|status| status.leader == *leader).count() > all / 2
    });
    match leader {
        None => {
            let next = "wait a few seconds, then look at docs/operations/runbook/leader-flapping.md";
            Finding::fail("quorum", "the cluster", format!("{count}, and a majority follows no leader"), next)
        }
        Some(leader) => {
            let verdict = if well.len() < all { Verdict::Warn } else { Verdict::Ok };
            let found = format!("{count}, node {leader} leads in term {}", well[0].term);
            Finding::new(verdict, "quorum", "the cluster", found, next)
        }
    }
}

fn versions(answers: &[Answer]) -> Finding {
    let versions: BTreeSet<&str> =
        answers.iter().filter_map(|(_, answer)| Some(answer.as_ref().ok()?.version.as_str())).collect();
    let found = versions.iter().copied().collect::<Vec<_>>().join(", ");
    let verdict = if versions.len() > 1 { Verdict::Warn } else { Verdict::Ok };
    Finding::new(
        verdict,
        "versions",
        "the cluster",
        found,
        "finish the rolling upgrade: one version everywhere (docs/operations/upgrade.md)",
    )
}

/// Whoever answers is who the cluster file says.
fn identities(answers: &[Answer], members: &Cluster) -> Vec<Finding> {
    let next = "correct the addresses in the cluster file, or what listens there";
    let known = answers.iter().filter_map(|(endpoint, answer)| Some((endpoint, answer.as_ref().ok()?)));
    let judge = |(endpoint, status): (&String, &Status)| {
        let id = quorate_core::position::NodeId::new(status.node_id);
        let expected = members.members.get(&id).is_some_and(|member| endpoint.ends_with(&member.client));
        let ours = status.cluster_id == members.id.as_bytes().as_slice();
        (!expected || !ours).then(|| {
            let found = format!("node {} of cluster {} answers there", status.node_id, status.cluster);
            Finding::fail("identity", endpoint, found, next)
        })
    };
    known.filter_map(judge).collect()
}

/// Whether the replicas show one history, as their certified checkpoints prove.
fn agreement(ledger: &str, compared: Result<Comparison, Error>) -> (Finding, bool) {
    let name = format!("ledger {ledger}");
    let next =
        "stop relying on this cluster until it is explained (docs/operations/runbook/diverged-node.md)";
    match compared {
        Err(error) => {
            let next = "docs/operations/runbook/cannot-certify.md";
            (Finding::fail("agreement", name, error, next), false)
        }
        Ok(compared) if !compared.agree => {
            let found = format!("their certified checkpoints at size {} differ", compared.size);
            (Finding::fail("agreement", name, found, next), true)
        }
        Ok(compared) => {
            let untrusted = compared
                .replicas
                .iter()
                .find_map(|replica| replica.checkpoint.as_ref().err().filter(|error| error.is_untrusted()));
            if let Some(error) = untrusted {
                return (Finding::fail("agreement", name, error, next), true);
            }
            let shown = compared.replicas.iter().filter(|replica| replica.checkpoint.is_ok()).count();
            let verdict = if shown == compared.replicas.len() { Verdict::Ok } else { Verdict::Warn };
            let found = format!("{shown} replicas prove one history at size {}", compared.size);
            (Finding::new(verdict, "agreement", name, found, "`quorate status` shows who is missing"), false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(node_id: u64, leader: u64) -> Status {
        let (time, version) = (1_000 * DAY_US, "1".to_owned());
        Status { node_id, leader, time, version, ..Status::default() }
    }

    fn answer(status: Status) -> Answer {
        (format!("https://{}:1", status.node_id), Ok(status))
    }

    fn gone() -> Answer {
        let last = "refused".to_owned();
        let outcome = quorate_client::Outcome::NotDone;
        ("https://gone:1".to_owned(), Err(Error::Unavailable { outcome, attempts: 1, last }))
    }

    #[test]
    fn a_clock_is_judged_by_what_can_be_told() {
        let judge = |theirs: u64| clocks("x", theirs, (100 * SECOND_US, 102 * SECOND_US)).verdict;
        assert_eq!(judge(101 * SECOND_US), Verdict::Ok);
        assert_eq!(judge(102 * SECOND_US + 900_000), Verdict::Ok);
        assert_eq!(judge(98 * SECOND_US), Verdict::Warn);
        assert_eq!(judge(140 * SECOND_US), Verdict::Fail);
        assert_eq!(judge(0), Verdict::Fail);
    }

    #[test]
    fn a_cluster_needs_a_majority_that_follows_one_leader() {
        let judge = |answers: &[Answer]| quorum(answers).verdict;
        let all =
            |[a, b, c]: [u64; 3]| [(1, a), (2, b), (3, c)].map(|(id, leader)| answer(status(id, leader)));
        assert_eq!(judge(&all([1, 1, 1])), Verdict::Ok);
        assert_eq!(judge(&[answer(status(1, 1)), answer(status(2, 1)), gone()]), Verdict::Warn);
        assert_eq!(judge(&[answer(status(1, 1)), gone(), gone()]), Verdict::Fail);
        assert_eq!(judge(&all([1, 2, 3])), Verdict::Fail);
        let stopped = Status { fault: "damaged".to_owned(), ..status(3, 1) };
        assert_eq!(judge(&[answer(stopped), answer(status(2, 2)), gone()]), Verdict::Fail);
    }

    #[test]
    fn what_a_replica_says_of_itself_is_judged() {
        let asked = (1_000 * DAY_US, 1_000 * DAY_US);
        let verdicts = |status: Status, check: &str| {
            let found = replica(&answer(status), asked);
            found.into_iter().find(|finding| finding.check == check).map(|finding| finding.verdict)
        };
        let well = || status(1, 1);
        assert_eq!(verdicts(Status { fault: "x".into(), ..well() }, "fault"), Some(Verdict::Fail));
        assert_eq!(verdicts(Status { limitation: "x".into(), ..well() }, "limitation"), Some(Verdict::Warn));
        assert_eq!(
            verdicts(Status { evidence_files: 1, ..well() }, "evidence of a lie"),
            Some(Verdict::Fail)
        );
        assert_eq!(verdicts(Status { disk_free_bytes: 5, ..well() }, "space"), Some(Verdict::Warn));
        assert_eq!(verdicts(Status { committed_index: 5_000, ..well() }, "catching up"), Some(Verdict::Warn));
        let ends = |days: u64| Status { peer_certificate_ends_at: days * DAY_US, ..well() };
        assert_eq!(verdicts(ends(1_029), "peer certificate"), Some(Verdict::Warn));
        assert_eq!(verdicts(ends(999), "peer certificate"), Some(Verdict::Fail));
        assert_eq!(verdicts(ends(1_031), "peer certificate"), Some(Verdict::Ok));
        assert_eq!(verdicts(well(), "fault"), None);
        assert_eq!(replica(&gone(), asked)[0].verdict, Verdict::Fail);
        let refused_peers = vec![quorate_client::RefusedPeer { node_id: 2, why: "node 2".into() }];
        assert_eq!(verdicts(Status { refused_peers, ..well() }, "refused"), Some(Verdict::Fail));
        let other = Status { version: "2".into(), ..status(2, 1) };
        assert_eq!(versions(&[answer(well()), answer(other)]).verdict, Verdict::Warn);
    }

    #[test]
    fn replicas_that_do_not_agree_are_the_worst_news() {
        let size = quorate_client::TreeSize::new(5);
        let compared =
            |agree| Ok(Comparison { size, replicas: Vec::new(), needed: 2, agree, evidence: None });
        let (finding, differ) = agreement("default", compared(false));
        assert!(finding.verdict == Verdict::Fail && differ);
        let (finding, differ) = agreement("default", compared(true));
        assert!(finding.verdict == Verdict::Ok && !differ);
    }
}
