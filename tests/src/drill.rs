//! Pages of the manual as drills: their commands are run as they stand there, and what they say one sees is looked for.
//!
//! A block that begins with ` ```sh ` holds commands, one with ` ```text ` what is seen. A word behind `sh` says who runs them,
//! or when.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command, time::Duration};

use crate::{
    cluster::{Cluster, binary},
    house::root,
    process,
    shell::{Ran, Shell},
};

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A page of the manual.
#[derive(Debug)]
pub struct Page {
    name: String,
    text: String,
}

impl Page {
    /// A page by its path below `docs/operations`, without its ending.
    ///
    /// # Panics
    /// If there is none.
    pub fn read(name: &str) -> Self {
        let path = root().join(format!("docs/operations/{name}.md"));
        let text = fs::read_to_string(path).expect("a page of the manual");
        Self { name: name.to_owned(), text }
    }

    /// The lines of all blocks that begin with these words, without comments.
    pub fn blocks(&self, kind: &str) -> Vec<String> {
        let mut inside = None;
        let mut lines = Vec::new();
        for line in self.text.lines().map(str::trim) {
            match (line.strip_prefix("```"), inside) {
                (Some(begins), None) => inside = Some(begins == kind),
                (Some(_), Some(_)) => inside = None,
                (None, Some(true)) => lines.push(line.split(" # ").next().unwrap_or(line).trim().to_owned()),
                (None, _) => {}
            }
        }
        lines
    }
}

/// A shell in which the commands of the pages work as they stand there.
#[derive(Debug)]
pub struct Drill {
    bin: PathBuf,
    shell: Shell,
    dir: PathBuf,
    /// The HTTP port of node 1, which the pages call by its usual number.
    http: String,
}

impl Drill {
    /// In the folder of a cluster.
    ///
    /// # Panics
    /// If the folder cannot be written to.
    pub fn on(cluster: &Cluster) -> Self {
        let (dir, http) = (cluster.path(), cluster.nodes[&1].http.to_string());
        let drill = Self { bin: dir.join("bin"), shell: Shell::of(cluster), dir, http };
        fs::create_dir_all(&drill.bin).expect("a folder");
        drill.program("exec \"$QUORATE\" \"$@\"");
        drill
    }

    /// The same, as an operator of the cluster.
    #[must_use]
    pub fn operator(mut self) -> Self {
        self.shell = self.shell.operator();
        self
    }

    /// From now on `quorate` is this line of a shell, in which `$QUORATE` is the program.
    ///
    /// # Panics
    /// If the folder cannot be written to.
    pub fn program(&self, line: &str) {
        let at = self.bin.join("quorate");
        fs::write(&at, format!("#!/bin/sh\n{line}\n")).expect("a file");
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).expect("a program");
    }

    /// Runs a line.
    ///
    /// # Panics
    /// If it takes too long.
    pub fn run(&self, line: &str) -> Ran {
        let line = line.replace("127.0.0.1:7402", &self.http);
        let program = fs::canonicalize(binary()).expect("the quorate binary (set QUORATE_BIN)");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &line]).current_dir(&self.dir).env_clear().env("QUORATE", program);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.bin.display())).env("HOME", &self.dir);
        process::output(command.envs(self.shell.variables()), LIMIT).into()
    }

    /// Runs every command of a page of the runbook, which together show what the page says one sees. Gives everything they
    /// said.
    ///
    /// # Panics
    /// As [`Drill::commands`], or if something is not seen.
    pub fn page(&self, name: &str) -> String {
        let seen = self.commands(name);
        Page::read(&format!("runbook/{name}")).shown_in(&seen);
        seen
    }

    /// Runs every command of a page of the runbook; each is one that exists. Gives everything they said.
    ///
    /// # Panics
    /// If one does not exist.
    pub fn commands(&self, name: &str) -> String {
        let page = Page::read(&format!("runbook/{name}"));
        let commands = page.blocks("sh");
        assert!(!commands.is_empty(), "{name} has no commands");
        let mut seen = String::new();
        for line in &commands {
            let ran = self.run(line);
            assert!(![2, 126, 127, -1].contains(&ran.code), "{name}: `{line}`: {} {}", ran.code, ran.stderr);
            seen.push_str(&ran.stdout);
            seen.push_str(&ran.stderr);
        }
        seen
    }
}

impl Page {
    /// Checks that what the page says one sees is in a text.
    ///
    /// # Panics
    /// If it is not.
    pub fn shown_in(&self, seen: &str) {
        for words in self.blocks("text") {
            assert!(seen.contains(&words), "{}: {words:?} is not seen in:\n{seen}", self.name);
        }
    }
}
