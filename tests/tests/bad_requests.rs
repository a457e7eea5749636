//! What the command line cannot even send is refused by the SDK before it is sent, and by a node when somebody sends it
//! nevertheless: the field is named, and nothing is written.

use std::time::Duration;

use quorate_client::{Error, Transaction};
use quorate_proto::v1::{
    self, CommitRequest, HistoryRequest, ScanRequest, ledger_client::LedgerClient, scan_request::Keys,
    write::Write,
};
use quorate_tests::{clock, cluster::Cluster};

/// Most writes of a transaction (docs/formats.md, section 1).
const MAX_WRITES: usize = 4_096;

fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> v1::Write {
    let put = v1::Put { key: key.into().into(), value: value.into().into(), ..v1::Put::default() };
    v1::Write { write: Some(Write::Put(put)) }
}

fn delete(key: &str) -> v1::Write {
    v1::Write { write: Some(Write::Delete(v1::Delete { key: key.to_owned().into() })) }
}

/// A request that is good but for what a case changes.
fn request(name: &str, writes: Vec<v1::Write>) -> CommitRequest {
    CommitRequest {
        ledger: "default".to_owned(),
        idempotency_key: name.to_owned().into(),
        not_after: clock::micros_from_now(Duration::from_secs(60)),
        writes,
        ..CommitRequest::default()
    }
}

/// Requests that must be refused, with the words of the refusal.
fn bad_commits() -> Vec<(CommitRequest, &'static [&'static str])> {
    let one = || vec![put("k", "v")];
    let of = |writes| request("bad", writes);
    let many = (0..=MAX_WRITES).map(|n| put(format!("key {n}"), "v")).collect();
    vec![
        (of(Vec::new()), &["writes", "1 to 4096"]),
        (of(many), &["writes", "4097 writes", "at most 4096"]),
        (of(vec![put("a", "v"), put("b", "v"), put("a", "v")]), &["writes[2].put.key", "same key"]),
        (of(vec![put("a", "v"), delete("a")]), &["writes[1].delete.key", "same key"]),
        (of(vec![put("a", "v"), put("", "v")]), &["writes[1].put.key", "empty"]),
        (of(vec![put(vec![7; 1_025], "v")]), &["writes[0].put.key", "1025 bytes", "at most 1024"]),
        (
            of(vec![put("a", vec![0; (4 << 20) + 1])]),
            &["writes[0].put.value", "4194305 bytes", "at most 4194304"],
        ),
        (of(vec![v1::Write::default()]), &["writes[0]", "neither a put nor a delete"]),
        (CommitRequest { ledger: String::new(), ..of(one()) }, &["ledger", "expected 1 to 64 characters"]),
        (
            CommitRequest { ledger: "nowhere".into(), ..of(one()) },
            &["nowhere", "does not exist", "create it"],
        ),
        (
            CommitRequest { ledger: "_system".into(), ..of(one()) },
            &["ledger", "belongs to the cluster itself"],
        ),
        (request("", one()), &["idempotency_key", "empty"]),
        (request(&"n".repeat(65), one()), &["idempotency_key", "65 bytes", "at most 64"]),
        (CommitRequest { not_after: 0, ..of(one()) }, &["not_after"]),
        (CommitRequest { not_after: 1, ..of(one()) }, &["later not_after"]),
        (CommitRequest { not_after: u64::MAX, ..of(one()) }, &["not_after", "more than 900000000 µs after"]),
        (CommitRequest { wait: 7, ..of(one()) }, &["wait", "7 is neither"]),
    ]
}

#[tokio::test]
async fn a_node_refuses_what_a_careless_client_sends() {
    let plaintext = |text: String| text.replace("insecure_plaintext = false", "insecure_plaintext = true");
    let cluster = Cluster::start_with(1, plaintext);
    let mut client = LedgerClient::connect(format!("http://{}", cluster.nodes[&1].client))
        .await
        .unwrap()
        .max_encoding_message_size(64 << 20);
    for (request, says) in bad_commits() {
        let refusal = client.commit(request).await.expect_err(&format!("accepted: {says:?}"));
        for word in says {
            assert!(refusal.message().contains(word), "{word:?} is not in {:?}", refusal.message());
        }
        assert_eq!(cluster.size("default"), 1, "{says:?} wrote something");
    }
    let keys = ["a/1", "a/2", "b/1", "b/2"].map(|key| put(key, "v"));
    client.commit(request("good", keys.to_vec())).await.unwrap();
    let page = |prefix: &str, page_token| ScanRequest {
        ledger: "default".to_owned(),
        keys: Some(Keys::Prefix(prefix.to_owned().into())),
        limit: 1,
        page_token,
        ..ScanRequest::default()
    };
    let first = client.scan(page("a/", Vec::new().into())).await.unwrap().into_inner();
    let token = first.next_page_token;
    assert!(!token.is_empty(), "two keys fit on a page of one");
    assert_eq!(client.scan(page("a/", token.clone())).await.unwrap().into_inner().items.len(), 1);
    let history = HistoryRequest {
        ledger: "default".to_owned(),
        key: "a/1".to_owned().into(),
        page_token: token.clone(),
        ..HistoryRequest::default()
    };
    let refusals = [
        client.scan(page("b/", token.clone())).await.unwrap_err(),
        client.scan(ScanRequest { reverse: true, ..page("a/", token.clone()) }).await.unwrap_err(),
        client.history(history).await.unwrap_err(),
        client.scan(page("a/", token.slice(1..))).await.unwrap_err(),
    ];
    for refusal in &refusals {
        assert!(refusal.message().starts_with("page_token: "), "{}", refusal.message());
    }
    assert!(refusals[0].message().contains("another"), "{}", refusals[0].message());
}

#[tokio::test]
async fn the_client_refuses_before_it_sends() {
    let cluster = Cluster::start(1);
    let client = cluster.client("trust");
    let ledger = client.ledger("default");
    let many = (0..=MAX_WRITES).fold(Transaction::new(), |all, n| all.put(format!("key {n}"), "v"));
    let cases = [
        (Transaction::new(), "writes", "1 to 4096 writes, not 0"),
        (many, "writes", "1 to 4096 writes, not 4097"),
        (Transaction::new().put("a", "v").put("a", "w"), "writes[1].put.key", "already written"),
        (Transaction::new().put("a", "v").delete("a"), "writes[1].delete.key", "already written"),
        (Transaction::new().put("", "v"), "writes[0].put.key", "1 to 1024 bytes, not 0"),
        (Transaction::new().put(vec![7; 1_025], "v"), "writes[0].put.key", "not 1025"),
        (
            Transaction::new().put("a", "v").idempotency_key(Vec::new()),
            "idempotency_key",
            "1 to 64 bytes, not 0",
        ),
    ];
    for (transaction, expected, says) in cases {
        match ledger.commit(transaction).await.unwrap_err() {
            Error::InvalidArgument { field, message } => {
                assert!(field == expected && message.contains(says), "{field}: {message}");
            }
            error => panic!("{expected}: {error}"),
        }
    }
    assert_eq!(cluster.size("default"), 1);
    let largest = (0..MAX_WRITES).fold(Transaction::new(), |all, n| all.put(format!("key {n}"), "v"));
    assert_eq!(ledger.commit(largest).await.unwrap().index.get(), 1);
}
