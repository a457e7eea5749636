//! A directory that is not this node's is refused by name, and nothing in it is changed.

use std::fs;

use quorate_core::hash::sha256;

use super::super::{StateStore, directory::FORMAT_VERSION};
use super::support::{Rig, identity, names, options};
use crate::store::{
    faults::{FaultKind, OpenError},
    log::Identity,
};

fn open(rig: &Rig, identity: Identity) -> OpenError {
    StateStore::open(&rig.path(), identity, options()).expect_err("it is refused")
}

#[test]
fn the_directory_of_another_node_or_cluster_is_refused() {
    let mut rig = Rig::founded();
    rig.close();
    let other = open(&rig, identity(2));
    assert!(matches!(other, OpenError::OtherNode { expected: 2, found: 1, .. }), "{other}");
    let other = open(&rig, Identity { cluster_id: [9; 16], node_id: 1 });
    assert!(matches!(other, OpenError::OtherCluster { .. }), "{other}");
    assert!(other.to_string().contains(&hex::encode([9; 16])));
    rig.open();
}

#[test]
fn another_format_is_refused() {
    let mut rig = Rig::founded();
    rig.close();
    let path = rig.path().join("IDENTITY");
    let text = fs::read_to_string(&path).unwrap();
    let facts = text.split_inclusive('\n').take(3).collect::<String>();
    let written = |format: u32| {
        let facts =
            facts.replace(&format!("quorate-state {FORMAT_VERSION}"), &format!("quorate-state {format}"));
        fs::write(&path, format!("{facts}sha256 {}\n", sha256(&[facts.as_bytes()]))).unwrap();
        open(&rig, identity(1))
    };
    let newer = written(99);
    assert!(matches!(newer, OpenError::NewerFormat { found: 99, known: FORMAT_VERSION, .. }), "{newer}");
    let older = written(1);
    assert!(matches!(older, OpenError::OlderFormat { found: 1, known: FORMAT_VERSION, .. }), "{older}");
}

#[test]
fn a_directory_with_something_else_in_it_is_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    fs::create_dir(&path).unwrap();
    StateStore::create(&path, identity(1), &options()).unwrap();
    let foreign = home.path().join("photos");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("cat.jpg"), "miaow").unwrap();
    let refused = StateStore::create(&foreign, identity(1), &options()).expect_err("it is refused");
    assert!(matches!(&refused, OpenError::NotQuorate { found, .. } if found == "cat.jpg"), "{refused}");
    let refused = StateStore::open(&foreign, identity(1), options()).expect_err("it is refused");
    assert!(matches!(&refused, OpenError::NotQuorate { found, .. } if found == "cat.jpg"), "{refused}");
    assert_eq!(names(&foreign), ["cat.jpg"]);
    let nowhere = StateStore::open(&home.path().join("nowhere"), identity(1), options());
    assert!(matches!(nowhere, Err(OpenError::Fault(_))), "nothing is made by opening");
}

#[test]
fn a_directory_in_use_is_refused_as_that() {
    let rig = Rig::founded();
    let busy = open(&rig, identity(1));
    assert!(matches!(busy, OpenError::InUse { .. }), "{busy}");
}

#[test]
fn a_damaged_or_missing_part_is_a_fault_never_an_empty_store() {
    for (name, text) in [
        ("IDENTITY", Some("quorate-state 1\ncluster 44\nnode 1\nsha256 00\n")),
        ("IDENTITY", None),
        ("CURRENT", Some("../elsewhere\n")),
        ("CURRENT", Some("db-7\n")),
        ("CURRENT", Some("")),
        ("CURRENT", None),
        ("db-1/CURRENT", None),
    ] {
        let mut rig = Rig::founded();
        rig.close();
        let path = rig.path().join(name);
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = open(&rig, identity(1));
        let OpenError::Fault(fault) = &error else { panic!("{name} {text:?}: {error}") };
        assert!(matches!(fault.kind(), FaultKind::Damaged | FaultKind::Io), "{fault}");
    }
}

#[test]
fn leftovers_of_an_earlier_run_are_removed_and_nothing_else() {
    let mut rig = Rig::founded();
    rig.close();
    // What was received of a snapshot is no leftover: the transfer goes on with it.
    for name in ["db-7", "snapshot-1", "incoming"] {
        fs::create_dir(rig.path().join(name)).unwrap();
        fs::write(rig.path().join(name).join("file"), "left").unwrap();
    }
    fs::write(rig.path().join("CURRENT.tmp"), "db-7").unwrap();
    fs::write(rig.path().join("notes.txt"), "an operator's").unwrap();
    rig.open();
    assert_eq!(names(&rig.path()), ["CURRENT", "IDENTITY", "db-1", "incoming", "notes.txt"]);
}
