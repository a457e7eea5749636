//! When calls are sent: as soon as the one before is answered, or when they are due.
//!
//! A **closed loop** shows what so many clients get. It cannot show what a cluster does that is slower than its load:
//! clients that wait ask for less. An **open loop** sends at a rate, whatever comes back. Each call has a time at which
//! it is due, and its latency counts from then: when all clients are waiting, the calls that became due meanwhile are
//! sent late and their waiting is part of their latency (no coordinated omission). Calls under way are bounded by the
//! number of clients; what was due and never sent is counted.
//!
//! Both end with the measured time; calls under way then are waited for, which their own time limit bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::recording::{Ended, Failed, Kind, Recorder};
use super::timetable::Timetable;
use crate::clock::Stopwatch;
use crate::error::CliError;

/// The pause of a closed loop after a failure, so that a cluster that refuses everything is not asked without a pause.
const AFTER_FAILURE: Duration = Duration::from_millis(10);
/// The longest that the pacer sleeps: it looks this often whether it is still needed.
const LOOK: Duration = Duration::from_millis(50);
/// Calls that were due in time are still sent for so long after the end: a client that is free has to be woken first.
const LATE: Duration = Duration::from_millis(100);

/// One client: makes calls, one after the other.
pub(super) trait Client: Send + 'static {
    /// A call that only has to be sent.
    type Ready: Send;

    /// Makes the next call ready, which is not measured.
    fn prepare(&mut self) -> Self::Ready;

    /// Sends it. How many operations it did, or why it did none.
    fn send(&self, ready: Self::Ready) -> impl Future<Output = (Kind, Result<u64, Failed>)> + Send;
}

/// Every client sends its next call when the one before is answered.
pub(super) async fn closed<C: Client>(
    clients: Vec<C>,
    watch: Stopwatch,
    recorder: &Arc<Recorder>,
) -> Result<(), CliError> {
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let recorder = Arc::clone(recorder);
        tasks.spawn(async move {
            loop {
                let ready = client.prepare();
                let began = watch.elapsed();
                if began >= recorder.window().to {
                    return;
                }
                let (kind, outcome) = client.send(ready).await;
                let failed = outcome.is_err();
                recorder.note(Ended { kind, began, ended: watch.elapsed(), outcome });
                if failed {
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        });
    }
    all(tasks).await
}

/// Calls are sent when they are due, by whichever client is free. `unsent` is what calls count as that were not.
pub(super) async fn open<C: Client>(
    clients: Vec<C>,
    timetable: Timetable,
    unsent: Kind,
    watch: Stopwatch,
    recorder: &Arc<Recorder>,
) -> Result<(), CliError> {
    let until = recorder.window().to;
    let gate = Closing(Arc::new(Gate { due: Semaphore::new(0), taken: AtomicU64::new(0) }));
    // Closes the gate however it ends: no client waits for a pacer that is gone.
    let pacer = Closing(Arc::clone(&gate.0));
    let pacing = tokio::task::spawn_blocking(move || pacer.0.pace(timetable, watch, until));
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let (recorder, gate) = (Arc::clone(recorder), Arc::clone(&gate.0));
        tasks.spawn(async move {
            loop {
                let ready = client.prepare();
                let Some(number) = gate.next().await else { return };
                let (kind, outcome) = client.send(ready).await;
                let began = timetable.due(number);
                recorder.note(Ended { kind, began, ended: watch.elapsed(), outcome });
            }
        });
    }
    all(tasks).await?;
    pacing.await.map_err(|error| CliError::other(format!("the pacer stopped: {error}")))?;
    let sent = gate.0.taken.load(Ordering::Relaxed);
    (sent..timetable.due_before(until))
        .for_each(|number| recorder.note_not_sent(unsent, timetable.due(number)));
    Ok(())
}

async fn all(mut tasks: JoinSet<()>) -> Result<(), CliError> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| CliError::other(format!("a client stopped: {error}")))?;
    }
    Ok(())
}

/// Where free clients wait for the next call that is due.
struct Gate {
    /// A permit for each call that is due and not taken.
    due: Semaphore,
    /// How many calls were taken, which is the number of the next one.
    taken: AtomicU64,
}

