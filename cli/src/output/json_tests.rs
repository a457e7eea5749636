//! Golden tests: the documents, to the byte. A change here is a change of what programs rely on (see `json`).

use super::json::*;
use crate::exit::Exit;

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: "acme/0a1b2c3d/default".into(),
        size: "26".into(),
        log_root: "ab".repeat(32),
        cosigners: vec![
            Cosignature { name: "acme/0a1b2c3d/node/1".into(), time: "2026-11-23T00:35:45Z".into() },
            Cosignature { name: "acme/0a1b2c3d/node/3".into(), time: "2026-11-23T00:35:46Z".into() },
        ],
    }
}

fn item(state: &'static str) -> Item {
    Item {
        key: Bytes::of(b"greeting"),
        state,
        value: Some(Bytes::of("grüße".as_bytes())),
        content_type: text("text/plain"),
        attributes: vec![Attribute { name: "from".into(), value: "me".into() }],
        index: text("17"),
        revision: text("2"),
        time: None,
        expires_at: text("2026-11-24T00:00:00.000001Z"),
    }
}

/// What one document looks like without its line feeds and indentation, so that goldens stay readable.
fn compact<T: serde::Serialize>(kind: &'static str, body: &T) -> String {
    let pretty = document(kind, body).unwrap_or_default();
    assert!(pretty.ends_with("}\n"), "a document ends with a newline");
    pretty.lines().map(str::trim_start).collect()
}

const CHECKPOINT: &str = concat!(
    r#""checkpoint": {"origin": "acme/0a1b2c3d/default","size": "26","#,
    r#""log_root": "abababababababababababababababababababababababababababababababab","#,
    r#""cosigners": [{"name": "acme/0a1b2c3d/node/1","time": "2026-11-23T00:35:45Z"},"#,
    r#"{"name": "acme/0a1b2c3d/node/3","time": "2026-11-23T00:35:46Z"}]}"#
);

const ITEM: &str = concat!(
    r#""key": {"utf8": "greeting"},"state": "present","value": {"utf8": "grüße"},"content_type": "text/plain","#,
    r#""attributes": [{"name": "from","value": "me"}],"index": "17","revision": "2","time": null,"#,
    r#""expires_at": "2026-11-24T00:00:00.000001Z""#
);

#[test]
fn a_document_is_indented_json_with_schema_and_kind_first() {
    let body = Ledgers { ledgers: Vec::new(), verified: true };
    let expected =
        "{\n  \"schema\": 1,\n  \"kind\": \"ledgers\",\n  \"ledgers\": [],\n  \"verified\": true\n}\n";
    assert_eq!(document("ledgers", &body).unwrap_or_default(), expected);
}

#[test]
fn bytes_are_text_where_they_can_be() {
    assert_eq!(Bytes::of(b""), Bytes::Utf8(String::new()));
    assert_eq!(Bytes::of(&[0xff, 0]), Bytes::Base64("/wA=".into()));
}

