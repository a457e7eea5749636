//! The directory of a state store: whose it is, and which database in it is the present one.
//!
//! `IDENTITY` (text: format, cluster, node, checksum) · `CURRENT` (the name of a database directory) ·
//! `db-<number>/` (RocksDB) · `snapshot-<number>/` (a copy; all but the one that stands are of this run only) · `STANDING` (the
//! name of that one, and what certifies it) · `incoming/` (what was received of a snapshot so far) · `SCRUBBED` (when everything was read and found right last) · `DAMAGED` (why this state is not to be used any
//! more; there only when damage was found).
//!
//! **If we crash**: a new store is made under another name and renamed as a whole, so it is there completely or not
//! at all. `CURRENT` is replaced by rename, after what it names is complete and synced; so at any moment it names a
//! complete database, the old or the new one. Every other database is removed at the next start, and every copy but the one
//! that `STANDING` names; what was received of a snapshot is kept, and the transfer goes on with it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use quorate_core::hash::sha256;

use crate::store::{
    faults::{OpenError, StoreFault},
    log::Identity,
};

/// The newest format of everything the state store writes.
pub const FORMAT_VERSION: u32 = 2;

const IDENTITY: &str = "IDENTITY";
const CURRENT: &str = "CURRENT";
/// Which copy stands, and what its owner noted of it.
const STANDING: &str = "STANDING";
/// When a scrubbing pass ended last, seconds since the Unix epoch.
const SCRUBBED: &str = "SCRUBBED";
/// Why this state must not be used any more.
const DAMAGED: &str = "DAMAGED";
const TEMPORARY: &str = "tmp";
const DATABASE: &str = "db-";
const SNAPSHOT: &str = "snapshot-";
const INCOMING: &str = "incoming";

