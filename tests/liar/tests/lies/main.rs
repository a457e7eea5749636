//! Every line of the list in docs/trust.md ("What must be shown to be caught"): real nodes, real keys, real client. The
//! table is printed by `make lies`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod backups;
mod between;
mod copies;
mod honest;
mod members;

use std::collections::BTreeSet;

use quorate_client::{Error, LogIndex, Query, ReadOptions, Transaction};
use quorate_liar::{
    lie::Lie,
    row::{Row, Table},
    stage::{Liar, Stage, believe, put},
};
use quorate_tests::house;

const LIAR: &str = env!("CARGO_BIN_EXE_quorate-liar");

/// What a deceived client says to a question.
macro_rules! refused {
    ($stage:expr, $lie:expr, $call:expr) => {
        $stage.refused($lie, &$call.await.expect_err($lie))
    };
}

/// No evidence: nothing in such an answer is signed against something else that is.
fn unsigned(row: Row, words: &str) -> Row {
    assert!(row.evidence.is_none(), "{row:?}");
    assert!(row.said.contains(words), "{row:?}");
    row
}

fn proven(row: Row, kind: &str, named: &[&str]) -> Row {
    assert_eq!(row.evidence.as_deref(), Some(kind), "{row:?}");
    assert_eq!(row.named, named, "{row:?}");
    row
}

/// A client that believes what the honest nodes said, and now asks the liar.
async fn deceived(stage: &Stage, liar: &Liar, trust: &str) -> quorate_client::Ledger {
    believe(&stage.honest(trust)).await;
    stage.deceived(liar, trust).ledger("default")
}

async fn a_forged_root(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::ForgedRoot, &[2, 3]);
    let ledger = deceived(stage, &liar, "forged").await;
    let row = refused!(stage, "forged root", ledger.get("k", ReadOptions::new()));
    proven(row, "fork", &["guilty", "node/2", "node/3"])
}

async fn a_rolled_back_tree(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::RolledBack, &[2, 3]);
    put(&stage.honest("writer").ledger("default"), "k", "newer").await;
    let ledger = deceived(stage, &liar, "rolled").await;
    // Cosignatures have seconds: the lie is signed in a later one than the truth.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let row = refused!(stage, "rolled-back tree", ledger.get("k", ReadOptions::new()));
    proven(row, "rollback", &["guilty", "node/2", "node/3"])
}

async fn a_wrong_leaf(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::WrongLeaf, &[2]);
    let index = put(&stage.honest("writer").ledger("default"), "leaf", "of it").await;
    let ledger = deceived(stage, &liar, "leaf").await;
    let row = refused!(stage, "wrong leaf under a right proof", ledger.transaction(LogIndex::new(index)));
    unsigned(row, "not proven to be in the log")
}

async fn the_leaf_of_another_key(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::AnotherKey, &[2]);
    let ledger = deceived(stage, &liar, "another").await;
    unsigned(refused!(stage, "right leaf of another key", ledger.get("k", ReadOptions::new())), "state proof")
}

async fn a_stale_value(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::StaleValue, &[2]);
    put(&stage.honest("writer").ledger("default"), "k", "newest").await;
    let ledger = deceived(stage, &liar, "stale").await;
    unsigned(
        refused!(stage, "stale value with an old proof", ledger.get("k", ReadOptions::new())),
        "state proof",
    )
}

async fn an_omitted_revision(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::OmittedRevision, &[2]);
    let ledger = deceived(stage, &liar, "omitted").await;
    unsigned(refused!(stage, "omitted revision in a history", ledger.history("k").all()), "lacks the write")
}

async fn a_false_absence(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::FalseAbsence, &[2]);
    let ledger = deceived(stage, &liar, "absence").await;
    unsigned(refused!(stage, "hidden key: false absence", ledger.get("k", ReadOptions::new())), "state proof")
}

async fn a_key_left_out_of_a_listing(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::HiddenKey, &[2]);
    let ledger = deceived(stage, &liar, "hidden").await;
    let row = refused!(
        stage,
        "hidden key: left out of a scan",
        ledger.scan(Query::everything(), ReadOptions::new()).all()
    );
    unsigned(row, "state proof")
}

async fn a_key_left_out_of_a_prefix(stage: &Stage) -> Row {
    let writer = stage.honest("writer").ledger("default");
    put(&writer, "list/1", "first").await;
    put(&writer, "list/2", "hidden").await;
    let liar = stage.lie(Lie::HiddenKey, &[2]);
    let ledger = deceived(stage, &liar, "prefix").await;
    let listing = ledger.scan(Query::Prefix(b"list/".to_vec()), ReadOptions::new()).all();
    unsigned(refused!(stage, "hidden key: left out of a prefix", listing), "state proof")
}

async fn swapped_receipts(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::SwappedReceipt, &[2]);
    let index = put(&stage.honest("writer").ledger("default"), "mine", "the receipt of this").await;
    let ledger = deceived(stage, &liar, "swapped").await;
    let row = refused!(stage, "swapped receipts", ledger.receipt_for(LogIndex::new(index)));
    unsigned(row, "")
}

async fn replayed_cosignatures(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::ReplayedCosignatures, &[2]);
    put(&stage.honest("writer").ledger("default"), "k", "after").await;
    let ledger = deceived(stage, &liar, "replayed").await;
    unsigned(refused!(stage, "replayed cosignature", ledger.get("k", ReadOptions::new())), "does not verify")
}

