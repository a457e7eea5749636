//! Times as text: RFC 3339 in UTC with microseconds, and seconds for people.

use std::time::Duration;

use quorate_core::position::Micros;

/// Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar.
const EPOCH_DAYS: u64 = 719_468;
/// Days in 400 years.
const ERA_DAYS: u64 = 146_097;

/// `2026-11-23T00:35:45.000001Z`. Loses nothing: the six digits are the microseconds.
pub(crate) fn rfc3339(time: Micros) -> String {
    let (secs, micros) = (time.get() / 1_000_000, time.get() % 1_000_000);
    let (year, month, day) = civil(secs / 86_400);
    let (hour, minute, second) = (secs / 3_600 % 24, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// The same for whole seconds, as cosignatures are dated: `2026-11-23T00:35:45Z`.
pub(crate) fn rfc3339_secs(secs: u64) -> String {
    let text = rfc3339(Micros::new(secs.saturating_mul(1_000_000)));
    text.split_once('.').map_or(text.clone(), |(whole, _)| format!("{whole}Z"))
}

/// Year, month and day of a day since the epoch. Counts from March, so that a leap day is the last of its year.
fn civil(day: u64) -> (u64, u64, u64) {
    let shifted = day + EPOCH_DAYS;
    let (era, of_era) = (shifted / ERA_DAYS, shifted % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// `4.2 s`, or `34 ms` below a second.
pub(crate) fn seconds(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1_000 {
        return format!("{millis} ms");
    }
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}

/// Seconds with milliseconds, as a JSON document gives them: `4.213`.
pub(crate) fn seconds_exact(duration: Duration) -> String {
    format!("{}.{:03}", duration.as_secs(), duration.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days_are_right() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339_secs(secs), text);
        }
    }

    #[test]
    fn microseconds_are_kept_and_no_time_is_too_late() {
        assert_eq!(rfc3339(Micros::new(1_700_000_000_000_001)), "2023-11-14T22:13:20.000001Z");
        assert!(rfc3339(Micros::new(u64::MAX)).ends_with('Z'));
        assert!(rfc3339_secs(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn seconds_are_for_people() {
        assert_eq!(seconds(Duration::from_millis(34)), "34 ms");
        assert_eq!(seconds(Duration::from_millis(4_249)), "4.2 s");
        assert_eq!(seconds_exact(Duration::from_millis(4_049)), "4.049");
    }
}
