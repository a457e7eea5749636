//! The command line as a person uses it: `quorate` with the settings of a cluster, its exit code and both its streams.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    cluster::{Cluster, binary},
    process,
};

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(40);

/// Where commands are run: nothing of the caller's own settings is in it.
#[derive(Debug, Clone)]
pub struct Shell {
    dir: PathBuf,
    variables: Vec<(&'static str, OsString)>,
    limit: Duration,
}

/// What became of a command.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Shell {
    /// A shell of all replicas of a cluster, with its policies and a trust store of its own.
    pub fn of(cluster: &Cluster) -> Self {
        let dir = cluster.path();
        let endpoints: Vec<String> =
            cluster.nodes.values().map(|node| format!("https://{}", node.client)).collect();
        let policy = |name: &str| dir.join("client").join(name).display().to_string();
        let variables = vec![
            ("QUORATE_ENDPOINTS", endpoints.join(",").into()),
            ("QUORATE_POLICY", format!("{},{}", policy("default.policy"), policy("_system.policy")).into()),
            ("QUORATE_CACERT", dir.join("client/authority.crt").into()),
            ("QUORATE_TRUST_DIR", dir.join("shell-trust").into()),
            ("QUORATE_CONFIG", dir.join("no-contexts.toml").into()),
        ];
        Self { dir, variables, limit: LIMIT }
    }

    /// The same, as an operator of the cluster.
    #[must_use]
    pub fn operator(self) -> Self {
        let file = |name: &str| self.dir.join("operator").join(name);
        let (cert, key) = (file("operator.crt"), file("operator.key"));
        self.with("QUORATE_CERT", cert).with("QUORATE_CERT_KEY", key)
    }

    /// The same, where a command may take this long.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The folder that commands are run in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The same with another value of a variable.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.into()));
        self
    }

    /// The settings of the cluster, as variables.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        self.variables.clone()
    }

    /// Runs a line as it is typed, where `quorate` is on the path, in the folder above that of the cluster.
    pub fn script(&self, line: &str) -> Ran {
        let program = binary();
        let path = format!("{}:/usr/bin:/bin", program.parent().unwrap_or(&program).display());
        let mut command = Command::new("bash");
        command.args(["-c", line]).current_dir(self.dir.parent().unwrap_or(&self.dir));
        command.env_clear().env("HOME", &self.dir).env("PATH", path).envs(self.variables.clone());
        Ran::from(process::output(&mut command, self.limit))
    }

    /// Runs `quorate` with these arguments.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(&self.dir);
        command.env_clear().env("HOME", &self.dir).envs(self.variables.clone());
        let output = process::output(&mut command, self.limit);
        Ran::from(output)
    }
}

impl From<std::process::Output> for Ran {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
