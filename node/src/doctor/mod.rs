//! What `quorate doctor` finds out on the machine of a node: files, disk, kernel, certificates, ports.
//!
//! Contract: everything here works whether the node runs or not, changes nothing (the disk is tried with a file of its
//! own, which is removed), and never fails: what cannot be found out is a finding too. Each finding says what was found
//! and, unless all is well, what to do next. What is about the cluster as a whole is asked over the network by whoever
//! calls this.

mod certificates;
mod disk;
mod files;
mod finding;
mod ports;
mod system;

pub use finding::{Finding, Verdict};
pub use ports::runs;

use std::path::Path;

use crate::{clock::Clock, cluster::Cluster, config::NodeConfig, node};

/// Examines the machine of the node with this configuration file. Gives the configuration and the cluster too, where
/// they can be read.
pub async fn examine(config: &Path, clock: &Clock) -> (Vec<Finding>, Option<(NodeConfig, Cluster)>) {
    let place = config.display().to_string();
    let loaded = match NodeConfig::load(config) {
        Ok(loaded) => loaded,
        Err(error) => {
            let next = "correct the file; deploy/quorate.toml explains every key";
            return (vec![Finding::fail("configuration", place, error, next)], None);
        }
    };
    let mut found = vec![Finding::ok("configuration", place, "it can be used")];
    let cluster = match Cluster::load(&loaded.node.cluster_file) {
        Ok(cluster) => cluster,
        Err(error) => {
            let next = "copy the cluster file of another node: it is the same on all of them";
            let place = loaded.node.cluster_file.display().to_string();
            found.push(Finding::fail("cluster file", place, error, next));
            return (found, None);
        }
    };
    found.push(keys(&loaded, &cluster));
    found.extend(files::examine(&loaded, &cluster, clock));
    found.extend(certificates::examine(&loaded, &cluster, clock.now()));
    found.extend(disk::examine(&loaded, clock));
    found.extend(system::examine(&loaded));
    found.extend(ports::examine(&loaded, &cluster).await);
    (found, Some((loaded, cluster)))
}

/// The node is in the cluster file, and its keys are those that the file names.
fn keys(config: &NodeConfig, cluster: &Cluster) -> Finding {
    let place = config.node.cluster_file.display().to_string();
    match node::check_keys(config, cluster) {
        Ok(()) => {
            Finding::ok("keys", place, "this node is in the cluster file, and its keys are the right ones")
        }
        Err(error) => {
            let next = "put the right files in place; a key that others could read may be stolen";
            Finding::fail("keys", place, error, next)
        }
    }
}

#[cfg(test)]
mod tests;
