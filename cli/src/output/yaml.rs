//! The documents of [`json`](super::json) as YAML 1.2: the same fields in the same order.
//!
//! Contract: what a YAML parser makes of this is what a JSON parser makes of the JSON. Every string is double-quoted, so
//! that none is taken for a number, a date or a `no`, and escaped as in JSON, with escapes also for what YAML does not let stand
//! in a quoted string. Names of fields stand without quotes; they are plain words in every document, and one that were not
//! would be an error, not broken YAML.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};

/// A value as YAML, with a newline at the end.
pub(super) fn text<T: Serialize>(value: &T) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Yaml::default());
    value.serialize(&mut serializer).map_err(|error| error.to_string())?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// Where the next thing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// At the very beginning.
    #[default]
    Start,
    /// Behind `name:`.
    Name,
    /// Behind `-`.
    Dash,
}

/// Writes block YAML where serde_json would write brackets.
#[derive(Debug, Default)]
struct Yaml {
    place: Place,
    /// For each list and object that is open: whether nothing is in it yet.
    open: Vec<bool>,
    in_name: bool,
}

impl Yaml {
    /// Before a value on the line of its name or dash.
    fn space<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        if self.place == Place::Start { Ok(()) } else { writer.write_all(b" ") }
    }

    /// Before an entry of the innermost list or object.
    fn line<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let depth = self.open.len().saturating_sub(1);
        let is_first = self.open.last_mut().is_some_and(std::mem::take);
        match self.place {
            Place::Start if is_first => Ok(()),
            // The first entry of what is in a list stands behind the dash.
            Place::Dash if is_first => writer.write_all(b" "),
            _ => {
                writer.write_all(b"\n")?;
                (0..depth).try_for_each(|_| writer.write_all(b"  "))
            }
        }
    }

    fn begin(&mut self) {
        self.open.push(true);
    }

    fn end<W: ?Sized + Write>(&mut self, writer: &mut W, empty: &[u8]) -> io::Result<()> {
        if self.open.pop() == Some(true) {
            self.space(writer)?;
            writer.write_all(empty)?;
        }
        Ok(())
    }
}

macro_rules! scalars {
    ($($name:ident: $type:ty,)*) => {$(
        fn $name<W: ?Sized + Write>(&mut self, writer: &mut W, value: $type) -> io::Result<()> {
            self.space(writer)?;
            CompactFormatter.$name(writer, value)
        }
    )*};
}

impl Formatter for Yaml {
    scalars! {
        write_bool: bool,
        write_i8: i8,
        write_i16: i16,
        write_i32: i32,
        write_i64: i64,
        write_i128: i128,
        write_u8: u8,
        write_u16: u16,
        write_u32: u32,
        write_u64: u64,
        write_u128: u128,
        write_f32: f32,
        write_f64: f64,
        write_number_str: &str,
    }

    fn write_null<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.space(writer)?;
        writer.write_all(b"null")
    }

    fn begin_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.in_name {
            return Ok(());
        }
        self.space(writer)?;
        writer.write_all(b"\"")
    }

    fn end_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.in_name { Ok(()) } else { writer.write_all(b"\"") }
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        if self.in_name && !is_plain(text) {
            return Err(io::Error::other(format!("{text:?} is no name of a field")));
        }
        for character in text.chars() {
            match is_printable(character) {
                true => write!(writer, "{character}")?,
                // None of these is beyond four digits.
                false => write!(writer, "\\u{:04X}", u32::from(character))?,
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        if self.in_name {
            return Err(io::Error::other("a name of a field has no escapes"));
        }
        CompactFormatter.write_char_escape(writer, escape)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.begin();
        Ok(())
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"[]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, _: bool) -> io::Result<()> {
        self.line(writer)?;
        self.place = Place::Dash;
        writer.write_all(b"-")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.begin();
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"{}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, _: bool) -> io::Result<()> {
        self.line(writer)?;
        self.in_name = true;
        Ok(())
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.in_name = false;
        self.place = Place::Name;
        writer.write_all(b":")
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a name needs no quotes: a word that YAML takes for nothing else.
fn is_plain(name: &str) -> bool {
    const MEANS_SOMETHING: [&str; 11] =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan"];
    let word = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    word && !MEANS_SOMETHING.contains(&name)
}

/// What may stand in a quoted string (YAML 1.2 §5.1), less what older readers take for the end of a line.
const fn is_printable(character: char) -> bool {
    !matches!(
        character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

#[cfg(test)]
mod tests {
    use saphyr::{LoadableYamlNode, Scalar, Yaml as Parsed};
    use serde_json::{Value, json};

    use super::*;

    /// What a YAML parser makes of a text, as JSON.
    fn parsed(text: &str) -> Value {
        let documents = Parsed::load_from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
        assert_eq!(documents.len(), 1, "{text}");
        value(&documents[0])
    }

    fn value(node: &Parsed<'_>) -> Value {
        match node {
            Parsed::Value(Scalar::Null) => Value::Null,
            Parsed::Value(Scalar::Boolean(it)) => json!(it),
            Parsed::Value(Scalar::Integer(it)) => json!(it),
            Parsed::Value(Scalar::FloatingPoint(it)) => json!(it.into_inner()),
            Parsed::Value(Scalar::String(it)) => json!(it),
            Parsed::Sequence(items) => items.iter().map(value).collect(),
            Parsed::Mapping(fields) => {
                fields.iter().map(|(name, it)| (name.as_str().unwrap().to_owned(), value(it))).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_shape_comes_back_as_it_was() {
        for document in [
            json!({"schema": 1, "kind": "x", "a": [], "b": {}, "c": null, "d": [1, "1", true, "true", null, "null"]}),
            json!({"items": [{"key": {"utf8": "a: b # c"}, "tags": ["-", "x"]}, {"key": {"base64": "//8="}, "tags": []}]}),
            json!([[1, 2], [], [[]], {"a": {"b": {"c": [{}]}}}]),
            json!({"numbers": [0, 18_446_744_073_709_551_615_u64 / 2, -5, 1.5, 0.001]}),
            json!({"n1": "no", "n2": "12", "n3": "0x1f", "n4": "2026-11-23", "n5": "", "n6": " ", "n7": "~"}),
            json!("alone"),
            json!([]),
        ] {
            assert_eq!(parsed(&text(&document).unwrap()), document);
        }
    }

    #[test]
    fn no_character_is_lost() {
        let planes = (0..=0xffff).chain([0x1_0000, 0x1_f600, 0x10_ffff]);
        let all: String = planes.filter_map(char::from_u32).collect();
        assert_eq!(parsed(&text(&json!({ "all": all })).unwrap())["all"], json!(all));
        for line_end in ["a\nb\r\n", "\u{85}", "\u{2028}x\u{2029}", "\u{feff}bom", "tab\tquote\"back\\slash"]
        {
            assert_eq!(parsed(&text(&json!([line_end])).unwrap()), json!([line_end]));
        }
    }

    #[test]
    fn it_is_indented_for_people() {
        let document = json!({"kind": "x", "list": [{"a": 1, "b": [2]}], "none": []});
        assert_eq!(text(&document).unwrap(), "kind: \"x\"\nlist:\n  - a: 1\n    b:\n      - 2\nnone: []\n");
    }

    #[test]
    fn a_name_that_is_no_word_is_refused() {
        for name in ["no", "a b", "1a", "", "a:", "é", "a\"b"] {
            let document = json!({ name: 1 });
            assert!(name.is_empty() || text(&document).is_err(), "{name:?}");
        }
    }
}
