//! Durations as people write them: `500ms`, `10s`, `5m`, `12h`, `30d`, and sums like `1h30m`.

use std::time::Duration;

/// Milliseconds in each unit, longest first where one is a prefix of another.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a duration. A number without a unit is refused: it would be somebody's guess.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write it as 500ms, 10s, 5m, 12h, 30d or 1h30m");
    if text.is_empty() {
        return Err(wrong());
    }
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part = number.checked_mul(*millis).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = next;
    }
    Ok(Duration::from_millis(total))
}

/// Reads a duration that is longer than nothing: a time to wait.
pub(crate) fn parse_nonzero(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_sums_are_read() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1h30m", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_examples() {
        for text in
            ["", "10", "s", "10 s", "-1s", "1.5h", "10x", "99999999999999999999s", "999999999999999999d"]
        {
            assert!(parse(text).unwrap_err().contains("1h30m"), "{text}");
        }
        assert!(parse_nonzero("0ms").is_err());
    }
}
