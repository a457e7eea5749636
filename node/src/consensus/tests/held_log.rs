//! A snapshot stands, certified, and the log behind it stays as long as somebody may need it.

use std::{path::Path, sync::Arc, thread, time::Duration};

use futures::FutureExt as _;

use super::toy::{Certifying, Toy, ToyState};
use crate::{
    consensus::{ConsensusConfig, Machine, snapshot_kept::Outgoing},
    pace::Load,
};

fn outgoing(dir: &Path, kept: Duration) -> (Arc<Toy>, Outgoing) {
    let toy = Arc::new(Toy::new(dir, ToyState::default(), true));
    let machine: Arc<dyn Machine> = Arc::<Toy>::clone(&toy);
    let mut settings = ConsensusConfig::new([7; 16], 1).snapshot;
    settings.kept = kept;
    (toy, Outgoing::new(machine, settings, Load::none()))
}

fn copies(dir: &Path) -> usize {
    let names = dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with("snapshot-")).count()
}

/// Files are removed on a thread of their own.
async fn only(dir: &Path, count: usize) {
    for _ in 0..2_000 {
        if copies(dir) == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} copies, and there should be {count}", copies(dir));
}

/// A large state is copied and hashed for many seconds. What is purged meanwhile is what the follower needs next.
#[tokio::test]
async fn a_snapshot_that_is_fetched_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (toy, outgoing) = outgoing(dir.path(), Duration::ZERO);
    assert!(!outgoing.holds_log());
    let transfer = outgoing.get(None).await.unwrap();
    thread::sleep(Duration::from_millis(5));
    assert!(outgoing.holds_log(), "its receiver checks it");
    let standing = outgoing.renew().await.unwrap();
    assert!(Arc::ptr_eq(&standing, transfer.kept()));
    drop(transfer);
    thread::sleep(Duration::from_millis(5));
    assert!(!outgoing.holds_log(), "nobody needs it any more");
    assert!(!Arc::ptr_eq(&standing, &outgoing.renew().await.unwrap()));
    assert_eq!(toy.snapshots.load(std::sync::atomic::Ordering::Relaxed), 3);
}

/// A transfer that was cut is begun again a moment later.
#[tokio::test]
async fn a_snapshot_is_kept_for_a_while_after_its_transfer_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (_toy, outgoing) = outgoing(dir.path(), Duration::from_secs(60));
    drop(outgoing.get(None).await.unwrap());
    assert!(outgoing.holds_log());
    // One that nobody fetches holds nothing.
    let (_toy, outgoing) = self::outgoing(dir.path(), Duration::from_secs(60));
    outgoing.renew().await.unwrap();
    assert!(!outgoing.holds_log());
}

/// What only this node has is of no use to anybody; what a majority signed before stays.
#[tokio::test]
async fn what_nobody_certifies_does_not_take_the_place_of_what_a_majority_signed() {
    let dir = tempfile::tempdir().unwrap();
    let (toy, outgoing) = outgoing(dir.path(), Duration::ZERO);
    let first = outgoing.renew().await.unwrap();
    toy.certifying.send_replace(Certifying::Never);
    let refused = outgoing.renew().await.unwrap_err().to_string();
    assert!(refused.contains("nobody signs"), "{refused}");
    let transfer = outgoing.get(None).await.unwrap();
    assert!(Arc::ptr_eq(&first, transfer.kept()) && first.snapshot.dir().exists());
    drop(transfer);
    toy.certifying.send_replace(Certifying::Later);
    let mut later = Box::pin(outgoing.renew());
    assert!(later.as_mut().now_or_never().is_none());
    // Whoever wants one now gets the one that stands, and is not kept waiting.
    let transfer = outgoing.get(None).await.unwrap();
    assert!(Arc::ptr_eq(&first, transfer.kept()));
    drop(transfer);
    thread::sleep(Duration::from_millis(5));
    toy.certifying.send_replace(Certifying::Now);
    let second = later.await.unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    let new = second.snapshot.dir().to_owned();
    drop(first);
    only(dir.path(), 1).await;
    // It is there after a start, and is the only one.
    drop((second, outgoing));
    assert!(new.exists());
    let (_toy, outgoing) = self::outgoing(dir.path(), Duration::ZERO);
    let transfer = outgoing.get(None).await.unwrap();
    assert_eq!(
        (transfer.kept().snapshot.dir(), transfer.kept().snapshot.notes()),
        (&*new, &["a note".to_owned()][..])
    );
    assert_eq!(copies(dir.path()), 1);
}

/// One that is given up half-way leaves nothing.
#[tokio::test]
async fn a_snapshot_that_is_given_up_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (toy, outgoing) = outgoing(dir.path(), Duration::ZERO);
    toy.certifying.send_replace(Certifying::Later);
    let mut making = Box::pin(outgoing.renew());
    while copies(dir.path()) == 0 {
        assert!(making.as_mut().now_or_never().is_none());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(making.as_mut().now_or_never().is_none());
    drop(making);
    only(dir.path(), 0).await;
    assert!(!outgoing.holds_log() && outgoing.age().is_none());
}
