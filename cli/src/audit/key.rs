//! The key of an auditor that is a witness.
//!
//! ```text
//! <dir>/witness.key   0600   quorate-witness/v1 \n name \n seed, 64 hex digits \n
//! ```

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use quorate_core::key::CosignerKey;

use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::json;

/// First line of the file.
const HEADER: &str = "quorate-witness/v1";

/// Options of `audit key`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the audit keeps its files
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// What the witness is called: a name of your own, such as auditor.example/one
    #[arg(long, value_name = "NAME")]
    name: String,
}

/// Makes a key, or shows the one that is there.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    fs::create_dir_all(&args.dir).map_err(CliError::io("create directory", &args.dir))?;
    let key = match load(&args.dir)? {
        Some(key) if key.verifier().name() == args.name => key,
        Some(key) => {
            return Err(CliError::usage(
                format!("there is a key already, and it is called {}", key.verifier().name()),
                "a witness has one key for good; use another --dir for another one",
            ));
        }
        None => make(&args.dir, &args.name)?,
    };
    let document = json::WitnessKey { name: args.name.clone(), vkey: key.verifier().to_string() };
    global.output().result("witness_key", &document, |key| format!("{}\n", key.vkey))?;
    global.output().hint("put it into policies as: witness NAME VKEY");
    Ok(Exit::Done)
}

fn make(directory: &Path, name: &str) -> Result<CosignerKey, CliError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| CliError::other(format!("no random numbers: {error}")))?;
    let key = CosignerKey::from_seed(name, &seed)
        .map_err(|error| CliError::usage(format!("--name: {error}"), "such as auditor.example/one"))?;
    let path = directory.join("witness.key");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        file.write_all(format!("{HEADER}\n{name}\n{}\n", hex::encode(seed)).as_bytes())?;
        file.sync_all()
    };
    write().map_err(CliError::io("write key", &path))?;
    Ok(key)
}

/// The key, if there is one.
pub(super) fn load(directory: &Path) -> Result<Option<CosignerKey>, CliError> {
    let path = directory.join("witness.key");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CliError::io("read key", &path)(error)),
    };
    let damaged = || CliError::other(format!("{} is no key of a witness", path.display()));
    let mut lines = text.lines();
    let (header, name, seed) = (lines.next(), lines.next(), lines.next());
    let seed = seed.and_then(|seed| <[u8; 32]>::try_from(hex::decode(seed).ok()?).ok());
    let (Some(HEADER), Some(name), Some(seed)) = (header, name, seed) else {
        return Err(damaged());
    };
    CosignerKey::from_seed(name, &seed).map(Some).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_none());
        let made = make(dir.path(), "auditor.example/one").unwrap();
        assert_eq!(load(dir.path()).unwrap().unwrap().verifier(), made.verifier());
        make(dir.path(), "auditor.example/one").unwrap_err();
        let path = dir.path().join("witness.key");
        let text = fs::read_to_string(&path).unwrap();
        for damaged in ["", "nonsense", &text[..30], &text.replace("v1", "v2")] {
            fs::write(&path, damaged).unwrap();
            load(dir.path()).unwrap_err();
        }
    }
}
