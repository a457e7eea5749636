//! One run, or the runs of a sweep: prepare, warm up, measure, report.

use std::sync::Arc;

use quorate_client::{Client, Ledger, ReadOptions, Wait};

use super::args::{Args, Command, SweepArgs, What};
use super::choice::Choice;
use super::keys::{Dice, KeySpace};
use super::live;
use super::loops;
use super::recording::{Failed, Failures, Recorder, Recording, Window};
use super::report::{self, Measured, Usage};
use super::spread;
use super::sweep;
use super::timetable::Timetable;
use super::workload::{Call, Workload};
use crate::clock::Stopwatch;
use crate::commands::WaitFor;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::json::{Bench, BenchSweep};
use crate::session::Session;

/// What each node says of itself, by endpoint.
type Usages = Vec<(String, Option<Usage>)>;

/// Measures, and tells.
pub(crate) async fn run(global: &Global, session: &Session, args: &Args) -> Result<Exit, CliError> {
    match &args.command {
        Command::One(what) => one(global, session, what).await,
        Command::Sweep(args) => several(global, session, args).await,
    }
}

async fn one(global: &Global, session: &Session, what: &What) -> Result<Exit, CliError> {
    let cluster = Cluster::prepare(global, session, what).await?;
    let (document, recording) = cluster.measure(what).await?;
    session.output.result("bench", &document, report::table)?;
    Ok(judge(session, &recording))
}

async fn several(global: &Global, session: &Session, args: &SweepArgs) -> Result<Exit, CliError> {
    let all = args.runs()?;
    let chart = args.chart.as_deref().map(sweep::ChartFile::create).transpose()?;
    let cluster = Cluster::prepare(global, session, &args.what).await?;
    let (mut runs, mut worst) = (Vec::new(), Exit::Done);
    for (number, what) in all.iter().enumerate() {
        session.output.hint(&format!("run {} of {}", number + 1, all.len()));
        let (document, recording) = cluster.measure(what).await?;
        runs.push(document);
        // The codes of the exits that there are here rise with how bad they are.
        worst = std::cmp::max_by_key(worst, judge(session, &recording), |exit| exit.code());
    }
    let sweep = BenchSweep {
        ledger: session.ledger_name.clone(),
        over: args.over(),
        chart: args.chart.as_ref().map(|path| path.display().to_string()),
        runs,
    };
    if let Some(chart) = chart {
        chart.write(&sweep)?;
    }
    session.output.result("bench_sweep", &sweep, sweep::table)?;
    Ok(worst)
}

/// The cluster under load, with what is to be read in it.
struct Cluster<'a> {
    session: &'a Session,
    clients: Vec<Client>,
    ledgers: Vec<Arc<[Ledger]>>,
}

impl<'a> Cluster<'a> {
    /// Connects, and writes what is to be read.
    async fn prepare(global: &Global, session: &'a Session, what: &What) -> Result<Self, CliError> {
        what.check(session.verify)?;
        let workload = workload(what, session.verify)?;
        let clients = Session::forgetful(global, what.load().connections, what.streams())?;
        let names = spread::names(&session.ledger_name, what.ledgers());
        if what.ledgers().is_some() {
            spread::create_missing(&session.client, &names).await?;
        }
        let of = |client: &Client| names.iter().map(|name| client.ledger(name.as_str())).collect();
        let ledgers: Vec<Arc<[Ledger]>> = clients.iter().map(of).collect();
        let loaded = what.loaded().filter(|loaded| !loaded.no_load);
        if let Some((loaded, ledger)) = loaded.zip(ledgers.first().and_then(|ledgers| ledgers.first())) {
            let watch = Stopwatch::start();
            workload.load(ledger, loaded.keys).await?;
            let seconds = crate::output::time::seconds(watch.elapsed());
            session.output.hint(&format!("{} keys written in {seconds}", loaded.keys));
        }
        Ok(Self { session, clients, ledgers })
    }

    /// Runs the clients, and asks the nodes when the measured time begins and when it ends.
    async fn measure(&self, what: &What) -> Result<(Bench, Recording), CliError> {
        let (session, load) = (self.session, what.load());
        let window = Window { from: load.warm_up, to: load.warm_up.saturating_add(load.duration) };
        let recorder = Arc::new(Recorder::new(window)?);
        let workload = workload(what, session.verify)?;
        let clients = workload.clients(load.clients(), &self.ledgers)?;
        let watch = Stopwatch::start();
        let running = async {
            match load.rate {
                None => loops::closed(clients, watch, &recorder).await,
                Some(rate) => {
                    let timetable = Timetable::new(rate, what.operations());
                    loops::open(clients, timetable, workload.kind(), watch, &recorder).await
                }
            }
        };
        let asking = async {
            tokio::time::sleep(window.from.saturating_sub(watch.elapsed())).await;
            let before = usages(&session.client).await;
            tokio::time::sleep(window.to.saturating_sub(watch.elapsed())).await;
            (before, usages(&session.client).await)
        };
        let (ran, (before, after)) = tokio::select! {
            both = async { tokio::join!(running, asking) } => both,
            never = live::show(session.output, &recorder, watch) => match never {},
        };
        ran?;
        for client in &self.clients {
            client.flush().await?;
        }
        let recording = recorder.recording();
        let measured =
            Measured { ledger: &session.ledger_name, what, verify: session.verify, recording: &recording };
        Ok((report::document(measured, &before, &after)?, recording))
    }
}

