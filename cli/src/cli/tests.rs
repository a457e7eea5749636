//! What the command line accepts and refuses.

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use super::Cli;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("quorate").chain(line.split_whitespace()))
}

fn refused(line: &str) -> ErrorKind {
    parse(line).map(|cli| panic!("accepted: {cli:?}")).unwrap_err().kind()
}

#[test]
fn clap_finds_no_contradiction_in_it() {
    Cli::command().debug_assert();
}

/// Commands that destroy or replace a cluster are run by tests of their own; that the pages spell them right is seen here.
#[test]
fn the_pages_that_need_other_machines_spell_their_commands_right() {
    let pages = [
        include_str!("../../../docs/operations/backup.md"),
        include_str!("../../../docs/operations/quorum-loss.md"),
        include_str!("../../../docs/operations/witness.md"),
    ];
    let mut commands = 0;
    for page in pages {
        for block in page.split("```sh").skip(1).filter_map(|rest| rest.split_once("```")) {
            let lines = block.0.lines().skip(1).collect::<Vec<_>>().join("\n").replace("\\\n", " ");
            for line in
                lines.lines().filter_map(|line| line.split(" #").next()?.trim().strip_prefix("quorate "))
            {
                parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
                commands += 1;
            }
        }
    }
    assert_eq!(commands, 13);
}

#[test]
fn every_command_of_the_documents_is_accepted() {
    for line in [
        "put k v",
        "put k - --expires-in 1h --if-absent",
        "put k --file f --content-type text/plain --attr a=b --attr c=d --receipt r",
        "put k -5 --if-revision 0 --wait committed --idempotency-key build-4711",
        "get k --at 17",
        "get k --raw --max-staleness 5s",
        "get 00ff --key-as hex --receipt r",
        "delete k --if-exists",
        "history k --oldest-first --limit 5",
        "scan",
        "scan --prefix p --reverse --limit 10 --keys-only",
        "scan --first a --end b --at 3",
        "tx 17",
        "tx --request build-4711 --author me --receipt r",
        "ledger create builds",
        "ledger list",
        "member list -o json",
        "member invite --authority a --host ledger-4.example:1:2:3 --valid 2h --out f",
        "member invite --host [::1] --plaintext",
        "member add 4 --promote --wait 1m",
        "member promote 4 --expect-epoch 2 --cert c --cert-key k",
        "member remove 3",
        "member replace 3 --by 4",
        "member transfer",
        "member transfer 2",
        "member drain 2 --undo",
        "join --invite f --dir d",
        "join --invite - --dir d --data-dir /var/lib/d",
        "status",
        "checkpoint --size 8 --out f",
        "verify --receipt r --policy p",
        "verify f --receipt r --policy p",
        "verify --receipt r --key k",
        "policy show",
        "policy export --out f -l builds",
        "backup create --to d",
        "backup create --to d --replica 3 -o json",
        "backup verify d --policy p",
        "backup export d --out e",
        "backup import e --to d",
        "backup restore d --out c --node 1=a.example --node 2=b.example:1:2:3",
        "recover --from a/quorate.toml --from b/quorate.toml --out c --node 1=a.example --i-understand n",
        "verify --receipt r --old-policy a.policy,b.policy",
        "notarize f d git://.@HEAD hash:00 --attr a=b --signer me --receipt-dir r --exclude .git",
        "notarize --git v1..v2 --repo /srv/r",
        "authenticate f --signer me",
        "untrust f --attr why=broken",
        "unsupport hash:00",
        "inspect k",
        "context list",
        "context use dev",
        "context show",
        "bench put --clients 256 --value-bytes 256 --duration 10s --warm-up 0s --batch 1000 --wait committed",
        "bench get --keys 1000000 --no-load --prefix p/",
        "bench verified-get --clients 64 -o json",
        "bench put --rate 4000 --keys 100 --distribution uniform --order ascending",
        "bench mixed --reads 50 --distribution zipf:1.2 --wait committed --no-verify",
        "bench scan --page 1000 --keys 5000",
        "bench sweep --over-clients 1,4,16 --chart put.svg put --duration 5s",
        "bench sweep --over-rates 500,1000 -o json verified-get --no-load",
        "completions bash",
        "--endpoints https://a:1,https://b:1 --cacert c --trust-dir t -l x -o json --timeout 1m -q --no-verify get k",
        "get k -o json --plaintext",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn the_commands_about_frozen_ledgers_are_accepted() {
    for line in [
        "ledger show builds",
        "ledger freeze builds --reason full --expect-revision 0",
        "ledger thaw builds --cert c --cert-key k",
        "ledger archive builds --to d",
        "ledger verify d --policy p --key 00ff --key-as hex",
        "ledger verify d --receipt r",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for line in [
        "put k v --file f",
        "put k v --if-absent --if-exists",
        "get k --at 1 --receipt r",
        "get k --receipt r --no-verify",
        "scan --prefix p --first f",
        "tx 1 --request k",
    ] {
        assert_eq!(refused(line), ErrorKind::ArgumentConflict, "{line}");
    }
}

#[test]
fn what_is_missing_is_refused() {
    for line in ["put", "put k", "get", "tx", "verify f", "notarize", "authenticate", "inspect"] {
        assert_eq!(refused(line), ErrorKind::MissingRequiredArgument, "{line}");
    }
}

#[test]
fn wrong_values_are_refused_with_the_reason() {
    for (line, reason) in [
        ("get k --timeout 10", "500ms"),
        ("get k -l Upper", "ledger"),
        ("get k -l node", "ledger"),
        ("put k v --attr x", "NAME=VALUE"),
        ("history k --limit 0", "0 is not in"),
        ("checkpoint --size 0", "0 is not in"),
        ("get k -o xml", "json"),
        ("bench put --batch 4097", "4096"),
        ("bench get --clients 0", "0 is not in"),
        ("bench put --rate 0", "0 is not in"),
        ("bench mixed --reads 101", "101 is not in"),
        ("bench get --distribution normal", "zipf:1.2"),
        ("bench sweep put", "--over-clients"),
        ("bench sweep --over-clients 1 --over-rates 1 put", "cannot be used with"),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(reason), "{line}: {error}");
    }
}

#[test]
fn every_command_and_option_says_what_it_does() {
    fn check(command: &clap::Command) {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name} says nothing");
        for argument in command.get_arguments() {
            let id = argument.get_id();
            assert!(
                argument.get_help().is_some() || id == "help" || id == "version",
                "{name} {id} says nothing"
            );
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}
