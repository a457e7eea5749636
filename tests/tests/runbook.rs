//! The drills of the runbook: on a cluster in which the thing has been made to go wrong, every command of its page is run, and
//! what the page says one sees is seen.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet, fs, os::unix::fs::symlink, path::PathBuf, process::Command, time::Duration,
};

use quorate_client::Transaction;
use quorate_tests::{
    cluster::{Cluster, binary, small_logs},
    house::root,
    http, process,
    shell::{Ran, Shell},
};

/// A page of the runbook.
struct Page {
    name: &'static str,
    text: String,
}

impl Page {
    fn read(name: &'static str) -> Self {
        let path = root().join(format!("docs/operations/runbook/{name}.md"));
        Self { name, text: fs::read_to_string(path).unwrap() }
    }

    /// The lines of all blocks of a kind.
    fn blocks(&self, kind: &str) -> Vec<String> {
        let fence = format!("```{kind}");
        let mut inside = false;
        let mut lines = Vec::new();
        for line in self.text.lines().map(str::trim) {
            match inside {
                false => inside = line == fence,
                true if line == "```" => inside = false,
                true => lines.push(line.to_owned()),
            }
        }
        lines
    }
}

/// A shell in which the commands of the pages work as they stand there.
struct Drill {
    path: String,
    shell: Shell,
    dir: PathBuf,
    /// The HTTP port of node 1, which the pages call by its usual number.
    http: String,
}

impl Drill {
    fn on(cluster: &Cluster) -> Self {
        let dir = cluster.path();
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).unwrap();
        if !bin.join("quorate").exists() {
            symlink(fs::canonicalize(binary()).unwrap(), bin.join("quorate")).unwrap();
        }
        let path = format!("{}:/usr/bin:/bin", bin.display());
        Self { path, shell: Shell::of(cluster), dir, http: cluster.nodes[&1].http.to_string() }
    }

    fn run(&self, line: &str) -> Ran {
        let line = line.replace("127.0.0.1:7402", &self.http);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &line]).current_dir(&self.dir).env_clear();
        command.env("PATH", &self.path).env("HOME", &self.dir).envs(self.shell.variables());
        process::output(&mut command, Duration::from_secs(60)).into()
    }

    /// Runs every command of a page; each is one that exists, and together they show what the page says one sees.
    fn page(&self, name: &'static str) {
        let page = Page::read(name);
        let commands = page.blocks("sh");
        assert!(!commands.is_empty(), "{name} has no commands");
        let mut seen = String::new();
        for line in &commands {
            let ran = self.run(line);
            assert!(![2, 126, 127, -1].contains(&ran.code), "{name}: `{line}`: {} {}", ran.code, ran.stderr);
            seen.push_str(&ran.stdout);
            seen.push_str(&ran.stderr);
        }
        for words in page.blocks("text") {
            assert!(seen.contains(&words), "{}: {words:?} is not seen in:\n{seen}", page.name);
        }
    }
}

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
    for name in
        ["slow-disk", "clock-wrong", "leader-flapping", "overload", "diverged-node", "certificate-expired"]
    {
        drill.page(name);
    }
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
    let drills = fs::read_to_string(root().join("tests/tests/runbook.rs")).unwrap();
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        assert!(index.contains(&format!("({name})")), "{name} is not in the index");
        pages.insert(name.trim_end_matches(".md").to_owned());
    }
    assert!(pages.len() >= 11, "{pages:?}");
    // Those of other parts of the manual have drills of their own.
    let here: Vec<&String> = pages.iter().filter(|page| drills.contains(&format!("\"{page}\""))).collect();
    assert!(here.len() >= 11, "{here:?}");
    for page in here {
        let text = fs::read_to_string(root().join(format!("docs/operations/runbook/{page}.md"))).unwrap();
        for part in ["## What you see", "## What it means", "## What to do"] {
            assert!(text.contains(part), "{page} has no {part:?}");
        }
    }
}
