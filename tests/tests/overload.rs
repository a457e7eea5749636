//! Overload: what does not fit into the queue is refused at once, with its reason, and what fits goes on.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use quorate_client::{Client, Error, Transaction};
use quorate_tests::{clock, cluster::Cluster, http};

/// A queue into which small requests fit, and large ones do not.
fn small_queue(text: String) -> String {
    let changed = text.replace("queued_bytes = 134217728", "queued_bytes = 8192");
    assert_ne!(changed, text, "the default bound is another one");
    changed
}

async fn write(client: &Client, key: &str, bytes: usize, timeout: Duration) -> Result<(), Error> {
    let write = Transaction::new().put(key.to_owned(), vec![b'v'; bytes]).timeout(timeout);
    client.ledger("default").commit(write).await.map(drop)
}

/// How many commits were refused as too much so far.
fn refused(cluster: &Cluster) -> u64 {
    let text = String::from_utf8(http::get(cluster.nodes[&1].http, "/metrics").unwrap().body).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("quorate_calls_total"));
    let refused = lines.filter(|line| line.contains("RESOURCE_EXHAUSTED"));
    refused.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_refused_at_once_and_what_fits_goes_on() {
    let cluster = Cluster::start_with(1, small_queue);
    let client = cluster.client("trust");
    write(&client, "small", 100, Duration::from_secs(10)).await.unwrap();
    let (large, small) = tokio::join!(
        write(&client, "large", 20_000, Duration::from_secs(3)),
        write(&client, "small too", 100, Duration::from_secs(10)),
    );
    small.unwrap();
    let error = large.unwrap_err();
    assert!(error.to_string().contains("too many requests are waiting"), "{error}");
    // It was asked again and again, and answered at once each time.
    let times = refused(&cluster);
    assert!(times >= 3, "refused {times} times in 3 s");
    // Many at once: all of them are written or refused, soon, and memory is bounded by the queue.
    let begun = clock::now();
    let crowd = (0..200).map(|n| {
        let client = client.clone();
        async move { write(&client, &format!("crowd {n}"), 3_000, Duration::from_secs(20)).await }
    });
    let done = futures::future::join_all(crowd).await;
    let written = done.iter().filter(|result| result.is_ok()).count();
    assert!(written >= 150, "{written} of 200 were written; {:?}", done.iter().find(|one| one.is_err()));
    assert!(clock::now() - begun < Duration::from_secs(25));
    assert!(refused(&cluster) > times, "the queue was never full");
    write(&client, "after", 100, Duration::from_secs(10)).await.unwrap();
}
