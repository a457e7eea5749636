//! Whose directory this is: cluster, node and format, written once and checked at every start.
//!
//! Starting a node on another node's files would give that node two voices. The file `IDENTITY` is
//! `LogIdentity ‖ SHA-256 of it`. It is written before the log database is created, so a database without
//! it was tampered with.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use bytes::Bytes;
use prost::Message;
use quorate_proto::peer::v1 as pb;
use sha2::{Digest, Sha256};

use super::fault::LogFault;

/// The newest format of everything the log store writes.
pub const FORMAT_VERSION: u32 = 1;

const HASH: usize = 32;

/// Who a log store belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: [u8; 16],
    /// The node, from 1.
    pub node_id: u64,
}

impl Identity {
    /// Writes the file, synced, and syncs its directory.
    pub(crate) fn write(&self, path: &Path) -> Result<(), LogFault> {
        let message = pb::LogIdentity {
            format_version: FORMAT_VERSION,
            cluster_id: Bytes::copy_from_slice(&self.cluster_id),
            node_id: self.node_id,
        };
        let mut bytes = message.encode_to_vec();
        let hash = Sha256::digest(&bytes);
        bytes.extend_from_slice(&hash);
        let temporary = path.with_extension("tmp");
        let mut file = File::create(&temporary).map_err(LogFault::io(&temporary))?;
        file.write_all(&bytes).map_err(LogFault::io(&temporary))?;
        file.sync_all().map_err(LogFault::io(&temporary))?;
        fs::rename(&temporary, path).map_err(LogFault::io(path))?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))
    }

    /// Reads the file and refuses another cluster, another node or a newer format.
    pub(crate) fn check(&self, path: &Path) -> Result<(), LogFault> {
        let bytes = fs::read(path).map_err(LogFault::io(path))?;
        let found = decode(&bytes).ok_or_else(|| LogFault::IdentityUnreadable { path: path.to_owned() })?;
        let dir = || path.parent().unwrap_or(path).to_owned();
        if found.format_version > FORMAT_VERSION {
            let (known, found) = (FORMAT_VERSION, found.format_version);
            return Err(LogFault::NewerFormat { path: dir(), known, found });
        }
        if found.cluster_id != self.cluster_id.as_slice() {
            return Err(LogFault::OtherCluster {
                path: dir(),
                expected: hex::encode(self.cluster_id),
                found: hex::encode(&found.cluster_id),
            });
        }
        if found.node_id != self.node_id {
            let (expected, found) = (self.node_id, found.node_id);
            return Err(LogFault::OtherNode { path: dir(), expected, found });
        }
        Ok(())
    }
}

fn decode(bytes: &[u8]) -> Option<pb::LogIdentity> {
    let (body, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
    if Sha256::digest(body).as_slice() != hash {
        return None;
    }
    pb::LogIdentity::decode(body).ok()
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), LogFault> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(LogFault::io(path))
}
