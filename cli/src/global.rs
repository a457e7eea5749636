//! The options that all commands take, and their variables.
//!
//! Contract: a flag goes before its variable, and both before the context. What is in none of them is an error that
//! names all three, except for the defaults shown in `--help`.

use std::path::PathBuf;
use std::time::Duration;

use quorate_core::name::LedgerName;

use crate::context::{self, Context, Contexts};
use crate::duration;
use crate::error::CliError;
use crate::output::{Format, Output};

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Named settings to use (`quorate context list`)
    #[arg(long, global = true, env = "QUORATE_CONTEXT", value_name = "NAME", hide_env_values = true)]
    pub(crate) context: Option<String>,

    /// Where the replicas are: https://HOST:PORT, separated by commas
    #[arg(
        long,
        global = true,
        env = "QUORATE_ENDPOINTS",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) endpoints: Vec<String>,

    /// Trust policy: which keys count, and how many; one file per ledger, may be repeated
    #[arg(
        long,
        global = true,
        env = "QUORATE_POLICY",
        value_name = "FILE",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) policy: Vec<PathBuf>,

    /// Certificate of the authority behind the replicas' certificates (PEM)
    #[arg(long, global = true, env = "QUORATE_CACERT", value_name = "FILE", hide_env_values = true)]
    pub(crate) cacert: Option<PathBuf>,

    /// Certificate of an operator (PEM), for what only operators may do
    #[arg(long, global = true, env = "QUORATE_CERT", value_name = "FILE", hide_env_values = true)]
    pub(crate) cert: Option<PathBuf>,

    /// Its private key (PEM)
    #[arg(long, global = true, env = "QUORATE_CERT_KEY", value_name = "FILE", hide_env_values = true)]
    pub(crate) cert_key: Option<PathBuf>,

    /// Where the last believed checkpoints are kept [default: ~/.local/state/quorate/trust]
    #[arg(long, global = true, env = "QUORATE_TRUST_DIR", value_name = "DIR", hide_env_values = true)]
    pub(crate) trust_dir: Option<PathBuf>,

    /// Where proofs that somebody lied are kept [default: evidence, beside the trust store]
    #[arg(long, global = true, env = "QUORATE_EVIDENCE_DIR", value_name = "DIR", hide_env_values = true)]
    pub(crate) evidence_dir: Option<PathBuf>,

    /// Ledger to work on
    #[arg(
        long,
        short = 'l',
        global = true,
        env = "QUORATE_LEDGER",
        value_name = "NAME",
        default_value = "default",
        value_parser = parse_ledger,
        hide_env_values = true
    )]
    pub(crate) ledger: LedgerName,

    /// How results are written
    #[arg(
        long,
        short = 'o',
        global = true,
        env = "QUORATE_OUTPUT",
        value_name = "FORMAT",
        default_value = "table",
        hide_env_values = true
    )]
    pub(crate) output: Format,

    /// How long a call may take, retries included
    #[arg(
        long,
        global = true,
        env = "QUORATE_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration::parse_nonzero,
        hide_env_values = true
    )]
    pub(crate) timeout: Duration,

    /// Only results, warnings and errors
    #[arg(long, short = 'q', global = true)]
    pub(crate) quiet: bool,

    /// Believe answers without checking their proofs
    #[arg(long, global = true)]
    pub(crate) no_verify: bool,

    /// Refuse a ledger of which the trust store holds nothing, instead of believing it by the policy alone
    #[arg(long, global = true, env = "QUORATE_KNOWN_ONLY", hide_env_values = true)]
    pub(crate) known_only: bool,

    /// Connect without TLS
    #[arg(long, global = true)]
    pub(crate) plaintext: bool,
}

fn parse_ledger(text: &str) -> Result<LedgerName, String> {
    LedgerName::new(text).map_err(|error| error.to_string())
}

impl Global {
    /// Where results go.
    pub(crate) const fn output(&self) -> Output {
        Output::new(self.output, self.quiet)
    }

    /// The settings in use: flags and variables over the selected context.
    pub(crate) fn settings(&self) -> Result<Context, CliError> {
        let contexts = Contexts::load(&context::contexts_file()?)?;
        let selected = contexts.select(self.context.as_deref())?;
        let base = selected.map(|(_, context)| context.clone()).unwrap_or_default();
        Ok(self.over(base))
    }

    fn over(&self, base: Context) -> Context {
        let or = |given: &Vec<PathBuf>, base| if given.is_empty() { base } else { given.clone() };
        Context {
            endpoints: if self.endpoints.is_empty() { base.endpoints } else { self.endpoints.clone() },
            policy: or(&self.policy, base.policy),
            cacert: self.cacert.clone().or(base.cacert),
            cert: self.cert.clone().or(base.cert),
            cert_key: self.cert_key.clone().or(base.cert_key),
            trust_dir: self.trust_dir.clone().or(base.trust_dir),
            plaintext: self.plaintext || base.plaintext,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        global: Global,
    }

    fn parse(arguments: &[&str]) -> Global {
        let words = std::iter::once("quorate").chain(arguments.iter().copied());
        Only::try_parse_from(words).unwrap().global
    }

    #[test]
    fn flags_go_before_the_context() {
        let base = Context {
            endpoints: vec!["https://a:1".into()],
            policy: vec!["a.policy".into()],
            cacert: Some("a.crt".into()),
            ..Context::default()
        };
        assert_eq!(parse(&[]).over(base.clone()), base);
        let given = parse(&["--endpoints", "https://b:1,https://c:1", "--policy", "b.policy", "--plaintext"])
            .over(base);
        assert_eq!(given.endpoints, ["https://b:1", "https://c:1"]);
        assert_eq!(given.policy, [PathBuf::from("b.policy")]);
        assert_eq!(given.cacert, Some("a.crt".into()));
        assert!(given.plaintext);
    }
}
