//! The life of a cluster, with few keys: the steps of `make life`, which has a million. Whatever is lost or answered wrongly
//! ends it; how fast it was is not judged.
#![expect(clippy::unwrap_used, reason = "tests")]

use quorate_tests::life::{Account, Plan, costs, live};

const PLAN: Plan = Plan { keys: 20_000, writers: 4 };

/// A number that a step tells.
#[track_caller]
fn number(account: &Account, step: &str, fact: &str) -> u64 {
    account.fact(step, fact).unwrap_or_else(|| panic!("{step:?} tells no {fact}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_a_life_of_joins_deaths_backups_and_a_restore() {
    let account = live(PLAN, true).await;
    let all = "the writers stop";
    let written = number(&account, all, "acknowledged_verified_writes");
    assert!(written > 100, "{written} writes");
    assert_eq!(number(&account, all, "receipts_verified_offline"), written);
    assert_eq!(number(&account, all, "keys_listed_with_their_values_and_proven"), PLAN.keys + written);
    // None of the first nodes is left: the writers followed to other replicas.
    assert!(number(&account, all, "policies_they_were_believed_by") > 1);
    for step in ["joins by snapshot", "dies with its directory", "five nodes"] {
        assert!(number(&account, step, "snapshot_mib") > 0, "{step}: it was no snapshot");
    }
    for command in ["verify", "restore"] {
        let said = account.fact("one byte", command).unwrap();
        assert!(said.contains(".segment") && said.contains("SHA-256"), "{command}: {said}");
    }
    assert!(number(&account, "old receipts", "receipts") > 50);
    assert_eq!(number(&account, "the restored cluster", "keys_listed_and_proven"), PLAN.keys + written);
    assert!(account.fact("shares only the core", "it_says").unwrap().contains("verified"));
    let document = account.to_json();
    assert_eq!((&document["schema"], &document["kind"]), (&1.into(), &"life".into()));
    assert_eq!(document["steps"].as_array().unwrap().len(), account.steps().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_and_a_join_are_measured_beside_writers() {
    let account = costs(PLAN, true).await;
    for step in ["a backup is made", "joins by snapshot"] {
        assert!(number(&account, step, "verified_writes") > 0, "{step}: nobody wrote");
    }
    assert!(number(&account, "joins by snapshot", "snapshot_mib") > 0, "it was no snapshot");
    let written = number(&account, "the writers stop", "acknowledged_verified_writes");
    assert_eq!(number(&account, "the writers stop", "receipts_verified_offline"), written);
}
