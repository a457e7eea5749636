//! Every bad input to the command line is refused: with the documented exit code, with a message that names the field,
//! what is wrong and what to do, with nothing on stdout, and with nothing written.

use std::fs;

use quorate_tests::{
    cluster::Cluster,
    shell::{Ran, Shell},
};

/// Bytes that no value of a cluster with the default settings may have.
const TOO_LONG: usize = (4 << 20) + 1;

/// A command that must be refused.
struct Case {
    arguments: Vec<String>,
    code: i32,
    /// What its message must contain.
    says: &'static [&'static str],
}

fn case(arguments: &[&str], code: i32, says: &'static [&'static str]) -> Case {
    Case { arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(), code, says }
}

/// Refused: this code, these words on stderr, nothing on stdout.
#[track_caller]
fn assert_refused(what: &str, ran: &Ran, code: i32, says: &[&str]) {
    assert_eq!(ran.code, code, "{what}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "{what} wrote to stdout");
    for word in says {
        assert!(ran.stderr.contains(word), "{what} does not say {word:?}, but: {}", ran.stderr);
    }
}

/// Writes that must be refused. The key `greeting` is at revision 1, written at index 1.
fn writes() -> Vec<Case> {
    let (long_key, long_name) = ("k".repeat(1_025), "n".repeat(65));
    vec![
        case(&["put", "", "v"], 2, &["writes[0].put.key", "1 to 1024 bytes", "not 0"]),
        case(&["put", &long_key, "v"], 2, &["writes[0].put.key", "1 to 1024 bytes", "not 1025"]),
        case(&["delete", ""], 2, &["writes[0].delete.key", "1 to 1024 bytes", "not 0"]),
        case(
            &["put", "k", "--file", "too-long"],
            2,
            &["writes[0].put.value", "4194305 bytes", "at most 4194304"],
        ),
        case(&["put", "k", "--file", "no-such-file"], 1, &["no-such-file", "No such file"]),
        case(&["put", "k", "v", "--idempotency-key", ""], 2, &["idempotency_key", "1 to 64 bytes", "not 0"]),
        case(
            &["put", "k", "v", "--idempotency-key", &long_name],
            2,
            &["idempotency_key", "1 to 64", "not 65"],
        ),
        case(&["put", "k", "v", "--expires-in", "0s"], 2, &["--expires-in", "longer than nothing"]),
        case(&["put", "zz", "v", "--key-as", "hex"], 2, &["\"zz\"", "hexadecimal", "--key-as"]),
        case(&["-l", "nowhere", "put", "k", "v"], 4, &["no ledger nowhere", "quorate ledger create"]),
        case(&["-l", "No Name", "put", "k", "v"], 2, &["--ledger", "\"No Name\"", "1 to 64 characters"]),
        case(&["-l", "_system", "put", "k", "v"], 1, &["ledger", "_system belongs to the cluster itself"]),
        case(&["ledger", "create", "default"], 1, &["default exists already", "never used twice"]),
        case(&["ledger", "create", "node"], 2, &["\"node\"", "not the word \"node\""]),
        case(&["ledger", "create", "Büro"], 2, &["Büro", "a-z, 0-9"]),
        case(&["ledger", "create", "_audit"], 1, &["ledger", "_audit belongs to the cluster itself"]),
        case(&["delete", "never"], 4, &["writes[0].delete.key", "the key was never written"]),
    ]
}

/// Preconditions that do not hold: each says which it was and what the state is.
fn preconditions() -> Vec<Case> {
    const STATE: &str = "exists at revision 1, written at index 1";
    vec![
        case(
            &["put", "greeting", "v", "--if-absent"],
            1,
            &["--if-absent", STATE, "quorate history greeting"],
        ),
        case(&["put", "fresh", "v", "--if-exists"], 1, &["--if-exists", "was never written"]),
        case(&["put", "greeting", "v", "--if-revision", "7"], 1, &["--if-revision 7", STATE]),
        case(&["put", "greeting", "v", "--if-revision", "0"], 1, &["--if-revision 0", STATE]),
        case(&["delete", "greeting", "--if-unmodified-after", "0"], 1, &["--if-unmodified-after 0", STATE]),
        case(&["put", "k", "v", "--if-absent", "--if-exists"], 2, &["--if-absent", "cannot be used with"]),
    ]
}

/// Questions that have no answer.
fn reads() -> Vec<Case> {
    vec![
        case(&["get", ""], 2, &["key", "1 to 1024 bytes", "not 0"]),
        case(&["get", "greeting", "--at", "99999"], 4, &["options.at", "99999 is beyond the end", "size 3"]),
        case(&["scan", "--at", "99999"], 4, &["options.at", "99999 is beyond the end", "size 3"]),
        case(&["tx", "99999"], 4, &["index", "99999 is beyond the end", "size 3"]),
        case(&["tx", "2"], 4, &["2 ", "ends a block"]),
        case(&["tx", "--request", "never-asked"], 4, &["request", "no transaction of this request"]),
        case(&["scan", "--first", "b", "--end", "a"], 2, &["--end", "not greater than --first"]),
        case(&["-l", "nowhere", "get", "greeting"], 4, &["no ledger nowhere", "quorate ledger list"]),
        case(&["get", "greeting", "--max-staleness", "soon"], 2, &["--max-staleness", "soon"]),
        case(&["--endpoints", "nowhere", "get", "k"], 2, &["endpoint", "nowhere", "https://host:port"]),
        case(&["--policy", "no-such-file", "get", "k"], 1, &["policy", "no-such-file", "No such file"]),
        case(&["--cacert", "too-long", "get", "k"], 2, &["TLS", "certificate"]),
    ]
}

#[test]
fn a_bad_request_is_refused_and_writes_nothing() {
    let cluster = Cluster::start(3);
    fs::write(cluster.path().join("too-long"), vec![0; TOO_LONG]).unwrap();
    let shell = Shell::of(&cluster);
    let good = shell.run(["put", "greeting", "hello"]);
    assert_eq!((good.code, cluster.size("default")), (0, 3), "{}", good.stderr);
    let system = cluster.size("_system");
    for case in writes().into_iter().chain(preconditions()).chain(reads()) {
        let ran = shell.run(&case.arguments);
        let arguments: String = case.arguments.join(" ").chars().take(60).collect();
        assert_refused(&format!("quorate {arguments}"), &ran, case.code, case.says);
        assert_eq!(cluster.size("default"), 3, "quorate {arguments} wrote something");
        assert_eq!(cluster.size("_system"), system, "quorate {arguments} wrote something");
    }
    let next = shell.run(["put", "greeting", "again", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&next.stdout).unwrap();
    assert_eq!(
        (&document["index"], &document["revision"]),
        (&"3".into(), &"2".into()),
        "something was in between"
    );
}

/// The policy with another line in place of the one that starts with `word`.
fn changed(policy: &str, word: &str, line: impl Fn(&str) -> String) -> String {
    let lines = policy.lines().map(|old| if old.starts_with(word) { line(old) } else { old.to_owned() });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn a_policy_that_cannot_be_met_writes_nothing() {
    let cluster = Cluster::start(3);
    let other = Cluster::prepare(3);
    let read = |cluster: &Cluster| fs::read_to_string(cluster.path().join("client/default.policy")).unwrap();
    let (own, strange) = (read(&cluster), read(&other));
    let more_than_all = changed(&own, "group ", |line| line.replacen(" 2 ", " 4 ", 1));
    let log_line = own.lines().find(|line| line.starts_with("log ")).unwrap().to_owned();
    let strangers = changed(&strange, "log ", |_| log_line.clone());
    let no_quorum = changed(&own, "quorum ", |_| String::new());
    let undefined = changed(&own, "quorum ", |_| "quorum everybody".to_owned());
    let cases: [(&str, &str, i32, &[&str]); 6] = [
        ("more than all", &more_than_all, 2, &["policy line 5", "3 members", "a number from 1 to 3, not 4"]),
        ("no quorum", &no_quorum, 2, &["without a quorum line", "policy export"]),
        ("undefined group", &undefined, 2, &["policy line 6", "everybody is not defined"]),
        ("empty", "", 2, &["without a quorum line"]),
        (
            "strangers",
            &strangers,
            2,
            &[
                "2 of the named keys that no node of this cluster has",
                "the policy is that of another cluster",
            ],
        ),
        (
            "another cluster",
            &strange,
            10,
            &["test.example/cluster/", "and the policy is that of", "do not repeat it"],
        ),
    ];
    for (what, policy, code, says) in cases {
        let (file, trust) = (cluster.path().join(what), cluster.path().join(format!("trust of {what}")));
        fs::write(&file, policy).unwrap();
        let shell = Shell::of(&cluster).with("QUORATE_POLICY", file).with("QUORATE_TRUST_DIR", trust);
        assert_refused(what, &shell.run(["get", "greeting"]), code, says);
        assert_refused(what, &shell.run(["put", "greeting", "hello"]), code, says);
        assert_eq!(cluster.size("default"), 1, "a policy with {what} wrote something");
    }
    let good = Shell::of(&cluster).run(["put", "greeting", "hello"]);
    assert_eq!((good.code, cluster.size("default")), (0, 3), "{}", good.stderr);
}
