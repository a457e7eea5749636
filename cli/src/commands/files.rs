//! Files that commands read and write.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// Longest value that any cluster takes, bytes.
const MAX_VALUE: u64 = 32 << 20;
/// Longest receipt that is read, bytes: values in base64, and their proofs.
const MAX_RECEIPT: u64 = 256 << 20;

/// A value from a file, or from stdin for `-`.
pub(crate) fn read_value(path: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = if path == Path::new("-") {
        read_up_to(io::stdin().lock(), "stdin".as_ref(), MAX_VALUE)?
    } else {
        read_up_to(open(path)?, path, MAX_VALUE)?
    };
    bytes.ok_or_else(|| {
        CliError::usage(
            format!("{} has more than {MAX_VALUE} bytes, more than any value may have", path.display()),
            "`quorate notarize` records a file of any length by its hash",
        )
    })
}

/// A receipt file.
pub(crate) fn read_receipt(path: &Path) -> Result<String, CliError> {
    let bytes = read_up_to(open(path)?, path, MAX_RECEIPT)?;
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| CliError::Unverified {
        message: format!("{} is not text, or too long: it is no receipt", path.display()),
        next:
            "a receipt is a file that --receipt or --receipt-dir wrote; its name usually ends in .tlog-proof"
                .into(),
    })
}

/// `None` if there is more than that.
fn read_up_to(from: impl io::Read, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, CliError> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes).map_err(CliError::io("read", path))?;
    Ok(Some(bytes).filter(|bytes| u64::try_from(bytes.len()).is_ok_and(|len| len <= limit)))
}

fn open(path: &Path) -> Result<File, CliError> {
    File::open(path).map_err(CliError::io("open", path))
}

/// Writes a file as a whole: beside its place, made durable, then renamed into it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new: PathBuf = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(CliError::io("write", &new))?;
    fs::rename(&new, path).map_err(CliError::io("replace", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tlog-proof");
        write_whole(&path, b"1").unwrap();
        write_whole(&path, b"22").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"22");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_whole(&dir.path().join("gone/a"), b"1").unwrap_err().to_string().contains("gone"));
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_read_whole() {
        assert_eq!(read_up_to(io::repeat(0), "x".as_ref(), 10).unwrap(), None);
        assert_eq!(read_up_to(&[0; 10][..], "x".as_ref(), 10).unwrap().unwrap().len(), 10);
    }
}
