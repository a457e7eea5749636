//! How numbers and bytes are spelled in notes, policies and receipts: in exactly one way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Reads a decimal `u64` without sign, leading zeros or anything around it.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || !text.starts_with('0');
    if !is_canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Reads standard base64 with padding and no stray bits (RFC 4648 §4).
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Standard base64 with padding.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_per_number() {
        assert_eq!(parse_decimal("0"), Some(0));
        assert_eq!(parse_decimal("18446744073709551615"), Some(u64::MAX));
        for text in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "١", "18446744073709551616"] {
            assert_eq!(parse_decimal(text), None, "{text:?}");
        }
    }

    #[test]
    fn one_spelling_per_byte_string() {
        assert_eq!(decode_base64("+/8="), Some(vec![0xfb, 0xff]));
        assert_eq!(encode_base64(&[0xfb, 0xff]), "+/8=");
        for text in ["+/8", "+/9=", "-_8=", "+/8=\n", " +/8=", "+/8==", "====", "A"] {
            assert_eq!(decode_base64(text), None, "{text:?}");
        }
    }
}
