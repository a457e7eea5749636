//! The comparison with other systems (`tests/compare/run`) never compares with nothing: who is missing is named, before
//! anything is started. The comparison itself is no test; docs/performance.md says how to run it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{process::Command, time::Duration};

use quorate_tests::{cluster::binary, house, process};

const LIMIT: Duration = Duration::from_secs(30);

/// Whether the script can be run. Without Python this test says loudly that it was skipped, or fails if that is asked for.
fn has_python() -> bool {
    let found = Command::new("python3").arg("-V").output().is_ok_and(|output| output.status.success());
    let must = std::env::var_os("QUORATE_NO_SKIP").is_some_and(|value| !value.is_empty());
    assert!(found || !must, "python3 cannot be run, and QUORATE_NO_SKIP is set: apt-get install python3");
    if !found {
        eprintln!("\n!!! SKIPPED: the comparison: python3 cannot be run (apt-get install python3)\n");
    }
    found
}

/// What a script says on standard error, and whether it ended well.
fn script(name: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(house::root().join("tests/compare").join(name));
    let output = process::output(command.args(arguments), LIMIT);
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

fn compare(arguments: &[&str]) -> (bool, String) {
    script("run", arguments)
}

/// Every curve at its smallest, on real nodes: there are tables and pictures of all of them.
#[test]
fn the_curves_are_drawn() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let here = binary().display().to_string();
    let smallest = "--rounds 1 --seconds 1 --overload-seconds 1 --clients 1,2 --values 16,32 --keys 1000,2000 --ledgers 1,3 --nodes 1,3";
    let mut arguments = vec!["--quorate", &here, "--out", &out];
    arguments.extend(smallest.split(' '));
    let mut command = Command::new(house::root().join("tests/compare/curves"));
    let output = process::output(command.args(&arguments), LIMIT * 10);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tables = String::from_utf8(output.stdout).unwrap();
    for (name, rows) in
        [("clients", 2), ("values", 2), ("keys", 2), ("ledgers", 2), ("nodes", 2), ("overload", 3)]
    {
        let picture = std::fs::read_to_string(folder.path().join(format!("{name}.svg"))).unwrap();
        assert!(
            picture.matches("<circle").count() >= rows && picture.ends_with("</svg>\n"),
            "{name}: {picture}"
        );
    }
    assert_eq!(tables.lines().filter(|line| line.starts_with("**")).count(), 6, "{tables}");
    let (ended_well, said) = script("curves", &["--quorate", "no-such-quorate"]);
    assert!(!ended_well && said.contains("no-such-quorate is missing: build it with"), "{said}");
    let (ended_well, said) = script("curves", &["--quorate", &here, "--only", "clouds"]);
    assert!(!ended_well && said.contains("--only takes clients"), "{said}");
}

#[test]
fn who_is_missing_is_named() {
    if !has_python() {
        return;
    }
    let here = binary().display().to_string();
    let (ended_well, said) = compare(&["--quorate", "no-such-quorate", "--echo", &here]);
    assert!(!ended_well && said.contains("no-such-quorate is missing: build it with"), "{said}");
    let (ended_well, said) = compare(&["--quorate", &here, "--echo", "no-such-echo"]);
    assert!(!ended_well && said.contains("no-such-echo is missing: build it with"), "{said}");
    let (ended_well, said) = compare(&["--quorate", &here, "--echo", &here, "--etcd", "no-such-etcd"]);
    assert!(
        !ended_well && said.contains("no-such-etcd is missing: there is nothing to compare with"),
        "{said}"
    );
    let (ended_well, said) = compare(&["--help"]);
    assert!(ended_well, "{said}");
}
