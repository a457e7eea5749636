//! The store never loses or forgets; the chain never believes two stories.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::{env, fs, thread};

use quorate_core::agreement::AgreementError;
use quorate_core::checkpoint::Checkpoint;
use quorate_core::hash::Hash;
use quorate_core::key::{CosignerKey, LogKey};
use quorate_core::name::{ClusterId, ClusterOrigin, LedgerName};
use quorate_core::note::SignedNote;
use quorate_core::policy::{CertifiedCheckpoint, Policy};
use quorate_core::position::{NodeId, TreeSize};
use quorate_core::tree::{MemoryTree, consistency_path, root_at};

use super::keeper::MAX_LOOSE;
use super::*;
use crate::error::{Distrust, Error};

/// A log whose leaves are numbers, and a fork of it that differs from `fork_at` on.
struct Log {
    tree: MemoryTree,
}

fn origin() -> quorate_core::name::Origin {
    let cluster = ClusterOrigin::new("trust.test", &ClusterId::new([1; 16])).unwrap();
    cluster.ledger(&LedgerName::new("default").unwrap())
}

fn nodes() -> Vec<CosignerKey> {
    let name = |node| origin().cluster().node(NodeId::new(node));
    (1..=3_u8).map(|node| CosignerKey::from_seed(&name(node.into()), &[node; 32]).unwrap()).collect()
}

fn policy() -> Policy {
    let keys: Vec<_> = nodes().iter().map(|node| node.verifier().clone()).collect();
    Policy::majority(LogKey::derive(&[9; 32], &origin()).verifier(), &keys).unwrap()
}

impl Log {
    fn new(size: u64, fork_at: u64) -> Self {
        let mut tree = MemoryTree::new();
        for leaf in 0..size {
            let story = if leaf < fork_at { 0 } else { 1 };
            tree.append(&[leaf.to_be_bytes().as_slice(), &[story]].concat());
        }
        Self { tree }
    }

    fn note(&self, size: u64) -> SignedNote {
        let root = root_at(&self.tree, TreeSize::new(size)).unwrap();
        let checkpoint = Checkpoint { origin: origin().to_string(), size: TreeSize::new(size), root };
        let mut note = SignedNote::new(checkpoint.clone());
        note.add(LogKey::derive(&[9; 32], &origin()).sign(&checkpoint));
        for node in nodes().iter().take(2) {
            note.add(node.cosign(&checkpoint, 1_000 + size).unwrap().to_line());
        }
        note
    }

    fn certified(&self, size: u64) -> CertifiedCheckpoint {
        policy().certify(self.note(size)).unwrap()
    }

    fn path(&self, old: u64, new: u64) -> Vec<Hash> {
        consistency_path(&self.tree, TreeSize::new(old), TreeSize::new(new)).unwrap()
    }
}

/// Proves what one log says, and counts how often it is asked.
struct LogProver {
    log: Log,
    asked: AtomicUsize,
}

impl Prover for LogProver {
    async fn prove(&self, old: TreeSize, new: TreeSize) -> Result<(Arc<str>, Vec<Hash>), Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Ok(("prover".into(), self.log.path(old.get(), new.get())))
    }
}

fn prover(log: Log) -> LogProver {
    LogProver { log, asked: AtomicUsize::new(0) }
}

fn keeper(store: Arc<dyn TrustStore>) -> Keeper {
    Keeper::new(origin().to_string(), policy().keys().to_vec(), store, true)
}

fn who() -> Arc<str> {
    "replica".into()
}

