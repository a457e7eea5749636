//! Which ledgers are frozen is read from the documents; one that this version does not know is a fault, wherever it is met.

use bytes::Bytes;
use prost::Message;
use quorate_core::position::BlockHeight;
use quorate_ledger::{
    apply::apply,
    block::Block,
    outcome::{Rejection, RequestOutcome},
    system::{FreezeRecord, FreezeState, frozen_key},
};

use super::{
    super::{SnapshotError, StateCopy, StateStore},
    support::{
        Rig, START, birth, block, copy_directory, default, identity, next_entry, options, origin, put,
        request,
    },
};
use crate::store::faults::{FaultKind, OpenError, StoreFault};

fn document(key: &str, state: FreezeState, reason: &str) -> Block {
    let record = FreezeRecord::new(&default(), state, reason);
    block(START, [request("_system", key, [put(&frozen_key(&default()), &record.encode_to_vec())])])
}

fn rejected(rig: &Rig) -> bool {
    let key = format!("refused {}", rig.next_entry().index);
    let effects = rig.apply(&block(START, [request("default", &key, [put(b"k", b"v")])]));
    matches!(effects.outcome.requests[..], [RequestOutcome::Rejected(Rejection::Frozen { .. })])
}

#[test]
fn a_ledger_stays_frozen_over_starts_crashes_and_snapshots() {
    let mut rig = Rig::founded();
    rig.commit([put(b"k", b"v")]);
    assert!(rig.view().cluster().frozen.is_empty() && rig.view().freeze(&default()).unwrap().is_none());
    rig.apply(&document("freeze", FreezeState::Frozen, "full"));
    let size = rig.ledger().size();
    for flushed in [false, true] {
        assert!(rejected(&rig), "flushed: {flushed}");
        assert_eq!(rig.view().cluster().frozen.get(&default()).map(String::as_str), Some("full"));
        let freeze = rig.view().freeze(&default()).unwrap().unwrap();
        assert_eq!((freeze.revision.get(), freeze.record.is_frozen()), (1, true));
        rig.store().flush().unwrap();
        if flushed {
            rig.crash();
        } else {
            rig.close();
            rig.open();
        }
    }
    let to = Rig::of(identity(2));
    let StateCopy { applied: position, path: files, .. } = rig.store().snapshot().unwrap();
    let received = to.store().begin_install(0).unwrap();
    copy_directory(&files, &received);
    to.store().check_snapshot(&position, &received, |_| Ok(())).unwrap();
    to.store().install(&position, &received).unwrap();
    std::fs::remove_dir_all(files).unwrap();
    assert_eq!(to.view().cluster(), rig.view().cluster());
    assert!(rejected(&to));
    assert_eq!(to.ledger().size(), size);
    to.apply(&document("thaw", FreezeState::Thawed, ""));
    to.commit([put(b"k", b"w")]);
    assert_eq!(to.view().freeze(&default()).unwrap().unwrap().revision.get(), 2);
}

/// Applies a block as a newer version would have: with a field in its document that this one does not know.
fn apply_newer(store: &StateStore, block: &Block) {
    let applied = store.apply(next_entry(store), |view, tries| {
        let last = view.cluster.last_block;
        let height = last.map_or(BlockHeight::new(0), |(height, _)| height.next().unwrap());
        let effects = apply(view, tries, block, height, quorate_core::hash::Hash::ZERO);
        let mut effects = effects.map_err(|error| StoreFault::diverged("test", "ok", error))?;
        let content = effects.ledgers[0].transactions[0].contents[0].as_mut().unwrap();
        content.value = Bytes::from([&content.value[..], b"\xf8\x01\x01"].concat());
        Ok(effects)
    });
    applied.unwrap();
}

#[test]
fn what_a_newer_version_wrote_is_neither_opened_nor_installed() {
    for newer in [document("freeze", FreezeState::Frozen, "full"), block(START, [birth(&origin(), "new")])] {
        let mut rig = Rig::founded();
        let before = Rig::of(identity(2));
        apply_newer(rig.store(), &newer);
        let StateCopy { applied: position, path: files, .. } = rig.store().snapshot().unwrap();
        let received = before.store().begin_install(0).unwrap();
        copy_directory(&files, &received);
        std::fs::remove_dir_all(files).unwrap();
        match before.store().check_snapshot(&position, &received, |_| Ok(())) {
            Err(SnapshotError::Fault(fault)) => says_upgrade(&fault),
            other => panic!("it is taken, or said to be the sender's fault: {other:?}"),
        }
        rig.close();
        newer_fault(StateStore::open(&rig.path(), rig.identity, options()).map(drop));
    }
}

fn newer_fault(opened: Result<(), OpenError>) {
    match opened {
        Err(error @ OpenError::Fault(_)) if !error.is_damage() => {
            let OpenError::Fault(fault) = error else { return };
            says_upgrade(&fault);
        }
        other => panic!("it went on: {other:?}"),
    }
}

fn says_upgrade(fault: &StoreFault) {
    assert_eq!(fault.kind(), FaultKind::Newer);
    let said = fault.to_string();
    assert!(said.contains("does not know") && said.contains("upgrade this node"), "{said}");
}
