//! Commits, read through git's own plumbing.
//!
//! `git rev-parse` and `git rev-list` name the commits, one `git cat-file --batch` prints their objects. The digest is
//! over the object's bytes as printed, without git's header: they hold the ids of tree and parents, the author, the
//! committer, the message and git's own signature.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use quorate_core::hash::sha256;

use super::{Artifact, Kind};
use crate::error::CliError;

/// Longest commit object that is read, bytes.
const MAX_COMMIT: usize = 64 << 20;

/// The commit of a revision, or all commits of a range, oldest first.
pub(crate) fn commits(repository: &Path, revision: &str, all: bool) -> Result<Vec<Artifact>, CliError> {
    let ids = if all {
        run(repository, &["rev-list", "--reverse", "--end-of-options", revision, "--"])?
    } else {
        let commit = format!("{revision}^{{commit}}");
        run(repository, &["rev-parse", "--verify", "--end-of-options", &commit])?
    };
    let ids: Vec<&str> = ids.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).collect();
    if ids.is_empty() {
        return Err(git_error(repository, format!("{revision} names no commit")));
    }
    read_objects(repository, &ids)
}

fn git(repository: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository).env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
    command
}

/// Runs git and gives what it printed.
fn run(repository: &Path, arguments: &[&str]) -> Result<String, CliError> {
    let output = git(repository).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| cannot_start(repository, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(git_error(repository, said.trim().to_owned()));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| git_error(repository, "it printed something that is no text".into()))
}

/// Reads commit objects. Ids are written by a thread of their own, because git answers while it is still being asked.
fn read_objects(repository: &Path, ids: &[&str]) -> Result<Vec<Artifact>, CliError> {
    let mut child: Child = git(repository)
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| cannot_start(repository, &error))?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(git_error(repository, "cat-file has no streams".into()));
    };
    let read = std::thread::scope(|scope| {
        scope.spawn(move || {
            for id in ids {
                // Git is gone; what reads its answers will notice.
                if writeln!(stdin, "{id}").is_err() {
                    break;
                }
            }
        });
        let mut answers = BufReader::new(stdout);
        ids.iter().map(|id| read_object(repository, id, &mut answers)).collect::<Result<Vec<_>, _>>()
    });
    if read.is_err() {
        child.kill().ok();
    }
    child.wait().map_err(|error| cannot_start(repository, &error))?;
    read
}

/// One answer: `<id> commit <size>`, the object, a line feed.
fn read_object(
    repository: &Path,
    id: &str,
    answers: &mut BufReader<ChildStdout>,
) -> Result<Artifact, CliError> {
    let broken = |error: std::io::Error| git_error(repository, format!("cat-file stopped at {id}: {error}"));
    let mut head = String::new();
    answers.read_line(&mut head).map_err(broken)?;
    let size = head.trim_end().strip_prefix(id).and_then(|rest| rest.strip_prefix(" commit "));
    let size = size.and_then(|size| size.parse::<usize>().ok()).filter(|size| *size <= MAX_COMMIT);
    let size = size
        .ok_or_else(|| git_error(repository, format!("{id} is no commit: git says {:?}", head.trim_end())))?;
    let mut object = vec![0; size + 1];
    answers.read_exact(&mut object).map_err(broken)?;
    object.truncate(size);
    Ok(artifact(id, &object))
}

fn artifact(id: &str, object: &[u8]) -> Artifact {
    let text = String::from_utf8_lossy(object);
    let subject = text.split_once("\n\n").and_then(|(_, message)| message.lines().next()).unwrap_or_default();
    let metadata = [("git.commit", id), ("git.subject", subject)];
    Artifact {
        name: format!("git:{id}"),
        kind: Kind::Git,
        size: u64::try_from(object.len()).unwrap_or(u64::MAX),
        sha256: sha256(&[object]),
        metadata: metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

fn cannot_start(repository: &Path, error: &std::io::Error) -> CliError {
    git_error(repository, format!("the program git cannot be run: {error}"))
}

fn git_error(repository: &Path, message: String) -> CliError {
    CliError::Git { repository: repository.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git_in(dir: &Path, arguments: &[&str]) -> Vec<u8> {
        let output = git(dir)
            .args(["-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn repository(commits: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        git_in(dir.path(), &["init", "-q"]);
        for number in 0..commits {
            let message = format!("commit {number}\n\nbody {number}\n");
            git_in(dir.path(), &["commit", "-q", "--allow-empty", "-m", &message]);
        }
        dir
    }

    #[test]
    fn a_commit_has_the_digest_of_what_git_prints_of_it() {
        let dir = repository(2);
        let object = git_in(dir.path(), &["cat-file", "commit", "HEAD"]);
        let [commit] = <[Artifact; 1]>::try_from(commits(dir.path(), "HEAD", false).unwrap()).unwrap();
        assert_eq!(commit.sha256, sha256(&[&object]));
        assert_eq!(commit.size, u64::try_from(object.len()).unwrap());
        assert_eq!(commit.metadata["git.subject"], "commit 1");
        let id = String::from_utf8(git_in(dir.path(), &["rev-parse", "HEAD"])).unwrap();
        assert_eq!(commit.name, format!("git:{}", id.trim()));
    }

    #[test]
    fn a_range_is_all_its_commits_from_the_oldest() {
        let dir = repository(300);
        let all = commits(dir.path(), "HEAD", true).unwrap();
        assert_eq!(all.len(), 300);
        assert_eq!(all[0].metadata["git.subject"], "commit 0");
        let last = commits(dir.path(), "HEAD~2..HEAD", true).unwrap();
        assert_eq!(last, all[298..]);
    }

    #[test]
    fn what_git_refuses_is_told_in_its_words() {
        let dir = repository(1);
        for (revision, all) in [("nowhere", false), ("nowhere..HEAD", true), ("HEAD..HEAD", true)] {
            let error = commits(dir.path(), revision, all).unwrap_err();
            assert_eq!(error.exit().0.code(), 1, "{error}");
        }
        let error = commits(Path::new("/nonexistent"), "HEAD", false).unwrap_err().to_string();
        assert!(error.contains("/nonexistent"), "{error}");
    }
}
