//! One run: prepare, warm up, measure, report.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use quorate_client::{Client, Ledger, ReadOptions, Wait};

use super::args::{Args, PutArgs, What};
use super::keys::{Dice, KeySpace};
use super::recording::{Failed, Recording, Window};
use super::report::{self, Measured, Usage};
use super::workload::{Call, Workload};
use crate::clock::Stopwatch;
use crate::commands::WaitFor;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::session::Session;

/// What each node says of itself, by endpoint.
type Usages = Vec<(String, Option<Usage>)>;

/// Measures, and tells.
pub(crate) async fn run(global: &Global, session: &Session, args: &Args) -> Result<Exit, CliError> {
    let what = &args.what;
    what.check(session.verify)?;
    let workload = workload(what)?;
    let clients = Session::forgetful(global, what.load().connections)?;
    let ledgers: Vec<Ledger> =
        clients.iter().map(|client| client.ledger(session.ledger_name.as_str())).collect();
    prepare(session, what, &workload, &ledgers).await?;
    let (recording, before, after) = measure(session, what, &workload, &ledgers, &clients).await?;
    let measured = Measured { ledger: &session.ledger_name, what, recording: &recording };
    let document = report::document(measured, &before, &after);
    session.output.result("bench", &document, report::table)?;
    Ok(judge(session, &recording))
}

/// What the clients are to do.
fn workload(what: &What) -> Result<Workload, CliError> {
    let load = what.load();
    let keys = KeySpace::new(&load.prefix, load.key_bytes, what.keys(), load.order)?;
    // Without a number of keys, every run writes keys that no other run has written.
    let first = if what.keys().is_some() { 0 } else { Dice::new()?.next() };
    let call = match what {
        What::Put(PutArgs { batch, wait, .. }) => Call::Put { batch: *batch, wait: wait_of(*wait) },
        What::Get(args) => Call::Get { keys: args.keys, options: ReadOptions::new().unverified() },
        What::VerifiedGet(args) => Call::Get { keys: args.keys, options: ReadOptions::new() },
    };
    let next = Arc::new(AtomicU64::new(first));
    Ok(Workload { call, keys: Arc::new(keys), value_bytes: load.value_bytes, next })
}

const fn wait_of(wait: WaitFor) -> Wait {
    match wait {
        WaitFor::Certified => Wait::Certified,
        WaitFor::Committed => Wait::Committed,
    }
}

/// Writes what is to be read.
async fn prepare(
    session: &Session,
    what: &What,
    workload: &Workload,
    ledgers: &[Ledger],
) -> Result<(), CliError> {
    let (What::Get(args) | What::VerifiedGet(args)) = what else { return Ok(()) };
    let Some(ledger) = ledgers.first().filter(|_| !args.no_load) else { return Ok(()) };
    let watch = Stopwatch::start();
    workload.load(ledger, args.keys).await?;
    let seconds = crate::output::time::seconds(watch.elapsed());
    session.output.hint(&format!("{} keys written in {seconds}", args.keys));
    Ok(())
}

/// Runs the clients, and asks the nodes when the measured time begins and when it ends.
async fn measure(
    session: &Session,
    what: &What,
    workload: &Workload,
    ledgers: &[Ledger],
    clients: &[Client],
) -> Result<(Recording, Usages, Usages), CliError> {
    let load = what.load();
    let window = Window { from: load.warm_up, to: load.warm_up.saturating_add(load.duration) };
    let watch = Stopwatch::start();
    let asking = async {
        tokio::time::sleep(window.from.saturating_sub(watch.elapsed())).await;
        let before = usages(&session.client).await;
        tokio::time::sleep(window.to.saturating_sub(watch.elapsed())).await;
        (before, usages(&session.client).await)
    };
    let running = workload.run(ledgers, load.clients, watch, window);
    let (recording, (before, after)) = tokio::join!(running, asking);
    for client in clients {
        client.flush().await?;
    }
    Ok((recording?, before, after))
}

async fn usages(client: &Client) -> Usages {
    report::usages(&client.status().await)
}

/// How the command ends: errors are told, and what was not believed is the worst of them.
fn judge(session: &Session, recording: &Recording) -> Exit {
    let Some(error) = &recording.first_error else { return Exit::Done };
    let errors = recording.errors;
    session.output.warn(&format!("{errors} calls failed in the measured time; the first failure: {error}"));
    match error {
        Failed::Client(error) if error.is_untrusted() => Exit::Unverified,
        _ if recording.transactions == 0 => Exit::Error,
        _ => Exit::Done,
    }
}