/// The directory of an open state store.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes the directory `path` complete or not at all: `fill` makes the first database at the path it gets.
    pub(crate) fn create<E: From<OpenError> + From<StoreFault>>(
        path: &Path,
        identity: Identity,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(found) = first_entry(path)? {
            return Err(OpenError::NotQuorate { path: path.to_owned(), found }.into());
        }
        let new = path.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new).map_err(|error| StoreFault::file(&new, "removing", &error))?;
        }
        fs::create_dir_all(&new).map_err(|error| StoreFault::file(&new, "creating", &error))?;
        let making = Self { path: new.clone() };
        let name = format!("{DATABASE}1");
        fill(&new.join(&name))?;
        making.replace(IDENTITY, &identity_text(identity))?;
        making.set_current(&name)?;
        if path.exists() {
            fs::remove_dir(path).map_err(|error| StoreFault::file(path, "removing", &error))?;
        }
        fs::rename(&new, path).map_err(|error| StoreFault::file(path, "renaming", &error))?;
        sync_directory(parent(path))?;
        Ok(())
    }

    /// Opens the directory, checks who it belongs to, and removes what an earlier run left half-way.
    /// Returns it with the path of the present database.
    pub(crate) fn open(path: &Path, identity: Identity) -> Result<(Self, PathBuf), OpenError> {
        Self::check(path, identity)?;
        let directory = Self { path: path.to_owned() };
        let current = directory.current()?;
        directory.clean(&current)?;
        Ok((directory, path.join(current)))
    }

    /// Checks who the directory belongs to, and gives the path of the present database. Only reads.
    pub(crate) fn inspect(path: &Path, identity: Identity) -> Result<PathBuf, OpenError> {
        let directory = Self { path: path.to_owned() };
        directory.check_identity(identity)?;
        Ok(path.join(directory.current()?))
    }

    /// Checks who the directory belongs to and whether damage was found in it. Only reads.
    pub(crate) fn check(path: &Path, identity: Identity) -> Result<(), OpenError> {
        let directory = Self { path: path.to_owned() };
        directory.check_identity(identity)?;
        Ok(directory.check_condemned()?)
    }

    /// The directory at `path`, unchecked: for what only reads notes in it.
    pub(crate) fn unchecked(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// A path for a snapshot that is being taken; nothing is there.
    pub(crate) fn new_snapshot(&self) -> Result<PathBuf, StoreFault> {
        self.unused(SNAPSHOT)
    }

    /// Notes that the snapshot in `path` stands. When this returns it is so after a crash too.
    pub(crate) fn keep_snapshot(&self, path: &Path, label: &[u8]) -> Result<(), StoreFault> {
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| name.starts_with(SNAPSHOT));
        let name = name.ok_or_else(|| {
            StoreFault::mismatch(path.display().to_string(), "the directory of a snapshot", "another name")
        })?;
        self.replace(STANDING, &standing_text(name, label))
    }

    /// The snapshot that stands, with its label. What cannot be read says nothing: another one is made.
    pub(crate) fn kept_snapshot(&self) -> Option<(PathBuf, Vec<u8>)> {
        let text = fs::read_to_string(self.path.join(STANDING)).ok()?;
        let Some((name, label)) = parse_standing(&text) else {
            tracing::warn!(file = STANDING, "it does not match its checksum, and is not used");
            return None;
        };
        let path = self.path.join(name);
        path.is_dir().then_some((path, label))
    }

    /// The path of the snapshot that is being received.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.path.join(INCOMING)
    }

    /// Gives a complete and synced database that was received its final name. It is not the present one yet.
    pub(crate) fn adopt(&self, incoming: &Path) -> Result<PathBuf, StoreFault> {
        let path = self.unused(DATABASE)?;
        fs::rename(incoming, &path).map_err(|error| StoreFault::file(incoming, "renaming", &error))?;
        sync_directory(&self.path)?;
        Ok(path)
    }

    /// Makes `database` the present one. When this returns it is so after a crash too.
    pub(crate) fn make_current(&self, database: &Path) -> Result<(), StoreFault> {
        let name = database.file_name().and_then(|name| name.to_str());
        let name = name.filter(|name| is_database(name)).ok_or_else(|| {
            StoreFault::mismatch(database.display().to_string(), "a database directory", "another name")
        })?;
        self.set_current(name)
    }

    /// When a scrubbing pass ended last, as noted; what cannot be read says nothing.
    pub(crate) fn scrubbed_at(&self) -> Option<u64> {
        fs::read_to_string(self.path.join(SCRUBBED)).ok()?.trim_end().parse().ok()
    }

    /// Notes that a scrubbing pass ended.
    pub(crate) fn note_scrubbed(&self, seconds: u64) -> Result<(), StoreFault> {
        self.replace(SCRUBBED, &format!("{seconds}\n"))
    }

    /// Notes for ever that what is stored here is damaged. The first note stays.
    pub(crate) fn condemn(&self, why: &str) -> Result<(), StoreFault> {
        if self.path.join(DAMAGED).exists() { Ok(()) } else { self.replace(DAMAGED, &format!("{why}\n")) }
    }

    fn check_condemned(&self) -> Result<(), StoreFault> {
        let path = self.path.join(DAMAGED);
        match fs::read_to_string(&path) {
            Ok(why) => {
                let problem = format!("damage was found here before: {}", why.trim_end());
                Err(StoreFault::damaged(path.display().to_string(), problem))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreFault::file(&path, "reading", &error)),
        }
    }

    fn check_identity(&self, expected: Identity) -> Result<(), OpenError> {
        let path = self.path.join(IDENTITY);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.path.join(CURRENT).exists() => {
                let path = self.path.clone();
                return Err(match first_entry(&path)? {
                    Some(found) => OpenError::NotQuorate { path, found },
                    None => StoreFault::file(&path, "opening", &error).into(),
                });
            }
            Err(error) => return Err(StoreFault::file(&path, "reading", &error).into()),
        };
        let found = parse_identity(&text).ok_or_else(|| {
            StoreFault::damaged(path.display().to_string(), "the file does not match its checksum")
        })?;
        if found.format > FORMAT_VERSION {
            let path = self.path.clone();
            return Err(OpenError::NewerFormat { path, known: FORMAT_VERSION, found: found.format });
        }
        if found.format < FORMAT_VERSION {
            let path = self.path.clone();
            return Err(OpenError::OlderFormat { path, known: FORMAT_VERSION, found: found.format });
        }
        let cluster = hex::encode(expected.cluster_id);
        if found.cluster != cluster {
            let path = self.path.clone();
            return Err(OpenError::OtherCluster { path, expected: cluster, found: found.cluster.to_owned() });
        }
        if found.node != expected.node_id {
            let path = self.path.clone();
            return Err(OpenError::OtherNode { path, expected: expected.node_id, found: found.node });
        }
        Ok(())
    }

    fn current(&self) -> Result<String, StoreFault> {
        let path = self.path.join(CURRENT);
        let text = fs::read_to_string(&path).map_err(|error| StoreFault::file(&path, "reading", &error))?;
        let name = text.strip_suffix('\n').filter(|name| is_database(name));
        let name = name.ok_or_else(|| {
            StoreFault::mismatch(
                path.display().to_string(),
                "the name of a database directory",
                format!("{text:?}"),
            )
        })?;
        if !self.path.join(name).is_dir() {
            let problem = format!("there is no directory {name} beside it");
            return Err(StoreFault::damaged(path.display().to_string(), problem));
        }
        Ok(name.to_owned())
    }

    fn set_current(&self, name: &str) -> Result<(), StoreFault> {
        self.replace(CURRENT, &format!("{name}\n"))
    }

    /// Writes a file by rename: it has the old text or the new one, never a part.
    fn replace(&self, name: &str, text: &str) -> Result<(), StoreFault> {
        let path = self.path.join(name);
        let temporary = path.with_extension(TEMPORARY);
        let fault = |error: io::Error| StoreFault::file(&temporary, "writing", &error);
        let mut file = File::create(&temporary).map_err(fault)?;
        file.write_all(text.as_bytes()).map_err(fault)?;
        file.sync_all().map_err(fault)?;
        fs::rename(&temporary, &path).map_err(|error| StoreFault::file(&path, "renaming", &error))?;
        sync_directory(&self.path)
    }

    /// Removes what `current` does not need. Only names of our own making are touched.
    fn clean(&self, current: &str) -> Result<(), StoreFault> {
        let standing = self.kept_snapshot().map(|(path, _)| path);
        for name in entries(&self.path)? {
            let path = self.path.join(&name);
            let ours = [DATABASE, SNAPSHOT].iter().any(|prefix| name.starts_with(prefix));
            let is_needed = name == current || standing.as_ref() == Some(&path);
            let result = if ours && !is_needed && path.is_dir() {
                fs::remove_dir_all(&path)
            } else if [IDENTITY, CURRENT, STANDING, SCRUBBED, DAMAGED]
                .iter()
                .any(|file| name == format!("{file}.{TEMPORARY}"))
            {
                fs::remove_file(&path)
            } else {
                continue;
            };
            result.map_err(|error| StoreFault::file(&path, "removing", &error))?;
        }
        Ok(())
    }

    fn unused(&self, prefix: &str) -> Result<PathBuf, StoreFault> {
        let numbers = entries(&self.path)?;
        let numbers = numbers.iter().filter_map(|name| name.strip_prefix(prefix)?.parse::<u64>().ok());
        let next = numbers.max().unwrap_or(0) + 1;
        Ok(self.path.join(format!("{prefix}{next}")))
    }
}

