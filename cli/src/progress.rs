//! A progress bar on stderr, where somebody can see it.

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// A bar over `total` things; one that shows nothing if stderr is no terminal or `--quiet` was given.
pub(crate) fn bar(output: Output, what: &'static str, total: usize) -> ProgressBar {
    if !output.shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX)).with_message(what);
    let style = ProgressStyle::with_template("{msg:11} {wide_bar} {human_pos} of {human_len}  {elapsed}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

/// Says what is waited for; shows nothing if stderr is no terminal or `--quiet` was given.
pub(crate) fn spinner(output: Output) -> ProgressBar {
    if !output.shows_progress() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(std::time::Duration::from_millis(200));
    spinner
}
