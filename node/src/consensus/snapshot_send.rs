//! Sending a snapshot: offered, then what the receiver lacks of it, in pieces and at a bounded pace.
//!
//! The position sent is that of the files. It may be later than the one openraft asked for (the machine went on), which is
//! safe: openraft assumes less of the follower than it has.
//! A transfer that is cut is begun again by openraft, with another offer of the same files ([`super::snapshot_kept`]).

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use quorate_proto::peer::v1 as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    clock::Clock,
    pace::Pace,
    store::log::{LogId, MissingField, Vote, show},
    upkeep::{Direction, Moving},
};

use super::{
    codec::encode_position,
    network::{Network, failed, timeout},
    snapshot_kept::{Kept, Outgoing},
    transport::PeerError,
    types::NodeId,
};

/// Pieces that wait to be sent: together with what the connection buffers, the memory a transfer takes.
const QUEUE: usize = 4;

/// A receiver hashes what it has, and checks what it got, at least this fast, bytes per second.
const CHECKED_PER_SECOND: u64 = 1 << 20;

/// A part of a file that is to be sent: which file, and from where.
type Part = (usize, u64);

/// Sends a snapshot with at least the entry `least` to `node` in the name of the leader's `vote`. Gives the
/// receiver's vote: later than the leader's means refused, otherwise it is installed.
pub(crate) async fn send(
    network: &Network,
    node: NodeId,
    vote: Vote,
    least: Option<LogId>,
    outgoing: &Outgoing,
) -> Result<Vote, PeerError> {
    // No copy is made for a node that is away: it would hold the log for as long as openraft tries.
    network.ask_room(node).await?;
    let transfer = outgoing.get(least).await.map_err(|why| failed(node, why))?;
    let kept = transfer.kept();
    let clock = Clock::system();
    let began = clock.monotonic();
    let header = header(kept, vote);
    let total = header.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
    let offered = offer(network, node, &header, total).await?;
    outgoing.touch(kept);
    let parts = match offered {
        Offered::Settled(answered) => return Ok(answered),
        Offered::Missing(parts) => parts,
    };
    let missing = parts.iter().fold(0, |sum: u64, (file, offset)| {
        let size = header.files.get(*file).map_or(0, |file| file.size);
        sum.saturating_add(size.saturating_sub(*offset))
    });
    let moving = network.transfers.begin(Direction::Sent, node, total.saturating_sub(missing), total);
    tracing::info!(peer = node, total, missing, "sending a snapshot");
    let (pieces, receiver) = mpsc::channel(QUEUE);
    let taken = Arc::new(AtomicU64::new(0));
    let reader = Reader {
        kept: Arc::clone(kept),
        outgoing: outgoing.clone(),
        header,
        parts,
        envelope: network.postmark.to(node),
        chunk_bytes: network.snapshot_chunk_bytes,
        pieces,
        taken: Arc::clone(&taken),
        moving: moving.clone(),
    };
    // Reads ahead of the connection on a thread that may block; ends when the call ends.
    let reading = tokio::task::spawn_blocking(move || reader.run());
    let call = network.transport.install_snapshot(node, ReceiverStream::new(receiver).boxed());
    let patience = Patience { idle: network.timeouts.snapshot_idle, check: checking_time(network, total) };
    let answer = patience.wait(node, call, &taken, missing).await;
    if matches!(&answer, Err(PeerError::Failed { why, .. }) if why.contains(super::snapshot_receive::WRONG)) {
        // Whoever made it, it is not sent again.
        outgoing.forget(kept);
    }
    let answer = answer?;
    let read = reading.await.map_err(|e| failed(node, e))?;
    read.map_err(|e| failed(node, format!("reading the snapshot: {e}")))?;
    network.postmark.check(answer.envelope.as_ref(), node).map_err(|e| failed(node, e))?;
    let answered: Vote = answer.vote.ok_or_else(|| failed(node, MissingField("vote")))?.into();
    if vote.keeps(&answered) {
        let seconds = clock.monotonic().saturating_sub(began).as_secs_f64();
        let last = kept.snapshot.position().last;
        tracing::info!(peer = node, last = %show(last), bytes = missing, seconds, "a snapshot was sent and installed");
        metrics::counter!("quorate_snapshots_sent_total").increment(1);
        metrics::counter!("quorate_snapshot_bytes_total", "direction" => "sent").increment(missing);
        metrics::gauge!("quorate_snapshot_seconds", "direction" => "sent").set(seconds);
    }
    Ok(answered)
}

fn header(kept: &Kept, vote: Vote) -> pb::SnapshotHeader {
    pb::SnapshotHeader {
        vote: Some(vote.into()),
        meta: Some(encode_position(kept.snapshot.position())),
        files: kept.files().to_vec(),
        notes: kept.snapshot.notes().to_vec(),
    }
}

/// What became of an offer.
enum Offered {
    Settled(Vote),
    Missing(Vec<Part>),
}

async fn offer(
    network: &Network,
    node: NodeId,
    header: &pb::SnapshotHeader,
    total: u64,
) -> Result<Offered, PeerError> {
    let offer = pb::SnapshotOffer { envelope: Some(network.postmark.to(node)), header: Some(header.clone()) };
    let limit = checking_time(network, total);
    let answer = tokio::time::timeout(limit, network.transport.offer_snapshot(node, offer)).await;
    let answer = answer.map_err(|_| timeout(node, limit))??;
    network.postmark.check(answer.envelope.as_ref(), node).map_err(|e| failed(node, e))?;
    match answer.result {
        Some(pb::snapshot_answer::Result::Settled(vote)) => Ok(Offered::Settled(vote.into())),
        Some(pb::snapshot_answer::Result::Missing(missing)) => {
            checked_parts(&missing, &header.files).map(Offered::Missing).map_err(|why| failed(node, why))
        }
        None => Err(failed(node, MissingField("result"))),
    }
}

