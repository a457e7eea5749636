//! Making the files of a cluster that continues another: its folders, and the state of every node.

use std::{
    fs,
    path::{Path, PathBuf},
};

use quorate_core::position::Micros;

use super::ContinuedFile;
use crate::{
    cluster::Cluster,
    consensus::{self, Member, Membership},
    provision::{Plan, ProvisionError, provision_continuing},
    store::{
        faults::{OpenError, StoreFault},
        log::{Identity, LogConfig, LogFault, LogStore},
        state::{SEEDED_AT, SeedError, StateOptions, StateStore},
    },
    tls::files::{self, FileError},
};

/// Bounds while a state is filled: a machine that does nothing else.
const WRITE_BUFFER: usize = 64 << 20;
const TRIE_CACHE: usize = 256 << 20;

/// Why no cluster was made. There is nothing at its place then.
#[derive(Debug, thiserror::Error)]
pub enum ContinueError {
    /// The archive is not believed.
    #[error(transparent)]
    Archive(#[from] quorate_archive::ArchiveError),
    /// The place is taken.
    #[error("{} is not empty: give a directory that is, or that does not exist", .0.display())]
    Occupied(PathBuf),
    /// The plan cannot be carried out.
    #[error("{0}")]
    Plan(String),
    /// The keys, certificates and configurations.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// The history, or the state that is made of it.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// A Raft log.
    #[error(transparent)]
    Log(#[from] LogFault),
    /// A file or directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file or directory.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
}

impl From<OpenError> for ContinueError {
    fn from(error: OpenError) -> Self {
        Self::Seed(error.into())
    }
}

impl From<StoreFault> for ContinueError {
    fn from(fault: StoreFault) -> Self {
        Self::Seed(fault.into())
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ContinueError {
    let path = path.to_owned();
    move |source| ContinueError::Io { action, path, source }
}

/// Makes the cluster at `out`: `seed` makes the state of the first node, at the path it gets. The states of the others
/// are copies of that.
pub(super) fn make(
    plan: &Plan,
    out: &Path,
    now: Micros,
    continues: ContinuedFile,
    seed: impl FnOnce(&Cluster, &Path, Identity) -> Result<(), ContinueError>,
) -> Result<Cluster, ContinueError> {
    check_plan(plan, out)?;
    let making = out.with_extension("incomplete");
    if making.exists() {
        fs::remove_dir_all(&making).map_err(io("remove", &making))?;
    }
    let cluster = provision_continuing(plan, &making, now, continues)?;
    let data = |id: u64| making.join(format!("node-{id}")).join(&plan.data_dir);
    let identity = |node_id| Identity { cluster_id: *cluster.id.as_bytes(), node_id };
    let mut first = None;
    let mut seed = Some(seed);
    for node in &plan.nodes {
        let dir = data(node.id);
        files::create_private_dir(&dir)?;
        let state = dir.join("state");
        match (&first, seed.take()) {
            (None, Some(seed)) => {
                seed(&cluster, &state, identity(node.id))?;
                first = Some((state, identity(node.id)));
            }
            (Some((seeded, of)), _) => StateStore::copy_seed((seeded, *of), &state, identity(node.id))?,
            (None, None) => {}
        }
        seed_log(&dir.join("log"), identity(node.id))?;
    }
    if out.exists() {
        fs::remove_dir(out).map_err(io("replace", out))?;
    }
    fs::rename(&making, out).map_err(io("rename to its place", out))?;
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(io("sync", parent))?;
    Ok(cluster)
}

/// Refuses a place that is taken, and data directories that are not below the nodes' folders.
pub(super) fn check_plan(plan: &Plan, out: &Path) -> Result<(), ContinueError> {
    if !plan.data_dir.is_relative() {
        return Err(ContinueError::Plan(format!(
            "data_dir: {} is absolute; the data of each node is made in its folder, so give a relative one, and move it \
             afterwards",
            plan.data_dir.display()
        )));
    }
    let occupied = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(io("list", out)(error)),
    };
    if occupied { Err(ContinueError::Occupied(out.to_owned())) } else { Ok(()) }
}

/// Bounds while a state is filled.
pub(super) fn options() -> StateOptions {
    StateOptions {
        write_buffer_bytes: WRITE_BUFFER,
        trie_cache_bytes: TRIE_CACHE,
        bulk: true,
        ..StateOptions::default()
    }
}

/// A log that was purged up to the entry that the state stands for.
fn seed_log(dir: &Path, identity: Identity) -> Result<(), LogFault> {
    LogStore::create(dir, identity)?;
    // What is promised is on disk when the store is dropped.
    LogStore::open(dir, identity, LogConfig::default())?.purge(SEEDED_AT)
}

/// The founding members, as the first entry of a Raft log carries them.
pub(super) fn membership(cluster: &Cluster) -> bytes::Bytes {
    let members = cluster.members.values().map(|member| {
        let at = Member { peer_address: member.peer.clone(), client_address: member.client.clone() };
        (member.id.get(), at)
    });
    let configs = vec![cluster.members.keys().map(|id| id.get()).collect()];
    consensus::encode_membership(&Membership { configs, members: members.collect() })
}
