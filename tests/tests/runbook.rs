//! The drills of the runbook: on a cluster in which the thing has been made to go wrong, every command of its page is run, and
//! what the page says one sees is seen.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use quorate_client::Transaction;
use quorate_tests::{
    cluster::{Cluster, small_logs},
    drill::Drill,
    house::root,
    http,
    shell::Ran,
};

async fn write(cluster: &Cluster, count: u32) {
    let client = cluster.client("trust");
    for n in 0..count {
        let write = Transaction::new().put(format!("key {n}"), "v");
        client.ledger("default").commit(write).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_down_then_the_majority() {
    let mut cluster = Cluster::start(3);
    write(&cluster, 5).await;
    let drill = Drill::on(&cluster);
    let well = drill.run("quorate doctor --config node-1/quorate.toml -o json");
    let report: serde_json::Value = serde_json::from_str(&well.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    for check in
        ["clock", "quorum", "agreement", "reachable", "peer port of others", "state", "Raft log", "process"]
    {
        let verdicts: Vec<_> = findings.iter().filter(|one| one["check"] == check).collect();
        assert!(
            !verdicts.is_empty() && verdicts.iter().all(|one| one["verdict"] == "ok"),
            "{check}: {verdicts:?}"
        );
    }
    cluster.kill(2);
    drill.page("node-down");
    let one_down = drill.run("quorate doctor --config node-1/quorate.toml");
    assert_eq!(one_down.code, 1, "{}", one_down.stdout);
    assert!(one_down.stdout.contains("runbook/node-down.md"), "{}", one_down.stdout);
    let of_itself = drill.run("quorate doctor --config node-2/quorate.toml");
    assert!(of_itself.stdout.contains("this node does not run"), "{}", of_itself.stdout);
    cluster.kill(3);
    drill.page("cannot-certify");
    assert_eq!(drill.run("quorate status").code, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disks_are_nearly_full() {
    // A reserve that no disk has.
    let cluster = Cluster::start_with(3, |text| {
        let changed =
            text.replace("disk_reserve_bytes = 536870912", "disk_reserve_bytes = 1152921504606846976");
        assert_ne!(changed, text);
        changed
    });
    let drill = Drill::on(&cluster);
    drill.page("disk-full");
    // The page's commands did what it says, on disks that are too full for writes.
    let documents = drill.run("quorate history frozen/default --ledger _system --oldest-first -o json");
    let documents: serde_json::Value = serde_json::from_str(&documents.stdout).unwrap();
    assert_eq!(documents["writes"].as_array().unwrap().len(), 2, "frozen and thawed: {documents}");
    let archived = drill.run("quorate ledger verify archived-default --policy client/default.policy");
    assert_eq!(archived.code, 0, "{}", archived.stderr);
    assert!(archived.stdout.contains("frozen at size 1,"), "{}", archived.stdout);
    let refused = drill.run("quorate put a b --timeout 2s");
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("nothing was done"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_damaged_and_another_lost_its_directory() {
    let mut cluster = Cluster::start_with(3, small_logs);
    write(&cluster, 120).await;
    let drill = Drill::on(&cluster);
    cluster.terminate(1);
    // A byte in each file of its state is not what it was.
    let state = cluster.path().join("node-1/data/state");
    let current = fs::read_to_string(state.join("CURRENT")).unwrap();
    let mut bent = 0;
    for entry in fs::read_dir(state.join(current.trim_end())).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "sst") {
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 8;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
            bent += 1;
        }
    }
    assert!(bent > 3, "only {bent} files");
    cluster.start_node(1);
    cluster.wait_unready(1, "damaged");
    drill.page("damaged-node");
    assert_eq!(http::get(cluster.nodes[&1].http, "/livez").unwrap().status, 200);
    cluster.kill(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_lost_and_put_back() {
    let mut cluster = Cluster::start(3);
    write(&cluster, 10).await;
    let drill = Drill::on(&cluster);
    cluster.terminate(1);
    let (data, moved) = (cluster.path().join("node-1/data"), cluster.path().join("moved"));
    fs::rename(&data, &moved).unwrap();
    cluster.start_node(1);
    cluster.wait_unready(1, "the data directory is empty");
    drill.page("lost-data-directory");
    cluster.kill(1);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&moved, &data).unwrap();
    cluster.start_node(1);
    cluster.wait_ready();
    assert_eq!(drill.run("quorate health --http 127.0.0.1:7402").code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_while_the_nodes_run() {
    let cluster = Cluster::start(3);
    write(&cluster, 3).await;
    let drill = Drill::on(&cluster);
    let ends = |ran: &Ran| ran.stdout.matches("new").count();
    let kept = drill.run("quorate certificates renew --authority authority node-1 node-2 node-3");
    assert_eq!((kept.code, ends(&kept)), (0, 0), "{} {}", kept.stdout, kept.stderr);
    let forced =
        drill.run("quorate certificates renew --within 800 --authority authority node-1 node-2 node-3");
    assert_eq!((forced.code, ends(&forced)), (0, 0), "825 days are left");
    let forced =
        drill.run("quorate certificates renew --within 1000 --authority authority node-1 node-2 node-3");
    assert_eq!((forced.code, ends(&forced)), (0, 6), "{} {}", forced.stdout, forced.stderr);
    for id in 1..=3 {
        Command::new("kill").args(["-HUP", &cluster.pid(id).to_string()]).status().unwrap();
    }
    let taken = "quorate_certificate_reloads_total{certificate=\"server\",result=\"taken\"} 1";
    for id in 1..=3 {
        let mut tries = 0;
        while !String::from_utf8(http::get(cluster.nodes[&id].http, "/metrics").unwrap().body)
            .unwrap()
            .contains(taken)
        {
            tries += 1;
            assert!(tries < 100, "node {id} does not take its new certificate:\n{}", cluster.log(id));
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    write(&cluster, 3).await;
    assert_eq!(drill.run("quorate status").code, 0);
}

#[test]
fn every_page_is_in_the_index_and_is_drilled() {
    let folder = root().join("docs/operations/runbook");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    let drills: String = ["tests/tests/runbook.rs", "tests/tests/drills.rs", "tests/liar/tests/drills.rs"]
        .iter()
        .map(|file| fs::read_to_string(root().join(file)).unwrap())
        .collect();
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        assert!(index.contains(&format!("({name})")), "{name} is not in the index");
        pages.insert(name.trim_end_matches(".md").to_owned());
    }
    assert!(pages.len() >= 13, "{pages:?}");
    for page in pages {
        assert!(
            ["page", "commands"].iter().any(|call| drills.contains(&format!(".{call}(\"{page}\")"))),
            "{page} has no drill"
        );
        let text = fs::read_to_string(root().join(format!("docs/operations/runbook/{page}.md"))).unwrap();
        for part in ["## What you see", "## What it means", "## What to do"] {
            assert!(text.contains(part), "{page} has no {part:?}");
        }
    }
}
