//! Receiving a snapshot: an offer is compared with what is here already, the missing parts of the files are written into
//! a directory of their own, every byte hashed, then checked as a whole by the machine, and only then handed to Raft.
//!
//! *Crash here, or a connection that is cut:* what arrived stays, and the next offer goes on with it. Until Raft installs
//! it, nothing refers to the directory. Installing is one step of the machine ([`super::machine::Machine::install`]).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{StreamExt, stream::BoxStream};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use quorate_proto::peer::v1 as pb;
use tokio::sync::oneshot;

use crate::{
    clock::Clock,
    store::log::{LogId, MissingField, Vote, show},
    upkeep::{Direction, Moving},
};

use super::{
    codec::{Malformed, decode_position},
    guard::Refusal,
    inbound::Inbound,
    machine::{InstallError, Position},
    snapshot_files::{PART, Part, Writer, missing},
    state_machine::{SnapshotSource, stored_membership},
    types::{NodeId, TypeConfig, from_raft_vote, to_raft_id, to_raft_vote},
};

/// Files in a snapshot, at most.
const MAX_FILES: usize = 16_384;

/// Ledgers in a snapshot, at most: one note each.
const MAX_NOTES: usize = 65_536;

/// How a refusal begins that says that the snapshot itself is wrong: it is not to be sent again.
pub(super) const WRONG: &str = "what it holds is wrong: ";

/// What is waited for after an offer.
pub(crate) struct Expected {
    peer: NodeId,
    header: pb::SnapshotHeader,
    vote: Vote,
    position: Position,
    dir: PathBuf,
    missing: Vec<Part>,
    /// Bytes missing, and altogether.
    bytes: u64,
    total: u64,
}

/// What is known of a snapshot from its header.
enum Judged {
    /// It is not needed; this node's vote.
    Settled(Vote),
    Wanted(Vote, Position),
}

/// Takes an offer: says what is missing of it, or that it is not needed.
pub(crate) async fn offered(
    inbound: &Inbound,
    peer: NodeId,
    offer: pb::SnapshotOffer,
) -> Result<pb::snapshot_answer::Result, Refusal> {
    use pb::snapshot_answer::Result as Out;
    inbound.postmark.check(offer.envelope.as_ref(), peer)?;
    let header = offer.header.ok_or(MissingField("header")).map_err(Malformed::from)?;
    let (vote, position) = match judge(inbound, &header, peer)? {
        Judged::Settled(vote) => return Ok(Out::Settled(vote.into())),
        Judged::Wanted(vote, position) => (vote, position),
    };
    let Ok(mut receiving) = inbound.receiving.try_lock() else {
        return Err(Refusal::Snapshot("another one is being received".to_owned()));
    };
    *receiving = None;
    let total = header.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
    let (machine, files) = (Arc::clone(&inbound.machine), header.files.clone());
    let begun = blocking(move || {
        let dir = machine.begin_install(total)?;
        let found = missing(&dir, &files).map_err(|e| Refusal::Fault(format!("{}: {e}", dir.display())))?;
        Ok::<_, Refusal>((dir, found))
    });
    let (dir, missing) = begun.await??;
    let bytes = missing.iter().fold(0, |sum: u64, (file, offset)| {
        sum.saturating_add(header.files.get(*file).map_or(0, |file| file.size.saturating_sub(*offset)))
    });
    metrics::counter!("quorate_snapshot_resumed_bytes_total").increment(total.saturating_sub(bytes));
    let parts = missing.iter().map(|(file, offset)| {
        Ok(pb::MissingPart {
            file: u32::try_from(*file).map_err(|e| Malformed(e.to_string()))?,
            offset: *offset,
        })
    });
    let parts = parts.collect::<Result<Vec<_>, Malformed>>()?;
    tracing::info!(peer, total, missing = bytes, "a snapshot is offered");
    *receiving = Some(Expected { peer, header, vote, position, dir, missing, bytes, total });
    Ok(Out::Missing(pb::SnapshotMissing { parts }))
}

