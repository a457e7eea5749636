//! From what is left of a cluster that lost its quorum to a new one.
//!
//! Rule. The survivor whose Raft log ends last (by term, then index) is taken, as an election would: whatever a majority
//! acknowledged and a survivor still has, that one has. All entries of its log are applied, those too that it does not
//! know to be committed: to lose an acknowledged write is worse than to keep one that nobody was told about. What lies
//! behind the position known to be committed is counted and said, in the result and for ever in the lineage. What the lost
//! nodes acknowledged after the end of that log, if they did, is gone.
//!
//! The survivors' directories are read, never written: everything happens on copies beside the new cluster.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{FutureExt as _, future, future::BoxFuture};
use quorate_core::{
    checkpoint::Checkpoint,
    key::LogKey,
    name::LedgerName,
    note::{Cosignature, SignedNote},
    position::{Micros, TreeSize},
};
use quorate_ledger::{
    outcome::NewCheckpoint,
    system::{Lineage, LineageLedger},
    view::LedgerHead,
};
use zeroize::Zeroizing;

use super::{
    ContinueError, ContinuedFile, ContinuedLedgerFile,
    make::{check_plan, make, membership},
    restore::next_number,
};
use crate::{
    cluster::Cluster,
    config::NodeConfig,
    consensus::Machine as _,
    machine::{CheckpointSink, StateMachine},
    provision::Plan,
    store::{
        log::{Bounds, Identity, LogConfig, LogId, LogStore},
        state::{LedgerView, ReadView, Seeded, StateOptions, StateStore},
    },
    tls::files,
};

/// Entries applied at once, in bytes.
const BATCH_BYTES: usize = 8 << 20;
/// Checkpoints that are looked at for the newest one that was certified.
const CHECKPOINTS: u64 = 4_096;

/// A node that is left: its files, opened by nobody.
#[derive(Debug)]
pub struct Survivor {
    /// Its configuration.
    pub config: NodeConfig,
    /// The cluster, as its cluster file describes it.
    pub cluster: Cluster,
    log_secret: Zeroizing<[u8; 32]>,
}

/// A cluster that was made of survivors.
#[derive(Debug)]
pub struct Recovered {
    /// The cluster.
    pub cluster: Cluster,
    /// What its first transaction will say of it.
    pub lineage: Lineage,
    /// The node whose history it is.
    pub from: u64,
    /// Why that one, and what is known of the others, a line each.
    pub reasons: Vec<String>,
    /// The last entry of its Raft log, and the last of them that it knew to be committed.
    pub last: LogId,
    /// Raft index up to which entries were known to be committed.
    pub committed: u64,
    /// Blocks behind that: they are kept, and it is not known whether anybody was told of them.
    pub uncertain: u64,
}

impl Survivor {
    /// Reads the configuration of a node, its cluster file and the log's secret, and makes sure that it does not run.
    ///
    /// # Errors
    /// [`ContinueError::Plan`].
    pub fn open(config: &Path) -> Result<Self, ContinueError> {
        let problem =
            |error: &dyn std::fmt::Display| ContinueError::Plan(format!("{}: {error}", config.display()));
        let config = NodeConfig::load(config).map_err(|error| problem(&error))?;
        let cluster = Cluster::load(&config.node.cluster_file).map_err(|error| problem(&error))?;
        let text = files::read_secret(&config.keys.log_secret)?;
        let mut log_secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim_ascii(), log_secret.as_mut()).map_err(|error| problem(&error))?;
        let survivor = Self { config, cluster, log_secret };
        survivor.check_still()?;
        Ok(survivor)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.config.node.id
    }

    /// The key of a ledger's log.
    #[must_use]
    pub fn log_key(&self, ledger: &LedgerName) -> LogKey {
        LogKey::derive(&self.log_secret, &self.cluster.origin.ledger(ledger))
    }

    fn identity(&self) -> Identity {
        Identity { cluster_id: *self.cluster.id.as_bytes(), node_id: self.id() }
    }

    fn log_dir(&self) -> PathBuf {
        self.config.node.data_dir.join("log")
    }

    /// That no process has its log open.
    fn check_still(&self) -> Result<(), ContinueError> {
        let dir = self.log_dir();
        LogStore::check_owner(&dir, self.identity())?;
        let lock = dir.join("db/LOCK");
        let file = fs::File::options().read(true).write(true).open(&lock);
        let file = file.map_err(|source| ContinueError::Io { action: "open", path: lock, source })?;
        match rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(()),
            Err(_) => Err(ContinueError::Plan(format!(
                "node {} runs on {}: a node that runs is no survivor of anything; stop it first",
                self.id(),
                self.config.node.data_dir.display()
            ))),
        }
    }
}