#[test]
fn an_error_is_one_line() {
    let line = error_line(Exit::Unverified, "a \"bad\"\nanswer", Some("stop"));
    assert_eq!(line, r#"{"schema":1,"kind":"error","exit":10,"error":"a \"bad\"\nanswer","next":"stop"}"#);
    let line = error_line(Exit::Error, "x", None);
    assert_eq!(line, r#"{"schema":1,"kind":"error","exit":1,"error":"x","next":null}"#);
}

#[test]
fn value() {
    let body = Value {
        ledger: "default".into(),
        item: item("present"),
        at: None,
        size: "26".into(),
        receipt: text("g.tlog-proof"),
        verified: true,
        checkpoint: Some(checkpoint()),
    };
    let expected = format!(
        r#"{{"schema": 1,"kind": "value","ledger": "default",{ITEM},"at": null,"size": "26","receipt": "g.tlog-proof","verified": true,{CHECKPOINT}}}"#
    );
    assert_eq!(compact("value", &body), expected);
}

#[test]
fn commit() {
    let body = Commit {
        ledger: "default".into(),
        key: Bytes::of(&[0xff]),
        index: "17".into(),
        revision: text("2"),
        size: "26".into(),
        known: false,
        certified: true,
        idempotency_key: Bytes::of(b"build-4711"),
        receipt: None,
        checkpoint: Some(checkpoint()),
    };
    let expected = format!(
        r#"{{"schema": 1,"kind": "commit","ledger": "default","key": {{"base64": "/w=="}},"index": "17","revision": "2","size": "26","known": false,"certified": true,"idempotency_key": {{"utf8": "build-4711"}},"receipt": null,{CHECKPOINT}}}"#
    );
    assert_eq!(compact("commit", &body), expected);
}

#[test]
fn history_and_scan() {
    let body = History {
        ledger: "default".into(),
        key: Bytes::of(b"greeting"),
        order: "newest_first",
        writes: vec![item("present")],
        complete: true,
        verified: true,
        checkpoint: Some(checkpoint()),
    };
    let expected = format!(
        r#"{{"schema": 1,"kind": "history","ledger": "default","key": {{"utf8": "greeting"}},"order": "newest_first","writes": [{{{ITEM}}}],"complete": true,"verified": true,{CHECKPOINT}}}"#
    );
    assert_eq!(compact("history", &body), expected);
    let body = Scan {
        ledger: "default".into(),
        prefix: None,
        first: Some(Bytes::of(b"a")),
        end: None,
        reverse: false,
        items: vec![item("present")],
        complete: false,
        verified: false,
        checkpoint: None,
    };
    let expected = format!(
        r#"{{"schema": 1,"kind": "scan","ledger": "default","prefix": null,"first": {{"utf8": "a"}},"end": null,"reverse": false,"items": [{{{ITEM}}}],"complete": false,"verified": false,"checkpoint": null}}"#
    );
    assert_eq!(compact("scan", &body), expected);
}

#[test]
fn transaction() {
    let body = Transaction {
        ledger: "default".into(),
        index: "17".into(),
        time: "2026-11-23T00:35:45.000001Z".into(),
        not_after: "2026-11-23T00:36:45.000001Z".into(),
        author: text("anonymous"),
        request_id: "cd".repeat(32),
        operations: vec![Operation {
            operation: "put",
            key: Bytes::of(b"k"),
            revision: "1".into(),
            previous_index: None,
            expires_at: None,
            value_length: text("1"),
            value_digest: text("00"),
            value: Some(Bytes::of(b"v")),
        }],
        receipt: None,
        verified: true,
        checkpoint: Some(checkpoint()),
    };
    let request = "cd".repeat(32);
    let expected = format!(
        r#"{{"schema": 1,"kind": "transaction","ledger": "default","index": "17","time": "2026-11-23T00:35:45.000001Z","not_after": "2026-11-23T00:36:45.000001Z","author": "anonymous","request_id": "{request}","operations": [{{"operation": "put","key": {{"utf8": "k"}},"revision": "1","previous_index": null,"expires_at": null,"value_length": "1","value_digest": "00","value": {{"utf8": "v"}}}}],"receipt": null,"verified": true,{CHECKPOINT}}}"#
    );
    assert_eq!(compact("transaction", &body), expected);
}

#[test]
fn ledgers_and_checkpoint() {
    let freeze = |frozen| Freeze { frozen, reason: "full".into(), revision: "1".into() };
    let ledger = |freeze: Option<Freeze>| Ledger {
        name: "default".into(),
        origin: "o".into(),
        log_vkey: "o+1+2".into(),
        size: text("26"),
        frozen: freeze.is_some(),
        freeze,
    };
    let body = Ledgers { ledgers: vec![ledger(None), ledger(Some(freeze(true)))], verified: true };
    let expected = r#"{"schema": 1,"kind": "ledgers","ledgers": [{"name": "default","origin": "o","log_vkey": "o+1+2","size": "26","frozen": false,"freeze": null},{"name": "default","origin": "o","log_vkey": "o+1+2","size": "26","frozen": true,"freeze": {"frozen": true,"reason": "full","revision": "1"}}],"verified": true}"#;
    assert_eq!(compact("ledgers", &body), expected);
    let body = CheckpointNote {
        ledger: "default".into(),
        checkpoint: Checkpoint { cosigners: Vec::new(), ..checkpoint() },
        note: "a\nb\n".into(),
        file: None,
    };
    let root = "ab".repeat(32);
    let expected = format!(
        r#"{{"schema": 1,"kind": "checkpoint","ledger": "default","origin": "acme/0a1b2c3d/default","size": "26","log_root": "{root}","cosigners": [],"note": "a\nb\n","file": null}}"#
    );
    assert_eq!(compact("checkpoint", &body), expected);
}

#[test]
fn status() {
    let silent = Replica { endpoint: "https://b:1".into(), error: text("refused"), ..Replica::default() };
    let body = Status {
        ledger: "default".into(),
        cluster: text("acme/0a1b2c3d"),
        leader: text("1"),
        roots: "unknown",
        compared_size: text("26"),
        verified: false,
        evidence: None,
        replicas: vec![silent],
    };
    let expected = concat!(
        r#"{"schema": 1,"kind": "status","ledger": "default","cluster": "acme/0a1b2c3d","leader": "1","#,
        r#""roots": "unknown","compared_size": "26","verified": false,"evidence": null,"replicas": [{"endpoint": "https://b:1","error": "refused","node": null,"#,
        r#""version": null,"wire": null,"role": null,"leader": null,"term": null,"lag": null,"size": null,"#,
        r#""certified_size": null,"log_root": null,"state_root": null,"memory_bytes": null,"written_bytes": null,"#,
        r#""fault": null,"limitation": null,"refused_peers": [],"kept_evidence": null,"upkeep": null,"proven_log_root": null,"signed_by_itself": null,"distrust": null,"history": null,"frozen": null}]}"#
    );
    assert_eq!(compact("status", &body), expected);
}

fn artifact(status: &'static str) -> Artifact {
    Artifact {
        name: "a.rpm".into(),
        artifact: "file",
        sha256: "00".into(),
        status,
        claimed_signer: text("me"),
        index: text("17"),
        revision: text("1"),
        receipt: None,
    }
}

const ARTIFACT: &str = concat!(
    r#"{"name": "a.rpm","artifact": "file","sha256": "00","status": "trusted","claimed_signer": "me","#,
    r#""index": "17","revision": "1","receipt": null}"#
);

#[test]
fn notarization_and_authentication() {
    let body = Notarization {
        ledger: "default".into(),
        status: "trusted",
        artifacts: vec![artifact("trusted")],
        distinct: "1".into(),
        transactions: "1".into(),
        size: "26".into(),
        seconds: "0.213".into(),
        checkpoint: Some(checkpoint()),
    };
    let expected = format!(
        r#"{{"schema": 1,"kind": "notarization","ledger": "default","status": "trusted","artifacts": [{ARTIFACT}],"distinct": "1","transactions": "1","size": "26","seconds": "0.213",{CHECKPOINT}}}"#
    );
    assert_eq!(compact("notarization", &body), expected);
    let body = Authentication {
        ledger: "default".into(),
        trusted: true,
        demanded_signer: None,
        artifacts: vec![artifact("trusted")],
        not_trusted: "0".into(),
        seconds: "0.213".into(),
        verified: true,
        checkpoint: Some(checkpoint()),
    };
    let expected = format!(
        r#"{{"schema": 1,"kind": "authentication","ledger": "default","trusted": true,"demanded_signer": null,"artifacts": [{ARTIFACT}],"not_trusted": "0","seconds": "0.213","verified": true,{CHECKPOINT}}}"#
    );
    assert_eq!(compact("authentication", &body), expected);
}

#[test]
fn receipt_and_inspection() {
    let body = Receipt {
        receipt: "r".into(),
        proves: "transaction",
        index: "17".into(),
        time: "t".into(),
        author: text("anonymous"),
        items: vec![item("present")],
        artifact: Some(artifact("trusted")),
        verified: true,
        checkpoint: checkpoint(),
        continued_by: None,
    };
    let expected = format!(
        r#"{{"schema": 1,"kind": "receipt","receipt": "r","proves": "transaction","index": "17","time": "t","author": "anonymous","items": [{{{ITEM}}}],"artifact": {ARTIFACT},"verified": true,{CHECKPOINT},"continued_by": null}}"#
    );
    assert_eq!(compact("receipt", &body), expected);
    let body = Inspection {
        ledger: "default".into(),
        key: Bytes::of(b"greeting"),
        now: item("present"),
        writes: Vec::new(),
        notarizations: vec![artifact("trusted")],
        verified: true,
        checkpoint: None,
    };
    let expected = format!(
        r#"{{"schema": 1,"kind": "inspection","ledger": "default","key": {{"utf8": "greeting"}},"now": {{{ITEM}}},"writes": [],"notarizations": [{ARTIFACT}],"verified": true,"checkpoint": null}}"#
    );
    assert_eq!(compact("inspection", &body), expected);
}

fn bench_of_one_node() -> Bench {
    let node = BenchNode {
        endpoint: "https://a:1".into(),
        node: text("1"),
        memory_bytes_before: text("104857600"),
        memory_bytes_after: text("209715200"),
        written_bytes: text("100000"),
        written_bytes_per_operation: text("1250"),
    };
    let failures = BenchFailures {
        refused: "3".into(),
        unknown_outcome: "2".into(),
        untrusted: "0".into(),
        rejected: "0".into(),
        absent: "0".into(),
        other: "0".into(),
    };
    let latency = BenchLatency {
        p50: "900".into(),
        p90: "1800".into(),
        p99: "4100".into(),
        p99_9: "8000".into(),
        max: "9000".into(),
    };
    Bench {
        ledger: "default".into(),
        ledgers: text("3"),
        workload: "put",
        wait: Some("certified"),
        streamed: false,
        verified: true,
        clients: "1000".into(),
        connections: "4".into(),
        rate: text("10"),
        batch: "1".into(),
        page: None,
        read_percent: None,
        key_bytes: "16".into(),
        value_bytes: "256".into(),
        keys: None,
        order: "random",
        distribution: None,
        warm_up_seconds: "2.000".into(),
        seconds: "10.000".into(),
        transactions: "80".into(),
        operations: "80".into(),
        errors: "5".into(),
        failures,
        first_error: text("no replica answered"),
        not_sent: text("15"),
        transactions_per_second: "8".into(),
        operations_per_second: "8".into(),
        latency_us: Some(latency),
        reads: None,
        writes: None,
        nodes: vec![node],
    }
}

/// The fields of `bench` behind its head, of [`bench_of_one_node`].
const BENCH: &str = concat!(
    r#""ledger": "default","ledgers": "3","workload": "put","wait": "certified","streamed": false,"verified": true,"#,
    r#""clients": "1000","connections": "4","rate": "10","batch": "1","page": null,"read_percent": null,"#,
    r#""key_bytes": "16","value_bytes": "256","keys": null,"order": "random","distribution": null,"#,
    r#""warm_up_seconds": "2.000","seconds": "10.000","transactions": "80","operations": "80","errors": "5","#,
    r#""failures": {"refused": "3","unknown_outcome": "2","untrusted": "0","rejected": "0","absent": "0","other": "0"},"#,
    r#""first_error": "no replica answered","not_sent": "15","#,
    r#""transactions_per_second": "8","operations_per_second": "8","#,
    r#""latency_us": {"p50": "900","p90": "1800","p99": "4100","p99_9": "8000","max": "9000"},"#,
    r#""reads": null,"writes": null,"#,
    r#""nodes": [{"endpoint": "https://a:1","node": "1","memory_bytes_before": "104857600","#,
    r#""memory_bytes_after": "209715200","written_bytes": "100000","written_bytes_per_operation": "1250"}]"#
);

#[test]
fn bench() {
    let expected = format!(r#"{{"schema": 1,"kind": "bench",{BENCH}}}"#);
    assert_eq!(compact("bench", &bench_of_one_node()), expected);
    let part = BenchPart { operations: "8".into(), operations_per_second: "1".into(), latency_us: None };
    let body = Bench { reads: Some(part), read_percent: text("90"), page: text("7"), ..bench_of_one_node() };
    let shown = compact("bench", &body);
    for part in [
        r#""page": "7","read_percent": "90","#,
        r#""reads": {"operations": "8","operations_per_second": "1","latency_us": null},"writes": null"#,
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn bench_sweep() {
    let body = BenchSweep {
        ledger: "default".into(),
        over: "rate",
        chart: text("put.svg"),
        runs: vec![bench_of_one_node()],
    };
    let expected = format!(
        r#"{{"schema": 1,"kind": "bench_sweep","ledger": "default","over": "rate","chart": "put.svg","runs": [{{{BENCH}}}]}}"#
    );
    assert_eq!(compact("bench_sweep", &body), expected);
}

#[test]
fn policy_and_contexts() {
    let key = |name: &str| PolicyKey { name: name.into(), vkey: format!("{name}+1+2") };
    let body = Policy {
        files: vec!["p".into()],
        fingerprint: "00".into(),
        logs: vec![key("o")],
        witnesses: vec![key("node-1")],
        counted_witnesses: "3".into(),
        threshold: "2".into(),
        fork_impossible_up_to: text("0"),
        may_be_down: "1".into(),
        provably_guilty: "1".into(),
    };
    let expected = concat!(
        r#"{"schema": 1,"kind": "policy","files": ["p"],"fingerprint": "00","logs": [{"name": "o","vkey": "o+1+2"}],"#,
        r#""witnesses": [{"name": "node-1","vkey": "node-1+1+2"}],"counted_witnesses": "3","threshold": "2","#,
        r#""fork_impossible_up_to": "0","may_be_down": "1","provably_guilty": "1"}"#
    );
    assert_eq!(compact("policy", &body), expected);
    let body =
        PolicyExport { ledger: "l".into(), fingerprint: "00".into(), file: None, policy: "log\n".into() };
    let expected = r#"{"schema": 1,"kind": "policy_export","ledger": "l","fingerprint": "00","file": null,"policy": "log\n"}"#;
    assert_eq!(compact("policy_export", &body), expected);
    let context = Context {
        name: "dev".into(),
        default: true,
        endpoints: vec!["https://a:1".into()],
        policy: vec!["p".into()],
        cacert: None,
        cert: None,
        cert_key: None,
        trust_dir: None,
        plaintext: false,
    };
    let body = Contexts { file: "f".into(), contexts: vec![context] };
    let expected = concat!(
        r#"{"schema": 1,"kind": "contexts","file": "f","contexts": [{"name": "dev","default": true,"#,
        r#""endpoints": ["https://a:1"],"policy": ["p"],"cacert": null,"cert": null,"cert_key": null,"trust_dir": null,"plaintext": false}]}"#
    );
    assert_eq!(compact("contexts", &body), expected);
}

#[test]
fn yaml_has_the_same_fields_in_the_same_order() {
    let body = Commit {
        ledger: "default".into(),
        key: Bytes::of(b"no"),
        index: "17".into(),
        revision: None,
        size: "26".into(),
        known: false,
        certified: true,
        idempotency_key: Bytes::of(b"build-4711"),
        receipt: None,
        checkpoint: Some(checkpoint()),
    };
    let root = "ab".repeat(32);
    let expected = format!(
        "schema: 1\nkind: \"commit\"\nledger: \"default\"\nkey:\n  utf8: \"no\"\nindex: \"17\"\nrevision: null\n\
         size: \"26\"\nknown: false\ncertified: true\nidempotency_key:\n  utf8: \"build-4711\"\nreceipt: null\n\
         checkpoint:\n  origin: \"acme/0a1b2c3d/default\"\n  size: \"26\"\n  log_root: \"{root}\"\n  cosigners:\n    \
         - name: \"acme/0a1b2c3d/node/1\"\n      time: \"2026-11-23T00:35:45Z\"\n    \
         - name: \"acme/0a1b2c3d/node/3\"\n      time: \"2026-11-23T00:35:46Z\"\n"
    );
    assert_eq!(yaml_document("commit", &body).unwrap_or_default(), expected);
    let error = yaml_error(Exit::Error, "a \"bad\"\nanswer", None);
    assert_eq!(error, "schema: 1\nkind: \"error\"\nexit: 1\nerror: \"a \\\"bad\\\"\\nanswer\"\nnext: null");
}

#[test]
fn evidence() {
    let body = Evidence {
        file: "e.json".into(),
        lie: "fork",
        verdict: "guilty",
        keys: vec!["acme/0a1b2c3d/node/1".into()],
        origin: text("acme/0a1b2c3d/default"),
        sizes: vec!["7".into(), "7".into()],
        log_roots: vec!["00".into(), "01".into()],
        verified: true,
    };
    let expected = concat!(
        r#"{"schema": 1,"kind": "evidence","file": "e.json","lie": "fork","verdict": "guilty","#,
        r#""keys": ["acme/0a1b2c3d/node/1"],"origin": "acme/0a1b2c3d/default","sizes": ["7","7"],"#,
        r#""log_roots": ["00","01"],"verified": true}"#
    );
    assert_eq!(compact("evidence", &body), expected);
}

#[test]
fn a_change_is_one_line() {
    let body = Change {
        ledger: "default".into(),
        index: "17".into(),
        time: "2026-11-23T00:35:45.000001Z".into(),
        author: None,
        request_id: "cd".repeat(32),
        operations: vec![Operation {
            operation: "delete",
            key: Bytes::of(b"k"),
            revision: "3".into(),
            previous_index: text("12"),
            expires_at: None,
            value_length: None,
            value_digest: None,
            value: None,
        }],
        next: "18".into(),
    };
    let expected = format!(
        concat!(
            r#"{{"schema":1,"kind":"change","ledger":"default","index":"17","#,
            r#""time":"2026-11-23T00:35:45.000001Z","author":null,"request_id":"{}","#,
            r#""operations":[{{"operation":"delete","key":{{"utf8":"k"}},"revision":"3","previous_index":"12","#,
            r#""expires_at":null,"value_length":null,"value_digest":null,"value":null}}],"next":"18"}}"#,
            "\n"
        ),
        "cd".repeat(32)
    );
    assert_eq!(line("change", &body).unwrap_or_default(), expected);
}
