//! From what was named to what there is: directories are walked, commits are listed.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Artifact, Found, Kind, Source, git};
use crate::error::CliError;

/// What was found, in the order of the arguments; within a directory, in the order of the names' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    /// Artifacts and files to be read.
    pub(crate) found: Vec<Found>,
    /// Symbolic links below directories: not followed, because they may lead out of them.
    pub(crate) links: usize,
    /// Sockets, pipes and devices: not read.
    pub(crate) special: usize,
}

/// Finds everything. Files and folders with one of the `excluded` names are left out, below directories only.
pub(crate) fn collect(sources: &[Source], excluded: &[String]) -> Result<Collected, CliError> {
    let mut collected = Collected::default();
    for source in sources {
        match source {
            Source::Path(path) => collected.path(path, excluded)?,
            Source::Commits { repository, revision, all } => {
                let commits = git::commits(repository, revision, *all)?;
                collected.found.extend(commits.into_iter().map(Found::Ready));
            }
            Source::Hash(hash) => collected.found.push(Found::Ready(Artifact {
                name: hash.to_string(),
                kind: Kind::Hash,
                size: 0,
                sha256: *hash,
                metadata: [].into(),
            })),
        }
    }
    if collected.found.is_empty() {
        return Err(CliError::usage(
            format!(
                "nothing to hash was found{}",
                collected.left_out().map(|what| format!(": {what}")).unwrap_or_default()
            ),
            "name files, directories with files in them, git://PATH@REV, --git RANGE, or hash:HEX",
        ));
    }
    Ok(collected)
}

impl Collected {
    /// What was seen and left out, for people; `None` if nothing was.
    pub(crate) fn left_out(&self) -> Option<String> {
        match (self.links, self.special) {
            (0, 0) => None,
            (links, 0) => Some(format!("{links} symbolic links not followed")),
            (0, special) => Some(format!("{special} sockets, pipes and devices not read")),
            (links, special) => Some(format!(
                "{links} symbolic links not followed, {special} sockets, pipes and devices not read"
            )),
        }
    }

    /// A path that was named itself: a link there is followed, since that is what was named.
    fn path(&mut self, path: &Path, excluded: &[String]) -> Result<(), CliError> {
        let metadata = fs::metadata(path).map_err(CliError::io("read", path))?;
        if metadata.is_dir() {
            return self.directory(path, excluded);
        }
        if !metadata.is_file() {
            return Err(CliError::usage(
                format!("{} is neither a file nor a directory", path.display()),
                "name regular files; for something else, hash it yourself and give hash:HEX",
            ));
        }
        self.found.push(Found::File(path.to_owned()));
        Ok(())
    }

    /// Everything below a directory. A stack instead of recursion: depth is somebody else's choice.
    fn directory(&mut self, directory: &Path, excluded: &[String]) -> Result<(), CliError> {
        let mut pending = vec![directory.to_owned()];
        while let Some(path) = pending.pop() {
            let kind = fs::symlink_metadata(&path).map_err(CliError::io("read", &path))?.file_type();
            if kind.is_dir() || path == directory {
                let mut below = entries(&path, excluded)?;
                below.reverse();
                pending.append(&mut below);
            } else if kind.is_file() {
                self.found.push(Found::File(path));
            } else if kind.is_symlink() {
                self.links += 1;
            } else {
                self.special += 1;
            }
        }
        Ok(())
    }
}

/// The paths in a directory, by name.
fn entries(directory: &Path, excluded: &[String]) -> Result<Vec<PathBuf>, CliError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(CliError::io("list", directory))? {
        let name = entry.map_err(CliError::io("list", directory))?.file_name();
        if !excluded.iter().any(|excluded| name == excluded.as_str()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in
            [("b/two", "2"), ("b/deep/three", "3"), ("a", "1"), (".git/config", "x"), ("b.txt", "4")]
        {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        symlink("/etc/passwd", dir.path().join("b/link")).unwrap();
        symlink(dir.path(), dir.path().join("b/loop")).unwrap();
        dir
    }

    fn names(dir: &Path, collected: &Collected) -> Vec<String> {
        let name = |found: &Found| match found {
            Found::File(path) => path.strip_prefix(dir).unwrap().display().to_string(),
            Found::Ready(artifact) => artifact.name.clone(),
        };
        collected.found.iter().map(name).collect()
    }

    #[test]
    fn directories_are_walked_in_order_and_links_are_not_followed() {
        let dir = tree();
        let collected = collect(&[Source::Path(dir.path().into())], &[]).unwrap();
        assert_eq!(names(dir.path(), &collected), [".git/config", "a", "b/deep/three", "b/two", "b.txt"]);
        assert_eq!((collected.links, collected.special), (2, 0));
        assert_eq!(collected.left_out().unwrap(), "2 symbolic links not followed");
    }

    #[test]
    fn excluded_names_are_left_out_at_any_depth() {
        let dir = tree();
        let collected = collect(&[Source::Path(dir.path().into())], &[".git".into(), "deep".into()]).unwrap();
        assert_eq!(names(dir.path(), &collected), ["a", "b/two", "b.txt"]);
    }

    #[test]
    fn a_link_that_was_named_itself_is_followed() {
        let dir = tree();
        symlink(dir.path().join("b"), dir.path().join("named")).unwrap();
        let collected = collect(&[Source::Path(dir.path().join("named"))], &[]).unwrap();
        assert_eq!(names(dir.path(), &collected), ["named/deep/three", "named/two"]);
    }

    #[test]
    fn a_missing_path_and_an_empty_directory_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(collect(&[Source::Path(dir.path().into())], &[]).unwrap_err().exit().0.code(), 2);
        let error = collect(&[Source::Path(dir.path().join("gone"))], &[]).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
