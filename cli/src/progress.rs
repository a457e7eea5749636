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
