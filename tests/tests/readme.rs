//! The commands of the README do what it says, in the order it gives them, on a machine where nothing is set up but the
//! binary: each line of each block of commands is run in a shell, in an empty home, and ends with exit code 0 or with
//! the one that its comment names.
//!
//! `make` targets are only looked up in the Makefile: this test runs within one of them. Blocks that belong to a machine
//! (`sh @ledger-1`) are run by `tools/deploy-test`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use quorate_tests::{cluster::binary, house, process};

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(40);

/// A line of a block: what is typed, and what it ends with.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    command: String,
    code: i32,
}

/// The lines of all blocks of commands of a document that are for the machine of the reader.
fn lines(document: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut fence = None;
    for line in document.lines() {
        match (line.strip_prefix("```"), fence) {
            (Some(language), None) => fence = Some(language),
            (Some(_), Some(_)) => fence = None,
            (None, Some("sh" | "console")) => found.extend(parse(line)),
            (None, _) => {}
        }
    }
    found
}

/// A line without its comment, which may name an exit code.
fn parse(line: &str) -> Option<Line> {
    let (command, comment) = line.split_once(" #").unwrap_or((line, ""));
    let command = command.trim().trim_start_matches("$ ").to_owned();
    let code = comment.split_once("exit code ").map_or(0, |(_, rest)| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    });
    Some(Line { command, code }).filter(|line| !line.command.is_empty() && !line.command.starts_with('#'))
}

/// The `make` targets a command names, and what is left of the command.
fn without_make(command: &str) -> (Vec<String>, Option<String>) {
    let (make, others): (Vec<&str>, Vec<&str>) =
        command.split(" && ").partition(|part| part.starts_with("make "));
    let targets = make.iter().flat_map(|part| part.split_whitespace().skip(1)).map(str::to_owned).collect();
    // The path of the binary is the one thing that is different here.
    let others: Vec<&str> = others.into_iter().filter(|part| !part.starts_with("export PATH=")).collect();
    (targets, Some(others.join(" && ")).filter(|rest| !rest.is_empty()))
}

/// A reader's machine: a home, a folder to work in, and `quorate` on the path.
struct Machine {
    dir: tempfile::TempDir,
    running: Vec<Child>,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["home", "bin", "work/dist/lib"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        symlink(fs::canonicalize(binary()).unwrap(), dir.path().join("bin/quorate")).unwrap();
        fs::write(dir.path().join("work/dist/app"), "an artifact of the reader").unwrap();
        fs::write(dir.path().join("work/dist/lib/part"), "another one").unwrap();
        Self { dir, running: Vec::new() }
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("bash");
        let path = format!("{}:/usr/bin:/bin", self.dir.path().join("bin").display());
        shell.args(["-c", command]).current_dir(self.dir.path().join("work"));
        shell.env_clear().env("HOME", self.dir.path().join("home")).env("PATH", path);
        shell
    }

    /// Starts what is to be left running, and waits until it has said what to do next.
    fn leave_running(&mut self, command: &str) {
        let log = fs::File::create(self.dir.path().join("running.log")).unwrap();
        let mut shell = self.shell(&format!("exec {command}"));
        let mut child = shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        self.running.push(child);
        let is_there = said.by_ref().map_while(Result::ok).any(|line| line.contains("quorate put"));
        let log = fs::read_to_string(self.dir.path().join("running.log")).unwrap();
        assert!(is_there, "{command} ended before it named a first command:\n{log}");
    }

    fn run(&self, line: &Line) {
        let output = process::output(&mut self.shell(&line.command), LIMIT);
        let said = String::from_utf8_lossy(&output.stderr);
        println!("$ {}\n{}{said}", line.command, String::from_utf8_lossy(&output.stdout));
        assert_eq!(output.status.code(), Some(line.code), "{}: {said}", line.command);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A reader presses Ctrl-C. What was left running then stops in good order, with all that it started.
        let ended = self.running.iter_mut().map(|child| process::signal(child, "INT", LIMIT));
        let ended: Vec<Option<i32>> = ended.map(|status| status.code()).collect();
        if !std::thread::panicking() {
            assert!(ended.iter().all(|code| *code == Some(0)), "after Ctrl-C: {ended:?}");
        }
    }
}

/// Pages whose blocks other tests run, and those tests.
const RUN_ELSEWHERE: [(&str, &str); 2] =
    [("docs/operations/runbook/", "tests/tests/runbook.rs"), ("docs/performance.md", "tests/tests/bench.rs")];

fn targets(makefile: &str) -> BTreeSet<&str> {
    makefile.lines().filter_map(|line| line.split_once(':')).map(|(target, _)| target).collect()
}

/// Runs the blocks of a document; gives how many commands were run and how many targets were looked up.
fn run(document: &Path) -> (usize, usize) {
    let text = fs::read_to_string(document).unwrap();
    let makefile = fs::read_to_string(house::root().join("Makefile")).unwrap();
    let mut machine = Machine::new();
    let (mut ran, mut looked_up) = (0, 0);
    for line in lines(&text) {
        let (named, rest) = without_make(&line.command);
        for target in named {
            assert!(targets(&makefile).contains(target.as_str()), "make {target} is no target");
            looked_up += 1;
        }
        match rest {
            None => {}
            Some(command) if command.starts_with("quorate dev") => machine.leave_running(&command),
            Some(command) => {
                machine.run(&Line { command, ..line });
                ran += 1;
            }
        }
    }
    (ran, looked_up)
}

#[test]
fn the_commands_of_the_readme_work() {
    let (ran, looked_up) = run(&house::root().join("README.md"));
    assert!(ran >= 8 && looked_up >= 3, "{ran} commands, {looked_up} targets");
}

#[test]
fn the_commands_of_the_page_on_operations_work() {
    let (ran, _) = run(&house::root().join("docs/operations/README.md"));
    assert!(ran >= 1, "{ran} commands");
}

#[test]
fn every_other_block_of_commands_has_a_test() {
    let runs_here = |path: &String| ["README.md", "docs/operations/README.md"].contains(&path.as_str());
    let runs_elsewhere = |path: &String| {
        RUN_ELSEWHERE.iter().any(|(page, test)| {
            let test = fs::read_to_string(house::root().join(test)).unwrap();
            path.starts_with(page) && test.contains(page.trim_end_matches('/'))
        })
    };
    let untested = house::files(&[".md"]).into_iter();
    let untested = untested.filter(|path| !runs_here(path) && !runs_elsewhere(path)).filter(|path| {
        let text = fs::read_to_string(house::root().join(path)).unwrap();
        !lines(&text).is_empty()
    });
    let untested: Vec<String> = untested.collect();
    assert!(untested.is_empty(), "blocks of commands that no test runs: {untested:?}");
}

#[test]
fn a_line_is_read_with_its_exit_code() {
    let text = "```sh\nquorate get x   # not found: exit code 4\n# only a comment\n```\n```text\nno\n```\n";
    let expected = Line { command: "quorate get x".to_owned(), code: 4 };
    assert_eq!(lines(text), [expected]);
    let (targets, rest) = without_make("make build && export PATH=\"$PWD/x:$PATH\"");
    assert_eq!((targets, rest), (vec!["build".to_owned()], None));
}
