//! Golden tests of the documents, to the byte. A change here is a change of what programs rely on.

use super::documents::*;
use crate::output::json::{Checkpoint, Cosignature, document};

fn checkpoint() -> Checkpoint {
    let cosigners =
        vec![Cosignature { name: "a/0a1b2c3d/node/1".into(), time: "2026-11-23T00:35:45Z".into() }];
    Checkpoint { origin: "a/0a1b2c3d/default".into(), size: "26".into(), log_root: "ab".into(), cosigners }
}

const CHECKPOINT: &str = concat!(
    r#""origin": "a/0a1b2c3d/default","size": "26","log_root": "ab","#,
    r#""cosigners": [{"name": "a/0a1b2c3d/node/1","time": "2026-11-23T00:35:45Z"}]"#
);

/// A document without its line feeds and indentation.
fn compact<T: serde::Serialize>(kind: &'static str, body: &T) -> String {
    document(kind, body).unwrap().lines().map(str::trim_start).collect()
}

#[test]
fn a_backup() {
    let ledger = BackupLedger { ledger: "default".into(), added: "3".into(), checkpoint: checkpoint() };
    let body = Backup {
        directory: "/b".into(),
        cluster: "a/0a1b2c3d".into(),
        incremental: true,
        added: "3".into(),
        ledgers: vec![ledger],
    };
    let expected = format!(
        r#"{{"schema": 1,"kind": "backup","directory": "/b","cluster": "a/0a1b2c3d","incremental": true,"added": "3","ledgers": [{{"ledger": "default","added": "3",{CHECKPOINT}}}]}}"#
    );
    assert_eq!(compact("backup", &body), expected);
}

#[test]
fn a_verified_backup() {
    let ledger = VerifiedLedger {
        ledger: "default".into(),
        checkpoint: checkpoint(),
        state_root: "cd".into(),
        time: "t".into(),
        transactions: "12".into(),
        keys: "7".into(),
        erased: "0".into(),
        bytes: "900".into(),
    };
    let body = Verified {
        directory: "/b".into(),
        cluster: "a/0a1b2c3d".into(),
        policy: "given",
        policy_fingerprint: "ef".into(),
        unfinished: false,
        leaves: "26".into(),
        ledgers: vec![ledger],
    };
    let expected = format!(
        r#"{{"schema": 1,"kind": "backup_verified","directory": "/b","cluster": "a/0a1b2c3d","policy": "given","policy_fingerprint": "ef","unfinished": false,"leaves": "26","ledgers": [{{"ledger": "default",{CHECKPOINT},"state_root": "cd","time": "t","transactions": "12","keys": "7","erased": "0","bytes": "900"}}]}}"#
    );
    assert_eq!(compact("backup_verified", &body), expected);
}

#[test]
fn a_restored_cluster_and_an_export() {
    let ledger = ContinuedLedger { ledger: "default".into(), size: "26".into(), log_root: "ab".into() };
    let body = Continued {
        out: "new".into(),
        lineage_kind: "restored".into(),
        cluster: "a/11111111".into(),
        previous: "a/0a1b2c3d".into(),
        lineage: "1".into(),
        policy: "inside",
        loss: None,
        ledgers: vec![ledger],
    };
    let expected = r#"{"schema": 1,"kind": "restored","out": "new","lineage_kind": "restored","cluster": "a/11111111","previous": "a/0a1b2c3d","lineage": "1","policy": "inside","loss": null,"ledgers": [{"ledger": "default","size": "26","log_root": "ab"}]}"#;
    assert_eq!(compact("restored", &body), expected);
    let body =
        Exported { from: "b".into(), to: "e".into(), cluster: "a/0a1b2c3d".into(), leaves: "26".into() };
    let expected =
        r#"{"schema": 1,"kind": "exported","from": "b","to": "e","cluster": "a/0a1b2c3d","leaves": "26"}"#;
    assert_eq!(compact("exported", &body), expected);
}
