//! What the verifier's own work costs: the log tree, the state tree, codecs, hashes and signatures.
//!
//! `cargo bench -p quorate-core`. Trees have 100,000 leaves unless `QUORATE_BENCH_KEYS` says otherwise
//! (`QUORATE_BENCH_KEYS=10000000` takes some gigabytes of memory, and minutes to fill).
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorate_core::{
    checkpoint::Checkpoint,
    entry::{CommitLeaf, Leaf, OpKind, Operation, TransactionLeaf, ops_root, request_id, value_digest},
    hash::{Hash, leaf_hash, node_hash, sha256},
    key::{CosignerKey, LogKey},
    name::{ClusterId, ClusterOrigin, LedgerName},
    note::SignedNote,
    policy::Policy,
    position::{Epoch, LogIndex, Micros, NodeId, Revision, TreeSize},
    proof::{consistency, inclusion},
    state_tree::{MemoryStateTree, Query, StateLeaf, verify},
    tree::{Frontier, MemoryTree, consistency_path, inclusion_path, root_at},
};

/// Leaves of the trees.
fn keys() -> u64 {
    match std::env::var("QUORATE_BENCH_KEYS") {
        Err(_) => 100_000,
        Ok(text) => {
            text.parse().ok().filter(|keys| *keys > 1).expect("QUORATE_BENCH_KEYS is a number above 1")
        }
    }
}

/// Keys as a notary has them: a short path and 16 random bytes in hex.
fn key(number: u64) -> Vec<u8> {
    let digest = sha256(&[&number.to_be_bytes()]);
    format!("sha256/{}", &digest.to_string()[..32]).into_bytes()
}

fn operation(key: Vec<u8>, revision: u64) -> Operation {
    Operation {
        kind: OpKind::Put,
        revision: Revision::new(revision),
        prev_index: None,
        expires_at: None,
        value_len: 256,
        value_digest: Hash::ZERO,
        key,
    }
}

/// Numbers below `end` in no order that a cache could use.
fn scattered(end: u64) -> impl FnMut() -> u64 {
    let mut seed = 1_u64;
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 20) % end
    }
}

fn hashes(criterion: &mut Criterion) {
    let (left, right) = (sha256(&[b"left"]), sha256(&[b"right"]));
    criterion.bench_function("hash/node", |b| b.iter(|| node_hash(black_box(&left), &right)));
    let leaf = [7; TransactionLeaf::LEN];
    criterion.bench_function("hash/leaf", |b| b.iter(|| leaf_hash(black_box(&leaf))));
    let mut group = criterion.benchmark_group("hash/value");
    for len in [256, 4_096, 1 << 20] {
        let (salt, value) = ([2; 16], vec![7; len]);
        group.throughput(Throughput::Bytes(u64::try_from(len).unwrap()));
        group.bench_function(BenchmarkId::from_parameter(len), |b| {
            b.iter(|| value_digest(&salt, b"", black_box(&value)));
        });
    }
    group.finish();
}

