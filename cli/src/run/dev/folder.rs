//! The folder of a development cluster: locked while in use, made once, removed only on demand.
//!
//! Files are made in `.making` and moved out of it; it is removed last. If it is there at the start, the making was
//! interrupted before any node ran, so nothing is lost by doing it again.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use quorate_node::cluster::{Cluster, SettingsFile};
use quorate_node::config::NodeConfig;
use quorate_node::provision::{CONFIG_FILE, NodePlan, OPERATOR, Plan, provision};

use super::ports::{self, NodePorts};
use crate::clock;
use crate::error::CliError;

/// Name of the clusters made here.
const CLUSTER_NAME: &str = "localhost/dev";
/// Present in every folder that belongs to `quorate dev`, and locked while it runs.
const LOCK: &str = "dev.lock";
/// Where files are before they are complete.
const MAKING: &str = ".making";
/// Nodes where none are asked for.
const USUAL_NODES: u16 = 3;
/// Most nodes.
const MAX_NODES: u16 = 9;

/// A folder that is in use by this process.
pub(super) struct Folder {
    path: PathBuf,
    /// Its lock goes when the process ends, however it ends.
    _lock: File,
}

/// A node in the folder.
#[derive(Debug, Clone)]
pub(super) struct DevNode {
    pub(super) id: u64,
    /// Where clients reach it, `host:port`.
    pub(super) client: String,
    /// Where its HTTP port is, `host:port`.
    pub(super) http: String,
    pub(super) config: PathBuf,
    pub(super) data_dir: PathBuf,
    pub(super) log: PathBuf,
}

/// What a new cluster is to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// How many nodes; `None` = as many as there are, or three.
    pub(super) nodes: Option<u16>,
    /// First port; 0 = any that are free.
    pub(super) base_port: u16,
}

