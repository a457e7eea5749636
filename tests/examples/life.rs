//! The life of a cluster as one command: `life [--keys N] [--writers N] [--costs] [-o json]` (see [`quorate_tests::life`]).
//!
//! `make life` runs it with a million keys. It takes the binary of `QUORATE_BIN`, or the one beside it; it needs some
//! 10 GB of disk and a few minutes, and leaves nothing behind, not even when it is interrupted. With `--costs` it only measures
//! what a backup and a node that joins leave to the writers: ten million keys want some 50 GB and half an hour.

use std::process::ExitCode;

use quorate_tests::life::{Account, Plan, costs, live};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: life [--keys N] [--writers N] [--costs] [-o json]";

/// What is asked for.
struct Asked {
    plan: Plan,
    /// Only what is measured beside writers.
    costs: bool,
    /// As a document.
    json: bool,
}

fn arguments() -> Result<Asked, String> {
    let mut plan = Plan { keys: 1_000_000, writers: 16 };
    let (mut costs, mut json) = (false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--costs" {
            costs = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value; {USAGE}"))?;
        let number = || value.parse().ok().filter(|number| *number > 0);
        let number = || number().ok_or_else(|| format!("{name}: {value:?} is no number above 0; {USAGE}"));
        match name.as_str() {
            "--keys" => plan.keys = number()?,
            "--writers" => plan.writers = number()?,
            "-o" if value == "json" => json = true,
            _ => return Err(format!("{name} {value} is not known; {USAGE}")),
        }
    }
    Ok(Asked { plan, costs, json })
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let Asked { plan, costs: only_costs, json } = match arguments() {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut life =
        tokio::spawn(
            async move { if only_costs { costs(plan, !json).await } else { live(plan, !json).await } },
        );
    let ended = tokio::select! {
        ended = &mut life => Some(ended),
        () = interrupted() => None,
    };
    match ended {
        Some(Ok(account)) => tell(&account, json),
        Some(Err(_)) => {
            eprintln!("something is not as it must be: see above");
            ExitCode::FAILURE
        }
        None => {
            // The nodes end when it is dropped, which is at its next wait.
            life.abort();
            let ended = life.await;
            eprintln!(
                "{}",
                if ended.is_ok() { "it ended meanwhile" } else { "interrupted; everything is ended" }
            );
            ExitCode::from(130)
        }
    }
}

/// Returns when this process is asked to end.
async fn interrupted() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

fn tell(account: &Account, json: bool) -> ExitCode {
    if json {
        println!("{:#}", account.to_json());
    } else {
        println!("nothing was lost, and no answer was wrong");
    }
    ExitCode::SUCCESS
}
