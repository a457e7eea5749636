//! The HTTP port of an audit: how it is, and, with a key, what it cosigned.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quorate_audit::Progress;
use quorate_core::name::LedgerName;
use quorate_node::http::{self, Deadlines, Health, HttpSource, SourceError, TileIndex, TileWidth};
use quorate_node::tls::{self, Limits, Security};

use crate::error::CliError;

/// Connections at once.
const CONNECTIONS: usize = 64;

/// The audits of this process.
struct Audits(Vec<(LedgerName, Arc<Progress>)>);

/// Serves until it is dropped; never ends by itself if there is nothing to serve.
pub(super) async fn serve(
    listen: Option<SocketAddr>,
    audits: Vec<(LedgerName, Arc<Progress>)>,
) -> Result<impl Future<Output = ()>, CliError> {
    let incoming = match listen {
        None => None,
        Some(address) => {
            let limits = Limits { connections: CONNECTIONS, ..Limits::default() };
            let bound = tls::listen("http", &address.to_string(), Security::Plaintext, limits).await;
            Some(bound.map_err(|error| CliError::other(error.to_string()))?.incoming())
        }
    };
    Ok(async move {
        match incoming {
            Some(incoming) => {
                let never = std::future::pending();
                http::serve(incoming, Arc::new(Audits(audits)), Deadlines::default(), never).await;
            }
            None => std::future::pending().await,
        }
    })
}

impl HttpSource for Audits {
    fn live(&self) -> Health {
        Health::Good
    }

    fn ready(&self) -> Health {
        let unready =
            self.0.iter().filter_map(|(name, progress)| Some(format!("{name}: {}", progress.unready()?)));
        let reasons: Vec<String> = unready.collect();
        if reasons.is_empty() { Health::Good } else { Health::Bad(reasons.join("; ")) }
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        for (metric, help, kind, value) in METRICS {
            text.push_str(&format!("# HELP {metric} {help}\n# TYPE {metric} {kind}\n"));
            for (name, progress) in &self.0 {
                text.push_str(&format!("{metric}{{ledger=\"{name}\"}} {}\n", value(progress)));
            }
        }
        let metric = "quorate_audit_replicas";
        text.push_str(&format!(
            "# HELP {metric} Replicas by what the last comparison found\n# TYPE {metric} gauge\n"
        ));
        for (name, progress) in &self.0 {
            let counts = progress.snapshot().standings;
            for (standing, count) in ["agrees", "behind", "silent", "different"].iter().zip(counts) {
                text.push_str(&format!("{metric}{{ledger=\"{name}\",standing=\"{standing}\"}} {count}\n"));
            }
        }
        text
    }

    async fn checkpoint(&self, ledger: &LedgerName) -> Result<Bytes, SourceError> {
        let audit = self.0.iter().find(|(name, _)| name == ledger);
        let (_, progress) =
            audit.ok_or_else(|| SourceError::NotFound(format!("{ledger} is not audited here")))?;
        let note = progress.snapshot().note;
        note.map(Bytes::from).ok_or_else(|| SourceError::Unavailable("nothing was cosigned yet".to_owned()))
    }

    async fn tile(&self, _: &LedgerName, _: u8, _: TileIndex, _: TileWidth) -> Result<Bytes, SourceError> {
        Err(not_here())
    }

    async fn entries(&self, _: &LedgerName, _: TileIndex, _: TileWidth) -> Result<Bytes, SourceError> {
        Err(not_here())
    }
}

fn not_here() -> SourceError {
    SourceError::NotFound("an auditor serves no tiles; the nodes do".to_owned())
}

type Metric = (&'static str, &'static str, &'static str, fn(&Progress) -> u64);

/// Name, help, type, and where the value comes from.
const METRICS: [Metric; 6] = [
    ("quorate_audit_size", "Leaves recomputed", "gauge", |audit| audit.snapshot().size),
    ("quorate_audit_certified_size", "Largest certified size seen", "gauge", |audit| {
        audit.snapshot().certified
    }),
    ("quorate_audit_keys", "Keys ever written", "gauge", |audit| audit.snapshot().keys),
    ("quorate_audit_operations_total", "Operations recomputed since the start", "counter", |audit| {
        audit.snapshot().operations
    }),
    ("quorate_audit_comparisons_total", "Comparisons of all replicas since the start", "counter", |audit| {
        audit.snapshot().comparisons
    }),
    ("quorate_audit_ready", "1 while the audit is up to date and nothing is wrong", "gauge", |audit| {
        u64::from(audit.unready().is_none())
    }),
];
