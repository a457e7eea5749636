//! The log behind a snapshot stays as long as somebody may need it.

use std::{sync::Arc, thread, time::Duration};

use futures::FutureExt as _;

use super::toy::{Toy, ToyState};
use crate::{
    consensus::{ConsensusConfig, Machine, snapshot_kept::Outgoing},
    pace::Load,
};

fn outgoing(dir: &tempfile::TempDir, kept: Duration) -> Outgoing {
    let toy: Arc<dyn Machine> = Arc::new(Toy::new(dir.path(), ToyState::default(), true));
    let mut settings = ConsensusConfig::new([7; 16], 1).snapshot;
    settings.kept = kept;
    Outgoing::new(toy, settings, Load::none())
}

/// A large state is copied and hashed for many seconds. What is purged meanwhile is what the follower needs next.
#[tokio::test]
async fn the_log_is_held_while_a_snapshot_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let outgoing = outgoing(&dir, Duration::from_secs(60));
    assert!(!outgoing.holds_log(0));
    let mut making = Box::pin(outgoing.get(None));
    assert!(making.as_mut().now_or_never().is_none(), "a thread of its own makes it");
    assert!(outgoing.position(None).is_none() && outgoing.holds_log(0), "begun, and not there yet");
    making.await.unwrap();
    assert!(outgoing.position(None).is_some() && outgoing.holds_log(0));
    assert!(!outgoing.holds_log(u64::MAX), "within a bound");
    // One that is given up half-way holds nothing.
    let again = self::outgoing(&dir, Duration::ZERO);
    let mut making = Box::pin(again.get(None));
    assert!(making.as_mut().now_or_never().is_none());
    drop(making);
    assert!(!again.holds_log(0));
}

/// A receiver that checks what it has takes no piece for as long.
#[tokio::test]
async fn a_snapshot_is_kept_until_its_transfer_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let outgoing = outgoing(&dir, Duration::ZERO);
    let kept = outgoing.get(None).await.unwrap();
    let transfer = outgoing.transfer(&kept);
    thread::sleep(Duration::from_millis(5));
    outgoing.expire();
    assert!(outgoing.holds_log(0), "its receiver checks it");
    drop(transfer);
    thread::sleep(Duration::from_millis(5));
    outgoing.expire();
    assert!(!outgoing.holds_log(0), "nobody needs it any more");
}
