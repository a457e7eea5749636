//! Archives hold what was put into them, grow, and are refused when anything about them is wrong.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fs, path::Path};

use quorate_archive::{Archive, ArchiveError, Verified, Writer};
use support::{Cluster, Op, put};

/// A cluster in which everything has happened once, but for an erase.
fn storied() -> Cluster {
    let mut cluster = Cluster::new(1);
    let ledger = cluster.default();
    ledger.block(vec![vec![put("a", "one"), put("b", "two")], vec![put("a", "one again")]]);
    ledger.block(vec![vec![Op::Delete(b"b".to_vec()), put("c", "")]]);
    ledger.block(vec![vec![put("b", "two is back")]]);
    cluster
}

fn verify(dir: &Path, cluster: &Cluster) -> Result<Verified, ArchiveError> {
    Archive::open(dir)?.verify(&cluster.policy(), |_| {})
}

/// All files of an archive.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn what_was_written_is_verified_and_grows() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = storied();
    let first = cluster.backup(dir.path()).unwrap();
    assert!(!first.continued && first.added == 11, "{first:?}");
    let verified = verify(dir.path(), &cluster).unwrap();
    let of_default = &verified.ledgers()[1];
    assert_eq!(of_default.state_root(), cluster.ledgers[1].state.root());
    assert_eq!((of_default.transactions(), of_default.keys(), of_default.erased()), (4, 3, 0));

    cluster.default().block(vec![vec![put("d", "four")]]);
    let second = cluster.backup(dir.path()).unwrap();
    assert!(second.continued && second.added == 2, "{second:?}");
    assert_eq!(verify(dir.path(), &cluster).unwrap().ledgers()[1].transactions(), 5);
    // Nothing new: nothing is added.
    assert_eq!(cluster.backup(dir.path()).unwrap().added, 0);
    assert_eq!(verify(dir.path(), &cluster).unwrap().ledgers()[1].keys(), 4);
}

#[test]
fn every_flipped_byte_is_refused_and_the_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = storied();
    cluster.backup(dir.path()).unwrap();
    let mut flipped = 0;
    for path in files(dir.path()).into_iter().filter(|path| path.file_name() != Some("lock".as_ref())) {
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            let error = verify(dir.path(), &cluster).err();
            let error = error.unwrap_or_else(|| panic!("{}: byte {at} was flipped", path.display()));
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(error.is_refusal() && error.to_string().contains(name), "byte {at}: {error}");
            flipped += 1;
        }
        for end in [0, 1, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..end]).unwrap();
            let error = verify(dir.path(), &cluster).unwrap_err().to_string();
            assert!(error.contains(path.file_name().unwrap().to_str().unwrap()), "cut at {end}: {error}");
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(flipped > 3_000, "{flipped}");
    verify(dir.path(), &cluster).unwrap();
}

#[test]
fn missing_and_extra_files_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = storied();
    cluster.backup(dir.path()).unwrap();
    let segment =
        files(dir.path()).into_iter().find(|path| path.ends_with("default/00000000000000000000.segment"));
    let segment = segment.unwrap();
    let good = fs::read(&segment).unwrap();
    fs::remove_file(&segment).unwrap();
    let error = verify(dir.path(), &cluster).unwrap_err().to_string();
    assert!(error.contains("default/00000000000000000000.segment: the segment is missing"), "{error}");
    fs::write(&segment, good).unwrap();
    for extra in
        ["ledgers/default/00000000000000000003.segment", "ledgers/default/notes.txt", "more", "ledgers/new/x"]
    {
        let path = dir.path().join(extra);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"x").unwrap();
        let error = verify(dir.path(), &cluster).unwrap_err().to_string();
        assert!(error.contains(extra.trim_end_matches("/x")), "{extra}: {error}");
        fs::remove_file(&path).unwrap();
        fs::remove_dir(dir.path().join("ledgers/new")).ok();
    }
    verify(dir.path(), &cluster).unwrap();
}

/// What must be said, and the lie that it is about.
type Lie<T> = (&'static str, fn(&mut T));

/// What is wrong is in the entries, and everything around them is made to fit: digests, roots and signatures.
#[test]
fn a_signed_lie_about_the_state_is_found() {
    let lies: [Lie<Cluster>; 6] = [
        ("missing, and no operation erased it", |cluster| {
            cluster.ledgers[1].entries[1].contents[0] = quorate_proto::v1::Content::default();
        }),
        ("do not open the operation's value_digest", |cluster| {
            cluster.ledgers[1].entries[1].contents[0].value = b"other".to_vec().into();
        }),
        ("meta_digest", |cluster| cluster.ledgers[1].entries[1].meta = b"other".to_vec().into()),
        ("ops_root", |cluster| cluster.ledgers[1].entries[1].operations.swap(0, 1)),
        ("contents of a delete", |cluster| {
            let content = cluster.ledgers[1].entries[1].contents[0].clone();
            cluster.ledgers[1].entries[4].contents[0] = content;
        }),
        ("it is registered in _system, and is not in the archive", |cluster| {
            cluster.ledgers[0].block(vec![vec![put("ledgers/hidden", "registered")]]);
        }),
    ];
    for (words, lie) in lies {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = storied();
        lie(&mut cluster);
        cluster.backup(dir.path()).unwrap();
        let error = verify(dir.path(), &cluster).unwrap_err();
        assert!(error.is_refusal() && error.to_string().contains(words), "{words}: {error}");
    }
}

#[test]
fn a_wrong_state_root_under_right_signatures_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = storied();
    // The state goes its own way: what is signed from here on does not follow from the operations.
    let stranger = quorate_core::state_tree::StateLeaf::new(
        quorate_core::position::LogIndex::new(1),
        cluster.ledgers[0].state.leaves().next().unwrap().op().to_vec(),
    );
    cluster.default().state.insert_all([stranger.unwrap()]).unwrap();
    cluster.default().block(vec![vec![put("z", "last")]]);
    cluster.backup(dir.path()).unwrap();
    let error = verify(dir.path(), &cluster).unwrap_err().to_string();
    assert!(error.contains("state root") && error.contains("leaf 9"), "{error}");
}

