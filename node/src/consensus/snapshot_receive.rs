//! Receiving a snapshot: files into a directory of their own, every byte hashed, then checked as a whole by
//! the machine, and only then handed to Raft.
//!
//! *Crash here:* until Raft installs it, nothing refers to the directory; the machine removes left-overs at
//! start. Installing is one step of the machine ([`super::machine::Machine::install`]).

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{StreamExt, stream::BoxStream};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use quorate_proto::peer::v1 as pb;
use sha2::{Digest, Sha256};

use crate::{
    clock::Clock,
    store::log::{LogId, MissingField, Vote, show},
};

use super::{
    codec::Malformed,
    guard::Refusal,
    inbound::Inbound,
    machine::{InstallError, Position},
    state_machine::{SnapshotSource, stored_membership},
    types::{NodeId, TypeConfig, from_raft_vote, to_raft_id, to_raft_vote},
};

/// Files in a snapshot, at most.
const MAX_FILES: usize = 16_384;

/// Removes the directory of a snapshot that was not installed.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // Gone already when it was installed.
        if self.0.exists()
            && let Err(error) = fs::remove_dir_all(&self.0)
        {
            tracing::warn!(dir = %self.0.display(), %error, "a received snapshot could not be removed");
        }
    }
}

/// Receives and installs; gives this node's vote afterwards (later than the sender's: refused).
pub(crate) async fn receive(
    inbound: &Inbound,
    peer: NodeId,
    mut chunks: BoxStream<'static, pb::SnapshotChunk>,
) -> Result<Vote, Refusal> {
    let pb::snapshot_chunk::Step::Header(header) = next_step(inbound, peer, &mut chunks).await? else {
        return Err(Malformed("a snapshot does not begin with its header".to_owned()).into());
    };
    let (vote, position) = check_header(&header, peer)?;
    let bounds = inbound.log.bounds();
    if let Some(own) = bounds.vote.filter(|own| !vote.keeps(own)) {
        return Ok(own);
    }
    if position.last <= bounds.committed {
        // Everything in it is here already.
        return Ok(vote);
    }
    check_against(&position, vote, bounds.committed)?;
    let (clock, last) = (Clock::system(), position.last);
    let began = clock.monotonic();
    let bytes = header.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
    let machine = Arc::clone(&inbound.machine);
    let dir = Directory(blocking(move || machine.begin_install()).await??);
    write_files(inbound, peer, &mut chunks, &dir.0, header.files).await?;
    check_content(inbound, &position, &dir.0).await?;
    check_against(&position, vote, inbound.log.bounds().committed)?;
    let meta = SnapshotMetaOf::<TypeConfig> {
        last_log_id: position.last.map(to_raft_id),
        last_membership: stored_membership(&position).map_err(|e| Refusal::Snapshot(e.to_string()))?,
    };
    let snapshot =
        SnapshotOf::<TypeConfig, _> { meta, snapshot: SnapshotSource::Received(dir.0.clone(), position) };
    let answer = inbound.raft.install_full_snapshot(to_raft_vote(vote), snapshot).await;
    let answered = from_raft_vote(&answer.map_err(|_| Refusal::Stopped)?.vote);
    if vote.keeps(&answered) {
        let seconds = clock.monotonic().saturating_sub(began).as_secs_f64();
        tracing::info!(peer, last = %show(last), bytes, seconds, "a snapshot was received and installed");
        metrics::counter!("quorate_snapshots_installed_total").increment(1);
        metrics::counter!("quorate_snapshot_bytes_total", "direction" => "installed").increment(bytes);
        metrics::gauge!("quorate_snapshot_seconds", "direction" => "installed").set(seconds);
    }
    Ok(answered)
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(f).await.map_err(|e| Refusal::Fault(e.to_string()))
}

async fn next_step(
    inbound: &Inbound,
    peer: NodeId,
    chunks: &mut BoxStream<'static, pb::SnapshotChunk>,
) -> Result<pb::snapshot_chunk::Step, Refusal> {
    let chunk = tokio::time::timeout(inbound.timeouts.snapshot_idle, chunks.next()).await;
    let chunk = chunk.map_err(|_| Refusal::Snapshot("the sender stalled".to_owned()))?;
    let chunk =
        chunk.ok_or_else(|| Refusal::Snapshot("the stream ended before the snapshot did".to_owned()))?;
    inbound.postmark.check(chunk.envelope.as_ref(), peer)?;
    Ok(chunk.step.ok_or(MissingField("step")).map_err(Malformed::from)?)
}

