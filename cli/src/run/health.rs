//! `quorate health`: asks a node whether it is ready.

use std::time::Duration;

use super::{probe, runtime};
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;

/// Ask a node whether it is ready to serve
///
/// Ends with 0 if it is, and with 1 and the reason if it is not or does not answer. It needs no policy, certificate or
/// context: it is the probe for containers and load balancers.
///
///   quorate health --http 127.0.0.1:7402
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The HTTP port of the node
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7402", value_parser = host_and_port)]
    http: String,

    /// Ask only whether the process works, not whether it may be sent requests
    #[arg(long)]
    live: bool,
}

/// Takes `host:port` with or without `http://` before it.
fn host_and_port(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let port =
        address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse().ok());
    match port {
        Some(1_u16..) => Ok(address.to_owned()),
        _ => Err("expected HOST:PORT, such as 127.0.0.1:7402".to_owned()),
    }
}

/// Asks.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    runtime::block_on(ask(global, args))
}

async fn ask(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let (path, wanted) = if args.live { ("/livez", "alive") } else { ("/readyz", "ready") };
    let at = &args.http;
    let answer = within(global.timeout, probe::get(at, path)).await;
    let answer =
        answer.map_err(|error| CliError::other(format!("the node at {at} is not {wanted}: {error}")))?;
    if answer.status != 200 {
        let reason = format!("HTTP status {}: {}", answer.status, answer.body);
        return Err(CliError::other(format!("the node at {at} is not {wanted}: {reason}")));
    }
    if global.output().is_document() {
        #[derive(serde::Serialize)]
        struct Health<'a> {
            http: &'a str,
            state: &'static str,
        }
        global.output().document("health", &Health { http: at, state: wanted })?;
    } else {
        global.output().text(&format!("{wanted}\n"))?;
    }
    Ok(Exit::Done)
}

async fn within<T>(limit: Duration, work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    let in_time = tokio::time::timeout(limit, work).await;
    in_time.unwrap_or_else(|_| {
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer in {limit:?}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_with_and_without_scheme() {
        assert_eq!(host_and_port("127.0.0.1:7402").unwrap(), "127.0.0.1:7402");
        assert_eq!(host_and_port("http://[::1]:7402/").unwrap(), "[::1]:7402");
        for wrong in ["", "7402", ":7402", "host", "host:0", "host:port", "host:70000"] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }
}