/// Receives what was offered, and installs it; gives this node's vote afterwards (later than the sender's: refused).
pub(crate) async fn receive(
    inbound: &Inbound,
    peer: NodeId,
    mut chunks: BoxStream<'static, pb::SnapshotChunk>,
) -> Result<Vote, Refusal> {
    let Ok(mut receiving) = inbound.receiving.try_lock() else {
        return Err(Refusal::Snapshot("another one is being received".to_owned()));
    };
    let pb::snapshot_chunk::Step::Header(header) = next_step(inbound, peer, &mut chunks).await? else {
        return Err(Malformed("a snapshot does not begin with its header".to_owned()).into());
    };
    let expected = receiving.take().filter(|expected| expected.peer == peer && expected.header == header);
    let expected =
        expected.ok_or_else(|| Refusal::Snapshot("it is not the one that was offered".to_owned()))?;
    // Things may have changed since the offer.
    if let Judged::Settled(vote) = judge(inbound, &header, peer)? {
        return Ok(vote);
    }
    let Expected { vote, position, dir, bytes, total, .. } = &expected;
    let clock = Clock::system();
    let began = clock.monotonic();
    let moving = inbound.transfers.begin(Direction::Received, peer, total.saturating_sub(*bytes), *total);
    let writer = Writer::new(dir.clone(), header.files, expected.missing.clone());
    write_files(inbound, peer, &mut chunks, writer, &moving).await?;
    moving.checking();
    check_content(inbound, position, header.notes, dir).await?;
    check_against(position, *vote, inbound.log.bounds().committed)?;
    let meta = SnapshotMetaOf::<TypeConfig> {
        last_log_id: position.last.map(to_raft_id),
        last_membership: stored_membership(position).map_err(|e| Refusal::Snapshot(e.to_string()))?,
    };
    let source = SnapshotSource::Received(dir.clone(), position.clone());
    let snapshot = SnapshotOf::<TypeConfig, _> { meta, snapshot: source };
    let answer = inbound.raft.install_full_snapshot(to_raft_vote(*vote), snapshot).await;
    let answered = from_raft_vote(&answer.map_err(|_| Refusal::Stopped)?.vote);
    if vote.keeps(&answered) {
        let seconds = clock.monotonic().saturating_sub(began).as_secs_f64();
        let last = position.last;
        tracing::info!(peer, last = %show(last), bytes, seconds, "a snapshot was received and installed");
        metrics::counter!("quorate_snapshots_installed_total").increment(1);
        metrics::counter!("quorate_snapshot_bytes_total", "direction" => "installed").increment(*bytes);
        metrics::gauge!("quorate_snapshot_seconds", "direction" => "installed").set(seconds);
    }
    Ok(answered)
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(f).await.map_err(|e| Refusal::Fault(e.to_string()))
}

/// Priority of a thread whose work can wait, as `nice` counts: of a busy core it gets a tenth.
const YIELDING: i32 = 10;

/// The same on a thread of its own, which gives way to all others of this machine: checking a snapshot takes a core for as long as
/// it takes, and nobody waits for it who waits for a write.
async fn yielding<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let (done, result) = oneshot::channel();
    let work = move || {
        if let Err(error) = rustix::process::nice(YIELDING) {
            tracing::warn!(%error, "a snapshot is checked at the priority of everything else");
        }
        // Whoever asked may be gone.
        done.send(f()).ok();
    };
    let thread = std::thread::Builder::new().name("check".to_owned()).spawn(work);
    thread.map_err(|error| Refusal::Fault(format!("no thread can be started: {error}")))?;
    result.await.map_err(|error| Refusal::Fault(error.to_string()))
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

