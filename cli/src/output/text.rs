//! Bytes and foreign text, made fit for a terminal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Text with every control character escaped (`\n` as two characters): what a writer of the ledger, or a server,
/// put into it cannot move the cursor, change colours or forge lines.
pub(crate) fn line(text: &str) -> String {
    escape(text, |_| false)
}

/// The same, with line feeds and tabs left in: for messages and values of several lines.
pub(crate) fn lines(text: &str) -> String {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if keep(c) || !(c.is_control() || is_direction(c)) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    shown
}

/// Marks that change the direction of writing: they can make a name look like another one.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A key on one line: its text, or `base64:…` if it is none.
pub(crate) fn key(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => line(text),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
    }
}

/// A value as far as it goes on one line of a table.
pub(crate) fn value(bytes: &[u8]) -> String {
    shorten(&key(bytes), 60)
}

/// At most this many characters, the last of them an ellipsis if something was cut off.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Standard base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `1 artifact`, `2,013 artifacts`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", thousands(number))
}

/// `2013` as `2,013`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_foreign_reaches_the_terminal_as_control() {
        assert_eq!(line("a\x1b[2Jb\r\nc"), "a\\u{1b}[2Jb\\r\\nc");
        assert_eq!(lines("a\nb\x07"), "a\nb\\u{7}");
        assert_eq!(line("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(line("Grüße, 世界"), "Grüße, 世界");
    }

    #[test]
    fn keys_that_are_no_text_are_base64() {
        assert_eq!(key(b"plain"), "plain");
        assert_eq!(key(&[0xff, 0x00]), "base64:/wA=");
    }

    #[test]
    fn long_text_is_cut_by_characters() {
        assert_eq!(shorten("äöü", 3), "äöü");
        assert_eq!(shorten("äöüß", 3), "äö…");
    }

    #[test]
    fn counts_read_well() {
        assert_eq!(count(1, "artifact"), "1 artifact");
        assert_eq!(count(0, "artifact"), "0 artifacts");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
