//! The ledgers that calls are spread over.

use std::collections::BTreeSet;

use quorate_client::Client;

use crate::error::CliError;

/// The ledger itself, or so many of its family: `NAME-1` and so on.
pub(super) fn names(ledger: &str, count: Option<u32>) -> Vec<String> {
    match count {
        None => vec![ledger.to_owned()],
        Some(count) => (1..=count).map(|number| format!("{ledger}-{number}")).collect(),
    }
}

/// Creates those that are not there.
///
/// # Errors
/// The first error there is: a call to a ledger that is not there would spoil the measurement. Two runs at once may get in each
/// other's way here; the next one finds what both have created.
pub(super) async fn create_missing(client: &Client, names: &[String]) -> Result<(), CliError> {
    let there: BTreeSet<String> =
        client.list_ledgers().await?.into_iter().map(|ledger| ledger.name).collect();
    for name in names.iter().filter(|name| !there.contains(*name)) {
        client.create_ledger(name).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_family_is_numbered_from_one_and_without_it_the_ledger_is_taken() {
        assert_eq!(names("bench", None), ["bench"]);
        assert_eq!(names("bench", Some(1)), ["bench-1"]);
        assert_eq!(names("bench", Some(3)), ["bench-1", "bench-2", "bench-3"]);
    }
}
