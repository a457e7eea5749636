//! Tests of `entry`: what is accepted, what is refused, and why.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::hash::{Hash, sha256};
use crate::position::{Epoch, LogIndex, Micros, Revision};

fn put() -> Operation {
    Operation {
        kind: OpKind::Put,
        revision: Revision::new(3),
        prev_index: Some(LogIndex::new(18)),
        expires_at: Some(Micros::new(7)),
        value_len: 5,
        value_digest: value_digest(&[9; 16], b"text", b"value"),
        key: b"invoice/1".to_vec(),
    }
}

fn transaction() -> TransactionLeaf {
    TransactionLeaf {
        time: Micros::new(1),
        not_after: Micros::new(2),
        op_count: 3,
        ops_root: sha256(&[b"ops"]),
        request_id: sha256(&[b"request"]),
        meta_digest: sha256(&[b"meta"]),
    }
}

fn commit() -> CommitLeaf {
    CommitLeaf {
        time: Micros::new(1),
        first_index: LogIndex::new(40),
        tx_count: 2,
        state_root: sha256(&[b"state"]),
        epoch: Epoch::new(1),
    }
}

#[test]
fn an_operation_is_63_bytes_and_its_key_in_the_order_of_the_table() {
    let bytes = put().encode();
    assert_eq!(bytes.len(), Operation::FIXED_LEN + 9);
    assert_eq!(bytes[0], 1);
    assert_eq!(bytes[1..9], 3_u64.to_be_bytes());
    assert_eq!(bytes[9..17], 18_u64.to_be_bytes());
    assert_eq!(bytes[17..25], 7_u64.to_be_bytes());
    assert_eq!(bytes[25..29], 5_u32.to_be_bytes());
    assert_eq!(bytes[29..61], *put().value_digest.as_bytes());
    assert_eq!(bytes[61..63], 9_u16.to_be_bytes());
    assert_eq!(&bytes[63..], b"invoice/1");
}

#[test]
fn a_first_write_has_all_ones_and_no_expiry_is_0() {
    let first = Operation { prev_index: None, expires_at: None, ..put() };
    let bytes = first.encode();
    assert_eq!(bytes[9..17], [0xff; 8]);
    assert_eq!(bytes[17..25], [0; 8]);
    assert_eq!(Operation::decode(&bytes), Ok(first));
}

#[test]
fn reserved_kinds_are_told_apart_from_bad_bytes() {
    for kind in [0, 4, 255] {
        let mut bytes = put().encode();
        bytes[0] = kind;
        assert_eq!(Operation::decode(&bytes), Err(EntryError::ReservedKind { kind }));
    }
}

#[test]
fn only_a_put_has_value_fields() {
    let bare =
        Operation { kind: OpKind::Delete, expires_at: None, value_len: 0, value_digest: Hash::ZERO, ..put() };
    for kind in [OpKind::Delete, OpKind::Erase] {
        let bare = Operation { kind, ..bare.clone() };
        assert_eq!(Operation::decode(&bare.encode()), Ok(bare.clone()));
        let mut with_expiry = bare.clone();
        with_expiry.expires_at = Some(Micros::new(1));
        let mut with_length = bare.clone();
        with_length.value_len = 1;
        let mut with_digest = bare;
        with_digest.value_digest = sha256(&[b""]);
        for (operation, field) in
            [(with_expiry, "expires_at"), (with_length, "value_len"), (with_digest, "value_digest")]
        {
            let refused = Err(EntryError::NotAPut { field });
            assert_eq!(Operation::decode(&operation.encode()), refused);
        }
    }
}

#[test]
fn keys_have_1_to_1024_bytes() {
    for len in [1, MAX_KEY_LEN] {
        let operation = Operation { key: vec![b'k'; len], ..put() };
        assert_eq!(Operation::decode(&operation.encode()), Ok(operation));
    }
    for len in [0, MAX_KEY_LEN + 1, 0xffff, 0x1_0000, 0x1_0001] {
        let operation = Operation { key: vec![b'k'; len], ..put() };
        let error = Operation::decode(&operation.encode()).unwrap_err();
        assert!(matches!(error, EntryError::KeyLength { .. }), "{len}: {error}");
    }
}