#[test]
fn erased_values_are_absent_and_need_their_erase_operation() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = storied();
    cluster.default().block(vec![vec![Op::Erase(b"a".to_vec(), 1), put("e", "five")]]);
    cluster.default().entries[1].contents[0] = quorate_proto::v1::Content::default();
    cluster.backup(dir.path()).unwrap();
    assert_eq!(verify(dir.path(), &cluster).unwrap().ledgers()[1].erased(), 1);
}

#[test]
fn too_few_signatures_or_another_policy_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = storied();
    let mut writer = Writer::open(dir.path(), &cluster.origin).unwrap();
    for ledger in &cluster.ledgers {
        let mut target = writer.ledger(&ledger.name);
        ledger.entries.iter().for_each(|entry| target.push(entry).unwrap());
        target.finish(cluster.note(ledger, 1)).unwrap();
    }
    writer.publish(&cluster.policy()).unwrap();
    let error = verify(dir.path(), &cluster).unwrap_err();
    assert!(matches!(error, ArchiveError::Policy { .. }), "{error}");
    let archive = Archive::open(dir.path()).unwrap();
    let strangers = archive.policy_over(&Cluster::new(2).policy()).unwrap();
    assert!(matches!(archive.verify(&strangers, |_| {}), Err(ArchiveError::Policy { .. })));
}

#[test]
fn another_cluster_another_history_and_a_cluster_that_is_behind_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = storied();
    cluster.backup(dir.path()).unwrap();
    let error = Cluster::new(2).backup(dir.path()).unwrap_err();
    assert!(matches!(error, ArchiveError::OtherCluster { .. }), "{error}");
    let error = Cluster::new(1).backup(dir.path()).unwrap_err();
    assert!(matches!(error, ArchiveError::Behind { .. }), "{error}");
    let mut forked = Cluster::new(1);
    for number in 0..4 {
        forked.default().block(vec![vec![put("other", &number.to_string())], vec![put("x", "y")]]);
    }
    let error = forked.backup(dir.path()).unwrap_err();
    assert!(matches!(error, ArchiveError::OtherHistory { .. }), "{error}");
    verify(dir.path(), &cluster).unwrap();
}

#[test]
fn a_directory_with_something_else_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), b"x").unwrap();
    let error = storied().backup(dir.path()).unwrap_err();
    assert!(matches!(&error, ArchiveError::NotAnArchive { found, .. } if found == "thesis.tex"), "{error}");
    assert_eq!(files(dir.path()).len(), 1);
}

/// An interrupted run leaves the archive as it was, whatever it had written; the next one goes on.
#[test]
fn an_interrupted_run_changes_nothing_and_the_next_one_finishes() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = storied();
    for ends_after_push in [false, true] {
        let mut writer = Writer::open(dir.path(), &cluster.origin).unwrap();
        let ledger = &cluster.ledgers[0];
        let mut target = writer.ledger(&ledger.name);
        target.push(&ledger.entries[0]).unwrap();
        if ends_after_push {
            ledger.entries[1..].iter().for_each(|entry| target.push(entry).unwrap());
            target.finish(cluster.note(ledger, 2)).unwrap();
        }
        drop(writer);
        assert!(Archive::open(dir.path()).is_err(), "there is no archive yet");
    }
    cluster.backup(dir.path()).unwrap();
    assert!(!Archive::open(dir.path()).unwrap().is_unfinished());
    cluster.default().block(vec![vec![put("more", "more")]]);
    {
        let mut writer = Writer::open(dir.path(), &cluster.origin).unwrap();
        let ledger = &cluster.ledgers[1];
        let mut target = writer.ledger(&ledger.name);
        let from = usize::try_from(target.next().get()).unwrap();
        ledger.entries[from..].iter().for_each(|entry| target.push(entry).unwrap());
        target.finish(cluster.note(ledger, 2)).unwrap();
    }
    let archive = Archive::open(dir.path()).unwrap();
    assert!(archive.is_unfinished());
    assert_eq!(archive.verify(&cluster.policy(), |_| {}).unwrap().ledgers()[1].transactions(), 4);
    assert_eq!(cluster.backup(dir.path()).unwrap().added, 2);
    assert_eq!(verify(dir.path(), &cluster).unwrap().ledgers()[1].transactions(), 5);
}

#[test]
fn one_writer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = storied();
    let writer = Writer::open(dir.path(), &cluster.origin).unwrap();
    assert!(matches!(cluster.backup(dir.path()), Err(ArchiveError::Busy { .. })));
    drop(writer);
    cluster.backup(dir.path()).unwrap();
}

#[test]
fn a_ledger_that_the_cluster_lost_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = storied();
    cluster.backup(dir.path()).unwrap();
    cluster.ledgers.pop();
    let error = cluster.backup(dir.path()).unwrap_err().to_string();
    assert!(error.contains("default") && error.contains("does not show it any more"), "{error}");
}
