//! The certificates in the files: whether they can be used, for whom, and how long.

use std::path::Path;

use quorate_core::position::{Micros, NodeId};

use super::{Finding, Verdict};
use crate::{
    cluster::Cluster,
    config::{NodeConfig, Tls},
    tls::{Credentials, PeerIdentity, PeerTls, Roots, ServerTls, TlsError, check_server, host},
};

const DAY_S: u64 = 24 * 60 * 60;

/// Certificates that end sooner are a warning, days.
pub(super) const SOON_DAYS: u64 = 30;

pub(super) fn examine(config: &NodeConfig, cluster: &Cluster, now: Micros) -> Vec<Finding> {
    let Some(tls) = config.tls.as_ref().filter(|_| !config.listen.insecure_plaintext) else {
        let next = "take listen.insecure_plaintext out, and give [tls]";
        let found = "there is no TLS: whoever reaches the ports can read, write and forge";
        return vec![Finding::warn("certificates", "this node", found, next)];
    };
    let id = NodeId::new(config.node.id);
    let host = cluster.members.get(&id).map(|member| host(&member.client)).unwrap_or_default();
    let own = PeerIdentity { cluster: cluster.id, node: id };
    vec![
        judged("server certificate", &tls.server_certificate, now, || server(tls, host, now)),
        judged("peer certificate", &tls.peer_certificate, now, || peer(tls, own, now)),
    ]
}

fn server(tls: &Tls, host: &str, now: Micros) -> Result<Option<Micros>, TlsError> {
    let credentials = Credentials::load(&tls.server_certificate, &tls.server_key)?;
    ServerTls::new(&credentials)?;
    credentials.check_valid(now)?;
    check_server(&credentials, &Roots::load(&tls.authority)?, host, now)?;
    Ok(credentials.expires_at())
}

fn peer(tls: &Tls, own: PeerIdentity, now: Micros) -> Result<Option<Micros>, TlsError> {
    let credentials = Credentials::load(&tls.peer_certificate, &tls.peer_key)?;
    let ends = credentials.expires_at();
    credentials.check_valid(now)?;
    PeerTls::new(own, credentials, Roots::load(&tls.authority)?, now)?;
    Ok(ends)
}

fn judged(
    check: &'static str,
    file: &Path,
    now: Micros,
    examine: impl FnOnce() -> Result<Option<Micros>, TlsError>,
) -> Finding {
    let place = file.display().to_string();
    let next = "`quorate certificates renew --authority DIR NODE-FOLDER` makes new ones";
    match examine() {
        Ok(ends) => {
            let days = ends.map_or(0, |ends| ends.as_secs().saturating_sub(now.as_secs()) / DAY_S);
            let verdict = if days < SOON_DAYS { Verdict::Warn } else { Verdict::Ok };
            Finding::new(verdict, check, place, format!("it can be used, for {days} days more"), next)
        }
        Err(error) => Finding::fail(check, place, error, next),
    }
}
