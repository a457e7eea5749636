//! Where a node's log goes: standard error, as text or JSON.

use std::io::{self, IsTerminal as _};

use quorate_node::config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

use crate::error::CliError;

/// Starts logging as the configuration says.
pub(super) fn start(log: &Log) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| {
        CliError::usage(
            format!("log.filter = {:?}: {error}", log.filter),
            "write it as LEVEL or MODULE=LEVEL, separated by commas: info,openraft=error",
        )
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match log.format {
        LogFormat::Text => builder.with_ansi(wants_colours()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| CliError::other(format!("logging cannot be started: {error}")))
}

fn wants_colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_named() {
        let log = Log { filter: "quorate_node=loud".to_owned(), ..Log::default() };
        let error = start(&log).unwrap_err().to_string();
        assert!(error.contains("log.filter") && error.contains("loud"), "{error}");
    }
}
