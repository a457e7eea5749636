//! Erasing destroys contents, keeps who did it, and nothing else changes.

use quorate_core::position::{LogIndex, Revision};
use quorate_ledger::effects::Effects;

use super::super::{StoredContent, scrub::scrub};
use super::support::{Rig, START, block, erase, put, request};

fn index(effects: &Effects) -> LogIndex {
    effects.ledgers[0].first_index
}

fn is_present(content: &StoredContent) -> bool {
    matches!(content, StoredContent::Present(_))
}

#[test]
fn an_erased_value_names_its_erase_and_its_neighbours_stay() {
    let mut rig = Rig::founded();
    // Values of 9 KB: the contents are several rows.
    let writes = (0..6_u8).map(|n| put(&[b'k', n], &vec![n; 9_000]));
    let written = index(&rig.commit(writes));
    let by = index(&rig.commit([erase(&[b'k', 0], 1), erase(&[b'k', 3], 1), erase(&[b'k', 4], 1)]));
    let again = index(&rig.commit([erase(&[b'k', 3], 1)]));
    for reopened in [false, true] {
        if reopened {
            rig.close();
            rig.open();
        }
        let view = rig.ledger();
        for position in 0..6 {
            let content = view.content(written, position).unwrap();
            if [0, 3, 4].contains(&position) {
                assert_eq!(content, StoredContent::Erased { by }, "{position}");
            } else {
                assert!(is_present(&content), "{position}");
            }
        }
        assert_eq!(view.content(again, 0).unwrap(), StoredContent::Nothing);
        scrub(&rig.view()).unwrap();
    }
    assert_eq!(rig.ledger().revision_index(&[b'k', 3], Revision::FIRST).unwrap(), Some(written));
}

#[test]
fn an_old_view_does_not_bring_an_erased_value_back() {
    let rig = Rig::founded();
    let written = index(&rig.commit([put(b"k", b"v")]));
    let old = rig.ledger();
    assert!(is_present(&old.content(written, 0).unwrap()));
    let by = index(&rig.commit([erase(b"k", 1)]));
    assert_eq!(old.content(written, 0).unwrap(), StoredContent::Erased { by });
}

#[test]
fn what_a_block_writes_and_erases_is_never_stored() {
    let rig = Rig::founded();
    let requests = [
        request("default", "1", [put(b"k", b"a value that must not be found")]),
        request("default", "2", [erase(b"k", 1)]),
    ];
    let effects = rig.apply(&block(START, requests));
    let (written, by) = (index(&effects), index(&effects).next().unwrap());
    assert_eq!(rig.ledger().content(written, 0).unwrap(), StoredContent::Erased { by });
    scrub(&rig.view()).unwrap();
}
