//! Named clusters: which endpoints, policy, authority and trust store go together.
//!
//! Contract: one TOML file, `$QUORATE_CONFIG`, or `quorate/contexts.toml` in `$XDG_CONFIG_HOME` or `~/.config`. It
//! holds names and paths, never a secret. It is replaced as a whole by renaming, so that a reader never sees half of
//! it; an unknown key in it is an error, so that a typing mistake does not weaken a setting in silence.
//!
//! ```toml
//! default = "dev"
//!
//! [contexts.dev]
//! endpoints = ["https://127.0.0.1:7400", "https://127.0.0.1:7410", "https://127.0.0.1:7420"]
//! policy = ["/home/me/quorate-dev/client/default.policy", "/home/me/quorate-dev/client/_system.policy"]
//! cacert = "/home/me/quorate-dev/client/authority.crt"
//! trust_dir = "/home/me/quorate-dev/client/trust"    # optional
//! plaintext = false                                   # optional
//! ```

mod file;
mod place;

pub(crate) use file::{Context, Contexts};
pub(crate) use place::{contexts_file, default_dev_dir, default_trust_dir};
