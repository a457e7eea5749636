//! Sending a snapshot: files made for the occasion, streamed in pieces, removed afterwards.
//!
//! The position sent is the one read from the files themselves. It may be later than the one openraft
//! asked for (the machine went on), which is safe: openraft assumes less of the follower than it has.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use futures::StreamExt;
use quorate_proto::peer::v1 as pb;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    clock::Clock,
    store::log::{MissingField, Vote, show},
};

use super::{
    machine::{Machine, Position, SnapshotHandle},
    network::{Network, failed, timeout},
    transport::PeerError,
    types::NodeId,
};

/// Pieces that wait to be sent: together with what the connection buffers, the memory a transfer takes.
const QUEUE: usize = 4;

/// Makes a snapshot of `machine` and sends it to `node` in the name of the leader's `vote`. Gives the
/// receiver's vote: later than the leader's means refused, otherwise it is installed.
pub(crate) async fn send(
    network: &Network,
    node: NodeId,
    vote: Vote,
    machine: Arc<dyn Machine>,
) -> Result<Vote, PeerError> {
    let made = tokio::task::spawn_blocking(move || machine.snapshot()).await;
    let snapshot =
        made.map_err(|e| failed(node, e))?.map_err(|e| failed(node, format!("making a snapshot: {e}")))?;
    let (clock, last) = (Clock::system(), snapshot.position().last);
    let began = clock.monotonic();
    let (pieces, receiver) = mpsc::channel(QUEUE);
    let envelope = network.postmark.to(node);
    let chunk_bytes = network.snapshot_chunk_bytes;
    // Reads ahead of the connection on a thread that may block; ends when the call ends.
    let reading =
        tokio::task::spawn_blocking(move || read_all(&snapshot, vote, &envelope, chunk_bytes, &pieces));
    let call = network.transport.install_snapshot(node, ReceiverStream::new(receiver).boxed());
    let limit = network.timeouts.snapshot_install;
    let answer = tokio::time::timeout(limit, call).await.map_err(|_| timeout(node, limit))?;
    let read = reading.await.map_err(|e| failed(node, e))?;
    let answer = answer?;
    let bytes = read.map_err(|e| failed(node, format!("reading the snapshot: {e}")))?;
    network.postmark.check(answer.envelope.as_ref(), node).map_err(|e| failed(node, e))?;
    let answered: Vote = answer.vote.ok_or_else(|| failed(node, MissingField("vote")))?.into();
    if vote.keeps(&answered) {
        let seconds = clock.monotonic().saturating_sub(began).as_secs_f64();
        tracing::info!(peer = node, last = %show(last), bytes, seconds, "a snapshot was sent and installed");
        metrics::counter!("quorate_snapshots_sent_total").increment(1);
        metrics::counter!("quorate_snapshot_bytes_total", "direction" => "sent").increment(bytes);
        metrics::gauge!("quorate_snapshot_seconds", "direction" => "sent").set(seconds);
    }
    Ok(answered)
}

/// Encodes the position of a snapshot.
pub(crate) fn encode_position(position: &Position) -> pb::SnapshotMeta {
    pb::SnapshotMeta {
        last_log_id: position.last.map(Into::into),
        membership_log_id: position.membership.as_ref().map(|(id, _)| (*id).into()),
        membership: position.membership.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default(),
    }
}

/// Gives header, files and end; the bytes of the files, 0 when the call ended before.
fn read_all(
    snapshot: &SnapshotHandle,
    vote: Vote,
    envelope: &pb::Envelope,
    chunk_bytes: usize,
    pieces: &mpsc::Sender<pb::SnapshotChunk>,
) -> io::Result<u64> {
    let files = list(snapshot.dir())?;
    // A closed queue means the call has ended: its error is the one that is reported.
    let give = |step| {
        let chunk = pb::SnapshotChunk { envelope: Some(envelope.clone()), step: Some(step) };
        pieces.blocking_send(chunk).is_ok()
    };
    let header = pb::SnapshotHeader {
        vote: Some(vote.into()),
        meta: Some(encode_position(snapshot.position())),
        files: files.clone(),
    };
    if !give(pb::snapshot_chunk::Step::Header(header)) {
        return Ok(0);
    }
    for (number, file) in files.iter().enumerate() {
        let number = u32::try_from(number).map_err(io::Error::other)?;
        if !read_file(&snapshot.dir().join(&file.name), number, chunk_bytes, &give)? {
            return Ok(0);
        }
    }
    give(pb::snapshot_chunk::Step::End(pb::SnapshotEnd {}));
    Ok(files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size)))
}

/// The files of a directory, by name.
fn list(dir: &Path) -> io::Result<Vec<pb::SnapshotFile>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other(format!("{} is not a file", entry.path().display())));
        }
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| io::Error::other(format!("the file name {} is not UTF-8", name.display())))?;
        files.push(pb::SnapshotFile { name, size: metadata.len() });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Gives the pieces of one file; `false` when nobody takes them any more.
fn read_file(
    path: &Path,
    number: u32,
    chunk_bytes: usize,
    give: &impl Fn(pb::snapshot_chunk::Step) -> bool,
) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut left = file.metadata()?.len();
    let mut hash = Sha256::new();
    let mut offset = 0_u64;
    loop {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(chunk_bytes);
        let mut piece = vec![0; size];
        file.read_exact(&mut piece)?;
        hash.update(&piece);
        let length = u64::try_from(size).map_err(io::Error::other)?;
        left = left.saturating_sub(length);
        let last = left == 0;
        let sha256 = if last { Bytes::copy_from_slice(&hash.clone().finalize()) } else { Bytes::new() };
        let data = pb::SnapshotData { file: number, offset, data: piece.into(), last, sha256 };
        if !give(pb::snapshot_chunk::Step::Data(data)) {
            return Ok(false);
        }
        if last {
            return Ok(true);
        }
        offset = offset.saturating_add(length);
    }
}