#[test]
fn revision_0_is_none() {
    let zero = Operation { revision: Revision::new(0), ..put() };
    assert_eq!(Operation::decode(&zero.encode()), Err(EntryError::RevisionZero));
}

#[test]
fn every_truncation_and_every_extra_byte_is_refused() {
    let operation = put().encode();
    let (transaction, commit) = (transaction().encode(), commit().encode());
    for (bytes, is_leaf) in [(&operation[..], false), (&transaction[..], true), (&commit[..], true)] {
        let refused = |bytes: &[u8]| match Leaf::decode(bytes) {
            // Without its first two bytes it is nobody's.
            Ok(Leaf::Opaque(_)) => !is_leaf || bytes.len() < 2,
            Ok(_) => false,
            Err(_) => true,
        };
        for end in 0..bytes.len() {
            assert!(if is_leaf { refused(&bytes[..end]) } else { Operation::decode(&bytes[..end]).is_err() });
        }
        let longer = [bytes, &[0]].concat();
        assert!(if is_leaf { refused(&longer) } else { Operation::decode(&longer).is_err() });
    }
}

#[test]
fn leaves_have_the_lengths_of_the_tables_and_read_back() {
    assert_eq!(Leaf::decode(&transaction().encode()), Ok(Leaf::Transaction(transaction())));
    assert_eq!(Leaf::decode(&commit().encode()), Ok(Leaf::Commit(commit())));
    let bytes = transaction().encode();
    assert_eq!((bytes[0], bytes[1], bytes.len()), (1, 1, 118));
    assert_eq!(bytes[86..], *transaction().meta_digest.as_bytes());
    let bytes = commit().encode();
    assert_eq!((bytes[0], bytes[1], bytes.len()), (1, 2, 62));
    assert_eq!(bytes[54..], 1_u64.to_be_bytes());
}

#[test]
fn other_versions_and_types_are_opaque() {
    for head in [[0, 1], [2, 1], [1, 0], [1, 3], [2, 2]] {
        let mut bytes = transaction().encode().to_vec();
        bytes[..2].copy_from_slice(&head);
        assert_eq!(Leaf::decode(&bytes), Ok(Leaf::Opaque(bytes.clone())));
        assert_eq!(Leaf::Opaque(bytes.clone()).encode(), bytes);
    }
    assert_eq!(Leaf::decode(&[]), Ok(Leaf::Opaque(vec![])));
    assert_eq!(Leaf::decode(&[0; MAX_LEAF]), Ok(Leaf::Opaque(vec![0; MAX_LEAF])));
    let refused = Err(EntryError::LeafLength { len: MAX_LEAF + 1 });
    assert_eq!(Leaf::decode(&[0; MAX_LEAF + 1]), refused);
}

#[test]
fn a_transaction_leaf_counts_1_to_4096_operations() {
    for op_count in [1, 4_096] {
        let leaf = TransactionLeaf { op_count, ..transaction() };
        assert_eq!(Leaf::decode(&leaf.encode()), Ok(Leaf::Transaction(leaf)));
    }
    for op_count in [0, 4_097, u32::MAX] {
        let leaf = TransactionLeaf { op_count, ..transaction() };
        assert_eq!(Leaf::decode(&leaf.encode()), Err(EntryError::OpCount { got: op_count }));
    }
}

#[test]
fn a_commit_leaf_stands_after_its_transactions() {
    assert_eq!(commit().index(), Some(LogIndex::new(42)));
    let last = CommitLeaf { first_index: LogIndex::new(u64::MAX), ..commit() };
    assert_eq!(last.index(), None);
}

#[test]
fn a_request_is_named_by_author_and_key_together() {
    let id = request_id("zoë", b"build-4711").unwrap();
    assert_eq!(id, sha256(&[b"\x06\x04zo\xc3\xab\x0abuild-4711"]));
    assert_ne!(request_id("ab", b"c").unwrap(), request_id("a", b"bc").unwrap());
    assert!(request_id(&"a".repeat(255), &[0; 64]).is_ok());
    let too_long = request_id(&"a".repeat(256), b"k");
    assert_eq!(too_long, Err(EntryError::AuthorLength { len: 256 }));
    for len in [0, 65, 256, 257] {
        let refused = Err(EntryError::IdempotencyKeyLength { len });
        assert_eq!(request_id("a", &vec![0; len]), refused);
    }
}

