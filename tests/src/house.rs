//! The rules of the house: which crate may use which, how large a file may be, which licences are allowed.
//!
//! Each rule is a function from the text of a file to what is wrong with it, so that the tests can show each rule
//! a planted violation that it must find.

use std::path::{Path, PathBuf};

/// Most lines a source file may have.
pub const MAX_LINES: usize = 600;

/// A library and the only places that may name it.
struct Fence {
    library: &'static str,
    allowed: &'static [&'static str],
}

/// Where the libraries that must not leak may be named (ARCHITECTURE.md, "Direction").
const FENCES: &[Fence] = &[
    Fence { library: "rocksdb", allowed: &["node/src/store/", "node/tests/", "node/benches/"] },
    Fence { library: "openraft", allowed: &["node/src/consensus/"] },
    Fence {
        library: "tonic",
        allowed: &[
            "proto/",
            "node/src/api/",
            "node/src/peer/",
            "client/src/transport",
            "client/tests/",
            "node/tests/",
            "tests/examples/",
            "tests/liar/",
        ],
    },
];

/// Packages and the packages of ours that they may depend on.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("core/Cargo.toml", &[]),
    ("proto/Cargo.toml", &["quorate-core"]),
    ("archive/Cargo.toml", &["quorate-core", "quorate-proto"]),
    ("archive/s3/Cargo.toml", &["quorate-core", "quorate-proto", "quorate-archive"]),
    ("node/ledger/Cargo.toml", &["quorate-core"]),
    ("node/Cargo.toml", &["quorate-core", "quorate-proto", "quorate-archive", "quorate-ledger"]),
    ("client/Cargo.toml", &["quorate-core", "quorate-proto"]),
    (
        "cli/Cargo.toml",
        &[
            "quorate-core",
            "quorate-proto",
            "quorate-archive",
            "quorate-archive-s3",
            "quorate-client",
            "quorate-node",
            "quorate-audit",
        ],
    ),
    ("audit/Cargo.toml", &["quorate-core", "quorate-ledger", "quorate-client"]),
];

/// Packages that must stay free of runtimes and input and output.
const PURE: &[&str] = &["core/", "node/ledger/"];

/// Licences that dependencies may have, each alone or as one choice.
pub const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "CC0-1.0",
    "Unlicense",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
    "BSL-1.0",
    "MIT-0",
];

/// What is wrong with a source file: `path` is relative to the root, with forward slashes.
pub fn source_problems(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        problems.push(format!("{path} has {lines} lines; split it (at most {MAX_LINES})"));
    }
    if !text.trim_start().starts_with("//!") && !text.trim_start().starts_with("#![") {
        problems.push(format!("{path} does not begin with a module doc (//!)"));
    }
    for fence in FENCES {
        let allowed = fence.allowed.iter().any(|prefix| path.starts_with(prefix));
        if !allowed && names(text, fence.library) {
            problems.push(format!("{path} names {}; only {} may", fence.library, fence.allowed.join(", ")));
        }
    }
    if PURE.iter().any(|prefix| path.starts_with(prefix)) {
        for forbidden in ["tokio", "std::fs", "std::net", "std::time", "std::thread", "getrandom"] {
            if !path.contains("/tests/") && !path.contains("/benches/") && names(text, forbidden) {
                problems.push(format!("{path} names {forbidden}; this package is pure"));
            }
        }
    }
    problems
}

/// Whether the code of `text` (not its comments) names the path `library`.
fn names(text: &str, library: &str) -> bool {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).any(|code| {
        code.match_indices(library).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let after = &code[at + library.len()..];
            let starts = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"' || c == '-');
            starts
                && (after.starts_with("::")
                    || after.starts_with(';')
                    || (library.contains("::") && !after.starts_with('_')))
        })
    })
}

/// What is wrong with the dependencies that a manifest names.
pub fn manifest_problems(path: &str, text: &str) -> Vec<String> {
    let Some((_, allowed)) = DEPENDENCIES.iter().find(|(manifest, _)| *manifest == path) else {
        return Vec::new();
    };
    let mut problems: Vec<String> = text
        .lines()
        .take_while(|line| *line != "[dev-dependencies]")
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| name.starts_with("quorate-") && !allowed.contains(name))
        .map(|name| format!("{path} depends on {name}, against the direction of the house"))
        .collect();
    if !text.contains("[lints]\nworkspace = true") {
        problems.push(format!("{path} does not take the workspace's lints"));
    }
    problems
}

/// Whether a licence expression (SPDX) leaves a choice that is allowed.
pub fn licence_allowed(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    expression.split(" OR ").any(|choice| choice.split(" AND ").all(|one| LICENCES.contains(&one.trim())))
}

/// The platform this is built for, such as `x86_64-unknown-linux-gnu`: only its dependencies are here.
pub fn platform() -> String {
    let output = std::process::Command::new("rustc").arg("-vV").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned()
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Every file below the root with one of these endings that belongs to the project, relative to the root.
pub fn files(endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending))
                && let Ok(relative) = path.strip_prefix(root())
            {
                found.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}