/// What a receiver asks for, if it makes sense: each file once, in order, from within it.
fn checked_parts(missing: &pb::SnapshotMissing, files: &[pb::SnapshotFile]) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Part> = Vec::with_capacity(missing.parts.len().min(files.len()));
    for part in &missing.parts {
        let number = usize::try_from(part.file).map_err(|error| error.to_string())?;
        let in_order = parts.last().is_none_or(|(before, _)| *before < number);
        let file = files.get(number).filter(|file| in_order && part.offset <= file.size);
        file.ok_or_else(|| format!("it asks for file {number} from byte {} of the snapshot", part.offset))?;
        parts.push((number, part.offset));
    }
    Ok(parts)
}

/// How long a receiver may take to read and check so many bytes.
fn checking_time(network: &Network, bytes: u64) -> Duration {
    let reading = Duration::from_secs(bytes.checked_div(CHECKED_PER_SECOND).unwrap_or(0));
    network.timeouts.snapshot_install.saturating_add(reading)
}

/// How long an answer is waited for.
struct Patience {
    /// While pieces are to be taken: between two of them.
    idle: Duration,
    /// After the last one.
    check: Duration,
}

impl Patience {
    async fn wait<T>(
        &self,
        node: NodeId,
        call: impl Future<Output = Result<T, PeerError>>,
        taken: &AtomicU64,
        all: u64,
    ) -> Result<T, PeerError> {
        tokio::pin!(call);
        let mut seen = 0;
        loop {
            let limit = if seen >= all { self.check } else { self.idle };
            if let Ok(answer) = tokio::time::timeout(limit, &mut call).await {
                return answer;
            }
            let now = taken.load(Ordering::Relaxed);
            if now == seen {
                return Err(timeout(node, limit));
            }
            seen = now;
        }
    }
}

/// Gives header, missing parts and end.
struct Reader {
    kept: Arc<Kept>,
    outgoing: Outgoing,
    header: pb::SnapshotHeader,
    parts: Vec<Part>,
    envelope: pb::Envelope,
    chunk_bytes: usize,
    pieces: mpsc::Sender<pb::SnapshotChunk>,
    /// Bytes that the connection took.
    taken: Arc<AtomicU64>,
    moving: Moving,
}

impl Reader {
    fn run(&self) -> io::Result<()> {
        let mut pace = self.outgoing.pace();
        if !self.give(pb::snapshot_chunk::Step::Header(self.header.clone())) {
            return Ok(());
        }
        for part in &self.parts {
            if !self.file(*part, &mut pace)? {
                return Ok(());
            }
        }
        self.moving.checking();
        self.give(pb::snapshot_chunk::Step::End(pb::SnapshotEnd {}));
        Ok(())
    }

    /// Gives a step; `false` when nobody takes it any more: the call has ended, and its error is the one that counts.
    fn give(&self, step: pb::snapshot_chunk::Step) -> bool {
        let chunk = pb::SnapshotChunk { envelope: Some(self.envelope.clone()), step: Some(step) };
        self.pieces.blocking_send(chunk).is_ok()
    }

    /// Gives the pieces of one file from an offset on; `false` when nobody takes them any more.
    fn file(&self, (number, offset): Part, pace: &mut Pace) -> io::Result<bool> {
        let announced = self.kept.files().get(number).ok_or_else(|| io::Error::other("no such file"))?;
        let mut file = File::open(self.kept.snapshot.dir().join(&announced.name))?;
        file.seek(SeekFrom::Start(offset))?;
        let (number, mut offset) = (u32::try_from(number).map_err(io::Error::other)?, offset);
        loop {
            let left = announced.size.saturating_sub(offset);
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(self.chunk_bytes);
            let mut piece = vec![0; size];
            file.read_exact(&mut piece)?;
            let length = u64::try_from(size).map_err(io::Error::other)?;
            pace.spend(length);
            let last = left == length;
            let data = pb::SnapshotData { file: number, offset, data: piece.into(), last };
            if !self.give(pb::snapshot_chunk::Step::Data(data)) {
                return Ok(false);
            }
            self.taken.fetch_add(length, Ordering::Relaxed);
            self.moving.moved(length);
            self.outgoing.touch(&self.kept);
            if last {
                return Ok(true);
            }
            offset = offset.saturating_add(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_may_ask_only_for_what_there_is() {
        let file = |size| pb::SnapshotFile { size, ..pb::SnapshotFile::default() };
        let files = [file(10), file(0), file(5)];
        let ask = |parts: &[(u32, u64)]| {
            let parts = parts.iter().map(|(file, offset)| pb::MissingPart { file: *file, offset: *offset });
            checked_parts(&pb::SnapshotMissing { parts: parts.collect() }, &files)
        };
        assert_eq!(ask(&[(0, 10), (1, 0), (2, 3)]).unwrap(), [(0, 10), (1, 0), (2, 3)]);
        assert_eq!(ask(&[]).unwrap(), []);
        for wrong in [&[(3, 0)][..], &[(0, 11)], &[(1, 0), (0, 0)], &[(2, 0), (2, 0)], &[(2, u64::MAX)]] {
            assert!(ask(wrong).is_err(), "{wrong:?}");
        }
    }
}
