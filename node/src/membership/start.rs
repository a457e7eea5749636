//! Starts what works on membership as long as a node runs.

use std::sync::Arc;

use super::{archive::Archive, driver, follow::Follower, office::Office, roster::Roster};
use crate::{health::Health, peer::Peers};

/// Starts the driver, the archive and the follower of a node whose own vkey is this one.
pub(crate) fn start(office: &Office, vkey: String, roster: Roster, peers: Peers, health: &Health) {
    let parts = office.parts();
    tokio::spawn(driver::drive(office.clone(), health.clone()));
    let archive = Archive {
        state: Arc::clone(&parts.state),
        signer: parts.signer.clone(),
        peers: peers.clone(),
        health: health.clone(),
    };
    tokio::spawn(archive.run());
    let (me, consensus, health) = (parts.me, parts.consensus.clone(), health.clone());
    tokio::spawn(Follower { me, vkey, roster, consensus, peers, health }.run());
}
