//! `quorate backup export` and `import`: an archive in open formats, and back.

use quorate_archive::Archive;

use super::args::{ExportArgs, ImportArgs};
use super::documents::Exported;
use super::verify::{Judge, leaves};
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::progress;

/// Exports: verified first, so that nothing wrong is handed on.
pub(super) fn export(global: &Global, args: &ExportArgs) -> Result<Exit, CliError> {
    let archive = Archive::open_in(args.from.open()?)?;
    let judge = Judge::of(global, &archive)?;
    let total = leaves(&archive);
    let bar = progress::bar(global.output(), "exporting", usize::try_from(total).unwrap_or(usize::MAX));
    archive.verify(&judge.policy, |_| {})?;
    archive.export(&args.out, |done| bar.inc(done))?;
    bar.finish_and_clear();
    let document = Exported {
        from: args.from.to_string(),
        to: args.out.display().to_string(),
        cluster: archive.manifest().cluster.to_string(),
        leaves: total.to_string(),
    };
    global.output().result("exported", &document, table)?;
    Ok(Exit::Done)
}

/// Imports; what comes out is a backup like any other.
pub(super) fn import(global: &Global, args: &ImportArgs) -> Result<Exit, CliError> {
    let bar = progress::bar(global.output(), "importing", 0);
    let published = quorate_archive::import(&args.export, args.to.open()?, |done| bar.inc(done))?;
    bar.finish_and_clear();
    let archive = Archive::open_in(args.to.open()?)?;
    let document = Exported {
        from: args.export.display().to_string(),
        to: args.to.to_string(),
        cluster: archive.manifest().cluster.to_string(),
        leaves: published.added.to_string(),
    };
    let output = global.output();
    output.result("imported", &document, table)?;
    output.hint("`quorate backup verify` recomputes all of it");
    Ok(Exit::Done)
}

fn table(document: &Exported) -> String {
    format!("{} leaves of {}, from {} in {}\n", document.leaves, document.cluster, document.from, document.to)
}