async fn withheld_cosignatures(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::WithheldCosignatures, &[2]);
    let ledger = deceived(stage, &liar, "withheld").await;
    unsigned(refused!(stage, "withheld cosignatures", ledger.get("k", ReadOptions::new())), "missing")
}

async fn a_false_erasure(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::FalseErased, &[2]);
    let ledger = deceived(stage, &liar, "erased").await;
    let row = refused!(stage, "early or false \"erased\"", ledger.get("k", ReadOptions::new()));
    unsigned(row, "nothing proves that it was erased")
}

async fn anothers_index(stage: &Stage) -> Row {
    let liar = stage.lie(Lie::AnothersIndex, &[2]);
    let ledger = deceived(stage, &liar, "index").await;
    let row = refused!(
        stage,
        "a request answered with somebody else's index",
        ledger.commit(Transaction::new().put("own", "value"))
    );
    unsigned(row, "another request")
}

/// What one of many says who commit at the same time, and so share a stream.
async fn streamed(stage: &Stage, lie: Lie, trust: &str) -> Error {
    let liar = stage.lie(lie, &[2]);
    let ledger = deceived(stage, &liar, trust).await;
    let commits = (0..16).map(|n| {
        let own = Transaction::new().put(format!("{trust}/{n}"), "value");
        ledger.commit(own.timeout(std::time::Duration::from_secs(5)))
    });
    let said = futures::future::join_all(commits).await;
    said.into_iter().find_map(|said| said.err().filter(Error::is_untrusted)).expect("somebody notices")
}

async fn swapped_answers(stage: &Stage) -> Row {
    let error = streamed(stage, Lie::SwappedAnswers, "swapped answers").await;
    unsigned(stage.refused("two requests of a stream answered with each other's answer", &error), "")
}

async fn answered_twice(stage: &Stage) -> Row {
    let error = streamed(stage, Lie::AnsweredTwice, "twice").await;
    unsigned(stage.refused("a request of a stream answered twice", &error), "not under way")
}

/// The lies about answers, against one cluster.
async fn told_to_clients() -> Vec<Row> {
    let stage = Stage::start(LIAR);
    let writer = stage.honest("writer").ledger("default");
    for value in ["one", "two", "three"] {
        put(&writer, "k", value).await;
    }
    put(&writer, "other", "of another key").await;
    vec![
        a_forged_root(&stage).await,
        a_rolled_back_tree(&stage).await,
        a_wrong_leaf(&stage).await,
        the_leaf_of_another_key(&stage).await,
        a_stale_value(&stage).await,
        an_omitted_revision(&stage).await,
        a_false_absence(&stage).await,
        a_key_left_out_of_a_listing(&stage).await,
        a_key_left_out_of_a_prefix(&stage).await,
        swapped_receipts(&stage).await,
        replayed_cosignatures(&stage).await,
        withheld_cosignatures(&stage).await,
        a_false_erasure(&stage).await,
        anothers_index(&stage).await,
        swapped_answers(&stage).await,
        answered_twice(&stage).await,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_of_what_clients_refuse() {
    let mut rows = told_to_clients().await;
    rows.extend(copies::told_by_copies(LIAR).await);
    rows.extend(members::told_by_former_members(LIAR).await);
    rows.push(backups::an_altered_backup(LIAR).await);
    documented("What clients are told", &rows);
    println!("{}", Table(rows));
}

/// The tables of docs/trust.md say what happens here: each of these lies, with this evidence, and no others.
fn documented(heading: &str, rows: &[Row]) {
    let text = std::fs::read_to_string(house::root().join("docs/trust.md")).unwrap();
    let section = text.split_once(&format!("### {heading}\n")).map(|(_, section)| section).unwrap();
    let lines =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let documented: BTreeSet<(String, String)> =
        lines.skip(2).map(cells).map(|cells| (cells[0].clone(), cells[2].clone())).collect();
    let none = || "none".to_owned();
    let found: BTreeSet<(String, String)> =
        rows.iter().map(|row| (row.lie.to_owned(), row.evidence.clone().unwrap_or_else(none))).collect();
    assert_eq!(documented, found, "docs/trust.md, {heading}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_of_what_nodes_refuse() {
    let mut rows = vec![between::a_block_dated_ahead(LIAR).await];
    rows.push(between::a_second_block(LIAR).await);
    rows.push(between::another_block_for_one_follower(LIAR).await);
    rows.push(between::an_altered_snapshot(LIAR).await);
    documented("What nodes are told", &rows);
    println!("{}", Table(rows));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_proxy_is_believed() {
    // What is refused above is refused for the lie, and not for the way.
    let stage = Stage::start(LIAR);
    put(&stage.honest("writer").ledger("default"), "k", "one").await;
    let liar = stage.lie(Lie::None, &[2]);
    let ledger = deceived(&stage, &liar, "none").await;
    assert_eq!(ledger.get("k", ReadOptions::new()).await.unwrap().value.unwrap().value, "one");
    put(&ledger, "k", "two").await;
    assert_eq!(ledger.history("k").all().await.unwrap().len(), 2);
    assert_eq!(ledger.scan(Query::everything(), ReadOptions::new()).all().await.unwrap().len(), 1);
}
