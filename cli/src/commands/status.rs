//! `quorate status`: each replica's own word, side by side, and what of it is proven.
//!
//! Every replica is asked for its checkpoint over its own connection. A checkpoint counts when a quorum of the policy
//! signed it and it continues what was believed before; those that count are compared at one size.

use std::collections::{BTreeMap, BTreeSet};

use quorate_client::{Comparison, Error, RefusedPeer, ReplicaCheckpoint, Status};

use super::status_upkeep;
use crate::convert;
use crate::error::{CliError, proof_advice};
use crate::evidence;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Table, json, text};
use crate::session::Session;

/// Asks all replicas.
pub(crate) async fn run(global: &Global, session: &Session) -> Result<Exit, CliError> {
    let (answers, compared) = tokio::join!(session.client.status(), compare(session));
    let mut replicas: Vec<json::Replica> = answers
        .iter()
        .map(|(endpoint, answer)| replica(endpoint, answer.as_ref(), &session.ledger_name))
        .collect();
    let cluster = answers.iter().find_map(|(_, answer)| Some(answer.as_ref().ok()?.cluster.clone()));
    if let Some(compared) = &compared {
        for shown in &compared.replicas {
            let own = replicas.iter_mut().find(|replica| replica.endpoint == shown.endpoint);
            if let Some(replica) = own {
                prove(replica, shown, compared, cluster.as_deref().unwrap_or_default());
            }
        }
    }
    let kept = compared.as_ref().and_then(|compared| compared.evidence.as_ref());
    let kept = kept.and_then(|proof| evidence::keep_or_tell(global, proof));
    let (roots, verified) = roots(&replicas, compared.as_ref());
    let document = json::Status {
        ledger: session.ledger_name.clone(),
        cluster,
        leader: leader(&replicas),
        roots,
        compared_size: compared.as_ref().filter(|_| verified).map(|compared| compared.size.to_string()),
        verified,
        evidence: kept.as_ref().map(|file| file.display().to_string()),
        replicas,
    };
    let others = others(&answers, &document.replicas);
    session.output.result("status", &document, |document| format!("{}{others}", table(document)))?;
    let (exit, message) = judge(&document);
    match (exit, kept) {
        (Exit::Done, _) => session.output.hint(&message),
        (exit, Some(file)) => session.output.error(exit, &message, Some(&proof_advice(&file))),
        (exit, None) => session.output.error(exit, &message, Some(advice(exit))),
    }
    Ok(exit)
}

/// The certified checkpoints of all replicas; `None` if proofs are not to be checked, or nothing can be asked.
async fn compare(session: &Session) -> Option<Comparison> {
    if !session.verify {
        return None;
    }
    match session.ledger.compare_replicas().await {
        Ok(compared) => Some(compared),
        Err(error) => {
            session.output.warn(&format!("the replicas' checkpoints cannot be compared: {error}"));
            None
        }
    }
}

/// Adds what the checkpoint that a replica shows proves.
fn prove(replica: &mut json::Replica, shown: &ReplicaCheckpoint, compared: &Comparison, cluster: &str) {
    replica.history = Some(convert::standing_word(shown.standing));
    let certified = match &shown.checkpoint {
        Ok(certified) => certified,
        Err(error) if error.is_untrusted() => {
            replica.distrust = Some(error.to_string());
            return;
        }
        // Why it does not answer is shown already.
        Err(_) => return,
    };
    let checkpoint = certified.checkpoint();
    if checkpoint.size != compared.size {
        return;
    }
    replica.proven_log_root = Some(hex::encode(checkpoint.root.as_bytes()));
    let own = replica.node.as_ref().map(|node| format!("{cluster}/node/{node}"));
    let signed = |name: String| certified.cosigners().any(|(key, _)| key.name() == name);
    replica.signed_by_itself = own.map(signed);
}