#[test]
fn a_value_is_bound_with_salt_and_attributes() {
    let operation = put();
    assert!(operation.wrote(&[9; 16], b"text", b"value"));
    assert!(!operation.wrote(&[8; 16], b"text", b"value"));
    assert!(!operation.wrote(&[9; 16], b"tex", b"tvalue"));
    assert!(!operation.wrote(&[9; 16], b"text", b"valuE"));
    let shorter = Operation { value_len: 4, ..operation };
    assert!(!shorter.wrote(&[9; 16], b"text", b"value"));
}

#[test]
fn a_value_expires_at_its_time_and_not_before() {
    assert!(!put().is_expired_at(Micros::new(6)));
    assert!(put().is_expired_at(Micros::new(7)));
    let never = Operation { expires_at: None, ..put() };
    assert!(!never.is_expired_at(Micros::new(u64::MAX)));
}

#[test]
fn operations_have_a_path_each_and_no_more() {
    let ops: Vec<Vec<u8>> = (0..5_u8).map(|byte| vec![byte; 64]).collect();
    let root = ops_root(&ops);
    for (position, op) in ops.iter().enumerate() {
        let path = op_path(&ops, position).unwrap();
        let (index, size) = (LogIndex::new(position as u64), crate::position::TreeSize::new(5));
        let leaf = crate::hash::leaf_hash(op);
        assert!(crate::proof::inclusion::verify(&leaf, index, size, &path, &root).is_ok());
    }
    assert_eq!(op_path(&ops, 5), None);
    for count in 0..=ops.len() {
        let one_by_one: Vec<_> =
            (0..count).map(|position| op_path(&ops[..count], position).unwrap()).collect();
        assert_eq!(op_paths(&ops[..count]), one_by_one);
    }
    assert_eq!(op_path::<Vec<u8>>(&[], 0), None);
    assert_eq!(ops_root([&ops[0]]), crate::hash::leaf_hash(&ops[0]));
    assert_eq!(op_path(&ops[..1], 0), Some(vec![]));
}

prop_compose! {
    fn any_operation()(
        kind in 1_u8..=3,
        revision in 1..=u64::MAX,
        prev_index in any::<Option<u64>>(),
        expires_at in any::<Option<u64>>(),
        value_len in any::<u32>(),
        digest in any::<[u8; 32]>(),
        key in vec(any::<u8>(), 1..=MAX_KEY_LEN),
    ) -> Operation {
        let kind = OpKind::from_byte(kind).unwrap();
        let is_put = kind == OpKind::Put;
        Operation {
            kind,
            revision: Revision::new(revision),
            prev_index: prev_index.filter(|index| *index != u64::MAX).map(LogIndex::new),
            expires_at: expires_at.filter(|time| is_put && *time != 0).map(Micros::new),
            value_len: if is_put { value_len } else { 0 },
            value_digest: if is_put { Hash::new(digest) } else { Hash::ZERO },
            key,
        }
    }
}

proptest! {
    #[test]
    fn operations_read_back(operation in any_operation()) {
        prop_assert_eq!(Operation::decode(&operation.encode()), Ok(operation));
    }

    #[test]
    fn any_bytes_are_refused_or_are_the_encoding(
        mut bytes in vec(any::<u8>(), 0..200),
        head in any::<[bool; 2]>(),
        kind in 0_u8..4,
        leaf_type in 0_u8..4,
    ) {
        if head[0] && bytes.len() > 2 {
            bytes[..2].copy_from_slice(&[1, leaf_type]);
        }
        if let Ok(leaf) = Leaf::decode(&bytes) {
            prop_assert_eq!(leaf.encode(), bytes.clone());
        }
        if head[1] && bytes.len() > 64 {
            bytes[0] = kind;
            let len = u16::try_from(bytes.len() - 63).unwrap();
            bytes[61..63].copy_from_slice(&len.to_be_bytes());
        }
        if let Ok(operation) = Operation::decode(&bytes) {
            prop_assert_eq!(operation.encode(), bytes);
        }
    }
}