#[test]
fn a_file_holds_what_was_stored_for_this_user_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileTrust::open(directory.path().join("trust")).unwrap();
    let log = Log::new(9, 9);
    let name = origin().to_string();
    assert_eq!(store.load(&name), Ok(None));
    assert_eq!(store.compare_and_swap(None, &log.note(3)), Ok(Swap::Done));
    assert_eq!(store.load(&name), Ok(Some(log.note(3))));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&store.path_of(&name)), mode(&directory.path().join("trust"))), (0o600, 0o700));
    assert_eq!(store.path_of(&name).file_name().unwrap(), "trust.test+01010101+default.trust");

    let changed = Ok(Swap::Changed(Some(log.note(3))));
    assert_eq!(store.compare_and_swap(None, &log.note(5)), changed);
    assert_eq!(store.compare_and_swap(Some(log.note(4).checkpoint()), &log.note(5)), changed);
    assert_eq!(store.compare_and_swap(Some(log.note(3).checkpoint()), &log.note(5)), Ok(Swap::Done));
    let back = store.compare_and_swap(Some(log.note(5).checkpoint()), &log.note(4));
    assert!(matches!(back, Err(TrustError::Backwards { .. })));
    assert_eq!(store.load(&name), Ok(Some(log.note(5))));
}

#[test]
fn origins_never_share_a_file() {
    let store = FileTrust::open(tempfile::tempdir().unwrap().path().join("trust")).unwrap();
    let long = "a".repeat(250);
    let origins =
        ["a/b", "a+b", "a b", "A/b", "a/b/", "../a", "..", ".", "", "_a", &long, &format!("{long}b")];
    let paths: BTreeSet<_> = origins.iter().map(|origin| store.path_of(origin)).collect();
    assert_eq!(paths.len(), origins.len());
    for path in paths {
        assert!(path.parent().unwrap().ends_with("trust") && path.file_name().unwrap().len() < 255);
    }
}

#[test]
fn a_damaged_file_is_an_error_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileTrust::open(directory.path()).unwrap();
    let log = Log::new(9, 9);
    let name = origin().to_string();
    store.compare_and_swap(None, &log.note(3)).unwrap();
    let path = store.path_of(&name);
    let whole = fs::read(&path).unwrap();
    let mut broken: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
    broken.extend((0..whole.len()).map(|place| {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        bytes
    }));
    broken.push([whole.as_slice(), b"\n"].concat());
    for bytes in broken {
        fs::write(&path, &bytes).unwrap();
        let error = store.load(&name).unwrap_err();
        assert!(matches!(error, TrustError::Damaged { .. }), "{error}");
        store.compare_and_swap(None, &log.note(5)).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(store.load(&name), Err(TrustError::Io { .. })), "unreadable is not absent");
}

#[test]
fn a_crash_between_writing_and_renaming_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileTrust::open(directory.path()).unwrap();
    let log = Log::new(9, 9);
    let name = origin().to_string();
    store.compare_and_swap(None, &log.note(3)).unwrap();
    let leftover = store.path_of(&name).with_extension("new");
    for torn in [&b""[..], b"quorate-trust/v1\nhalf"] {
        fs::write(&leftover, torn).unwrap();
        assert_eq!(store.load(&name), Ok(Some(log.note(3))));
    }
    assert_eq!(store.compare_and_swap(Some(log.note(3).checkpoint()), &log.note(5)), Ok(Swap::Done));
    assert_eq!(store.load(&name), Ok(Some(log.note(5))));
    assert!(!leftover.exists());
}

/// Moves what is stored one leaf forward, `times` times, against everybody else who does so.
fn step_forward(store: &dyn TrustStore, times: u64, log: &Log) {
    let mut stored = store.load(origin().as_ref()).unwrap();
    for _ in 0..times {
        loop {
            let size = stored.as_ref().map_or(1, |note| note.checkpoint().size.get() + 1);
            let new = log.note(size);
            match store.compare_and_swap(stored.as_ref().map(SignedNote::checkpoint), &new).unwrap() {
                Swap::Done => {
                    stored = Some(new);
                    break;
                }
                Swap::Changed(now) => stored = now,
            }
        }
    }
}

