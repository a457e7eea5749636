//! Exports: read by a program of the core alone, refused when one byte differs, and turned back into the same archive.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;
#[path = "../../core/examples/verify_export.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod verify_export;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_archive::{Archive, Export, Folder, STATEMENT, import};
use quorate_core::frozen::FreezeState;
use support::{Cluster, Op, put};

/// A cluster with a tile that is full and one that is not, and with an erased value.
fn storied() -> Cluster {
    let mut cluster = Cluster::new(3);
    let ledger = cluster.default();
    ledger.block(vec![vec![put("a", "one"), put("b", "two")], vec![put("a", "one again")]]);
    for number in 0..127 {
        ledger.block(vec![vec![put(&format!("key/{number}"), "value")]]);
    }
    ledger.block(vec![vec![Op::Delete(b"b".to_vec()), Op::Erase(b"a".to_vec(), 1)]]);
    ledger.entries[1].contents[0] = quorate_proto::v1::Content::default();
    cluster
}

fn folder(dir: &Path) -> Arc<Folder> {
    Arc::new(Folder::new(dir))
}

fn exported(cluster: &Cluster, dir: &Path) -> (PathBuf, PathBuf) {
    let (archive, export) = (dir.join("archive"), dir.join("export"));
    cluster.backup(&archive).unwrap();
    let archive = Archive::open(&archive).unwrap();
    archive.verify(&cluster.policy(), |_| {}).unwrap();
    archive.export(&export, |_| {}).unwrap();
    let policy = dir.join("policy");
    fs::write(&policy, cluster.policy().to_string()).unwrap();
    (export, policy)
}

#[test]
fn an_export_is_verified_without_this_crate_and_imported_again() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = storied();
    let (export, policy) = exported(&cluster, dir.path());
    verify_export::export(&export, &policy).unwrap();
    assert!(export.join("default/tile/0/000").is_file() && export.join("default/tile/1/000.p/1").is_file());

    let again = dir.path().join("again");
    import(&export, folder(&again), |_| {}).unwrap();
    Archive::open(&again).unwrap().verify(&cluster.policy(), |_| {}).unwrap();
    for file in ["manifest.json", "ledgers/default/00000000000000000000.segment"] {
        let bytes = |folder: &str| fs::read(dir.path().join(folder).join(file)).unwrap();
        assert_eq!(bytes("again"), bytes("archive"), "{file}");
    }
    let error = import(&export, folder(&again), |_| {}).unwrap_err().to_string();
    assert!(error.contains("there is an archive already"), "{error}");
    let error = Archive::open(&again).unwrap().export(&export, |_| {}).unwrap_err().to_string();
    assert!(error.contains("must be empty"), "{error}");
}

#[test]
fn strangers_are_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (export, policy) = exported(&storied(), dir.path());
    fs::write(&policy, Cluster::new(4).policy().to_string()).unwrap();
    assert!(verify_export::export(&export, &policy).is_err());
}

#[test]
fn a_flipped_byte_in_an_export_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(3);
    cluster.default().block(vec![vec![put("a", "one"), put("b", "two")], vec![Op::Delete(b"a".to_vec())]]);
    let (export, policy) = exported(&cluster, dir.path());
    verify_export::export(&export, &policy).unwrap();
    let mut flipped = 0;
    for file in ["checkpoint", "leaves.jsonl", "tile/0/000.p/4", "tile/entries/000.p/4"] {
        let path = export.join("default").join(file);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(verify_export::export(&export, &policy).is_err(), "{file}: byte {at} was flipped");
            let ours = Export::open(&export).unwrap().verify(&cluster.policy(), |_, _| {});
            assert!(ours.is_err(), "{file}: byte {at} was flipped, and it is verified");
            let to = dir.path().join("imported");
            // The tiles follow from the lines, and are not read by an import. (Every import is synced: not each byte.)
            let refused = file.starts_with("tile")
                || at % 31 != 0
                || import(&export, folder(&to), |_| {})
                    .and_then(|_| Archive::open(&to)?.verify(&cluster.policy(), |_| {}))
                    .is_err();
            assert!(refused, "{file}: byte {at} was flipped, and it was imported");
            fs::remove_dir_all(&to).ok();
            flipped += 1;
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(flipped > 2_000, "{flipped}");
    verify_export::export(&export, &policy).unwrap();
}

#[test]
fn an_export_of_a_frozen_ledger_states_what_it_proves_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = storied();
    let frozen = |cluster: &Cluster, name: &str| {
        let (export, _) = exported(cluster, &dir.path().join(name));
        let export = Export::open(&export).unwrap();
        export.verify(&cluster.policy(), |_, _| {}).unwrap();
        let frozen = export.frozen(&cluster.policy(), |_, _| {});
        (export, frozen.map_err(|error| error.to_string()))
    };
    let refused = |cluster: &Cluster, name: &str| frozen(cluster, name).1.unwrap_err();
    assert!(refused(&cluster, "never").contains("does not say that it is frozen"));
    cluster.freeze(FreezeState::Frozen);
    cluster.freeze(FreezeState::Thawed);
    assert!(refused(&cluster, "thawed").contains("says that it is not frozen"));
    cluster.freeze(FreezeState::Frozen);
    let (export, proven) = frozen(&cluster, "frozen");
    let proven = proven.unwrap();
    assert_eq!((proven.revision().get(), proven.reason()), (3, "the year is over"));
    assert_eq!(proven.ledger().certified().checkpoint().size, cluster.default().log.size());
    assert!(export.check_statement(&proven).is_err(), "there is none");
    export.state(&proven).unwrap();
    export.check_statement(&proven).unwrap();
    let path = dir.path().join("frozen/export").join(STATEMENT);
    let good = fs::read_to_string(&path).unwrap();
    for (true_word, lie) in [("\"revision\": 3", "\"revision\": 1"), ("is frozen", "is thawed"), ("}\n", "}")]
    {
        assert!(good.contains(true_word), "{true_word:?} is not in {good}");
        fs::write(&path, good.replacen(true_word, lie, 1)).unwrap();
        assert!(export.check_statement(&proven).is_err(), "{lie}");
    }
    let strangers = export.frozen(&Cluster::new(4).policy(), |_, _| {});
    assert!(strangers.is_err());
}
