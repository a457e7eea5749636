//! What a node is told of an outside witness: `[[witness]]` in its configuration.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper::Uri;
use quorate_core::key::{SignatureType, VerifierKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};

use super::exchange::Place;

/// The authorities that this system trusts, where Debian keeps them.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The shortest time between two submissions, milliseconds.
const LEAST_INTERVAL_MS: u64 = 10;

/// The longest, and the longest that an answer may take: a minute.
const MOST_MS: u64 = 60_000;

/// An outside witness.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessSettings {
    /// What it is called in the log, the metrics and `quorate status`.
    pub name: String,
    /// Its submission prefix: `https://host[:port][/path]`, or `http://` where the way there is private.
    pub url: String,
    /// Its public key, as `name+id+base64`: a cosigner's.
    pub vkey: String,
    /// Shortest time between two submissions of a ledger, milliseconds. Also about how long a client waits whose policy
    /// takes this witness.
    #[serde(default = "default_interval")]
    pub min_interval_ms: u64,
    /// Longest time for one answer, milliseconds.
    #[serde(default = "default_timeout")]
    pub timeout_ms: u64,
    /// PEM file of the authorities that may vouch for an `https` witness; absent: those of this system.
    #[serde(default)]
    pub authority: Option<PathBuf>,
}

const fn default_interval() -> u64 {
    250
}

const fn default_timeout() -> u64 {
    5_000
}

/// A witness that cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("witness.{field} of {name:?}: {problem}")]
pub struct WitnessError {
    /// Which witness.
    pub name: String,
    /// Which setting.
    pub field: &'static str,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// A witness that can be asked.
#[derive(Debug, Clone)]
pub(super) struct Witness {
    pub(super) name: String,
    pub(super) key: VerifierKey,
    pub(super) place: Place,
    pub(super) min_interval: Duration,
}

impl WitnessSettings {
    /// Its public key.
    ///
    /// # Errors
    /// [`WitnessError`]: it is none, or not one that cosigns.
    pub fn key(&self) -> Result<VerifierKey, WitnessError> {
        let key = VerifierKey::parse(&self.vkey).map_err(|error| self.error("vkey", error))?;
        match key.kind() {
            SignatureType::Cosignature => Ok(key),
            SignatureType::Ed25519 => {
                let problem = "it is the key of a log: a witness has one that cosigns (type 0x04)";
                Err(self.error("vkey", problem))
            }
        }
    }

    /// Checks everything that can be checked without files.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn check(&self) -> Result<(), WitnessError> {
        let is_word = |name: &str| {
            name.chars().all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c)) && name.len() <= 64
        };
        if self.name.is_empty() || !is_word(&self.name) {
            return Err(self
                .error("name", "expected 1 to 64 characters of a-z, A-Z, 0-9, \"-\", \".\", \"_\", \"/\""));
        }
        self.key()?;
        self.uri()?;
        for (field, value, least) in [
            ("min_interval_ms", self.min_interval_ms, LEAST_INTERVAL_MS),
            ("timeout_ms", self.timeout_ms, LEAST_INTERVAL_MS),
        ] {
            if !(least..=MOST_MS).contains(&value) {
                return Err(self.error(field, format!("{value}: expected {least} to {MOST_MS} milliseconds")));
            }
        }
        Ok(())
    }

    /// Checks its files too.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn check_files(&self) -> Result<(), WitnessError> {
        self.load().map(drop)
    }

    /// Relative paths in it are relative to this folder.
    pub(crate) fn relative_to(&mut self, base: &Path) {
        if let Some(path) = &mut self.authority {
            *path = base.join(&*path);
        }
    }

    /// Reads its files.
    pub(super) fn load(&self) -> Result<Witness, WitnessError> {
        self.check()?;
        let uri = self.uri()?;
        let tls = match uri.scheme_str() {
            Some("https") => Some(self.tls()?),
            _ => None,
        };
        let place = Place::new(&uri, tls, Duration::from_millis(self.timeout_ms));
        let place = place.map_err(|problem| self.error("url", problem))?;
        let min_interval = Duration::from_millis(self.min_interval_ms);
        Ok(Witness { name: self.name.clone(), key: self.key()?, place, min_interval })
    }

    fn uri(&self) -> Result<Uri, WitnessError> {
        let advice = "expected https://host[:port][/path], or http://";
        let uri: Uri = self.url.parse().map_err(|error| self.error("url", format!("{error}; {advice}")))?;
        let is_known = matches!(uri.scheme_str(), Some("https" | "http"));
        if !is_known || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err(self.error("url", advice));
        }
        Ok(uri)
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, WitnessError> {
        let path = self.authority.clone().unwrap_or_else(|| PathBuf::from(SYSTEM_AUTHORITIES));
        let cannot = |problem: String| {
            let what =
                format!("{}: {problem}; name a PEM file with the authorities of the witness", path.display());
            self.error("authority", what)
        };
        let pem = std::fs::read(&path).map_err(|error| cannot(error.to_string()))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let mut roots = RootCertStore::empty();
        // Of a system's many, one that this library does not read is none of our business.
        let (taken, _) =
            roots.add_parsable_certificates(certificates.map_err(|error| cannot(error.to_string()))?);
        if taken == 0 {
            return Err(cannot("there is no certificate in it".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = versions.map_err(|error| cannot(error.to_string()))?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    fn error(&self, field: &'static str, problem: impl ToString) -> WitnessError {
        WitnessError { name: self.name.clone(), field, problem: problem.to_string() }
    }
}

/// Checks all of them together.
///
/// # Errors
/// [`WitnessError`].
pub(crate) fn check_all(all: &[WitnessSettings]) -> Result<(), WitnessError> {
    for (place, witness) in all.iter().enumerate() {
        witness.check()?;
        let key = witness.key()?;
        for earlier in all.iter().take(place) {
            if earlier.name == witness.name {
                return Err(witness.error("name", "another witness has this name"));
            }
            if earlier.key()?.same_key(&key) {
                return Err(witness.error("vkey", format!("the witness {:?} has this key", earlier.name)));
            }
        }
    }
    Ok(())
}