fn replica(endpoint: &str, answer: Result<&Status, &Error>, ledger: &str) -> json::Replica {
    let status = match answer {
        Ok(status) => status,
        Err(error) => {
            let error = Some(reason(error));
            return json::Replica { endpoint: endpoint.to_owned(), error, ..json::Replica::default() };
        }
    };
    let on_it = status.ledgers.iter().find(|one| one.name == ledger);
    let leader = Some(status.leader).filter(|leader| *leader != 0);
    json::Replica {
        endpoint: endpoint.to_owned(),
        error: None,
        node: Some(status.node_id.to_string()),
        version: Some(status.version.clone()),
        wire: Some(wire(status)),
        role: Some(status.role.clone()),
        leader: leader.map(|leader| leader.to_string()),
        term: Some(status.term.to_string()),
        lag: Some(status.committed_index.saturating_sub(status.applied_index).to_string()),
        size: on_it.map(|one| one.size.to_string()),
        certified_size: on_it.map(|one| one.certified_size.to_string()),
        log_root: on_it.map(|one| hex::encode(&one.log_root)),
        state_root: on_it.map(|one| hex::encode(&one.state_root)),
        frozen: on_it.map(|one| one.frozen),
        memory_bytes: Some(status.memory_bytes.to_string()),
        written_bytes: Some(status.written_bytes.to_string()),
        fault: Some(status.fault.clone()).filter(|fault| !fault.is_empty()),
        limitation: Some(status.limitation.clone()).filter(|limitation| !limitation.is_empty()),
        refused_peers: status.refused_peers.iter().map(refused_peer).collect(),
        kept_evidence: kept_evidence(status),
        upkeep: Some(status_upkeep::document(status, ledger)),
        ..json::Replica::default()
    }
}

/// The versions of the wire that a node speaks. One that does not say speaks the first.
fn wire(status: &Status) -> String {
    match (status.oldest_wire, status.newest_wire) {
        (0, _) => "1".to_owned(),
        (oldest, newest) if oldest == newest => newest.to_string(),
        (oldest, newest) => format!("{oldest}-{newest}"),
    }
}

fn refused_peer(peer: &RefusedPeer) -> json::RefusedPeer {
    json::RefusedPeer { node: peer.node_id.to_string(), why: peer.why.clone() }
}

/// That not all nodes run one version; `None` if they do.
fn mixed(replicas: &[json::Replica]) -> Option<String> {
    let versions: BTreeSet<&str> = replicas.iter().filter_map(|replica| replica.version.as_deref()).collect();
    let all = versions.iter().copied().collect::<Vec<_>>().join(" and ");
    (versions.len() > 1).then(|| {
        format!(
            "the nodes run the versions {}: finish the rolling upgrade (docs/operations/upgrade.md)",
            text::line(&all)
        )
    })
}

fn kept_evidence(status: &Status) -> Option<json::KeptEvidence> {
    (status.evidence_files > 0).then(|| json::KeptEvidence {
        files: status.evidence_files.to_string(),
        directory: status.evidence_dir.clone(),
    })
}

/// What to do about evidence that a replica keeps.
fn examine(kept: &json::KeptEvidence) -> String {
    let json::KeptEvidence { files, directory } = kept;
    format!(
        "keeps evidence that a node lied ({files} in {directory} on its machine): copy it away, and `quorate evidence verify \
         FILE` says whom it names (docs/operations/runbook/kept-evidence.md)"
    )
}

/// The nodes of the cluster that were not asked, or are on their way in or out: by the word of the replica with the highest
/// term.
fn others(answers: &[(String, Result<Status, Error>)], replicas: &[json::Replica]) -> String {
    let statuses = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    let Some(status) = statuses.max_by_key(|status| (status.term, status.applied_index)) else {
        return String::new();
    };
    let mut notes = String::new();
    for member in &status.members {
        let id = member.node_id.to_string();
        let asked = replicas.iter().any(|replica| replica.node.as_ref() == Some(&id));
        let note = match member.state.as_str() {
            "joining" | "leaving" => {
                format!("node {id} is {}: `quorate member list` shows how far it is", member.state)
            }
            "member" if !asked => format!(
                "node {id} was not asked: https://{} is not among the endpoints",
                member.client_address
            ),
            _ => continue,
        };
        notes.push_str(&format!("{}\n", text::line(&note)));
    }
    notes
}

