//! Memory of the nodes, sampled while something goes on; counters and gauges as they show them.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::cluster::Cluster;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(50);

/// Memory of one process, KiB: what is its own, without files that are mapped.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    first: u64,
    most: u64,
    last: u64,
}

impl Memory {
    /// How much more than at the start it ever was, MiB.
    pub(crate) fn growth(self) -> u64 {
        self.most.saturating_sub(self.first) / 1_024
    }

    /// The most, MiB.
    pub(crate) fn most(self) -> u64 {
        self.most / 1_024
    }
}

/// Looks at processes until it is asked.
#[derive(Debug)]
pub(crate) struct Gauge {
    seen: Arc<Mutex<BTreeMap<u64, Memory>>>,
    stop: Arc<AtomicBool>,
    looks: Option<JoinHandle<()>>,
}

impl Gauge {
    /// Begins to look at the nodes of a cluster that run.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let running = cluster.nodes.keys().filter_map(|id| Some((*id, cluster.running(*id)?)));
        Self::of(running.collect())
    }

    /// Begins to look at these processes.
    pub(crate) fn of(pids: BTreeMap<u64, u32>) -> Self {
        let (seen, stop) = (Arc::<Mutex<BTreeMap<u64, Memory>>>::default(), Arc::<AtomicBool>::default());
        let (samples, end) = (Arc::clone(&seen), Arc::clone(&stop));
        let looks = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                for (id, pid) in &pids {
                    let Some(now) = anonymous(*pid) else { continue };
                    let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
                    let memory = samples.entry(*id).or_insert(Memory { first: now, ..Memory::default() });
                    (memory.last, memory.most) = (now, memory.most.max(now));
                }
                thread::sleep(EVERY);
            }
        });
        Self { seen, stop, looks: Some(looks) }
    }

    /// What was seen of each.
    pub(crate) fn stop(mut self) -> BTreeMap<u64, Memory> {
        self.end();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(looks) = self.looks.take() {
            looks.join().expect("the thread that looks at memory ends");
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.end();
    }
}

/// Anonymous memory of a process, KiB; `None` if it is gone.
fn anonymous(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse().ok()
}
