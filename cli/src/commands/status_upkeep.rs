//! What of `quorate status` is about what a node does beside serving: snapshots, scrubbing, certificates, witnesses.

use quorate_client::{Micros, Status};

use crate::output::{json, time};

/// Certificates that end within this many seconds are shown.
const ENDS_SOON_S: u64 = 30 * 24 * 60 * 60;

/// That part of a replica's document.
pub(super) fn document(status: &Status, ledger: &str) -> json::Upkeep {
    let time = |micros: u64| (micros > 0).then(|| time::rfc3339(Micros::new(micros)));
    let transfer = |transfer: &quorate_client::SnapshotTransfer| json::Transfer {
        direction: transfer.direction.clone(),
        peer: transfer.peer.to_string(),
        done_bytes: transfer.done_bytes.to_string(),
        total_bytes: transfer.total_bytes.to_string(),
        checking: transfer.checking,
    };
    json::Upkeep {
        transfers: status.transfers.iter().map(transfer).collect(),
        scrubbed: time(status.scrubbed_at),
        scrubbing: status.scrubbing,
        server_certificate_ends: time(status.server_certificate_ends_at),
        peer_certificate_ends: time(status.peer_certificate_ends_at),
        certificate_ends_soon: ends_soon(status),
        disk_free_bytes: status.disk_free_bytes.to_string(),
        witnesses: witnesses(status, ledger),
    }
}

fn witnesses(status: &Status, ledger: &str) -> Vec<json::Witness> {
    let certified = status.ledgers.iter().find(|one| one.name == ledger).map_or(0, |one| one.certified_size);
    let shown = status.witnesses.iter().filter(|witness| witness.ledger == ledger);
    let document = |witness: &quorate_client::WitnessStatus| json::Witness {
        name: witness.name.clone(),
        ledger: witness.ledger.clone(),
        size: witness.size.to_string(),
        behind: certified.saturating_sub(witness.size).to_string(),
        cosigned: (witness.time_s > 0)
            .then(|| time::rfc3339(Micros::new(witness.time_s.saturating_mul(1_000_000)))),
        submitted: witness.submitted.to_string(),
        accepted: witness.accepted.to_string(),
        problem: Some(witness.problem.clone()).filter(|problem| !problem.is_empty()),
    };
    shown.map(document).collect()
}

/// Whether one of its certificates ends soon, or has ended, by the node's own clock.
fn ends_soon(status: &Status) -> bool {
    let limit = status.time.saturating_add(ENDS_SOON_S.saturating_mul(1_000_000));
    [status.server_certificate_ends_at, status.peer_certificate_ends_at]
        .into_iter()
        .any(|ends| ends > 0 && ends < limit)
}

/// Lines under the table, without the replica's name.
pub(super) fn lines(upkeep: &json::Upkeep) -> Vec<String> {
    let mut lines: Vec<String> = upkeep.transfers.iter().map(transfer).collect();
    if upkeep.scrubbing {
        lines.push("reads everything it stores again".to_owned());
    }
    if upkeep.certificate_ends_soon {
        let ends = [&upkeep.server_certificate_ends, &upkeep.peer_certificate_ends];
        let first = ends.into_iter().flatten().min().cloned().unwrap_or_default();
        lines.push(format!("a certificate ends {first}: `quorate certificates renew`"));
    }
    lines.extend(upkeep.witnesses.iter().map(witness));
    lines
}

fn witness(witness: &json::Witness) -> String {
    let json::Witness { name, size, behind, problem, cosigned, .. } = witness;
    let when = cosigned.as_ref().map_or_else(String::new, |when| format!(", {when}"));
    match (problem, size.as_str()) {
        (Some(problem), _) => format!("witness {name} is at size {size}, {behind} behind{when}: {problem}"),
        (None, "0") => format!("witness {name} has not cosigned yet"),
        (None, _) => format!("witness {name} cosigned size {size}, {behind} behind{when}"),
    }
}

fn transfer(transfer: &json::Transfer) -> String {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let (done, total) = (number(&transfer.done_bytes), number(&transfer.total_bytes));
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    let peer = &transfer.peer;
    let what = if transfer.direction == "sent" {
        format!("sends a snapshot to node {peer}")
    } else {
        format!("receives a snapshot from node {peer}")
    };
    let checking = if transfer.checking { ", checking it" } else { "" };
    format!("{what}: {percent} % ({} of {} MiB){checking}", done >> 20, total >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_on_its_way_and_a_certificate_that_ends_are_shown() {
        let transfer = quorate_client::SnapshotTransfer {
            direction: "received".to_owned(),
            peer: 1,
            done_bytes: 45 << 20,
            total_bytes: 100 << 20,
            checking: false,
        };
        let day = 24 * 60 * 60 * 1_000_000;
        let status = Status {
            time: 1_000 * day,
            transfers: vec![transfer],
            server_certificate_ends_at: 1_029 * day,
            peer_certificate_ends_at: 2_000 * day,
            ..Status::default()
        };
        let lines = lines(&document(&status, "default"));
        assert_eq!(lines[0], "receives a snapshot from node 1: 45 % (45 of 100 MiB)");
        assert!(lines[1].starts_with("a certificate ends 1972-10-26"), "{lines:?}");
        let well = Status { server_certificate_ends_at: 1_031 * day, transfers: vec![], ..status };
        let witness = quorate_client::WitnessStatus {
            name: "w.example/1".to_owned(),
            ledger: "default".to_owned(),
            size: 5,
            problem: "it did not answer in time".to_owned(),
            ..Default::default()
        };
        let ledgers = vec![quorate_client::LedgerStatus {
            name: "default".to_owned(),
            certified_size: 12,
            ..Default::default()
        }];
        let asking = Status { witnesses: vec![witness], ledgers, ..well.clone() };
        assert_eq!(
            super::lines(&document(&asking, "default")),
            ["witness w.example/1 is at size 5, 7 behind: it did not answer in time"]
        );
        assert!(super::lines(&document(&asking, "other")).is_empty());
        assert!(super::lines(&document(&well, "default")).is_empty());
    }
}
