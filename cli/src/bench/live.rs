//! The line that people watch: what the last second was like.

use std::convert::Infallible;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::recording::{Recent, Recorder};
use super::report::{millis, per_second};
use crate::clock::Stopwatch;
use crate::output::{Output, text};

/// How often it changes.
const EVERY: Duration = Duration::from_secs(1);

/// Shows a line on stderr, once a second, until it is dropped; nothing where nobody would see it.
pub(super) async fn show(output: Output, recorder: &Recorder, watch: Stopwatch) -> Infallible {
    if !output.shows_progress() {
        return std::future::pending().await;
    }
    let bar = Line(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.0.set_style(style);
    }
    let mut last = watch.elapsed();
    loop {
        tokio::time::sleep(EVERY).await;
        let now = watch.elapsed();
        let phase = if now < recorder.window().from { "warm-up" } else { "measuring" };
        let line = line(phase, now, now.saturating_sub(last), &recorder.take_recent());
        bar.0.set_message(line);
        last = now;
    }
}

/// Leaves no trace on the terminal.
struct Line(ProgressBar);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// What is shown of so much time.
fn line(phase: &str, now: Duration, elapsed: Duration, recent: &Recent) -> String {
    let rate = usize::try_from(per_second(recent.operations, elapsed)).unwrap_or(usize::MAX);
    let p99 = match recent.latencies_us.is_empty() {
        true => "-".to_owned(),
        false => millis(recent.latencies_us.value_at_quantile(0.99)),
    };
    format!(
        "{phase:9} {:>4} s  {:>9} operations/s  p99 {p99:>9}  {} errors",
        now.as_secs(),
        text::thousands(rate),
        recent.errors
    )
}

#[cfg(test)]
mod tests {
    use super::super::recording::{Ended, Failed, Kind, Window};
    use super::*;

    #[test]
    fn a_second_is_told_once() {
        let second = Duration::from_secs(1);
        let recorder = Recorder::new(Window { from: second, to: second * 9 }).unwrap();
        for _ in 0..12 {
            let (began, ended) = (Duration::ZERO, Duration::from_millis(41));
            recorder.note(Ended { kind: Kind::Write, began, ended, outcome: Ok(100) });
        }
        recorder.note(Ended {
            kind: Kind::Write,
            began: second,
            ended: second,
            outcome: Err(Failed::Absent),
        });
        let shown = line("warm-up", second, second, &recorder.take_recent());
        assert_eq!(shown, "warm-up      1 s      1,200 operations/s  p99   41.0 ms  1 errors");
        let shown = line("measuring", second * 2, second, &recorder.take_recent());
        assert_eq!(shown, "measuring    2 s          0 operations/s  p99         -  0 errors");
    }
}
