//! Runs that differ in one number: as a table, and as a picture.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::chart::{Chart, Point, Series};
use super::report::{self, grouped};
use crate::error::CliError;
use crate::output::Table;
use crate::output::json::{Bench, BenchLatency, BenchSweep};

/// A file for the picture, made before anything is measured: minutes of measuring are not lost to a wrong path.
pub(super) struct ChartFile {
    path: PathBuf,
    file: File,
}

impl ChartFile {
    /// Makes the file, or empties it.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn create(path: &Path) -> Result<Self, CliError> {
        let file = File::create(path).map_err(CliError::io("create the chart", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Draws the runs.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn write(mut self, sweep: &BenchSweep) -> Result<(), CliError> {
        let written = self.file.write_all(chart(sweep).svg().as_bytes());
        written.map_err(CliError::io("write the chart", &self.path))
    }
}

/// What a run is told from the others by.
fn number<'a>(sweep: &BenchSweep, run: &'a Bench) -> &'a str {
    match (&run.rate, sweep.over) {
        (Some(rate), "rate") => rate,
        _ => &run.clients,
    }
}

/// The picture of the runs: throughput to the right, latency upwards.
fn chart(sweep: &BenchSweep) -> Chart {
    let series = |name: &str, of: fn(&BenchLatency) -> &String, labelled: bool| {
        let point = |run: &Bench| {
            let label = labelled.then(|| grouped(number(sweep, run)));
            let y_us = run.latency_us.as_ref().and_then(|latency| of(latency).parse().ok())?;
            Some(Point { x: run.operations_per_second.parse().ok()?, y_us, label })
        };
        Series { name: name.to_owned(), points: sweep.runs.iter().filter_map(point).collect() }
    };
    let what = sweep.runs.first().map(setting).unwrap_or_default();
    Chart {
        title: format!("Throughput and latency: {}", what.0),
        subtitle: format!("{}; the numbers at the points: {}", what.1, over(sweep)),
        x_label: "operations per second".to_owned(),
        y_label: "latency (log scale)".to_owned(),
        series: vec![
            series("p50", |latency| &latency.p50, true),
            series("p99", |latency| &latency.p99, false),
        ],
    }
}

fn over(sweep: &BenchSweep) -> &'static str {
    match sweep.over {
        "rate" => "operations due per second",
        _ => "clients",
    }
}

/// What all runs have in common: the workload, and its sizes.
fn setting(run: &Bench) -> (String, String) {
    let wait = run.wait.map(|wait| format!(", {wait}")).unwrap_or_default();
    let verified = if run.verified { ", verified by the client" } else { ", not verified" };
    let call = report::call(run);
    let sizes = format!("{call}, {}-byte values, {} s a run", run.value_bytes, run.seconds);
    (format!("{}{wait}{verified}", run.workload), sizes)
}

/// The document for people.
pub(super) fn table(sweep: &BenchSweep) -> String {
    let over = if sweep.over == "rate" { "RATE" } else { "CLIENTS" };
    let mut table = Table::new([over, "OPERATIONS/S", "P50", "P99", "P99.9", "MAX", "ERRORS", "NOT SENT"]);
    for run in &sweep.runs {
        let latency = |of: fn(&BenchLatency) -> &String| {
            run.latency_us.as_ref().map_or("-".to_owned(), |latency| format!("{} µs", grouped(of(latency))))
        };
        table.row([
            grouped(number(sweep, run)),
            grouped(&run.operations_per_second),
            latency(|latency| &latency.p50),
            latency(|latency| &latency.p99),
            latency(|latency| &latency.p99_9),
            latency(|latency| &latency.max),
            grouped(&run.errors),
            run.not_sent.as_deref().map_or("-".to_owned(), grouped),
        ]);
    }
    let what = sweep.runs.first().map(setting).unwrap_or_default();
    format!("{}: {}\n{table}", what.0, what.1)
}