/// A survivor's log, copied.
struct Candidate<'s> {
    survivor: &'s Survivor,
    log: LogStore,
    bounds: Bounds,
}

/// Makes a cluster at `out` that continues the history of the best of `survivors`.
///
/// # Errors
/// [`ContinueError`]: nothing is at `out` then, and the survivors are as they were.
pub fn recover(
    survivors: &[Survivor],
    plan: &Plan,
    out: &Path,
    now: Micros,
) -> Result<Recovered, ContinueError> {
    check_plan(plan, out)?;
    let work = out.with_extension("recovering");
    if work.exists() {
        fs::remove_dir_all(&work).map_err(io("remove", &work))?;
    }
    files::create_private_dir(&work)?;
    let recovered = recover_in(&work, survivors, plan, out, now);
    let removed = fs::remove_dir_all(&work).map_err(io("remove", &work));
    recovered.and_then(|recovered| removed.map(|()| recovered))
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ContinueError {
    let path = path.to_owned();
    move |source| ContinueError::Io { action, path, source }
}

fn recover_in(
    work: &Path,
    survivors: &[Survivor],
    plan: &Plan,
    out: &Path,
    now: Micros,
) -> Result<Recovered, ContinueError> {
    let first = survivors.first().ok_or_else(|| ContinueError::Plan("there is no survivor".to_owned()))?;
    if let Some(other) = survivors.iter().find(|one| one.cluster.id != first.cluster.id) {
        let (a, b) = (&first.cluster.origin, &other.cluster.origin);
        return Err(ContinueError::Plan(format!("the survivors are of two clusters, {a} and {b}")));
    }
    let mut candidates = Vec::new();
    for survivor in survivors {
        let copy = work.join(format!("log-{}", survivor.id()));
        copy_tree(&survivor.log_dir(), &copy)?;
        let log = LogStore::open(&copy, survivor.identity(), LogConfig::default())?;
        candidates.push(Candidate { survivor, bounds: log.bounds(), log });
    }
    let best = candidates.iter().max_by_key(|one| (one.bounds.last, std::cmp::Reverse(one.survivor.id())));
    let best = best.ok_or_else(|| ContinueError::Plan("there is no survivor".to_owned()))?;
    let last = best.bounds.last.ok_or_else(|| {
        ContinueError::Plan("the logs of all survivors are empty: there is nothing to recover".to_owned())
    })?;
    let (state, committed, uncertain) = replay(work, best)?;
    state.recompute()?;
    let view = state.view();
    let loss = loss(best, survivors.len(), last, committed, uncertain);
    let lineage = lineage(best.survivor, &view, now, loss)?;
    let continues = ContinuedFile {
        kind: lineage.kind.clone(),
        previous: lineage.previous.clone(),
        ledgers: view.ledgers().iter().map(|ledger| continued(ledger)).collect(),
    };
    drop(view);
    let made = lineage.clone();
    let cluster = make(plan, out, now, continues, |cluster, path, identity| {
        let (origin, membership) = (cluster.origin.clone(), membership(cluster));
        Ok(state.reseed(path, identity, Seeded { origin, membership, lineage })?)
    })?;
    let (from, reasons) = (best.survivor.id(), reasons(&candidates, best));
    Ok(Recovered { cluster, lineage: made, from, reasons, last, committed, uncertain })
}

/// The state of the best survivor with all entries of its log applied; the Raft index known to be committed; how many
/// blocks are behind that.
fn replay(work: &Path, best: &Candidate<'_>) -> Result<(StateStore, u64, u64), ContinueError> {
    let (identity, path) = (best.survivor.identity(), work.join("state"));
    let stored = best.survivor.config.node.data_dir.join("state");
    StateStore::copy_seed((&stored, identity), &path, identity)?;
    let state = Arc::new(StateStore::open(&path, identity, StateOptions::default())?);
    let applied = state.view().applied().last;
    let known = best.bounds.committed.max(applied).map_or(0, |id| id.index);
    let machine = StateMachine::new(Arc::clone(&state), best.survivor.cluster.id, Arc::new(NobodySigns));
    let mut next = applied.map_or(0, |id| id.index.saturating_add(1));
    let mut uncertain = 0_u64;
    loop {
        let entries = best.log.read(next, u64::MAX, BATCH_BYTES)?;
        let Some(last) = entries.last() else { break };
        next = last.id.index.saturating_add(1);
        let behind = entries.iter().filter(|entry| entry.id.index > known);
        let blocks =
            behind.filter(|entry| matches!(entry.payload, crate::store::log::Payload::Block(_))).count();
        uncertain = uncertain.saturating_add(u64::try_from(blocks).unwrap_or(u64::MAX));
        machine.apply(entries)?;
    }
    drop(machine);
    let state = Arc::into_inner(state);
    let state = state.ok_or_else(|| ContinueError::Plan("the recovered state is still in use".to_owned()))?;
    Ok((state, known, uncertain))
}

/// A recovery signs nothing: the old keys have said what they have said.
struct NobodySigns;

impl CheckpointSink for NobodySigns {
    fn checkpoint(&self, _: NewCheckpoint) {}

    fn accepts(&self, _: &ReadView, _: &[String]) -> Result<(), String> {
        Err("a recovery takes no snapshot".to_owned())
    }

    fn certificates(&self, _: Vec<Arc<LedgerHead>>) -> BoxFuture<'static, Result<Vec<String>, String>> {
        future::ready(Err("a recovery sends no snapshot".to_owned())).boxed()
    }
}

