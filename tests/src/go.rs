//! The Go toolchain, with which tools that others wrote check us.
//!
//! A machine without Go skips such a test, loudly; `QUORATE_NEED_GO` makes that an error. Where Go is, the test must run.
//! Only if Go cannot have its modules (no network, empty cache) it is skipped too, and `QUORATE_NO_SKIP` makes that
//! an error.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{house::root, process};

/// Where Go's own installer puts it.
const INSTALLED: &str = "/usr/local/go/bin/go";

/// How long a command of Go may take; the first one downloads and compiles what it needs.
const LIMIT: Duration = Duration::from_secs(400);

/// Go in the folder of the conformance program.
#[derive(Debug)]
pub struct Go {
    program: PathBuf,
}

/// What is said of a test that cannot run here: an error if `must`, a loud line otherwise.
fn skip<T>(test: &str, why: &str, must: Option<&str>) -> Option<T> {
    if let Some(variable) = must {
        panic!("{test}: {why}, and {variable} is set");
    }
    eprintln!("\n!!! SKIPPED: {test}: {why}\n");
    None
}

/// A variable that makes skipping an error, if it is set.
fn asked(variable: &'static str) -> Option<&'static str> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(|_| variable)
}

impl Go {
    /// Go and the modules of the conformance program; `None` after saying that the test is skipped.
    ///
    /// # Panics
    /// If it is not there and a variable forbids to skip.
    pub fn find(test: &str) -> Option<Self> {
        let programs = [Path::new("go"), Path::new(INSTALLED)];
        let runs = |program: &&Path| Command::new(program).arg("version").output().is_ok();
        let Some(program) = programs.into_iter().find(runs) else {
            let why = "Go is not installed: receipts, tiles and notes are NOT checked by tools of others";
            return skip(test, why, asked("QUORATE_NEED_GO"));
        };
        let go = Self { program: program.to_owned() };
        let got = go.run(["mod", "download"]);
        if got.0 != 0 {
            let why = format!("Go cannot download its modules: {}", got.1);
            return skip(test, &why, asked("QUORATE_NO_SKIP").or(asked("QUORATE_NEED_GO")));
        }
        Some(go)
    }

    /// Runs Go with these arguments; its exit code and all it says.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> (i32, String) {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(root().join("tests/conformance")).env("GOFLAGS", "-mod=readonly");
        let output = process::output(&mut command, LIMIT);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), said.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_test_says_so_and_fails_where_that_is_asked_for() {
        assert!(skip::<()>("it", "no Go", None).is_none());
        let failed = std::panic::catch_unwind(|| skip::<()>("it", "no Go", Some("QUORATE_NEED_GO")));
        assert!(failed.is_err());
    }
}