impl Gate {
    /// The number of a call that is due; `None` when no more are to be sent.
    async fn next(&self) -> Option<u64> {
        self.due.acquire().await.ok()?.forget();
        Some(self.taken.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets calls through when they are due. A thread of its own, because the runtime's timers are exact to a
    /// millisecond only, which is as long as a whole call may take.
    fn pace(&self, timetable: Timetable, watch: Stopwatch, until: Duration) {
        let mut released = 0;
        while !self.due.is_closed() {
            let now = watch.elapsed();
            let due = timetable.due_before((now + Duration::from_nanos(1)).min(until));
            self.due.add_permits(usize::try_from(due.saturating_sub(released)).unwrap_or(usize::MAX >> 4));
            released = due;
            let all_sent = self.taken.load(Ordering::Relaxed) >= released;
            if now >= until && (all_sent || now >= until + LATE) {
                self.due.close();
                return;
            }
            // Behind the end there is nothing due, and it is only a matter of waking who is free.
            let next =
                if now < until { timetable.due(released).min(until) } else { now + Duration::from_millis(1) };
            std::thread::sleep(next.saturating_sub(watch.elapsed()).min(LOOK));
        }
    }
}

/// Closes the gate, and so ends the pacer and the clients, when it is dropped.
struct Closing(Arc<Gate>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.due.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::recording::{Recording, Window};
    use super::*;

    const CLIENTS: usize = 4;
    const RATE: u64 = 1_000;
    const STALL: Duration = Duration::from_millis(400);

    /// Answers at once, but for one stall in the middle, of everything.
    #[derive(Clone)]
    struct Target {
        watch: Stopwatch,
        stalls_from: Duration,
        stalls_to: Duration,
        calls: Arc<AtomicU64>,
        busy: Arc<AtomicU64>,
        too_many: Arc<AtomicBool>,
    }

    impl Client for Target {
        type Ready = ();

        fn prepare(&mut self) {}

        async fn send(&self, (): ()) -> (Kind, Result<u64, Failed>) {
            let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
            self.too_many.fetch_or(busy > CLIENTS as u64, Ordering::SeqCst);
            self.calls.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let now = self.watch.elapsed();
            if (self.stalls_from..self.stalls_to).contains(&now) {
                tokio::time::sleep(self.stalls_to - now).await;
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
            (Kind::Write, Ok(1))
        }
    }

    fn target(stalls_from: Duration, stalls_to: Duration) -> Target {
        Target {
            watch: Stopwatch::start(),
            stalls_from,
            stalls_to,
            calls: Arc::default(),
            busy: Arc::default(),
            too_many: Arc::default(),
        }
    }

    fn recorder(to: Duration) -> Arc<Recorder> {
        Arc::new(Recorder::new(Window { from: Duration::from_millis(100), to }).unwrap())
    }

    async fn opened(target: &Target, to: Duration) -> Recording {
        let recorder = recorder(to);
        let clients = vec![target.clone(); CLIENTS];
        open(clients, Timetable::new(RATE, 1), Kind::Write, target.watch, &recorder).await.unwrap();
        assert!(!target.too_many.load(Ordering::SeqCst), "calls under way are bounded by the clients");
        recorder.recording()
    }

    /// 900 calls are due in the measured time. The target stalls for 400 ms: as many wait, on average for 200 ms.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stall_shows_in_the_percentiles_of_an_open_loop_and_not_of_a_closed_one() {
        let (stall, to) = (Duration::from_millis(300), Duration::from_secs(1));
        let target = target(stall, stall + STALL);
        let recording = opened(&target, to).await;
        let latencies = recording.latencies_us().unwrap();
        assert_eq!(latencies.len(), 900, "every call that was due is in the percentiles");
        assert!(latencies.value_at_quantile(0.9) > 250_000, "{}", latencies.value_at_quantile(0.9));
        assert_eq!(target.calls.load(Ordering::SeqCst) + recording.not_sent, 1_000);

        let target = self::target(stall, stall + STALL);
        let recorder = recorder(to);
        closed(vec![target.clone(); CLIENTS], target.watch, &recorder).await.unwrap();
        let latencies = recorder.recording().latencies_us().unwrap();
        let long = latencies.count_between(300_000, 3_600_000_000);
        assert!(long <= CLIENTS as u64, "a closed loop asks for less while it waits: {long}");
    }

    /// The stall lasts to the end: what could not be sent is counted, with the time that it has waited.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_never_sent_is_counted_and_in_the_percentiles() {
        let to = Duration::from_millis(600);
        let target = target(Duration::from_millis(300), to * 2);
        let recording = opened(&target, to).await;
        assert!((250..=500).contains(&recording.not_sent), "{}", recording.not_sent);
        assert_eq!(target.calls.load(Ordering::SeqCst) + recording.not_sent, 600);
        let latencies = recording.latencies_us().unwrap();
        assert_eq!(latencies.len(), 500);
        assert!(latencies.value_at_quantile(0.7) > 90_000, "{}", latencies.value_at_quantile(0.7));
        assert_eq!(recording.failures.total(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_loop_that_is_given_up_ends_its_pacer() {
        let gate = Arc::new(Gate { due: Semaphore::new(0), taken: AtomicU64::new(0) });
        let (pacer, watch) = (Arc::clone(&gate), Stopwatch::start());
        let pacing = tokio::task::spawn_blocking(move || {
            pacer.pace(Timetable::new(1, 1), watch, Duration::from_secs(60))
        });
        assert_eq!(gate.next().await, Some(0), "the first call is due at the start");
        drop(Closing(Arc::clone(&gate)));
        pacing.await.unwrap();
        assert!(watch.elapsed() < Duration::from_secs(30));
        assert_eq!(gate.next().await, None);
    }
}
