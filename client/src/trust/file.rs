//! A trust store on disk: one small file per log, shared by all processes of a user.
//!
//! Contract: a file is always a whole one. A new checkpoint is written beside it, made durable, and renamed over it,
//! all while an exclusive lock on a third file is held; so of many processes one at a time compares and swaps. After a
//! crash between writing and renaming the old file is still there, and the leftover is overwritten by the next
//! writer. What cannot be read or parsed is [`TrustError::Damaged`]: it is never replaced by itself.
//!
//! ```text
//! <directory>/<origin with + for />.trust     quorate-trust/v1 \n sha256 (hex) of the rest \n the signed note
//! <directory>/….epochs                       quorate-epochs/v1 \n sha256 (hex) of the rest \n proofs of changes of replicas
//! <directory>/….lock                          empty; locked while one process compares and swaps
//! <directory>/….new                           what is being written
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use quorate_core::checkpoint::Checkpoint;
use quorate_core::hash::sha256;
use quorate_core::note::SignedNote;

use super::{Swap, TrustStore, may_replace};
use crate::error::TrustError;

/// First line of every file.
const HEADER: &str = "quorate-trust/v1";
/// First line of a file of proofs.
const EPOCHS_HEADER: &str = "quorate-epochs/v1";
/// Longest file of proofs that is read.
const MAX_EPOCHS: u64 = 64 << 20;
/// Longest file that is read: a note with all the signatures it can have, and two lines.
const MAX_FILE: u64 = (1 << 20) + 128;
/// Longest file name that an origin is spelled out in; beyond it, the end gives way to its hash.
const MAX_STEM: usize = 180;

/// Believed checkpoints as files in a directory, 0700, files 0600.
#[derive(Debug, Clone)]
pub struct FileTrust {
    directory: PathBuf,
}

impl FileTrust {
    /// The store in this directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`TrustError::Io`].
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, TrustError> {
        let directory = directory.into();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|error| io_error("create directory", &directory, &error))?;
        Ok(Self { directory })
    }

    /// The file that holds the checkpoint of this log.
    #[must_use]
    pub fn path_of(&self, origin: &str) -> PathBuf {
        self.path(origin, "trust")
    }

    fn path(&self, origin: &str, extension: &str) -> PathBuf {
        let keep = |letter: char| {
            if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '+' }
        };
        let mut stem: String = origin.chars().map(keep).collect();
        // Only origins of the usual alphabet and length are spelled out one to one.
        let is_plain =
            origin.chars().all(|letter| letter == '/' || (keep(letter) == letter && letter != '+'));
        if !is_plain || stem.len() > MAX_STEM || stem.starts_with('.') {
            stem.truncate(MAX_STEM);
            stem = format!("_{stem}+{}", sha256(&[origin.as_bytes()]));
        }
        self.directory.join(format!("{stem}.{extension}"))
    }

    /// Waits for the lock of a log; it is released when the file is dropped.
    fn lock(&self, origin: &str) -> Result<File, TrustError> {
        let path = self.path(origin, "lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| io_error("open", &path, &error))?;
        file.lock().map_err(|error| io_error("lock", &path, &error))?;
        Ok(file)
    }

    /// Writes beside the file and renames. If this process dies in between, the old file is still whole.
    fn replace(&self, origin: &str, path: &Path, bytes: &[u8]) -> Result<(), TrustError> {
        let new = self.path(origin, "new");
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|error| io_error("write", &new, &error))?;
        fs::rename(&new, path).map_err(|error| io_error("rename to", path, &error))?;
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| io_error("sync directory", &self.directory, &error))
    }
}

impl TrustStore for FileTrust {
    fn load(&self, origin: &str) -> Result<Option<SignedNote>, TrustError> {
        let path = self.path_of(origin);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &path, &error)),
        };
        let text = read(&file, &path)?;
        let note = parse(&text).map_err(|reason| TrustError::Damaged { path: path.clone(), reason })?;
        let got = &note.checkpoint().origin;
        if got != origin {
            let reason = format!("it is about {got}, not about {origin}");
            return Err(TrustError::Damaged { path, reason });
        }
        Ok(Some(note))
    }

    fn compare_and_swap(&self, expected: Option<&Checkpoint>, new: &SignedNote) -> Result<Swap, TrustError> {
        let origin = &new.checkpoint().origin;
        let lock = self.lock(origin)?;
        let stored = self.load(origin)?;
        if !may_replace(stored.as_ref(), expected, new)? {
            return Ok(Swap::Changed(stored));
        }
        self.replace(origin, &self.path_of(origin), print(new).as_bytes())?;
        drop(lock);
        Ok(Swap::Done)
    }

    fn load_epochs(&self, origin: &str) -> Result<Option<Vec<u8>>, TrustError> {
        let path = self.path(origin, "epochs");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &path, &error)),
        };
        let mut bytes = Vec::new();
        let mut limited = io::Read::take(file, MAX_EPOCHS + 1);
        io::Read::read_to_end(&mut limited, &mut bytes).map_err(|error| io_error("read", &path, &error))?;
        let proofs = parse_epochs(&bytes).map(<[u8]>::to_vec);
        proofs.map(Some).map_err(|reason| TrustError::Damaged { path, reason: reason.to_owned() })
    }

    fn swap_epochs(
        &self,
        origin: &str,
        new: &[u8],
        is_older: &dyn Fn(&[u8]) -> bool,
    ) -> Result<(), TrustError> {
        let lock = self.lock(origin)?;
        if self.load_epochs(origin)?.is_none_or(|stored| is_older(&stored)) {
            let head = format!("{EPOCHS_HEADER}\n{}\n", sha256(&[new]));
            self.replace(origin, &self.path(origin, "epochs"), &[head.as_bytes(), new].concat())?;
        }
        drop(lock);
        Ok(())
    }
}

fn parse_epochs(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    if parts.next() != Some(EPOCHS_HEADER.as_bytes()) {
        return Err("it does not begin with the line quorate-epochs/v1");
    }
    let (Some(digest), Some(proofs)) = (parts.next(), parts.next()) else {
        return Err("it is cut off");
    };
    match sha256(&[proofs]).to_string().as_bytes() == digest {
        true => Ok(proofs),
        false => Err("its checksum differs"),
    }
}

fn print(note: &SignedNote) -> String {
    let note = note.to_string();
    format!("{HEADER}\n{}\n{note}", sha256(&[note.as_bytes()]))
}

fn parse(text: &str) -> Result<SignedNote, String> {
    let mut parts = text.splitn(3, '\n');
    if parts.next() != Some(HEADER) {
        return Err(format!("it does not begin with the line {HEADER}"));
    }
    let (Some(digest), Some(note)) = (parts.next(), parts.next()) else {
        return Err("it is cut off".to_owned());
    };
    if sha256(&[note.as_bytes()]).to_string() != digest {
        return Err("its checksum differs".to_owned());
    }
    SignedNote::parse(note).map_err(|error| error.to_string())
}

fn read(file: &File, path: &Path) -> Result<String, TrustError> {
    let mut bytes = Vec::new();
    let mut limited = io::Read::take(file, MAX_FILE + 1);
    io::Read::read_to_end(&mut limited, &mut bytes).map_err(|error| io_error("read", path, &error))?;
    let damaged = |reason: &str| TrustError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE) {
        return Err(damaged("it is far too long"));
    }
    String::from_utf8(bytes).map_err(|_| damaged("it is no text"))
}

fn io_error(action: &'static str, path: &Path, error: &io::Error) -> TrustError {
    TrustError::Io { action, path: path.to_owned(), reason: error.to_string() }
}