impl Folder {
    /// Takes the folder, which is made if need be.
    pub(super) fn take(path: &Path) -> Result<Self, CliError> {
        fs::create_dir_all(path).map_err(CliError::io("create directory", path))?;
        let path = path.canonicalize().map_err(CliError::io("use directory", path))?;
        let file = path.join(LOCK);
        let lock = File::options().read(true).write(true).create(true).truncate(false).open(&file);
        let mut lock = lock.map_err(CliError::io("open", &file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(&path, &file)),
            Err(TryLockError::Error(error)) => return Err(CliError::io("lock", &file)(error)),
        }
        let mut note = || -> io::Result<()> {
            lock.set_len(0)?;
            writeln!(lock, "{}", std::process::id())
        };
        note().map_err(CliError::io("write", &file))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is, as an absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the cluster in it, its data and its keys. Anything else in the folder stays.
    pub(super) fn clear(&self) -> Result<(), CliError> {
        let entries = fs::read_dir(&self.path).map_err(CliError::io("list", &self.path))?;
        for entry in entries {
            let entry = entry.map_err(CliError::io("list", &self.path))?;
            if entry.file_name().to_str().is_some_and(is_ours) {
                fs::remove_dir_all(entry.path()).map_err(CliError::io("remove", entry.path()))?;
            }
        }
        Ok(())
    }

    /// The nodes of the cluster in the folder, which is made if there is none.
    pub(super) fn nodes(&self, wish: Wish) -> Result<Vec<DevNode>, CliError> {
        if self.path.join(MAKING).exists() {
            self.clear()?;
        }
        if !self.path.join("node-1").exists() {
            self.make(wish)?;
        }
        let nodes = self.known_nodes()?;
        match wish.nodes {
            Some(wanted) if usize::from(wanted) != nodes.len() => Err(CliError::usage(
                format!("--nodes {wanted}: the cluster in {} has {}", self.path.display(), nodes.len()),
                "leave --nodes out to continue it; --fresh removes it and makes a new one, --dir makes one elsewhere",
            )),
            _ => Ok(nodes),
        }
    }

    fn make(&self, wish: Wish) -> Result<(), CliError> {
        let count = wish.nodes.unwrap_or(USUAL_NODES);
        if !(1..=MAX_NODES).contains(&count) {
            return Err(CliError::usage(
                format!("--nodes {count}: a cluster has 1 to {MAX_NODES}"),
                "three is usual",
            ));
        }
        let ports = ports::choose(wish.base_port, count)?;
        let plan = Plan {
            name: CLUSTER_NAME.to_owned(),
            nodes: (1..).zip(ports).map(|(id, ports)| node_plan(id, ports)).collect(),
            data_dir: "data".into(),
            settings: SettingsFile::default(),
        };
        let making = self.path.join(MAKING);
        provision(&plan, &making, clock::now()).map_err(|error| CliError::other(error.to_string()))?;
        let entries = fs::read_dir(&making).map_err(CliError::io("list", &making))?;
        for entry in entries {
            let entry = entry.map_err(CliError::io("list", &making))?;
            fs::rename(entry.path(), self.path.join(entry.file_name()))
                .map_err(CliError::io("move", entry.path()))?;
        }
        fs::remove_dir(&making).map_err(CliError::io("remove", &making))
    }

    fn known_nodes(&self) -> Result<Vec<DevNode>, CliError> {
        let folders = (1..=MAX_NODES).map(|id| self.path.join(format!("node-{id}")));
        folders.take_while(|folder| folder.exists()).map(|folder| known_node(&folder)).collect()
    }
}

/// Whether something in the folder was made here.
fn is_ours(name: &str) -> bool {
    let is_node = name.strip_prefix("node-").is_some_and(|id| id.parse::<u16>().is_ok());
    is_node || ["authority", "client", OPERATOR, "trust", MAKING].contains(&name)
}

fn in_use(path: &Path, lock: &Path) -> CliError {
    let owner = fs::read_to_string(lock).unwrap_or_default();
    CliError::usage(
        format!("the cluster in {} is running already (process {})", path.display(), owner.trim()),
        "use it from any terminal, stop it with Ctrl-C in its own, or start another with --dir",
    )
}

fn node_plan(id: u64, [client_port, peer_port, http_port]: NodePorts) -> NodePlan {
    let listen = IpAddr::V4(Ipv4Addr::LOCALHOST);
    NodePlan { id, host: listen.to_string(), listen, client_port, peer_port, http_port }
}

fn known_node(folder: &Path) -> Result<DevNode, CliError> {
    let advice = "correct it, or start anew with `quorate dev --fresh`, which removes the data";
    let path = folder.join(CONFIG_FILE);
    let config = NodeConfig::load(&path).map_err(|error| CliError::usage(error.to_string(), advice))?;
    let cluster = Cluster::load(&config.node.cluster_file)
        .map_err(|error| CliError::usage(error.to_string(), advice))?;
    let id = config.node.id;
    let member = cluster.members.values().find(|member| member.id.get() == id);
    let client = member.map_or_else(|| config.listen.client.to_string(), |member| member.client.clone());
    Ok(DevNode {
        id,
        client,
        http: config.listen.http.to_string(),
        config: path,
        data_dir: config.node.data_dir,
        log: folder.join("quorate.log"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Wish = Wish { nodes: None, base_port: 0 };

    fn clients(nodes: &[DevNode]) -> Vec<&str> {
        nodes.iter().map(|node| node.client.as_str()).collect()
    }

    #[test]
    fn what_is_made_once_is_kept_and_fresh_makes_another() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::take(&dir.path().join("dev")).unwrap();
        let nodes = folder.nodes(WISH).unwrap();
        assert_eq!(nodes.len(), 3);
        assert!(nodes.iter().all(|node| node.config.is_absolute() && node.config.is_file()));
        assert_eq!(clients(&folder.nodes(WISH).unwrap()), clients(&nodes));
        let cluster =
            |folder: &Folder| fs::read_to_string(folder.path().join("node-1/cluster.toml")).unwrap();
        let before = cluster(&folder);
        folder.clear().unwrap();
        assert_eq!(folder.nodes(Wish { nodes: Some(1), base_port: 0 }).unwrap().len(), 1);
        assert_ne!(cluster(&folder), before);
    }

    #[test]
    fn another_number_of_nodes_is_not_made_up() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::take(dir.path()).unwrap();
        for wrong in [0, 10] {
            let error = folder.nodes(Wish { nodes: Some(wrong), base_port: 0 }).unwrap_err().to_string();
            assert!(error.contains("--nodes"), "{error}");
        }
        folder.nodes(WISH).unwrap();
        let error = folder.nodes(Wish { nodes: Some(5), base_port: 0 }).unwrap_err().to_string();
        assert!(error.contains("--nodes 5") && error.contains("has 3"), "{error}");
    }

    #[test]
    fn a_making_that_was_interrupted_is_done_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::take(dir.path()).unwrap();
        fs::create_dir_all(dir.path().join(MAKING).join("node-2")).unwrap();
        fs::create_dir_all(dir.path().join("node-1")).unwrap();
        assert_eq!(folder.nodes(WISH).unwrap().len(), 3);
        assert!(!dir.path().join(MAKING).exists());
    }

    #[test]
    fn a_folder_is_used_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::take(dir.path()).unwrap();
        let error = Folder::take(dir.path()).map(drop).unwrap_err().to_string();
        assert!(
            error.contains("running already") && error.contains(&std::process::id().to_string()),
            "{error}"
        );
        drop(folder);
        assert!(Folder::take(dir.path()).is_ok());
    }

    #[test]
    fn fresh_leaves_what_is_not_its_own() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("node-notes")).unwrap();
        fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
        let folder = Folder::take(dir.path()).unwrap();
        folder.nodes(WISH).unwrap();
        folder.clear().unwrap();
        assert!(dir.path().join("node-notes").exists() && dir.path().join("thesis.txt").exists());
        assert!(!dir.path().join("node-1").exists() && !dir.path().join("authority").exists());
    }
}