/// Checks what can be checked of a header alone.
fn check_header(header: &pb::SnapshotHeader, peer: NodeId) -> Result<(Vote, Position), Malformed> {
    let vote: Vote = header.vote.ok_or(MissingField("vote"))?.into();
    if !vote.committed || vote.node_id != peer {
        return Err(format!("node {peer} sends a snapshot with the vote: {vote}").into());
    }
    let meta = header.meta.as_ref().ok_or(MissingField("meta"))?;
    let membership = meta.membership_log_id.map(|id| (LogId::from(id), meta.membership.clone()));
    let position = Position { last: meta.last_log_id.map(Into::into), membership };
    if position.last.is_none() {
        return Err("a snapshot of nothing".to_owned().into());
    }
    if position.membership.as_ref().is_some_and(|(id, _)| Some(*id) > position.last) {
        return Err("the membership is later than the snapshot".to_owned().into());
    }
    if header.files.len() > MAX_FILES {
        return Err(
            format!("{} files in a snapshot, at most {MAX_FILES} are taken", header.files.len()).into()
        );
    }
    let mut names = BTreeSet::new();
    for file in &header.files {
        let name = file.name.as_str();
        let plain = !name.is_empty() && name.len() <= 255 && name != "." && name != "..";
        if !plain || name.contains(['/', '\\', '\0']) || !names.insert(name) {
            return Err(format!("a file named {name:?} in a snapshot").into());
        }
    }
    Ok((vote, position))
}

/// What openraft would panic about: a snapshot that cannot follow from what is committed here.
fn check_against(position: &Position, vote: Vote, committed: Option<LogId>) -> Result<(), Refusal> {
    let Some(last) = position.last else { return Ok(()) };
    if last.term > vote.term {
        return Err(Malformed(format!("a snapshot at {last} of a leader of term {}", vote.term)).into());
    }
    match committed {
        Some(ours) if last > ours && last.index <= ours.index => {
            tracing::error!(%ours, theirs = %last, "a snapshot contradicts what is committed here");
            Err(Refusal::Contradiction { ours, theirs: last })
        }
        _ => Ok(()),
    }
}

async fn check_content(inbound: &Inbound, position: &Position, dir: &Path) -> Result<(), Refusal> {
    let (machine, position, dir) = (Arc::clone(&inbound.machine), position.clone(), dir.to_owned());
    match blocking(move || machine.check_install(&position, &dir)).await? {
        Ok(()) => Ok(()),
        Err(InstallError::Refused(why)) => Err(Refusal::Snapshot(why)),
        Err(InstallError::Fault(fault)) => Err(fault.into()),
    }
}

async fn write_files(
    inbound: &Inbound,
    peer: NodeId,
    chunks: &mut BoxStream<'static, pb::SnapshotChunk>,
    dir: &Path,
    files: Vec<pb::SnapshotFile>,
) -> Result<(), Refusal> {
    let mut writer = Writer { dir: dir.to_owned(), files, done: 0, open: None };
    loop {
        match next_step(inbound, peer, chunks).await? {
            pb::snapshot_chunk::Step::Header(_) => return Err(Malformed("a second header".to_owned()).into()),
            pb::snapshot_chunk::Step::Data(data) => {
                let (back, result) = blocking(move || {
                    let result = writer.take(&data);
                    (writer, result)
                })
                .await?;
                result?;
                writer = back;
            }
            pb::snapshot_chunk::Step::End(_) => return blocking(move || writer.finish()).await?,
        }
    }
}

/// The file that is being written.
struct Open {
    file: File,
    hash: Sha256,
    written: u64,
}

/// Writes the files one after the other, exactly as announced.
struct Writer {
    dir: PathBuf,
    files: Vec<pb::SnapshotFile>,
    /// Number of files that are complete and synced.
    done: usize,
    open: Option<Open>,
}

impl Writer {
    fn take(&mut self, data: &pb::SnapshotData) -> Result<(), Refusal> {
        let announced = self.files.get(self.done).cloned();
        let announced = announced.filter(|_| usize::try_from(data.file) == Ok(self.done));
        let Some(announced) = announced else {
            return Err(
                Malformed(format!("a piece of file {} instead of file {}", data.file, self.done)).into()
            );
        };
        let path = self.dir.join(&announced.name);
        let fault = |e: io::Error| Refusal::Fault(format!("{}: {e}", path.display()));
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open { file: File::create_new(&path).map_err(fault)?, hash: Sha256::new(), written: 0 },
        };
        let length = u64::try_from(data.data.len()).unwrap_or(u64::MAX);
        let end = open.written.saturating_add(length);
        let complete = end == announced.size;
        if data.offset != open.written || end > announced.size || complete != data.last {
            let name = &announced.name;
            return Err(Malformed(format!(
                "{name}: {length} bytes at {} of {}",
                data.offset, announced.size
            ))
            .into());
        }
        open.file.write_all(&data.data).map_err(fault)?;
        open.hash.update(&data.data);
        open.written = end;
        if !complete {
            self.open = Some(open);
            return Ok(());
        }
        if open.hash.finalize().as_slice() != data.sha256 {
            return Err(Malformed(format!("{}: the bytes do not match their hash", announced.name)).into());
        }
        open.file.sync_all().map_err(fault)?;
        self.done = self.done.saturating_add(1);
        Ok(())
    }

    fn finish(self) -> Result<(), Refusal> {
        if self.done != self.files.len() {
            let text = format!("the snapshot ends after {} of {} files", self.done, self.files.len());
            return Err(Malformed(text).into());
        }
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(|e| Refusal::Fault(format!("{}: {e}", self.dir.display())))
    }
}