fn continued(ledger: &LedgerView) -> ContinuedLedgerFile {
    ContinuedLedgerFile {
        name: ledger.head().name.to_string(),
        size: ledger.size().get(),
        root: ledger.head().frontier.root().to_string(),
    }
}

fn lineage(
    survivor: &Survivor,
    view: &ReadView,
    now: Micros,
    loss: String,
) -> Result<Lineage, ContinueError> {
    let mut ledgers = Vec::new();
    for ledger in view.ledgers() {
        let root = ledger.head().frontier.root();
        ledgers.push(LineageLedger {
            name: ledger.head().name.to_string(),
            size: ledger.size().get(),
            root: root.as_bytes().to_vec().into(),
            note: newest_note(survivor, view, ledger)?.map_or_else(String::new, |note| note.to_string()),
        });
    }
    // `_system` first, as it was born first; the others by name.
    ledgers.get_mut(1..).unwrap_or_default().sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Lineage {
        number: next_number(view)?,
        kind: "recovered".to_owned(),
        previous: survivor.cluster.origin.to_string(),
        ledgers,
        time: now.get(),
        loss,
    })
}

/// The newest checkpoint of a ledger that a majority cosigned, as far as this survivor has it.
fn newest_note(
    survivor: &Survivor,
    view: &ReadView,
    ledger: &LedgerView,
) -> Result<Option<SignedNote>, ContinueError> {
    let name = &ledger.head().name;
    let from = TreeSize::new(ledger.size().get().saturating_sub(CHECKPOINTS));
    let limit = usize::try_from(CHECKPOINTS).unwrap_or(usize::MAX);
    let found = view.cosignatures_from(ledger.id(), from, limit)?;
    let majority = survivor.cluster.majority();
    for (size, cosignatures) in found.into_iter().rev().filter(|(_, all)| all.len() >= majority) {
        let Some(root) = ledger.root_at(size)? else { continue };
        let checkpoint = Checkpoint { origin: survivor.cluster.origin.ledger(name).to_string(), size, root };
        let mut note = SignedNote::new(checkpoint.clone());
        note.add(survivor.log_key(name).sign(&checkpoint));
        for one in &cosignatures {
            if let Some(member) = survivor.cluster.members.get(&one.node) {
                note.add(Cosignature::by(&member.cosigner, one.time_s, one.signature).to_line());
            }
        }
        return Ok(Some(note));
    }
    Ok(None)
}

/// What is known of what was lost, for people.
fn loss(best: &Candidate<'_>, survivors: usize, last: LogId, committed: u64, uncertain: u64) -> String {
    let nodes = best.survivor.cluster.members.len();
    format!(
        "{} of {nodes} nodes were lost or left out. This history is that of node {}, whose Raft log ends at {last} \
         (term/index) and was known to be committed up to index {committed}; {uncertain} blocks behind that are kept, and \
         nobody may have been told of them. What the lost nodes acknowledged after the end of that log, if they did, is \
         not here.",
        nodes.saturating_sub(survivors),
        best.survivor.id()
    )
}

/// Why this survivor: the end of each log.
fn reasons(candidates: &[Candidate<'_>], best: &Candidate<'_>) -> Vec<String> {
    let line = |one: &Candidate<'_>| {
        let end =
            one.bounds.last.map_or_else(|| "empty".to_owned(), |last| format!("ends at {last} (term/index)"));
        let chosen = if one.survivor.id() == best.survivor.id() { ": taken, no log ends later" } else { "" };
        format!("node {}: its Raft log {end}{chosen}", one.survivor.id())
    };
    candidates.iter().map(line).collect()
}

/// Copies a directory of plain files and directories.
fn copy_tree(from: &Path, to: &Path) -> Result<(), ContinueError> {
    fs::create_dir(to).map_err(io("create", to))?;
    for entry in fs::read_dir(from).map_err(io("list", from))? {
        let entry = entry.map_err(io("list", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(io("copy", &source))?;
        }
    }
    Ok(())
}