/// Why a replica did not answer, without what was asked and how often.
fn reason(error: &Error) -> String {
    match error {
        Error::Unavailable { last, .. } => last.clone(),
        error => error.to_string(),
    }
}

/// The leader that more than half of all replicas follow.
fn leader(replicas: &[json::Replica]) -> Option<String> {
    let mut votes = BTreeMap::new();
    for leader in replicas.iter().filter_map(|replica| replica.leader.as_ref()) {
        *votes.entry(leader).or_insert(0_usize) += 1;
    }
    let most = votes.into_iter().find(|(_, count)| *count > replicas.len() / 2);
    most.map(|(leader, _)| leader.clone())
}

/// What the comparison says, and whether it is proven: by certified checkpoints where there are two of one size,
/// otherwise by what the replicas say of themselves.
fn roots(replicas: &[json::Replica], compared: Option<&Comparison>) -> (&'static str, bool) {
    let word = own_word(replicas);
    let proven = replicas.iter().filter(|replica| replica.proven_log_root.is_some()).count();
    match compared {
        Some(compared) if !compared.agree => ("differ", true),
        // A replica may claim what it would not sign.
        _ if word == "differ" => (word, false),
        Some(_) if proven > 1 => ("equal", true),
        _ => (word, false),
    }
}

/// Compares replicas that are at one size: at different sizes, roots differ without meaning anything.
fn own_word(replicas: &[json::Replica]) -> &'static str {
    let mut by_size: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for replica in replicas {
        if let (Some(size), Some(log), Some(state)) = (&replica.size, &replica.log_root, &replica.state_root)
        {
            by_size.entry(size).or_default().push((log, state));
        }
    }
    let groups: Vec<_> = by_size.values().filter(|roots| roots.len() > 1).collect();
    if groups.iter().any(|roots| roots.windows(2).any(|pair| pair[0] != pair[1])) {
        return "differ";
    }
    if groups.is_empty() { "unknown" } else { "equal" }
}

fn judge(status: &json::Status) -> (Exit, String) {
    let all = status.replicas.len();
    let well =
        status.replicas.iter().filter(|replica| replica.error.is_none() && replica.fault.is_none()).count();
    if status.roots == "differ" {
        let proven = if status.verified { "" } else { " (their own word, unproven)" };
        return (
            Exit::Unverified,
            format!("the replicas do not show one history: one of them is wrong{proven}"),
        );
    }
    if well == 0 || well <= all / 2 {
        return (Exit::Unavailable, format!("{well} of {all} replicas are well: not a majority"));
    }
    let Some(leader) = &status.leader else {
        return (
            Exit::Unavailable,
            format!("{well} of {all} replicas are well, but a majority follows no leader"),
        );
    };
    let roots = match (status.roots, &status.compared_size) {
        ("equal", Some(size)) => format!("their certified roots at size {size} are equal"),
        ("equal", None) => "equal roots at equal sizes (their own word, unproven)".to_owned(),
        _ => "no two at one size to compare".to_owned(),
    };
    (Exit::Done, format!("{well} of {all} replicas are well, node {leader} leads, {roots}"))
}

const fn advice(exit: Exit) -> &'static str {
    match exit {
        Exit::Unverified => {
            "stop relying on this cluster until it is explained; compare `quorate checkpoint --endpoints URL` of each"
        }
        _ => {
            "look at the log of each node that is not well; a cluster elects a leader within seconds of a majority"
        }
    }
}

