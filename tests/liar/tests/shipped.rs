//! Nothing of the liar is in what is shipped.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, process::Command};

use quorate_liar::MARKER;
use quorate_tests::{cluster::binary, house::root};

fn has_marker(program: &std::path::Path) -> bool {
    let bytes = fs::read(program).unwrap();
    bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
}

#[test]
fn the_marker_is_in_the_liar_and_not_in_the_product() {
    assert!(has_marker(env!("CARGO_BIN_EXE_quorate-liar").as_ref()));
    assert!(!has_marker(&binary()), "{} has the liar in it", binary().display());
}

#[test]
fn no_package_that_is_shipped_depends_on_it() {
    for package in [
        "quorate-cli",
        "quorate-node",
        "quorate-client",
        "quorate-audit",
        "quorate-archive",
        "quorate-core",
        "quorate-proto",
        "quorate-ledger",
    ] {
        let mut tree = Command::new(env!("CARGO"));
        tree.args(["tree", "--locked", "--edges", "all", "--prefix", "none", "--package", package]);
        let output = tree.current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(tree.starts_with(package), "{tree}");
        assert!(!tree.contains("quorate-liar") && !tree.contains("quorate-tests"), "{package}:\n{tree}");
    }
}
