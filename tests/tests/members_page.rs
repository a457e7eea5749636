//! The page about adding, replacing and removing nodes does what it says, line by line, in the order it gives.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;

use quorate_tests::{
    cluster::{Cluster, free_ports},
    house,
    shell::Shell,
};

/// The lines of the blocks that are for a machine, with the machine.
fn lines(page: &str) -> Vec<(String, String)> {
    let (mut found, mut machine) = (Vec::new(), None);
    for line in page.lines() {
        match (line.strip_prefix("```"), &machine) {
            (Some(language), None) => {
                machine = Some(language.strip_prefix("sh @").unwrap_or_default().to_owned());
            }
            (Some(_), Some(_)) => machine = None,
            (None, Some(machine)) if !machine.is_empty() => {
                let command = line.split(" #").next().unwrap().trim().to_owned();
                found.push((machine.clone(), command));
            }
            (None, _) => {}
        }
    }
    found
}

#[test]
fn the_commands_of_the_page_about_members_work() {
    let page = fs::read_to_string(house::root().join("docs/operations/members.md")).unwrap();
    let mut cluster = Cluster::start(3);
    let ports: [u16; 3] = free_ports();
    let [client, peer, http] = ports;
    let lines = lines(&page);
    assert!(lines.len() >= 10, "{lines:?}");
    for (machine, command) in lines {
        // The one thing that is different here: all machines are this one.
        let command = command.replace("ledger-4.example", &format!("127.0.0.1:{client}:{peer}:{http}"));
        if machine == "ledger-4" && command.starts_with("quorate server") {
            let config = cluster.path().parent().unwrap().join(command.rsplit(' ').next().unwrap());
            cluster.adopt(4, config, ports);
            continue;
        }
        if command == "quorate member add 5" {
            // "Invite a new one and let it join as above": the machine of node 3 is gone.
            cluster.forget(3);
            assert_eq!(cluster.new_node(), 5);
        }
        let ran = Shell::of(&cluster).operator().script(&command);
        println!("$ {command}\n{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, 0, "{command}: {}", ran.stderr);
    }
    let members = cluster.members();
    let states: Vec<(&str, &str)> = members["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (member["node"].as_str().unwrap(), member["state"].as_str().unwrap()))
        .collect();
    let expected = [("1", "member"), ("2", "member"), ("3", "removed"), ("4", "removed"), ("5", "member")];
    assert_eq!(states, expected);
}
