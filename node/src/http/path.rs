//! Paths of the HTTP port.
//!
//! Contract: one spelling for everything. A tile's number is written as groups of three digits, all but the last
//! with an `x` in front (1234067 is `x001/x234/067`); partial tiles append `.p/<width>`. Anything else, leading
//! zeros included, is no path of ours.

use quorate_core::name::LedgerName;

use super::source::{TileIndex, TileWidth};

/// Highest level of a tile that the format can name.
const MAX_LEVEL: u8 = 63;
/// Tile numbers are below this: a tile holds 2⁸ of at most 2⁶⁴ positions.
const TILES: u64 = 1 << 56;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Live,
    Ready,
    Metrics,
    Checkpoint(LedgerName),
    Tile(LedgerName, u8, TileIndex, TileWidth),
    Entries(LedgerName, TileIndex, TileWidth),
}

/// Reads a path; `None` if there is nothing at it.
pub(super) fn parse(path: &str) -> Option<Route> {
    let path = path.strip_prefix('/')?;
    match path {
        "livez" => return Some(Route::Live),
        "readyz" => return Some(Route::Ready),
        "metrics" => return Some(Route::Metrics),
        _ => {}
    }
    let (ledger, rest) = path.split_once('/')?;
    let ledger = LedgerName::new(ledger).ok()?;
    if rest == "checkpoint" {
        return Some(Route::Checkpoint(ledger));
    }
    let (kind, number) = rest.strip_prefix("tile/")?.split_once('/')?;
    let (index, width) = tile(number)?;
    match kind {
        "entries" => Some(Route::Entries(ledger, index, width)),
        level => Some(Route::Tile(ledger, decimal(level).filter(|level| *level <= MAX_LEVEL)?, index, width)),
    }
}

/// Reads `<N>` or `<N>.p/<W>`.
fn tile(text: &str) -> Option<(TileIndex, TileWidth)> {
    let (number, width) = match text.split_once(".p/") {
        Some((number, width)) => (number, TileWidth(decimal::<u8>(width).filter(|width| *width > 0)?.into())),
        None => (text, TileWidth::FULL),
    };
    let (leading, last) = match number.rsplit_once('/') {
        Some((leading, last)) => (Some(leading), last),
        None => (None, number),
    };
    let mut index = 0_u64;
    for (place, group) in leading.into_iter().flat_map(|leading| leading.split('/')).enumerate() {
        let group = three_digits(group.strip_prefix('x')?)?;
        if place == 0 && group == 0 {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(group)?;
    }
    index = index.checked_mul(1000)?.checked_add(three_digits(last)?)?;
    (index < TILES).then_some((TileIndex(index), width))
}

fn three_digits(group: &str) -> Option<u64> {
    let is_number = group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| group.parse().ok())?
}

/// A decimal number without sign or leading zeros.
fn decimal<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    text.parse::<T>().ok().filter(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> LedgerName {
        LedgerName::new("invoices").expect("a ledger's name")
    }

    #[test]
    fn each_thing_has_its_path() {
        assert_eq!(parse("/livez"), Some(Route::Live));
        assert_eq!(parse("/readyz"), Some(Route::Ready));
        assert_eq!(parse("/metrics"), Some(Route::Metrics));
        assert_eq!(parse("/invoices/checkpoint"), Some(Route::Checkpoint(ledger())));
        let tile =
            |level, index, width| Some(Route::Tile(ledger(), level, TileIndex(index), TileWidth(width)));
        assert_eq!(parse("/invoices/tile/0/000"), tile(0, 0, 256));
        assert_eq!(parse("/invoices/tile/63/x001/x234/067"), tile(63, 1_234_067, 256));
        assert_eq!(parse("/invoices/tile/2/x001/000.p/255"), tile(2, 1_000, 255));
        let entries = |index, width| Some(Route::Entries(ledger(), TileIndex(index), TileWidth(width)));
        assert_eq!(parse("/invoices/tile/entries/007"), entries(7, 256));
        assert_eq!(parse("/invoices/tile/entries/007.p/1"), entries(7, 1));
        assert!(parse("/_system/checkpoint").is_some());
    }

    #[test]
    fn other_spellings_are_no_paths() {
        for path in [
            "",
            "/",
            "livez",
            "/livez/",
            "//livez",
            "/Livez",
            "/invoices",
            "/invoices/",
            "/Invoices/checkpoint",
            "/node/checkpoint",
            "/a/../b/checkpoint",
            "/invoices/checkpoint/",
            "/invoices/tile",
            "/invoices/tile/0",
            "/invoices/tile/0/",
            "/invoices/tile/0/7",
            "/invoices/tile/0/07",
            "/invoices/tile/0/0007",
            "/invoices/tile/00/007",
            "/invoices/tile/64/007",
            "/invoices/tile/-1/007",
            "/invoices/tile/+1/007",
            "/invoices/tile/0/x007",
            "/invoices/tile/0/001/007",
            "/invoices/tile/0/x000/007",
            "/invoices/tile/0/007.p/0",
            "/invoices/tile/0/007.p/256",
            "/invoices/tile/0/007.p/01",
            "/invoices/tile/0/007.p/",
            "/invoices/tile/0/007.p",
            "/invoices/tile/0/007.p/1/2",
            "/invoices/tile/0/x072/x057/x594/x037/x927/936",
            "/invoices/tile/0/x999/x999/x999/x999/x999/x999/999",
            "/invoices/tile/0/٠٠٧",
            "/invoices/tile/entries/7",
            "/invoices/tile/data/007",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
        assert!(parse("/invoices/tile/0/x072/x057/x594/x037/x927/935").is_some());
    }
}