/// Judges a snapshot by its header and by what is here.
fn judge(inbound: &Inbound, header: &pb::SnapshotHeader, peer: NodeId) -> Result<Judged, Refusal> {
    let (vote, position) = check_header(header, peer)?;
    let bounds = inbound.log.bounds();
    if let Some(own) = bounds.vote.filter(|own| !vote.keeps(own)) {
        return Ok(Judged::Settled(own));
    }
    if position.last <= bounds.committed {
        // Everything in it is here already.
        return Ok(Judged::Settled(vote));
    }
    check_against(&position, vote, bounds.committed)?;
    Ok(Judged::Wanted(vote, position))
}

/// Checks what can be checked of a header alone.
fn check_header(header: &pb::SnapshotHeader, peer: NodeId) -> Result<(Vote, Position), Malformed> {
    let vote: Vote = header.vote.ok_or(MissingField("vote"))?.into();
    if !vote.committed || vote.node_id != peer {
        return Err(format!("node {peer} sends a snapshot with the vote: {vote}").into());
    }
    let meta = header.meta.as_ref().ok_or(MissingField("meta"))?;
    let position = decode_position(meta);
    if position.last.is_none() {
        return Err("a snapshot of nothing".to_owned().into());
    }
    if position.membership.as_ref().is_some_and(|(id, _)| Some(*id) > position.last) {
        return Err("the membership is later than the snapshot".to_owned().into());
    }
    for (what, count, most) in
        [("files", header.files.len(), MAX_FILES), ("notes", header.notes.len(), MAX_NOTES)]
    {
        if count > most {
            return Err(format!("{count} {what} in a snapshot, at most {most} are taken").into());
        }
    }
    let mut names = BTreeSet::new();
    for file in &header.files {
        let name = file.name.as_str();
        let plain = !name.is_empty() && name.len() <= 255 && name != "." && name != "..";
        if !plain || name.contains(['/', '\\', '\0']) || name.ends_with(PART) || !names.insert(name) {
            return Err(format!("a file named {name:?} in a snapshot").into());
        }
        if file.sha256.len() != 32 {
            return Err(format!("{name}: a hash of {} bytes", file.sha256.len()).into());
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

/// Has the machine check a snapshot that is complete. What is wrong is removed, so that it is never taken up again.
async fn check_content(
    inbound: &Inbound,
    position: &Position,
    notes: Vec<String>,
    dir: &Path,
) -> Result<(), Refusal> {
    let (machine, position, checked) = (Arc::clone(&inbound.machine), position.clone(), dir.to_owned());
    match yielding(move || machine.check_install(&position, &notes, &checked)).await? {
        Ok(()) => Ok(()),
        Err(InstallError::Refused(why)) => {
            tracing::error!(%why, "a snapshot is refused");
            metrics::counter!("quorate_snapshots_refused_total").increment(1);
            let dir = dir.to_owned();
            if let Err(error) = blocking(move || fs::remove_dir_all(dir)).await? {
                tracing::warn!(%error, "a refused snapshot could not be removed");
            }
            Err(Refusal::Snapshot(format!("{WRONG}{why}")))
        }
        Err(InstallError::Fault(fault)) => Err(fault.into()),
    }
}

async fn write_files(
    inbound: &Inbound,
    peer: NodeId,
    chunks: &mut BoxStream<'static, pb::SnapshotChunk>,
    mut writer: Writer,
    moving: &Moving,
) -> Result<(), Refusal> {
    loop {
        match next_step(inbound, peer, chunks).await? {
            pb::snapshot_chunk::Step::Header(_) => return Err(Malformed("a second header".to_owned()).into()),
            pb::snapshot_chunk::Step::Data(data) => {
                let length = u64::try_from(data.data.len()).unwrap_or(u64::MAX);
                let (back, result) = blocking(move || {
                    let result = writer.take(&data);
                    (writer, result)
                })
                .await?;
                result?;
                writer = back;
                moving.moved(length);
            }
            pb::snapshot_chunk::Step::End(_) => return blocking(move || writer.finish()).await?,
        }
    }
}
