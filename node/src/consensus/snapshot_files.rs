//! The files of a snapshot that is being received: what is here already, and how the rest is written.
//!
//! A file that is whole has its name; one that is not is named by the hash it will have, with the ending `.part`. Hashes
//! are recomputed from the bytes on disk when a transfer goes on, so neither a crash nor a damaged disk is believed, and
//! whatever an offer does not name is removed. *Crash here:* what is on disk is taken up by the next offer.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use quorate_proto::peer::v1 as pb;
use sha2::{Digest, Sha256};

use super::{codec::Malformed, guard::Refusal, snapshot_kept::digest};

/// The ending of files that are not whole yet.
pub(super) const PART: &str = ".part";

/// After so many bytes of a file they are put on the disk: a whole file at once would keep a log on the same disk waiting.
const SYNC_EVERY: u64 = 8 << 20;

/// A part of a file that is missing: which file, and from where.
pub(super) type Part = (usize, u64);

/// What of `files` is missing in `dir`, by ascending file. Removes from it what belongs to none of them.
pub(super) fn missing(dir: &Path, files: &[pb::SnapshotFile]) -> io::Result<Vec<Part>> {
    let by_name: BTreeMap<&str, usize> = files.iter().map(|file| file.name.as_str()).zip(0..).collect();
    let mut offsets: Vec<Option<u64>> = vec![Some(0); files.len()];
    let mut parts = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if let Some(number) = by_name.get(name.as_str()).copied()
            && is_whole(&path, &files[number])?
        {
            offsets[number] = None;
        } else if name.ends_with(PART) && entry.file_type()?.is_file() {
            parts.insert(name, (path, entry.metadata()?.len()));
        } else {
            remove(&path)?;
        }
    }
    for (file, offset) in files.iter().zip(&mut offsets).filter(|(_, offset)| offset.is_some()) {
        let part = parts.remove(&part_name(file)).filter(|(_, length)| *length < file.size);
        *offset = Some(part.map_or(0, |(_, length)| length));
    }
    // What is left belongs to no file that is missing.
    for (path, _) in parts.into_values() {
        remove(&path)?;
    }
    let missing = offsets.into_iter().enumerate();
    let missing: Vec<Part> = missing.filter_map(|(number, offset)| Some((number, offset?))).collect();
    for (number, _) in missing.iter().filter(|(_, offset)| *offset == 0) {
        // One that is longer than the file, or empty.
        remove(&dir.join(part_name(&files[*number])))?;
    }
    Ok(missing)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn is_whole(path: &Path, file: &pb::SnapshotFile) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() || metadata.len() != file.size {
        return Ok(false);
    }
    let (_, hash) = digest(&mut File::open(path)?, u64::MAX, |_| ())?;
    Ok(hash.finalize().as_slice() == file.sha256)
}

fn part_name(file: &pb::SnapshotFile) -> String {
    format!("{}{PART}", hex::encode(&file.sha256))
}

/// The file that is being written.
struct Open {
    file: File,
    hash: Sha256,
    written: u64,
}

/// Writes the missing parts one after the other, exactly as they were asked for.
pub(super) struct Writer {
    dir: PathBuf,
    files: Vec<pb::SnapshotFile>,
    missing: std::vec::IntoIter<Part>,
    /// The part that comes next or is being written.
    next: Option<Part>,
    open: Option<Open>,
}

impl Writer {
    pub(super) fn new(dir: PathBuf, files: Vec<pb::SnapshotFile>, missing: Vec<Part>) -> Self {
        let mut missing = missing.into_iter();
        let next = missing.next();
        Self { dir, files, missing, next, open: None }
    }

    /// Writes a piece.
    pub(super) fn take(&mut self, data: &pb::SnapshotData) -> Result<(), Refusal> {
        let wanted = self.next.filter(|(number, _)| usize::try_from(data.file) == Ok(*number));
        let file = wanted.and_then(|(number, offset)| Some((self.files.get(number)?.clone(), offset)));
        let Some((file, offset)) = file else {
            return Err(Malformed(format!("a piece of file {} was not asked for", data.file)).into());
        };
        let part = self.dir.join(part_name(&file));
        let fault = |e: io::Error| Refusal::Fault(format!("{}: {e}", part.display()));
        let mut open = match self.open.take() {
            Some(open) => open,
            None => resume(&part, offset).map_err(fault)?,
        };
        let length = u64::try_from(data.data.len()).unwrap_or(u64::MAX);
        let end = open.written.saturating_add(length);
        let complete = end == file.size;
        if data.offset != open.written || end > file.size || complete != data.last {
            let (name, at, size) = (&file.name, data.offset, file.size);
            return Err(Malformed(format!("{name}: {length} bytes at {at} of {size}")).into());
        }
        open.file.write_all(&data.data).map_err(fault)?;
        open.hash.update(&data.data);
        if open.written / SYNC_EVERY != end / SYNC_EVERY {
            open.file.sync_data().map_err(fault)?;
        }
        open.written = end;
        if !complete {
            self.open = Some(open);
            return Ok(());
        }
        if open.hash.finalize().as_slice() != file.sha256 {
            fs::remove_file(&part).map_err(fault)?;
            return Err(Malformed(format!("{}: the bytes do not match their hash", file.name)).into());
        }
        open.file.sync_all().map_err(fault)?;
        fs::rename(&part, self.dir.join(&file.name)).map_err(fault)?;
        self.next = self.missing.next();
        Ok(())
    }

