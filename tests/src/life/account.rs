//! What is told of a life: step by step, with what was measured.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::clock::now;

/// What was measured, or found to hold.
#[derive(Debug, Clone)]
pub struct Fact {
    /// What it is, with its unit: `keys_per_second`.
    pub name: &'static str,
    /// The value.
    pub value: String,
}

/// A step that is done.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// What was found.
    pub facts: Vec<Fact>,
}

/// The steps so far.
#[derive(Debug)]
pub struct Account {
    start: Instant,
    prints: bool,
    steps: Vec<Step>,
}

/// A step that is under way.
#[derive(Debug)]
pub(crate) struct Open {
    name: String,
    since: Instant,
    facts: Vec<Fact>,
}

impl Account {
    /// Nothing yet; `prints`: each step is printed when it is done.
    #[must_use]
    pub fn new(prints: bool) -> Self {
        Self { start: now(), prints, steps: Vec::new() }
    }

    /// The steps that are done.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// A fact of a step, by a part of the step's name.
    #[must_use]
    pub fn fact(&self, step: &str, name: &str) -> Option<&str> {
        let step = self.steps.iter().find(|one| one.name.contains(step))?;
        step.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.as_str())
    }

    /// All of it as a document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let step = |step: &Step| {
            let facts: Map<String, Value> =
                step.facts.iter().map(|fact| (fact.name.to_owned(), json!(fact.value))).collect();
            json!({ "step": step.name, "seconds": seconds(step.took), "facts": facts })
        };
        let steps: Vec<Value> = self.steps.iter().map(step).collect();
        json!({ "schema": 1, "kind": "life", "seconds": seconds(now() - self.start), "steps": steps })
    }

    /// Ends a step.
    pub(crate) fn done(&mut self, open: Open) {
        let step = Step { name: open.name, took: now() - open.since, facts: open.facts };
        if self.prints {
            println!("[{:>8} s] {}  ({} s)", seconds(now() - self.start), step.name, seconds(step.took));
            for fact in &step.facts {
                println!("{:>14}{:<38} {}", "", fact.name.replace('_', " "), fact.value);
            }
        }
        self.steps.push(step);
    }
}

impl Open {
    /// Begins a step.
    pub(crate) fn step(name: impl Into<String>) -> Self {
        Self { name: name.into(), since: now(), facts: Vec::new() }
    }

    /// Notes a fact.
    pub(crate) fn note(&mut self, name: &'static str, value: impl ToString) {
        self.facts.push(Fact { name, value: value.to_string() });
    }

    /// Notes how many there were, and how many a second since the step began.
    pub(crate) fn rate(&mut self, name: &'static str, rate: &'static str, count: u64) {
        self.note(name, count);
        self.note(rate, per_second(count, now() - self.since));
    }

    /// How long it has taken.
    pub(crate) fn took(&self) -> Duration {
        now() - self.since
    }
}

/// Seconds with one digit behind the point.
pub(crate) fn seconds(span: Duration) -> String {
    let tenths = span.as_millis() / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// How many a second, of a count over a time.
pub(crate) fn per_second(count: u64, span: Duration) -> u64 {
    let micros = span.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// One number in percent of another.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100) / whole.max(1)
}
