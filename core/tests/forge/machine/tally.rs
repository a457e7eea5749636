//! What was refused by which check, and the table of it.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

/// What came of an altered thing.
pub(crate) enum Judged {
    /// Refused by this check.
    Refused(String),
    /// Accepted, and what it says is true: no forgery.
    True,
    /// Accepted, and what it says is not true.
    Accepted(String),
}

impl Judged {
    /// Refused with this error.
    pub(crate) fn by(error: &impl Debug) -> Self {
        Self::Refused(check_of(&format!("{error:?}")))
    }

    /// Accepted; `true` if the model says the same.
    pub(crate) fn accepted(is_true: bool, what: impl Debug) -> Self {
        if is_true { Self::True } else { Self::Accepted(format!("{what:?}")) }
    }
}

/// The names of an error and of the errors inside: `StateProof(WrongRoot { … })` is `StateProof WrongRoot`.
fn check_of(debug: &str) -> String {
    let mut names = Vec::new();
    let mut rest = debug;
    while rest.starts_with(|c: char| c.is_ascii_uppercase()) {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        names.push(name);
        rest = match after.strip_prefix('(') {
            Some(inner) => inner,
            // The cause of an error with fields, where it names one.
            None => after.split_once("source: ").map_or("", |(_, source)| source),
        };
    }
    names.join(" ")
}

/// Checks of the decoder: the form of bytes, lines, fields and lengths. All others are of hashes, signatures and meaning.
const FORM: &[&str] = &[
    "Truncated",
    "TrailingBytes",
    "Tag",
    "Depth",
    "Leaf",
    "Line",
    "PathHash",
    "Extra",
    "ExtraNotCanonical",
    "Field",
    "Entry",
    "Json",
    "Version",
    "Form",
    "Control",
    "Checkpoint",
    "Key",
    "WrongLength",
    "Time",
];

fn is_form(check: &str) -> bool {
    let names: Vec<&str> = check.split(' ').collect();
    // "Key" alone is a key of evidence that is none; a bad signature is named by its own error.
    !names.contains(&"BadSignature") && names.iter().any(|name| FORM.contains(name))
}

#[derive(Default)]
struct Kind {
    refused: BTreeMap<String, u64>,
    is_true: u64,
}

/// What came of all of them.
#[derive(Default)]
pub(crate) struct Tally {
    kinds: BTreeMap<&'static str, Kind>,
    /// Forgeries that were believed.
    pub(crate) accepted: Vec<String>,
}

impl Tally {
    /// Counts one; `false` if it was no forgery.
    pub(crate) fn add(&mut self, kind: &'static str, judged: Judged) -> bool {
        let counts = self.kinds.entry(kind).or_default();
        match judged {
            Judged::Refused(check) => *counts.refused.entry(check).or_default() += 1,
            Judged::Accepted(what) => self.accepted.push(format!("{kind}: {what}")),
            Judged::True => {
                counts.is_true += 1;
                return false;
            }
        }
        true
    }

    /// How many were refused, and how many of these by a check behind the decoder.
    pub(crate) fn refused(&self) -> (u64, u64) {
        let checks = || self.kinds.values().flat_map(|kind| &kind.refused);
        let all = checks().map(|(_, count)| count).sum();
        (all, checks().filter(|(check, _)| !is_form(check)).map(|(_, count)| count).sum())
    }

    /// The kinds that were forged.
    pub(crate) fn kinds(&self) -> usize {
        self.kinds.values().filter(|kind| !kind.refused.is_empty()).count()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, kind) in &self.kinds {
            let all: u64 = kind.refused.values().sum();
            let deep = kind.refused.iter().filter(|(check, _)| !is_form(check));
            let deep: u64 = deep.map(|(_, count)| count).sum();
            writeln!(
                f,
                "{name}: {all} forged, {deep} past the decoder, {} true and not counted",
                kind.is_true
            )?;
            let mut checks: Vec<_> = kind.refused.iter().collect();
            checks.sort_by(|a, b| b.1.cmp(a.1));
            for (check, count) in checks {
                let form = if is_form(check) { "form " } else { "     " };
                writeln!(f, "    {form} {count:>8}  {check}")?;
            }
        }
        let (all, deep) = self.refused();
        let tenths = deep.saturating_mul(1_000) / all.max(1);
        writeln!(f, "{all} refused, {deep} of them past the decoder ({}.{} %)", tenths / 10, tenths % 10)?;
        writeln!(f, "{} kinds, {} accepted", self.kinds(), self.accepted.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_named_with_its_cause() {
        assert_eq!(check_of("StateProof(WrongRoot { expected: X, computed: Y })"), "StateProof WrongRoot");
        assert_eq!(
            check_of("NotIncluded { index: 3, source: WrongRoot { size: 1 } }"),
            "NotIncluded WrongRoot"
        );
        assert_eq!(check_of("EmptyPage"), "EmptyPage");
        assert!(is_form("NotIncluded WrongLength") && !is_form("NotIncluded WrongRoot"));
        assert!(!is_form("Note Signature BadSignature"));
    }

    #[test]
    fn a_false_thing_that_is_accepted_is_kept_and_a_true_one_is_not_counted() {
        let mut tally = Tally::default();
        assert!(tally.add("a", Judged::accepted(false, "a lie")));
        assert!(!tally.add("a", Judged::accepted(true, "the truth")));
        assert_eq!(tally.accepted, ["a: \"a lie\""]);
        assert_eq!(tally.refused(), (0, 0));
    }
}
