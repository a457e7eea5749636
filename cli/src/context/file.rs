//! The contexts file: reading and replacing it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// The settings that go together to reach one cluster. What is missing is taken from flags and variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Where the replicas are, `https://host:port` or `host:port`.
    #[serde(default)]
    pub(crate) endpoints: Vec<String>,
    /// Policy files: that of each ledger in use, all with the same cosigners.
    #[serde(default)]
    pub(crate) policy: Vec<PathBuf>,
    /// Certificate of the authority that signed the replicas' certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cacert: Option<PathBuf>,
    /// Certificate of an operator, for who is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cert_key: Option<PathBuf>,
    /// Where the trust store is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trust_dir: Option<PathBuf>,
    /// Whether to connect without TLS.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) plaintext: bool,
}

/// Serde calls it with a reference.
fn is_false(value: &bool) -> bool {
    !value
}

/// All contexts of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one in use where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Reads the file. A file that is not there holds no contexts; one that cannot be read is an error.
    pub(crate) fn load(path: &Path) -> Result<Self, CliError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(CliError::io("read", path)(error)),
        };
        toml::from_str(&text).map_err(|error| {
            CliError::usage(
                format!("contexts file {}: {}", path.display(), error.to_string().trim_end()),
                "correct the file, or move it away and start with `quorate dev` or explicit flags",
            )
        })
    }

    /// Replaces the file, durably and as a whole.
    pub(crate) fn save(&self, path: &Path) -> Result<(), CliError> {
        let text = toml::to_string(self)
            .map_err(|error| CliError::other(format!("the contexts cannot be written as TOML: {error}")))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(CliError::io("create directory", folder))?;
        let new = path.with_extension(format!("toml.{}.new", std::process::id()));
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(CliError::io("write", &new))?;
        fs::rename(&new, path).map_err(CliError::io("replace", path))
    }

    /// The context with this name, or the default one; `None` if no name is given and there is no default.
    pub(crate) fn select(&self, name: Option<&str>) -> Result<Option<(&str, &Context)>, CliError> {
        let Some(name) = name.or(self.default.as_deref()) else {
            return Ok(None);
        };
        let found = self.contexts.get_key_value(name);
        let (name, context) = found.ok_or_else(|| self.unknown(name))?;
        Ok(Some((name, context)))
    }

    /// Makes a known context the default.
    pub(crate) fn use_by_default(&mut self, name: &str) -> Result<(), CliError> {
        if !self.contexts.contains_key(name) {
            return Err(self.unknown(name));
        }
        self.default = Some(name.to_owned());
        Ok(())
    }

    fn unknown(&self, name: &str) -> CliError {
        let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "there are none".to_owned()
        } else {
            format!("known: {}", known.join(", "))
        };
        CliError::usage(format!("there is no context {name:?}; {known}"), "`quorate context list` shows them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dev() -> Context {
        Context {
            endpoints: vec!["https://127.0.0.1:7400".into()],
            policy: vec!["/d/default.policy".into()],
            cacert: Some("/d/authority.crt".into()),
            ..Context::default()
        }
    }

    #[test]
    fn what_is_saved_is_loaded_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below").join("contexts.toml");
        assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());
        let mut contexts = Contexts::default();
        contexts.contexts.insert("dev".into(), dev());
        contexts.use_by_default("dev").unwrap();
        contexts.save(&path).unwrap();
        assert_eq!(Contexts::load(&path).unwrap(), contexts);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn an_unknown_context_is_named_with_the_known_ones() {
        let mut contexts = Contexts::default();
        contexts.contexts.insert("dev".into(), dev());
        assert!(contexts.select(None).unwrap().is_none());
        let error = contexts.select(Some("prod")).unwrap_err().to_string();
        assert!(error.contains("\"prod\"") && error.contains("known: dev"), "{error}");
        assert!(contexts.use_by_default("prod").is_err());
    }

    #[test]
    fn a_mistyped_key_is_an_error_and_not_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contexts.toml");
        fs::write(&path, "[contexts.dev]\nendpoints = []\npolcy = []\n").unwrap();
        let error = Contexts::load(&path).unwrap_err().to_string();
        assert!(error.contains("polcy") && error.contains("contexts.toml"), "{error}");
    }
}