#[test]
fn of_many_threads_each_step_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn TrustStore>; 2] =
        [Arc::new(FileTrust::open(directory.path()).unwrap()), Arc::new(MemoryTrust::new())];
    for store in stores {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| step_forward(store.as_ref(), 10, &Log::new(40, 40)));
            }
        });
        let stored = store.load(origin().as_ref()).unwrap().unwrap();
        assert_eq!(stored.checkpoint().size, TreeSize::new(40));
    }
}

/// Run by the test below, as a process of its own.
#[test]
#[ignore = "a part of of_many_processes_each_step_is_made_once"]
fn process_that_steps_forward() {
    let Some(directory) = env::var_os("QUORATE_TEST_TRUST") else {
        return;
    };
    step_forward(&FileTrust::open(directory).unwrap(), 8, &Log::new(40, 40));
}

#[test]
fn of_many_processes_each_step_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let start = |_| {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "trust::tests::process_that_steps_forward", "--ignored"])
            .env("QUORATE_TEST_TRUST", directory.path())
            .spawn()
            .unwrap()
    };
    let processes: Vec<_> = (0..4).map(start).collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    let stored = FileTrust::open(directory.path()).unwrap().load(origin().as_ref()).unwrap().unwrap();
    assert_eq!(stored.checkpoint().size, TreeSize::new(32));
}

/// Run by the test below, as a process of its own, until it is killed: notes each step that it was told is made.
#[test]
#[ignore = "a part of processes_that_are_killed_at_any_moment_lose_and_repeat_nothing"]
fn process_that_steps_forward_until_it_is_killed() {
    let (Some(directory), Some(notes)) =
        (env::var_os("QUORATE_TEST_TRUST"), env::var_os("QUORATE_TEST_NOTES"))
    else {
        return;
    };
    let store = FileTrust::open(directory).unwrap();
    let log = Log::new(KILLED_STEPS, KILLED_STEPS);
    let mut notes = fs::File::create(notes).unwrap();
    let mut stored = store.load(origin().as_ref()).unwrap();
    loop {
        let size = stored.as_ref().map_or(1, |note| note.checkpoint().size.get() + 1);
        if size > KILLED_STEPS {
            return;
        }
        let new = log.note(size);
        match store.compare_and_swap(stored.as_ref().map(SignedNote::checkpoint), &new).unwrap() {
            Swap::Done => {
                writeln!(notes, "{size}").unwrap();
                stored = Some(new);
            }
            Swap::Changed(now) => stored = now,
        }
    }
}

/// More steps than all processes of the test can make.
const KILLED_STEPS: u64 = 20_000;

