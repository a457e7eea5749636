//! A state machine that keeps the blocks it applied, and loses at a crash what it did not flush.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use prost::Message;
use quorate_core::position::BlockHeight;
use quorate_ledger::outcome::BlockOutcome;
use quorate_proto::peer::v1 as pb;
use tokio::sync::watch;

use crate::{
    consensus::{
        CommittedEntry, Copied, InstallError, LogId, Machine, Outcome, Payload, Position, SnapshotHandle,
        codec::encode_position,
    },
    store::{faults::StoreFault, log::next_index},
};

/// A block that the toy cannot write.
pub(super) const UNWRITABLE: &[u8] = b"unwritable";

/// What the toy holds at a position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ToyState {
    pub(super) position: Position,
    pub(super) blocks: Vec<Bytes>,
}

#[derive(Debug)]
pub(super) struct Toy {
    present: Mutex<ToyState>,
    durable: Mutex<ToyState>,
    /// Every apply is durable at once, and gaps are allowed (what openraft's suite expects).
    lenient: bool,
    scratch: PathBuf,
    names: AtomicU64,
    pub(super) installs: AtomicU64,
    /// How many snapshots were made.
    pub(super) snapshots: AtomicU64,
    /// Whether a majority signs what is in a snapshot.
    pub(super) certifying: watch::Sender<Certifying>,
    /// While it is set, nothing is applied.
    pub(super) held: AtomicBool,
}

/// What becomes of the certificates of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certifying {
    /// They are there at once.
    Now,
    /// They are waited for.
    Later,
    /// There are none.
    Never,
}

impl Toy {
    pub(super) fn new(scratch: &Path, start: ToyState, lenient: bool) -> Self {
        Self {
            present: Mutex::new(start.clone()),
            durable: Mutex::new(start),
            lenient,
            scratch: scratch.to_owned(),
            names: AtomicU64::new(fs::read_dir(scratch).map_or(0, |entries| entries.count() as u64)),
            installs: AtomicU64::new(0),
            snapshots: AtomicU64::new(0),
            certifying: watch::Sender::new(Certifying::Now),
            held: AtomicBool::new(false),
        }
    }

    pub(super) fn present(&self) -> ToyState {
        self.present.lock().unwrap().clone()
    }

    pub(super) fn durable(&self) -> ToyState {
        self.durable.lock().unwrap().clone()
    }

    fn new_dir(&self, kind: &str) -> PathBuf {
        let dir = self.scratch.join(format!("{kind}-{}", self.names.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&dir).unwrap();
        dir
    }
}

fn write_state(dir: &Path, state: &ToyState) {
    fs::write(dir.join("position"), encode_position(&state.position).encode_to_vec()).unwrap();
    let mut blocks = Vec::new();
    for block in &state.blocks {
        blocks.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
        blocks.extend_from_slice(block);
    }
    fs::write(dir.join("blocks"), blocks).unwrap();
    fs::write(dir.join("empty"), b"").unwrap();
}

pub(super) fn read_state(dir: &Path) -> ToyState {
    let meta = pb::SnapshotMeta::decode(fs::read(dir.join("position")).unwrap().as_slice()).unwrap();
    let membership = meta.membership_log_id.map(|id| (LogId::from(id), meta.membership.clone()));
    let mut rest = Bytes::from(fs::read(dir.join("blocks")).unwrap());
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest.split_to(4).as_ref().try_into().unwrap());
        blocks.push(rest.split_to(usize::try_from(length).unwrap()));
    }
    ToyState { position: Position { last: meta.last_log_id.map(Into::into), membership }, blocks }
}

impl Machine for Toy {
    fn applied(&self) -> Result<Position, StoreFault> {
        Ok(self.durable().position)
    }

    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<Vec<Outcome>, StoreFault> {
        while self.held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut state = self.present.lock().unwrap();
        let mut outcomes = Vec::new();
        for entry in entries {
            let expected = next_index(state.position.last);
            if !self.lenient && entry.id.index != expected {
                return Err(StoreFault::mismatch("toy", expected, entry.id.index));
            }
            state.position.last = Some(entry.id);
            match entry.payload {
                Payload::Blank => {}
                Payload::Membership(bytes) => state.position.membership = Some((entry.id, bytes)),
                Payload::Block(bytes) if bytes == UNWRITABLE => {
                    return Err(StoreFault::io("state/db-1", "no space left"));
                }
                Payload::Block(bytes) => {
                    state.blocks.push(bytes);
                    let height = BlockHeight::new(u64::try_from(state.blocks.len()).unwrap());
                    outcomes.push(Arc::new(BlockOutcome { height, requests: vec![], checkpoints: vec![] }));
                }
            }
        }
        if self.lenient {
            *self.durable.lock().unwrap() = state.clone();
        }
        Ok(outcomes)
    }

    fn snapshot(&self) -> Result<Copied, StoreFault> {
        let state = self.present();
        *self.durable.lock().unwrap() = state.clone();
        let dir = self.new_dir("snapshot");
        write_state(&dir, &state);
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        let mut certifying = self.certifying.subscribe();
        let notes = async move {
            match certifying.wait_for(|answer| *answer != Certifying::Later).await.map(|answer| *answer) {
                Ok(Certifying::Now) => Ok(vec!["a note".to_owned()]),
                _ => Err("nobody signs".to_owned()),
            }
        };
        Ok(Copied { files: SnapshotHandle::new(state.position, Vec::new(), dir), notes: notes.boxed() })
    }

    fn keep(&self, snapshot: &SnapshotHandle) -> Result<(), StoreFault> {
        fs::write(self.scratch.join("label"), snapshot.label()).unwrap();
        fs::write(self.scratch.join("kept"), snapshot.dir().to_str().unwrap()).unwrap();
        Ok(())
    }

    fn kept(&self) -> Option<SnapshotHandle> {
        let dir = PathBuf::from(fs::read_to_string(self.scratch.join("kept")).ok()?);
        let label = fs::read(self.scratch.join("label")).unwrap();
        dir.exists().then(|| SnapshotHandle::from_label(dir, &label).unwrap())
    }

    fn begin_install(&self, _: u64) -> Result<PathBuf, InstallError> {
        let dir = self.scratch.join("incoming");
        fs::create_dir_all(&dir).unwrap();
        Ok(dir)
    }

    fn discard_install(&self) -> Result<(), StoreFault> {
        fs::remove_dir_all(self.scratch.join("incoming")).ok();
        Ok(())
    }

    fn check_install(&self, position: &Position, notes: &[String], dir: &Path) -> Result<(), InstallError> {
        if notes != ["a note"] {
            return Err(InstallError::Refused(format!("{notes:?}")));
        }
        let found = read_state(dir).position;
        if found == *position { Ok(()) } else { Err(InstallError::Refused(format!("{found:?}"))) }
    }

    fn install(&self, position: &Position, dir: &Path) -> Result<(), StoreFault> {
        let state = read_state(dir);
        if state.position != *position {
            return Err(StoreFault::mismatch(
                "toy",
                format!("{position:?}"),
                format!("{:?}", state.position),
            ));
        }
        fs::remove_dir_all(dir).unwrap();
        *self.durable.lock().unwrap() = state.clone();
        *self.present.lock().unwrap() = state;
        self.installs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
