//! An archive in a bucket keeps the promises of one in a directory. The store is another project's server over HTTP.
#![expect(clippy::unwrap_used, reason = "tests")]

mod store;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_archive::{Archive, ArchiveError, Storage as _, Writer};
use quorate_archive_s3::Bucket;
use store::{ACCESS_KEY, BUCKET, SECRET_KEY, Store};
use support::{Cluster, Op, put};

/// A prefix of the store's bucket.
fn prefix(store: &Store, prefix: &str) -> Arc<Bucket> {
    Arc::new(Bucket::at(&store.endpoint, ACCESS_KEY, SECRET_KEY, BUCKET, prefix).unwrap())
}

fn storied() -> Cluster {
    let mut cluster = Cluster::new(1);
    let ledger = cluster.default();
    ledger.block(vec![vec![put("a", "one"), put("b", "two")], vec![put("a", "one again")]]);
    ledger.block(vec![vec![Op::Delete(b"b".to_vec()), put("c", "")]]);
    cluster
}

/// All files below a directory that are objects of a prefix, and not the server's own.
fn objects(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
        if path.is_dir() {
            found.extend(objects(&path));
        } else if !hidden {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn a_backup_in_a_bucket_is_verified_grows_and_is_what_a_directory_holds() {
    let store = Store::start();
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = storied();
    let bucket = prefix(&store, "prod/one");
    let first = cluster.backup_in(bucket.clone()).unwrap();
    assert!(!first.continued && first.added > 0, "{first:?}");
    cluster.default().block(vec![vec![put("d", "four")]]);
    let second = cluster.backup_in(bucket.clone()).unwrap();
    assert!(second.continued && second.added == 2, "{second:?}");
    // The same runs into a directory give the same files.
    let mut cluster = storied();
    cluster.backup(dir.path()).unwrap();
    cluster.default().block(vec![vec![put("d", "four")]]);
    cluster.backup(dir.path()).unwrap();
    let mut compared = 0;
    for path in objects(dir.path()) {
        let name = path.strip_prefix(dir.path()).unwrap().to_str().unwrap();
        if name != "lock" {
            assert_eq!(bucket.read(name).unwrap(), Some(fs::read(&path).unwrap()), "{name}");
            compared += 1;
        }
    }
    assert!(compared >= 4, "{compared}");
    let archive = Archive::open_in(bucket).unwrap();
    assert!(!archive.is_unfinished());
    let verified = archive.verify(&cluster.policy(), |_| {}).unwrap();
    assert_eq!(verified.ledgers()[1].transactions(), 4);
    // Another prefix of the bucket is another place.
    assert!(Archive::open_in(prefix(&store, "prod")).is_err());
    cluster.backup_in(prefix(&store, "prod/two")).unwrap();
}

#[test]
fn an_altered_a_cut_a_missing_and_a_strange_object_are_refused_by_name() {
    let store = Store::start();
    let cluster = storied();
    let bucket = prefix(&store, "prod");
    cluster.backup_in(bucket.clone()).unwrap();
    let check = |name: &str| {
        let verified = Archive::open_in(bucket.clone())
            .and_then(|archive| archive.verify(&cluster.policy(), |_| {}).map(drop));
        let error = verified.err().map(|error| error.to_string());
        let error = error.unwrap_or_else(|| panic!("{name} was not missed"));
        assert!(error.contains("s3://backups/prod/") && error.contains(name), "{name}: {error}");
    };
    for path in objects(&store.file("prod")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(&path, &bad).unwrap();
        check(name);
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        check(name);
        fs::remove_file(&path).unwrap();
        check(name);
        fs::write(&path, &good).unwrap();
    }
    bucket.write("ledgers/default/00000000000000000003.segment", b"x").unwrap();
    check("00000000000000000003.segment");
    bucket.remove("ledgers/default/00000000000000000003.segment").unwrap();
    Archive::open_in(bucket).unwrap().verify(&cluster.policy(), |_| {}).unwrap();
}

#[test]
fn a_prefix_with_something_else_is_not_touched() {
    let store = Store::start();
    let bucket = prefix(&store, "theses");
    bucket.write("thesis.tex", b"x").unwrap();
    let error = storied().backup_in(bucket.clone()).unwrap_err();
    assert!(matches!(&error, ArchiveError::NotAnArchive { found, .. } if found == "thesis.tex"), "{error}");
    assert_eq!(bucket.list("").unwrap().len(), 1);
}

#[test]
fn one_writer_at_a_time_and_one_that_was_killed_is_in_nobodys_way() {
    let store = Store::start();
    let cluster = storied();
    let bucket = prefix(&store, "prod");
    let writer = Writer::open_in(bucket.clone(), &cluster.origin).unwrap();
    let error = cluster.backup_in(bucket.clone()).unwrap_err();
    assert!(matches!(error, ArchiveError::Busy { .. }), "{error}");
    assert!(error.to_string().contains("remove the object s3://backups/prod/lock"), "{error}");
    drop(writer);
    assert_eq!(bucket.read("lock").unwrap(), None, "released");

    // A process that is killed releases nothing, and leaves objects beyond the manifest. On this machine one sees that it
    // has gone.
    let mut writer = Writer::open_in(bucket.clone(), &cluster.origin).unwrap();
    let ledger = &cluster.ledgers[0];
    let mut target = writer.ledger(&ledger.name);
    ledger.entries.iter().for_each(|entry| target.push(entry).unwrap());
    target.finish(cluster.note(ledger, 2)).unwrap();
    let held = String::from_utf8(bucket.read("lock").unwrap().unwrap()).unwrap();
    std::mem::forget(writer);
    let error = cluster.backup_in(bucket.clone()).unwrap_err();
    assert!(matches!(error, ArchiveError::Busy { .. }), "it runs: {error}");
    let process = format!("process {}\n", std::process::id());
    let dead = held.replace(&process, &format!("process {}\n", u32::MAX));
    let elsewhere = dead.replacen("host ", "host not-", 1);
    for (text, free) in [(elsewhere, false), (dead, true)] {
        bucket.remove("lock").unwrap();
        bucket.write("lock", text.as_bytes()).unwrap();
        let ended = cluster.backup_in(bucket.clone());
        assert_eq!(ended.is_ok(), free, "{text}");
    }
    Archive::open_in(bucket).unwrap().verify(&cluster.policy(), |_| {}).unwrap();
}

/// Whoever took the lock away by hand while its holder still ran has two writers. The second one to end is refused.
#[test]
fn a_manifest_that_another_run_replaced_is_not_overwritten() {
    let store = Store::start();
    let mut cluster = storied();
    let bucket = prefix(&store, "prod");
    cluster.backup_in(bucket.clone()).unwrap();
    let writer = |cluster: &Cluster| Writer::open_in(bucket.clone(), &cluster.origin);
    let mut slow = writer(&cluster).unwrap();
    bucket.remove("lock").unwrap();
    cluster.default().block(vec![vec![put("more", "more")]]);
    cluster.backup_in(bucket.clone()).unwrap();
    for ledger in &cluster.ledgers {
        let mut target = slow.ledger(&ledger.name);
        let from = usize::try_from(target.next().get()).unwrap();
        ledger.entries[from..].iter().for_each(|entry| target.push(entry).unwrap());
        let finished = target.finish(cluster.note(ledger, 2));
        // The objects are there already, with these bytes.
        finished.unwrap();
    }
    let error = slow.publish(&cluster.policy()).unwrap_err();
    assert!(matches!(error, ArchiveError::Busy { .. }), "{error}");
    Archive::open_in(bucket.clone()).unwrap().verify(&cluster.policy(), |_| {}).unwrap();
}

#[test]
fn a_store_that_refuses_or_is_not_there_is_named_with_what_it_said() {
    let store = Store::start();
    let wrong = Bucket::at(&store.endpoint, ACCESS_KEY, "another-secret", "backups", "prod").unwrap();
    let error = storied().backup_in(Arc::new(wrong)).unwrap_err();
    assert!(matches!(&error, ArchiveError::Io { .. }), "{error}");
    assert!(error.to_string().contains("s3://backups/prod/manifest.json: cannot read"), "{error}");
    let missing = Bucket::at(&store.endpoint, ACCESS_KEY, SECRET_KEY, "not-there", "prod").unwrap();
    assert!(storied().backup_in(Arc::new(missing)).is_err());
    let encrypted = Bucket::at("ftp://127.0.0.1:1", ACCESS_KEY, SECRET_KEY, "backups", "prod");
    assert!(encrypted.is_err() || storied().backup_in(Arc::new(encrypted.unwrap())).is_err());
}