#[test]
fn processes_that_are_killed_at_any_moment_lose_and_repeat_nothing() {
    let (directory, notes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start = |number: usize| {
        let exact = "trust::tests::process_that_steps_forward_until_it_is_killed";
        Command::new(env::current_exe().unwrap())
            .args(["--exact", exact, "--ignored"])
            .env("QUORATE_TEST_TRUST", directory.path())
            .env("QUORATE_TEST_NOTES", notes.path().join(number.to_string()))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let store = FileTrust::open(directory.path()).unwrap();
    let (mut processes, mut before) = (Vec::new(), TreeSize::ZERO);
    for number in 0..40 {
        processes.push(start(number));
        thread::sleep(std::time::Duration::from_millis(60));
        // Whoever looks meanwhile sees a whole note, and never an older one.
        let seen =
            store.load(origin().as_ref()).unwrap().map_or(TreeSize::ZERO, |note| note.checkpoint().size);
        assert!(seen >= before, "{seen} after {before}");
        before = seen;
        if processes.len() > 4 {
            let mut victim = processes.remove(number % 4);
            victim.kill().unwrap();
            victim.wait().unwrap();
        }
    }
    for mut process in processes {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let mut made = Vec::new();
    for file in fs::read_dir(notes.path()).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        made.extend(text.lines().map(|line| line.parse::<u64>().unwrap()));
    }
    let stored = store.load(origin().as_ref()).unwrap().unwrap().checkpoint().size.get();
    let distinct: BTreeSet<u64> = made.iter().copied().collect();
    assert_eq!(distinct.len(), made.len(), "no step is made twice");
    assert!(distinct.last() <= Some(&stored), "{distinct:?} beyond {stored}");
    // A process may be killed between a step and its note of it.
    let killed_between = stored - distinct.len() as u64;
    assert!(made.len() > 40 && killed_between <= 40, "{} noted of {stored}", made.len());
}

#[tokio::test]
async fn answers_one_after_the_other_are_linked_at_once() {
    let log = Log::new(20, 20);
    let store = Arc::new(MemoryTrust::new());
    let keeper = keeper(store.clone());
    let prover = prover(Log::new(20, 20));
    for (size, standing) in [
        (5, Standing::Newest),
        (5, Standing::Known),
        (9, Standing::Newest),
        (3, Standing::Known),
        (9, Standing::Known),
    ] {
        let anchor = keeper.anchor().await.unwrap();
        let trusted = anchor.as_ref().map_or(size, |anchor| anchor.checkpoint().size.get());
        let path = log.path(trusted.min(size), trusted.max(size));
        let got = keeper.accept(&who(), anchor.as_ref(), &log.certified(size), &path).unwrap();
        assert_eq!(got, standing, "{size}");
        keeper.save(TreeSize::new(size), &prover).await.unwrap();
    }
    assert_eq!(prover.asked.load(Ordering::Relaxed), 0);
    let stored = store.load(origin().as_ref()).unwrap().unwrap();
    assert_eq!(stored.checkpoint().size, TreeSize::new(9));
}

#[tokio::test]
async fn answers_at_the_same_time_are_linked_afterwards() {
    let log = Log::new(60, 60);
    let keeper = keeper(Arc::new(MemoryTrust::new()));
    keeper.accept(&who(), None, &log.certified(5), &[]).unwrap();
    let anchor = keeper.anchor().await.unwrap();
    let sizes = [9, 40, 7, 30, 50, 20];
    let standings = sizes.map(|size| {
        keeper.accept(&who(), anchor.as_ref(), &log.certified(size), &log.path(5, size)).unwrap()
    });
    assert_eq!(standings[0], Standing::Newest);
    assert!(standings[1..].iter().all(|standing| *standing == Standing::Loose));
    let prover = prover(Log::new(60, 60));
    keeper.link(&prover).await.unwrap();
    assert_eq!(prover.asked.load(Ordering::Relaxed), 5, "one proof for each");
    assert_eq!(keeper.newest().unwrap().size, TreeSize::new(50));
    assert!(!keeper.has_loose() && !keeper.is_crowded() && MAX_LOOSE > 5);
}

#[tokio::test]
async fn a_fork_between_answers_at_the_same_time_ends_all_belief() {
    let (log, fork) = (Log::new(60, 60), Log::new(60, 8));
    let keeper = keeper(Arc::new(MemoryTrust::new()));
    keeper.accept(&who(), None, &log.certified(5), &[]).unwrap();
    let anchor = keeper.anchor().await.unwrap();
    keeper.accept(&who(), anchor.as_ref(), &log.certified(20), &log.path(5, 20)).unwrap();
    let loose = keeper.accept(&who(), anchor.as_ref(), &fork.certified(30), &fork.path(5, 30)).unwrap();
    assert_eq!(loose, Standing::Loose);
    // Whoever serves the fork proves it well; that proof convicts those who signed both.
    let error = keeper.link(&prover(Log::new(60, 8))).await.unwrap_err();
    assert!(error.evidence().is_some(), "{error}");
    assert!(keeper.anchor().await.unwrap_err().is_untrusted());
}

#[tokio::test]
async fn another_root_for_a_known_size_is_refused_at_once() {
    let (log, fork) = (Log::new(60, 60), Log::new(60, 8));
    let keeper = keeper(Arc::new(MemoryTrust::new()));
    keeper.accept(&who(), None, &log.certified(20), &[]).unwrap();
    let anchor = keeper.anchor().await.unwrap();
    let error = keeper.accept(&who(), anchor.as_ref(), &fork.certified(20), &[]).unwrap_err();
    assert!(error.evidence().is_some(), "{error}");
    let wrong = keeper.accept(&who(), anchor.as_ref(), &log.certified(30), &log.path(19, 30)).unwrap_err();
    let Error::Untrusted { what, .. } = wrong else { panic!("{wrong}") };
    assert!(matches!(*what, Distrust::Agreement(AgreementError::NotConsistent { .. })), "{what}");
    keeper.accept(&who(), anchor.as_ref(), &log.certified(30), &log.path(20, 30)).unwrap();
}

#[tokio::test]
async fn what_another_process_believed_meanwhile_is_linked_or_refused() {
    let log = Log::new(60, 60);
    for (theirs, is_fine) in [(Log::new(60, 60), true), (Log::new(60, 8), false)] {
        let store = Arc::new(MemoryTrust::new());
        let keeper = keeper(store.clone());
        assert!(keeper.anchor().await.unwrap().is_none());
        store.compare_and_swap(None, &theirs.note(40)).unwrap();
        keeper.accept(&who(), None, &log.certified(20), &[]).unwrap();
        let saved = keeper.save(TreeSize::new(20), &prover(Log::new(60, 60))).await;
        match is_fine {
            true => {
                saved.unwrap();
                assert_eq!(keeper.newest().unwrap().size, TreeSize::new(40));
            }
            false => assert!(saved.unwrap_err().is_untrusted()),
        }
        let stored = store.load(origin().as_ref()).unwrap().unwrap();
        assert_eq!(stored, theirs.note(40), "what is stored does not go back");
    }
}

#[tokio::test]
async fn a_stored_note_of_unknown_keys_is_an_error() {
    let other = ClusterOrigin::new("trust.test", &ClusterId::new([2; 16])).unwrap();
    let checkpoint = Checkpoint { origin: origin().to_string(), size: TreeSize::new(3), root: Hash::ZERO };
    let stranger = CosignerKey::from_seed(&other.node(NodeId::new(1)), &[77; 32]).unwrap();
    let mut note = SignedNote::new(checkpoint.clone());
    note.add(stranger.cosign(&checkpoint, 5).unwrap().to_line());
    let store = Arc::new(MemoryTrust::new());
    store.compare_and_swap(None, &note).unwrap();
    let error = keeper(store).anchor().await.unwrap_err();
    assert!(matches!(error, Error::TrustStore(TrustError::NotSigned { .. })), "{error}");
}

/// A store that is slow and counts, to see that calls which move forward together write together.
#[derive(Debug, Default)]
struct SlowStore {
    inner: MemoryTrust,
    writes: Mutex<usize>,
}

impl TrustStore for SlowStore {
    fn load(&self, origin: &str) -> Result<Option<SignedNote>, TrustError> {
        self.inner.load(origin)
    }

    fn compare_and_swap(&self, expected: Option<&Checkpoint>, new: &SignedNote) -> Result<Swap, TrustError> {
        *self.writes.lock().unwrap() += 1;
        thread::sleep(std::time::Duration::from_millis(20));
        self.inner.compare_and_swap(expected, new)
    }
}

#[tokio::test]
async fn many_calls_share_one_write_of_the_store() {
    let log = Log::new(60, 60);
    let store = Arc::new(SlowStore::default());
    let keeper = keeper(store.clone());
    let prover = prover(Log::new(60, 60));
    for size in 1..=40 {
        let anchor = keeper.anchor().await.unwrap();
        let path = log.path(size.max(2) - 1, size);
        keeper.accept(&who(), anchor.as_ref(), &log.certified(size), &path).unwrap();
    }
    let saves = (1..=40).map(|size| keeper.save(TreeSize::new(size), &prover));
    futures::future::try_join_all(saves).await.unwrap();
    assert_eq!(*store.writes.lock().unwrap(), 1);
}