/// What the clients are to do.
fn workload(what: &What, verify: bool) -> Result<Workload, CliError> {
    let load = what.load();
    let keys = KeySpace::new(&load.prefix, load.key_bytes, what.keys(), load.order)?;
    let choice = match what.keys().zip(what.distribution()) {
        Some((keys, distribution)) => Choice::of(keys, distribution),
        // Without a number of keys, every run writes keys that no other run has written.
        None => Choice::new_from(Dice::new()?.next()),
    };
    let call = match (what, what.page(), what.reads()) {
        (What::Put(_), ..) => Call::Put(what.batch()),
        (_, Some(page), _) => Call::Scan(page),
        (_, _, Some(reads)) => Call::Mixed(reads),
        _ => Call::Get,
    };
    let read = ReadOptions::new();
    let read = if what.verifies(verify) || matches!(what, What::Put(_)) { read } else { read.unverified() };
    let wait = match what.wait() {
        Some(WaitFor::Committed) => Wait::Committed,
        Some(WaitFor::Certified) | None => Wait::Certified,
    };
    Ok(Workload { call, keys: Arc::new(keys), choice, value_bytes: load.value_bytes, read, wait })
}

async fn usages(client: &Client) -> Usages {
    report::usages(&client.status().await)
}

/// How a run ends: errors are told, and what was not believed is the worst of them.
fn judge(session: &Session, recording: &Recording) -> Exit {
    let (failures, not_sent) = (recording.failures, recording.not_sent);
    if not_sent > 0 {
        session.output.warn(&format!(
            "{not_sent} calls were due and not sent: every client was waiting for an answer. The cluster does less than \
             --rate asks for, or --clients is too small for it"
        ));
    }
    if let Some(error) = &recording.first_error {
        session.output.warn(&told(failures, error));
    }
    exit(recording)
}

fn told(failures: Failures, first: &Failed) -> String {
    let kinds = report::failure_kinds(failures);
    let kinds: Vec<String> = kinds.iter().map(|(count, kind)| format!("{count} {kind}")).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    format!("{} calls failed in the measured time{kinds}; the first failure: {first}", failures.total())
}

/// A run in which nothing succeeded has failed; so has one in which an answer was not believed, warm-up or not.
fn exit(recording: &Recording) -> Exit {
    let untrusted = matches!(&recording.first_error, Some(Failed::Client(error)) if error.is_untrusted());
    match recording.done() {
        _ if untrusted || recording.failures.untrusted > 0 => Exit::Unverified,
        (0, _) if recording.first_error.is_some() => Exit::Error,
        _ => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quorate_client::{Distrust, Error};

    use super::super::recording::{Ended, Kind};
    use super::*;

    fn recorded(outcomes: Vec<Result<u64, Failed>>) -> Recording {
        let (began, ended) = (Duration::from_secs(1), Duration::from_secs(2));
        let recorder = Recorder::new(Window { from: Duration::ZERO, to: ended * 2 }).unwrap();
        for outcome in outcomes {
            recorder.note(Ended { kind: Kind::Read, began, ended, outcome });
        }
        recorder.recording()
    }

    fn untrusted() -> Result<u64, Failed> {
        let what = Box::new(Distrust::Missing { part: "the checkpoint" });
        Err(Failed::Client(Error::Untrusted { endpoint: "https://a:1".into(), what, evidence: None }))
    }

    #[test]
    fn one_answer_that_is_not_believed_decides_the_exit_wherever_it_comes() {
        assert_eq!(exit(&recorded(vec![Ok(1)])), Exit::Done);
        assert_eq!(exit(&recorded(vec![Err(Failed::Absent), Ok(1)])), Exit::Done);
        assert_eq!(exit(&recorded(vec![Err(Failed::Absent)])), Exit::Error);
        assert_eq!(exit(&recorded(vec![Err(Failed::Absent), Ok(1), untrusted()])), Exit::Unverified);
    }

    #[test]
    fn failures_are_told_apart() {
        let recording = recorded(vec![Err(Failed::Absent), Err(Failed::Absent), untrusted()]);
        let text = told(recording.failures, &Failed::Absent);
        assert!(
            text.starts_with("3 calls failed in the measured time (1 not believed, 2 absent);"),
            "{text}"
        );
    }
}