fn table(status: &json::Status) -> String {
    let short =
        |root: &Option<String>| root.as_deref().map(|root| text::shorten(root, 13)).unwrap_or_default();
    let or_dash = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "-".to_owned());
    let mut table = Table::new([
        "NODE",
        "ENDPOINT",
        "VERSION",
        "WIRE",
        "ROLE",
        "TERM",
        "SIZE",
        "CERTIFIED",
        "LAG",
        "HISTORY",
        "LOG ROOT",
        "STATE ROOT",
    ]);
    let mut notes = String::new();
    for replica in &status.replicas {
        let role = if replica.error.is_some() { "no answer".to_owned() } else { or_dash(&replica.role) };
        table.row([
            or_dash(&replica.node),
            replica.endpoint.clone(),
            or_dash(&replica.version),
            or_dash(&replica.wire),
            role,
            or_dash(&replica.term),
            or_dash(&replica.size),
            or_dash(&replica.certified_size),
            or_dash(&replica.lag),
            replica.history.unwrap_or("-").to_owned(),
            short(&replica.log_root),
            short(&replica.state_root),
        ]);
        let wrong = [
            ("no answer", &replica.error),
            ("stopped", &replica.fault),
            ("limited", &replica.limitation),
            ("not believed", &replica.distrust),
        ];
        let kept = replica.kept_evidence.as_ref().map(examine);
        for line in kept.into_iter().chain(replica.upkeep.iter().flat_map(status_upkeep::lines)) {
            notes.push_str(&format!("{}: {}\n", replica.endpoint, text::line(&line)));
        }
        for peer in &replica.refused_peers {
            notes.push_str(&format!("{}: does not talk to {}\n", replica.endpoint, text::line(&peer.why)));
        }
        for (what, why) in wrong {
            if let Some(why) = why {
                let why = why.strip_prefix(&format!("{}: ", replica.endpoint)).unwrap_or(why);
                notes.push_str(&format!("{}: {what}: {}\n", replica.endpoint, text::line(why)));
            }
        }
    }
    if let Some(mixed) = mixed(&status.replicas) {
        notes.push_str(&format!("{mixed}\n"));
    }
    if status.replicas.iter().any(|replica| replica.frozen == Some(true)) {
        let name = text::line(&status.ledger);
        notes.push_str(&format!(
            "ledger {name} is frozen and takes no writes: `quorate ledger show {name}` says why\n"
        ));
    }
    if let Some(file) = &status.evidence {
        notes.push_str(&format!("evidence: {}\n", text::line(file)));
    }
    let cluster = status.cluster.as_deref().map(text::line).unwrap_or_default();
    format!("ledger {} of {cluster}\n{table}{notes}", status.ledger)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(size: &str, root: &str, leader: &str) -> json::Replica {
        json::Replica {
            size: Some(size.to_owned()),
            log_root: Some(root.to_owned()),
            state_root: Some("s".to_owned()),
            leader: Some(leader.to_owned()),
            ..json::Replica::default()
        }
    }

    fn judged(replicas: Vec<json::Replica>) -> Exit {
        let (leader, (roots, verified)) = (leader(&replicas), roots(&replicas, None));
        let status = json::Status {
            ledger: "default".into(),
            cluster: None,
            leader,
            roots,
            compared_size: None,
            verified,
            evidence: None,
            replicas,
        };
        judge(&status).0
    }

    fn proven(agree: bool) -> Comparison {
        let size = quorate_client::TreeSize::new(5);
        Comparison { size, replicas: Vec::new(), agree, needed: 2, evidence: None }
    }

    #[test]
    fn a_rolling_upgrade_that_is_not_finished_is_seen() {
        let of = |version: &str| json::Replica { version: Some(version.to_owned()), ..at("5", "a", "1") };
        assert_eq!(mixed(&[of("1.0.0"), of("1.0.0"), json::Replica::default()]), None);
        let said = mixed(&[of("1.1.0"), of("1.0.0")]).unwrap();
        assert!(said.contains("1.0.0 and 1.1.0"), "{said}");
        let speaks =
            |oldest_wire, newest_wire| wire(&Status { oldest_wire, newest_wire, ..Status::default() });
        assert_eq!((speaks(0, 0), speaks(2, 2), speaks(1, 3)), ("1".into(), "2".into(), "1-3".into()));
    }

    #[test]
    fn a_proof_goes_before_the_replicas_own_word() {
        let both = |root: &str| {
            let one = json::Replica { proven_log_root: Some(root.to_owned()), ..at("5", "a", "1") };
            vec![one.clone(), one]
        };
        assert_eq!(roots(&both("a"), Some(&proven(true))), ("equal", true));
        assert_eq!(roots(&both("a"), Some(&proven(false))), ("differ", true));
        assert_eq!(roots(&[at("5", "a", "1"), at("6", "b", "1")], Some(&proven(true))), ("unknown", false));
        let mut lying = both("a");
        lying[1].log_root = Some("claimed".to_owned());
        assert_eq!(roots(&lying, Some(&proven(true))), ("differ", false));
    }

    #[test]
    fn nodes_that_were_not_asked_are_named() {
        let member = |node_id, state: &str| quorate_client::Member {
            node_id,
            state: state.into(),
            client_address: format!("node-{node_id}:7400"),
            ..Default::default()
        };
        let members =
            vec![member(1, "member"), member(2, "member"), member(3, "removed"), member(4, "joining")];
        let old = Status { term: 1, members: vec![member(5, "member")], ..Status::default() };
        let new = Status { term: 2, members, ..Status::default() };
        let answers = [("a".to_owned(), Ok(old)), ("b".to_owned(), Ok(new))];
        let asked = [json::Replica { node: Some("1".into()), ..json::Replica::default() }];
        let notes = others(&answers, &asked);
        let lines: Vec<&str> = notes.lines().collect();
        assert_eq!(lines.len(), 2, "{notes}");
        assert!(
            lines[0].contains("https://node-2:7400") && lines[1].starts_with("node 4 is joining"),
            "{notes}"
        );
        assert_eq!(others(&[], &asked), "");
    }

    #[test]
    fn evidence_that_a_replica_keeps_is_shown_with_what_to_do() {
        let with = |files| Status {
            evidence_files: files,
            evidence_dir: "/data/evidence".into(),
            ..Status::default()
        };
        assert!(kept_evidence(&with(0)).is_none());
        let line = examine(&kept_evidence(&with(2)).unwrap());
        assert!(line.contains("(2 in /data/evidence on its machine)"), "{line}");
        assert!(line.contains("quorate evidence verify"), "{line}");
    }

    #[test]
    fn a_healthy_cluster_is_done_whatever_sizes_it_is_at() {
        assert_eq!(judged(vec![at("5", "a", "1"), at("5", "a", "1"), at("5", "a", "1")]), Exit::Done);
        assert_eq!(judged(vec![at("5", "a", "1"), at("6", "b", "1"), at("7", "c", "1")]), Exit::Done);
        let gone = json::Replica { error: Some("gone".into()), ..json::Replica::default() };
        assert_eq!(judged(vec![at("5", "a", "1"), at("5", "a", "1"), gone]), Exit::Done);
    }

    #[test]
    fn different_roots_at_one_size_are_the_worst_news() {
        assert_eq!(judged(vec![at("5", "a", "1"), at("5", "b", "1"), at("6", "c", "1")]), Exit::Unverified);
    }

    #[test]
    fn without_majority_or_leader_it_is_unavailable() {
        let gone = || json::Replica { error: Some("gone".into()), ..json::Replica::default() };
        assert_eq!(judged(vec![at("5", "a", "1"), gone(), gone()]), Exit::Unavailable);
        assert_eq!(judged(vec![gone(), gone(), gone()]), Exit::Unavailable);
        assert_eq!(judged(vec![at("5", "a", "1"), at("5", "a", "2"), at("5", "a", "3")]), Exit::Unavailable);
        let stopped = json::Replica { fault: Some("diverged".into()), ..at("5", "a", "1") };
        assert_eq!(judged(vec![stopped.clone(), stopped, at("5", "a", "1")]), Exit::Unavailable);
    }
}