fn is_database(name: &str) -> bool {
    let number = name.strip_prefix(DATABASE);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

struct FoundIdentity<'t> {
    format: u32,
    cluster: &'t str,
    node: u64,
}

fn identity_text(identity: Identity) -> String {
    let cluster = hex::encode(identity.cluster_id);
    let facts = format!("quorate-state {FORMAT_VERSION}\ncluster {cluster}\nnode {}\n", identity.node_id);
    let checksum = sha256(&[facts.as_bytes()]);
    format!("{facts}sha256 {checksum}\n")
}

fn parse_identity(text: &str) -> Option<FoundIdentity<'_>> {
    let mut lines = checked(text)?.lines();
    Some(FoundIdentity {
        format: lines.next()?.strip_prefix("quorate-state ")?.parse().ok()?,
        cluster: lines.next()?.strip_prefix("cluster ")?,
        node: lines.next()?.strip_prefix("node ")?.parse().ok()?,
    })
}

fn standing_text(name: &str, label: &[u8]) -> String {
    let facts = format!("quorate-snapshot 1\nname {name}\nlabel {}\n", hex::encode(label));
    let checksum = sha256(&[facts.as_bytes()]);
    format!("{facts}sha256 {checksum}\n")
}

fn parse_standing(text: &str) -> Option<(&str, Vec<u8>)> {
    let mut lines = checked(text)?.lines();
    let known = lines.next()? == "quorate-snapshot 1";
    let name = lines.next()?.strip_prefix("name ")?;
    let number = name.strip_prefix(SNAPSHOT)?;
    let label = hex::decode(lines.next()?.strip_prefix("label ")?).ok()?;
    (known && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some((name, label))
}

/// The text before its last line, which has to be the checksum of it.
fn checked(text: &str) -> Option<&str> {
    let (facts, checksum) = text.strip_suffix('\n')?.rsplit_once("\nsha256 ")?;
    let facts = text.get(..=facts.len())?;
    (sha256(&[facts.as_bytes()]).to_string() == checksum).then_some(facts)
}

/// The names in a directory, sorted.
fn entries(path: &Path) -> Result<Vec<String>, StoreFault> {
    let fault = |error: io::Error| StoreFault::file(path, "listing", &error);
    let mut names = fs::read_dir(path)
        .map_err(fault)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(fault))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort();
    Ok(names)
}

/// The first name in a directory, `None` when it is empty or does not exist.
fn first_entry(path: &Path) -> Result<Option<String>, StoreFault> {
    if path.exists() { Ok(entries(path)?.into_iter().next()) } else { Ok(None) }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreFault> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| StoreFault::file(path, "syncing", &error))
}

/// Makes a file's bytes durable.
pub(crate) fn sync_file(path: &Path) -> Result<(), StoreFault> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| StoreFault::file(path, "syncing", &error))
}