    /// Nothing more comes: all has to be here.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        if let Some((number, _)) = self.next {
            return Err(Malformed(format!("the snapshot ends before file {number} is whole")).into());
        }
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(|e| Refusal::Fault(format!("{}: {e}", self.dir.display())))
    }
}

/// Opens a part to go on at `offset`; hashes what it has.
fn resume(part: &Path, offset: u64) -> io::Result<Open> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).open(part)?;
    let (written, hash) = digest(&mut File::open(part)?, u64::MAX, |_| ())?;
    if written != offset {
        return Err(io::Error::other(format!("it has {written} bytes and had {offset}")));
    }
    Ok(Open { file, hash, written })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &[u8]) -> pb::SnapshotFile {
        let size = u64::try_from(bytes.len()).unwrap();
        pb::SnapshotFile { name: name.to_owned(), size, sha256: Sha256::digest(bytes).to_vec().into() }
    }

    fn piece(file: u32, offset: u64, bytes: &'static [u8], last: bool) -> pb::SnapshotData {
        pb::SnapshotData { file, offset, data: bytes.into(), last }
    }

    #[test]
    fn what_arrived_is_taken_up_and_what_is_wrong_is_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let files = [file("a", b"first"), file("b", b"second"), file("c", b""), file("d", b"fourth")];
        fs::write(at("a"), b"first").unwrap();
        fs::write(at("b"), b"sEcond").unwrap();
        fs::write(at("stranger"), b"x").unwrap();
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("0000.part"), b"of another snapshot").unwrap();
        fs::write(at(&part_name(&files[3])), b"fou").unwrap();
        assert_eq!(missing(dir.path(), &files).unwrap(), [(1, 0), (2, 0), (3, 3)]);
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected = vec!["a".to_owned(), part_name(&files[3])];
        expected.sort();
        assert_eq!(left, expected);
        // A part that is as long as the file, or longer, is none.
        fs::write(at(&part_name(&files[3])), b"fourth and more").unwrap();
        assert_eq!(missing(dir.path(), &files).unwrap(), [(1, 0), (2, 0), (3, 0)]);
    }

    #[test]
    fn parts_become_files_when_their_hash_is_right() {
        let dir = tempfile::tempdir().unwrap();
        let files = vec![file("a", b"first"), file("b", b"second"), file("c", b"")];
        fs::write(dir.path().join(part_name(&files[1])), b"sec").unwrap();
        let wanted = missing(dir.path(), &files).unwrap();
        let mut writer = Writer::new(dir.path().to_owned(), files.clone(), wanted);
        writer.take(&piece(0, 0, b"fi", false)).unwrap();
        writer.take(&piece(0, 2, b"rst", true)).unwrap();
        writer.take(&piece(1, 3, b"ond", true)).unwrap();
        writer.take(&piece(2, 0, b"", true)).unwrap();
        writer.finish().unwrap();
        assert_eq!(missing(dir.path(), &files).unwrap(), []);
    }

    #[test]
    fn a_part_that_was_damaged_on_disk_is_found_by_its_hash_and_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        let files = vec![file("b", b"second")];
        fs::write(dir.path().join(part_name(&files[0])), b"sEc").unwrap();
        let wanted = missing(dir.path(), &files).unwrap();
        assert_eq!(wanted, [(0, 3)]);
        let mut writer = Writer::new(dir.path().to_owned(), files.clone(), wanted);
        let refused = writer.take(&piece(0, 3, b"ond", true)).unwrap_err();
        assert!(refused.to_string().contains("do not match"), "{refused}");
        assert_eq!(missing(dir.path(), &files).unwrap(), [(0, 0)]);
    }

    #[test]
    fn pieces_that_were_not_asked_for_are_refused() {
        for wrong in [
            piece(1, 0, b"x", false),
            piece(0, 1, b"x", false),
            piece(0, 0, b"first and more", true),
            piece(0, 0, b"first", false),
            piece(0, 0, b"fir", true),
            piece(9, 0, b"", true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let files = vec![file("a", b"first"), file("b", b"second")];
            let mut writer = Writer::new(dir.path().to_owned(), files, vec![(0, 0), (1, 0)]);
            assert!(matches!(writer.take(&wrong), Err(Refusal::Malformed(_))), "{wrong:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::new(dir.path().to_owned(), vec![file("a", b"first")], vec![(0, 0)]);
        assert!(matches!(writer.finish(), Err(Refusal::Malformed(_))));
    }
}
