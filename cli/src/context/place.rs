//! Where the files of a user are (XDG base directories).

use std::env;
use std::path::PathBuf;

use crate::error::CliError;

/// The contexts file.
pub(crate) fn contexts_file() -> Result<PathBuf, CliError> {
    if let Some(path) = variable("QUORATE_CONFIG") {
        return Ok(path);
    }
    Ok(base("XDG_CONFIG_HOME", ".config")?.join("quorate").join("contexts.toml"))
}

/// The trust store, unless something else was said.
pub(crate) fn default_trust_dir() -> Result<PathBuf, CliError> {
    Ok(base("XDG_STATE_HOME", ".local/state")?.join("quorate").join("trust"))
}

/// The cluster of `quorate dev`, unless another directory was named.
pub(crate) fn default_dev_dir() -> Result<PathBuf, CliError> {
    Ok(base("XDG_DATA_HOME", ".local/share")?.join("quorate").join("dev"))
}

fn base(name: &str, below_home: &str) -> Result<PathBuf, CliError> {
    // By the XDG specification, a relative path there is to be ignored.
    if let Some(path) = variable(name).filter(|path| path.is_absolute()) {
        return Ok(path);
    }
    let home = variable("HOME").ok_or_else(|| {
        CliError::usage(
            format!("neither {name} nor HOME is set, so there is no place for the files of this user"),
            "set QUORATE_CONFIG to a file and QUORATE_TRUST_DIR to a directory, or HOME",
        )
    })?;
    Ok(home.join(below_home))
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
