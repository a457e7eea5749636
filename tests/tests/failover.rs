//! kill -9 of the leader, ten times in turn, while clients write: nothing acknowledged is lost, nothing is there twice,
//! and all replicas have the same roots at every common size. Then the audit recomputes all of it.

use std::time::Duration;

use quorate_tests::{
    audit,
    cluster::Cluster,
    writer::{self, Writers},
};

const KILLS: u64 = 10;
const WRITERS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_killed_leaders_lose_nothing() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    let writers = Writers::start(client.clone(), WRITERS);
    let mut killed = Vec::new();
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let leader = cluster.leader(&client).await;
        let before = writers.count();
        cluster.kill(leader);
        killed.push(leader);
        writers.wait_for_more(before + 1).await;
        cluster.start_node(leader);
        cluster.wait_ready();
    }
    let acknowledged = writers.stop().await;
    assert!(acknowledged.len() > 50, "only {} writes were acknowledged", acknowledged.len());
    println!("{} acknowledged writes, killed leaders {killed:?}", acknowledged.len());
    writer::check(&client, &acknowledged).await;
    let log = audit::replicas(&cluster, &client, "default").await;
    assert!(log.leaves.len() > acknowledged.len(), "only {} leaves", log.leaves.len());
}
