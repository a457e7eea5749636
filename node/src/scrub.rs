//! The scrubber: reads what is stored again, now and then, and recomputes all of it.
//!
//! Disks rot silently, and what nobody reads nobody misses. So a thread goes through the whole state (every leaf, tile,
//! operation, content and index, against the roots: [`StateStore::scrub`]) and through the Raft log (every entry, marker
//! and record against its checksum: [`LogStore::scrub`]), at a pace that leaves the disk to clients ([`Pace`]).
//!
//! What is found is a fault: this node stops, keeps its files, and is replaced. It is never healed. For the state that
//! is noted in its directory, so that starting it again does not make it forget ([`StateStore::condemn`]).
//!
//! *Crash here:* the pass begins anew after the next start; the time of the last whole pass is in the state directory.
//! Caveats: rows in memory are read from there, not from the disk; what was copied for the pass takes the space of files
//! that are replaced meanwhile; and while it runs, the upper part of the state trees is in memory a second time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quorate_core::position::Micros;

use crate::{
    clock::Clock,
    config,
    health::Health,
    pace::{Load, Pace, Rates},
    store::{faults::StoreFault, log::LogStore, state::StateStore},
    upkeep::Scrubbing,
};

/// After a start, nothing is scrubbed for this long: it has other things to do.
const REST: Duration = Duration::from_secs(60);

/// Between two looks at whether a pass is due, or the node stops.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the scrubber works with.
pub struct ScrubParts {
    /// How often and how fast.
    pub settings: config::Scrub,
    /// The state.
    pub state: Arc<StateStore>,
    /// The Raft log.
    pub log: LogStore,
    /// The clock.
    pub clock: Clock,
    /// Where damage is reported.
    pub health: Health,
    /// Where progress is shown.
    pub shown: Scrubbing,
}

/// The thread that scrubs. It ends soon after it is told to, or when this is dropped.
#[derive(Debug)]
pub struct Scrubber {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Scrubber {
    /// Ends it, and waits until it has let go of the stores.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the scrubber panicked");
        }
    }
}

impl Drop for Scrubber {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Starts the scrubber, unless it is switched off.
pub fn start(parts: ScrubParts) -> Scrubber {
    let stop = Arc::new(AtomicBool::new(false));
    parts.shown.change(|shown| shown.passed_at = parts.state.scrubbed_at());
    if parts.settings.interval_hours == 0 {
        return Scrubber { stop, thread: None };
    }
    let worker = Worker { parts, stop: Arc::clone(&stop) };
    match std::thread::Builder::new().name("scrub".to_owned()).spawn(move || worker.run()) {
        Ok(thread) => Scrubber { stop, thread: Some(thread) },
        Err(error) => {
            tracing::error!(%error, "nothing is scrubbed: the thread cannot be started");
            Scrubber { stop, thread: None }
        }
    }
}

struct Worker {
    parts: ScrubParts,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn run(&self) {
        self.begin();
        let begun = self.parts.clock.monotonic();
        while !self.stopped() {
            let rested = self.parts.clock.monotonic().saturating_sub(begun) >= REST;
            if rested && self.is_due() && !self.pass() {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// What holds nothing yet needs no pass: what a new node gets is checked as it comes, and cannot have rotted before.
    fn begin(&self) {
        let ScrubParts { state, .. } = &self.parts;
        if state.scrubbed_at().is_none() && state.view().applied().last.is_none() {
            self.note_passed(self.parts.clock.now());
        }
    }

    fn note_passed(&self, now: Micros) {
        let ScrubParts { shown, health, state, .. } = &self.parts;
        shown.change(|shown| shown.passed_at = Some(now));
        if let Err(fault) = state.note_scrubbed(now) {
            health.fail(fault.to_string());
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || !self.parts.health.is_good()
    }

    fn is_due(&self) -> bool {
        let interval = Duration::from_secs(self.parts.settings.interval_hours.saturating_mul(3_600));
        is_due(self.parts.shown.now().passed_at, self.parts.clock.now(), interval)
    }

    /// One pass; `false` when it did not get to the end.
    fn pass(&self) -> bool {
        let ScrubParts { shown, clock, health, .. } = &self.parts;
        shown.change(|shown| (shown.running, shown.read) = (true, 0));
        let began = clock.monotonic();
        let result = self.read_all();
        shown.change(|shown| shown.running = false);
        match result {
            Ok(()) => {
                let (seconds, read) = (clock.monotonic().saturating_sub(began).as_secs(), shown.now().read);
                tracing::info!(seconds, read, "everything that is stored was read and is right");
                self.note_passed(clock.now());
                health.is_good()
            }
            Err(_) if self.stopped() => false,
            Err(fault) => {
                metrics::counter!("quorate_scrub_damage_total").increment(1);
                self.condemn(&fault);
                health.fail(format!("scrubbing found damage: {fault}"));
                false
            }
        }
    }

    fn condemn(&self, fault: &StoreFault) {
        if fault.is_damage()
            && let Err(error) = self.parts.state.condemn(fault)
        {
            tracing::error!(%error, "the damage could not be noted: the next start may not know of it");
        }
    }

    fn read_all(&self) -> Result<(), StoreFault> {
        let ScrubParts { settings, shown, clock, log, state, .. } = &self.parts;
        let written = log.clone();
        let load = Load::new(move || written.appended_bytes());
        let rates = Rates { idle: settings.bytes_per_second, busy: settings.busy_bytes_per_second };
        let mut pace = Pace::new(rates, load, clock.clone());
        let mut step = |bytes: u64| {
            shown.change(|shown| shown.read = shown.read.saturating_add(bytes));
            pace.spend_unless(bytes, || self.stopped());
            if self.stopped() { Err(StoreFault::io("the scrubber", "it was stopped")) } else { Ok(()) }
        };
        log.scrub(&mut step)?;
        state.scrub(&mut step)
    }
}

/// Whether a pass is due. A time ahead of the clock says nothing: the clock was wrong, then or now.
fn is_due(passed_at: Option<Micros>, now: Micros, interval: Duration) -> bool {
    let Some(passed) = passed_at.filter(|passed| *passed <= now) else { return true };
    now.get().saturating_sub(passed.get()) >= u64::try_from(interval.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
