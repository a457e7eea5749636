//! Secrets on disk.

use std::{fs, os::unix::fs::PermissionsExt};

use super::super::files::{
    FileError, check_private_dir, create_private_dir, read_public, read_secret, write_public, write_secret,
};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_secret_is_closed_to_others_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let private = dir.path().join("a/b");
    create_private_dir(&private).unwrap();
    assert_eq!(mode(&private), 0o700);
    let (secret, public) = (private.join("key"), private.join("crt"));
    write_secret(&secret, b"hidden").unwrap();
    write_public(&public, b"shown").unwrap();
    assert_eq!((mode(&secret), mode(&public)), (0o600, 0o644));
    assert_eq!(read_secret(&secret).unwrap().as_slice(), b"hidden");
    assert_eq!(read_public(&public).unwrap(), b"shown");
    assert!(matches!(write_secret(&secret, b"other"), Err(FileError::Io { .. })));
    assert_eq!(read_secret(&secret).unwrap().as_slice(), b"hidden");
}

#[test]
fn an_open_secret_is_refused_with_the_command_that_closes_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    write_secret(&path, b"hidden").unwrap();
    for open in [0o640, 0o604, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        let text = read_secret(&path).unwrap_err().to_string();
        assert!(text.contains(&format!("{open:04o}")), "{text}");
        assert!(text.contains(&format!("chmod 600 {}", path.display())), "{text}");
    }
}

#[test]
fn an_open_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let text = check_private_dir(dir.path()).unwrap_err().to_string();
    assert!(text.contains("0750") && text.contains("chmod 700"), "{text}");
    assert!(matches!(create_private_dir(dir.path()), Err(FileError::OpenDirectory { .. })));
    let file = dir.path().join("file");
    write_secret(&file, b"").unwrap();
    assert!(check_private_dir(&file).is_err());
}

#[test]
fn a_missing_or_huge_file_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("absent.key");
    assert!(read_secret(&path).unwrap_err().to_string().contains("absent.key"));
    let huge = dir.path().join("huge.crt");
    write_public(&huge, &vec![b'x'; (1 << 20) + 1]).unwrap();
    assert!(matches!(read_public(&huge), Err(FileError::TooLong { .. })));
}