fn log_tree(criterion: &mut Criterion) {
    let leaves = keys();
    let tree: MemoryTree = (0..leaves).map(|number| leaf_hash(&number.to_be_bytes())).collect();
    let (size, root) = (tree.size(), tree.root());
    let mut next = scattered(leaves);
    let mut group = criterion.benchmark_group(format!("log tree of {leaves}"));
    let new = leaf_hash(b"new");
    let frontier = Frontier::read(&tree, size).unwrap();
    group.bench_function("append", |b| {
        b.iter_batched_ref(
            || frontier.clone(),
            |frontier| frontier.push(black_box(new)),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("root of the frontier", |b| b.iter(|| black_box(&frontier).root()));
    group.bench_function("root at a size", |b| {
        b.iter_batched(
            || TreeSize::new(next() + 1),
            |size| root_at(&tree, size).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("prove inclusion", |b| {
        let prove = |index| inclusion_path(&tree, index, size).unwrap();
        b.iter_batched(|| LogIndex::new(next()), prove, BatchSize::SmallInput);
    });
    group.bench_function("verify inclusion", |b| {
        let proven = || {
            let index = LogIndex::new(next());
            (leaf_hash(&index.to_be_bytes()), index, inclusion_path(&tree, index, size).unwrap())
        };
        let check = |(leaf, index, path): (Hash, LogIndex, Vec<Hash>)| {
            inclusion::verify(&leaf, index, size, &path, &root).unwrap();
        };
        b.iter_batched(proven, check, BatchSize::SmallInput);
    });
    group.bench_function("prove consistency", |b| {
        let prove = |old| consistency_path(&tree, old, size).unwrap();
        b.iter_batched(|| TreeSize::new(next() + 1), prove, BatchSize::SmallInput);
    });
    group.bench_function("verify consistency", |b| {
        let proven = || {
            let old = TreeSize::new(next() + 1);
            (old, root_at(&tree, old).unwrap(), consistency_path(&tree, old, size).unwrap())
        };
        let check = |(old, old_root, path): (TreeSize, Hash, Vec<Hash>)| {
            consistency::verify(old, &old_root, size, &root, &path).unwrap();
        };
        b.iter_batched(proven, check, BatchSize::SmallInput);
    });
    group.finish();
}

fn state_tree(criterion: &mut Criterion) {
    let leaves = keys();
    let mut all: Vec<StateLeaf> = (0..leaves)
        .map(|number| StateLeaf::new(LogIndex::new(number), operation(key(number), 1).encode()).unwrap())
        .collect();
    all.sort_unstable_by(|a, b| a.key().cmp(b.key()));
    let mut tree = MemoryStateTree::from_sorted(all).unwrap();
    let mut next = scattered(leaves);
    let mut revision = 1;
    let mut group = criterion.benchmark_group(format!("state tree of {leaves}"));
    for writes in [1, 100, 1_000] {
        group.throughput(Throughput::Elements(writes));
        group.bench_function(BenchmarkId::new("update", writes), |b| {
            let mut block = || -> Vec<StateLeaf> {
                revision += 1;
                let mut op = |_| operation(key(next()), revision).encode();
                (0..writes).map(|n| StateLeaf::new(LogIndex::new(revision), op(n)).unwrap()).collect()
            };
            let update = |block| {
                tree.insert_all(block).unwrap();
                tree.root()
            };
            b.iter_batched(&mut block, update, BatchSize::PerIteration);
        });
    }
    group.throughput(Throughput::Elements(1));
    let root = tree.root();
    group.bench_function("prove one key", |b| {
        b.iter_batched(|| Query::Key(key(next())), |query| tree.prove(&query), BatchSize::SmallInput);
    });
    group.bench_function("verify one key", |b| {
        let proven = || {
            let query = Query::Key(key(next()));
            let proof = tree.prove(&query);
            (query, proof)
        };
        let check = |(query, proof): (Query, Vec<u8>)| verify(&root, &query, &proof).unwrap();
        b.iter_batched(proven, check, BatchSize::SmallInput);
    });
    // Longer than any key of the tree, and so none of them.
    let absent = |number| [key(number), b"/absent".to_vec()].concat();
    group.bench_function("prove an absent key", |b| {
        b.iter_batched(|| Query::Key(absent(next())), |query| tree.prove(&query), BatchSize::SmallInput);
    });
    group.finish();
}

fn codecs(criterion: &mut Criterion) {
    let op = operation(key(1), 7);
    let bytes = op.encode();
    criterion.bench_function("codec/encode operation", |b| b.iter(|| black_box(&op).encode()));
    criterion.bench_function("codec/decode operation", |b| {
        b.iter(|| Operation::decode(black_box(&bytes)).unwrap());
    });
    let leaf = TransactionLeaf {
        time: Micros::new(1),
        not_after: Micros::new(2),
        op_count: 1,
        ops_root: ops_root([&bytes]),
        request_id: request_id("me", b"key").unwrap(),
        meta_digest: Hash::ZERO,
    };
    let encoded = leaf.encode();
    criterion.bench_function("codec/encode and hash leaf", |b| b.iter(|| black_box(&leaf).hash()));
    criterion.bench_function("codec/decode leaf", |b| b.iter(|| Leaf::decode(black_box(&encoded)).unwrap()));
    let commit = CommitLeaf {
        time: Micros::new(1),
        first_index: LogIndex::new(5),
        tx_count: 1,
        state_root: Hash::ZERO,
        epoch: Epoch::new(1),
    };
    criterion.bench_function("codec/encode and hash commit leaf", |b| b.iter(|| black_box(&commit).hash()));
    let thousand: Vec<Vec<u8>> = (0..1_000).map(|number| operation(key(number), 1).encode()).collect();
    criterion.bench_function("codec/root of 1,000 operations", |b| b.iter(|| ops_root(black_box(&thousand))));
}

fn signatures(criterion: &mut Criterion) {
    let cluster = ClusterOrigin::new("ledger.example/bench", &ClusterId::new([0x44; 16])).unwrap();
    let log = LogKey::derive(&[7; 32], &cluster.ledger(&LedgerName::new("default").unwrap()));
    let nodes: Vec<CosignerKey> = (1..=3)
        .map(|id| {
            CosignerKey::from_seed(&cluster.node(NodeId::new(id)), &[u8::try_from(id).unwrap(); 32]).unwrap()
        })
        .collect();
    let keys: Vec<_> = nodes.iter().map(|node| node.verifier().clone()).collect();
    let policy = Policy::majority(log.verifier(), &keys).unwrap();
    let checkpoint = Checkpoint {
        origin: log.verifier().name().to_owned(),
        size: TreeSize::new(1_000_000),
        root: sha256(&[b"root"]),
    };
    let mut note = SignedNote::new(checkpoint.clone());
    note.add(log.sign(&checkpoint));
    nodes.iter().for_each(|node| note.add(node.cosign(&checkpoint, 1_790_000_000).unwrap().to_line()));
    let text = note.to_string();
    criterion.bench_function("signature/cosign", |b| {
        b.iter(|| nodes[0].cosign(black_box(&checkpoint), 1_790_000_000).unwrap());
    });
    let cosignature = nodes[0].cosign(&checkpoint, 1_790_000_000).unwrap();
    criterion.bench_function("signature/verify cosignature", |b| {
        b.iter(|| cosignature.verify(&keys[0], black_box(&checkpoint)).unwrap());
    });
    criterion.bench_function("signature/certify a note of three", |b| {
        b.iter(|| policy.open(black_box(&text)).unwrap());
    });
}

criterion_group!(benches, hashes, log_tree, state_tree, codecs, signatures);
criterion_main!(benches);
