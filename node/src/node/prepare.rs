//! The data directory of a node that is not registered yet.

use super::{
    open::{self, OpenError},
    register::Register,
    run::RunError,
};
use crate::{cluster::Cluster, config::NodeConfig, peer::Life};

/// Makes the data directory of a node, if it has none yet, and gives its life: what the cluster will know it by.
///
/// # Errors
/// [`RunError`].
pub(crate) async fn first_life(config: &NodeConfig) -> Result<Life, RunError> {
    let cluster = Cluster::load(&config.node.cluster_file).map_err(OpenError::from)?;
    let me = open::own_id(config, &cluster)?;
    let stores = open::stores(config, &cluster)?;
    Ok(Register::open(me, &cluster, &stores).await?.own())
}
