//! Reading a policy file, line by line.

use std::collections::BTreeMap;

use super::quorum::{Group, Member, Quorum};
use super::rules::{Label, Log, MAX_POLICY_BYTES, Policy, Witness};
use super::{PolicyFileError, PolicyProblem};
use crate::key::{KeyError, SignatureType, VerifierKey};
use crate::note::text::parse_decimal;

const LOG: &str = "log <vkey> [<url>]";
const WITNESS: &str = "witness <name> <vkey> [<url>]";
const GROUP: &str = "group <name> <k|all|any> <name>...";
const QUORUM: &str = "quorum <name|none>";
/// The name that no witness or group can have.
const NONE: &[u8] = b"none";

/// Reads a whole file.
pub(super) fn parse(file: &[u8]) -> Result<Policy, PolicyFileError> {
    let at = |line| move |problem| PolicyFileError { line, problem };
    if file.len() > MAX_POLICY_BYTES {
        return Err(at(1)(PolicyProblem::TooLong { got: file.len() }));
    }
    let mut draft = Draft::default();
    let mut lines = file.split(|byte| *byte == b'\n').zip(1_usize..).peekable();
    while let Some((octets, line)) = lines.next() {
        if lines.peek().is_some() {
            draft.line(line, octets).map_err(at(line))?;
            continue;
        }
        // What follows the last newline: nothing, unless the file was cut off.
        if !octets.is_empty() {
            return Err(at(line)(PolicyProblem::Unterminated));
        }
        return draft.finish().map_err(at(line));
    }
    Err(at(1)(PolicyProblem::NoQuorum))
}

/// What has been read so far.
#[derive(Default)]
struct Draft {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    /// All keys, and on which lines they are.
    keys: Vec<(VerifierKey, usize)>,
    /// Witnesses and groups by name.
    names: BTreeMap<Label, Member>,
    /// Who is a member, and of which group.
    members: BTreeMap<Label, Label>,
    /// The quorum line, and where it was.
    quorum: Option<(Option<(Label, Member)>, usize)>,
}

impl Draft {
    fn line(&mut self, line: usize, octets: &[u8]) -> Result<(), PolicyProblem> {
        if let Some(byte) = octets.iter().find(|byte| matches!(byte, 0..=0x08 | 0x0b..=0x1f | 0x7f)) {
            return Err(PolicyProblem::Octet { byte: *byte });
        }
        let separated = octets.split(|byte| matches!(byte, b' ' | b'\t'));
        let items: Vec<&[u8]> = separated.filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", rest @ ..] => self.log(line, rest),
            [b"witness", rest @ ..] => self.witness(line, rest),
            [b"group", rest @ ..] => self.group(rest),
            [b"quorum", rest @ ..] => self.quorum(line, rest),
            [word, ..] => Err(PolicyProblem::Keyword { word: Label::new(word) }),
        }
    }

    fn log(&mut self, line: usize, items: &[&[u8]]) -> Result<(), PolicyProblem> {
        let (vkey, url) = match items {
            [vkey] => (vkey, None),
            [vkey, url] => (vkey, Some(Label::new(url))),
            _ => return Err(wrong_items(LOG, items)),
        };
        let key = self.key(line, vkey)?;
        if key.kind() != SignatureType::Ed25519 {
            let name = key.name().to_owned();
            return Err(PolicyProblem::LogKeyType { name });
        }
        self.logs.push(Log { key, url });
        Ok(())
    }

    fn witness(&mut self, line: usize, items: &[&[u8]]) -> Result<(), PolicyProblem> {
        let (name, vkey, url) = match items {
            [name, vkey] => (name, vkey, None),
            [name, vkey, url] => (name, vkey, Some(Label::new(url))),
            _ => return Err(wrong_items(WITNESS, items)),
        };
        let name = self.define(name, Member::Witness(self.witnesses.len()))?;
        let key = self.key(line, vkey)?;
        if key.kind() != SignatureType::Cosignature {
            let name = key.name().to_owned();
            return Err(PolicyProblem::WitnessKeyType { name });
        }
        self.witnesses.push(Witness { name, key, url });
        Ok(())
    }

    fn group(&mut self, items: &[&[u8]]) -> Result<(), PolicyProblem> {
        let [name, threshold, members @ ..] = items else {
            return Err(wrong_items(GROUP, items));
        };
        if members.is_empty() {
            return Err(wrong_items(GROUP, items));
        }
        // Members first: a group is not defined above itself.
        let name = Label::new(name);
        let mut listed = Vec::with_capacity(members.len());
        for member in members {
            listed.push(self.member(&name, member)?);
        }
        let threshold = read_threshold(threshold, listed.len())?;
        let name = self.define(name.as_bytes(), Member::Group(self.groups.len()))?;
        self.groups.push(Group { name, threshold, members: listed });
        Ok(())
    }

    fn quorum(&mut self, line: usize, items: &[&[u8]]) -> Result<(), PolicyProblem> {
        let [name] = items else {
            return Err(wrong_items(QUORUM, items));
        };
        if let Some((_, line)) = self.quorum {
            return Err(PolicyProblem::SecondQuorum { line });
        }
        let rule = match *name {
            NONE => None,
            name => Some(self.defined(name)?),
        };
        self.quorum = Some((rule, line));
        Ok(())
    }

    fn finish(self) -> Result<Policy, PolicyProblem> {
        let (rule, _) = self.quorum.ok_or(PolicyProblem::NoQuorum)?;
        let log_keys = self.logs.iter().map(|log| log.key.clone());
        let witness_keys = self.witnesses.iter().map(|witness| witness.key.clone());
        Ok(Policy {
            keys: log_keys.chain(witness_keys).collect(),
            logs: self.logs,
            witnesses: self.witnesses,
            quorum: Quorum { groups: self.groups, rule },
        })
    }

    /// Reads a vkey that differs from all before.
    fn key(&mut self, line: usize, vkey: &[u8]) -> Result<VerifierKey, PolicyProblem> {
        let text = String::from_utf8_lossy(vkey);
        let key = match text {
            std::borrow::Cow::Borrowed(text) => VerifierKey::parse(text)?,
            // Not UTF-8, so no key name either.
            std::borrow::Cow::Owned(text) => return Err(KeyError::Form { text }.into()),
        };
        // Two keys of one name and id differ, but no signature line could say which of them it is by.
        let clashes = |other: &VerifierKey| {
            other.same_key(&key) || (other.id() == key.id() && other.name() == key.name())
        };
        if let Some((other, line)) = self.keys.iter().find(|(other, _)| clashes(other)) {
            return Err(PolicyProblem::DuplicateKey {
                name: key.name().to_owned(),
                other: other.name().to_owned(),
                line: *line,
            });
        }
        self.keys.push((key.clone(), line));
        Ok(key)
    }

    /// Gives a witness or group its name.
    fn define(&mut self, name: &[u8], member: Member) -> Result<Label, PolicyProblem> {
        if name == NONE {
            return Err(PolicyProblem::ReservedName);
        }
        let name = Label::new(name);
        if self.names.contains_key(&name) {
            return Err(PolicyProblem::DuplicateName { name });
        }
        self.names.insert(name.clone(), member);
        Ok(name)
    }

    /// What a name stands for.
    fn defined(&self, name: &[u8]) -> Result<(Label, Member), PolicyProblem> {
        let name = Label::new(name);
        match self.names.get(&name) {
            Some(member) => Ok((name, *member)),
            None => Err(PolicyProblem::UnknownName { name }),
        }
    }

    /// Makes a name a member of a group, which it can be once.
    fn member(&mut self, group: &Label, name: &[u8]) -> Result<(Label, Member), PolicyProblem> {
        let (name, member) = self.defined(name)?;
        if let Some(group) = self.members.get(&name).cloned() {
            return Err(PolicyProblem::MemberTwice { name, group });
        }
        self.members.insert(name.clone(), group.clone());
        Ok((name, member))
    }
}

/// `all`, `any`, or a number from 1 to the number of members.
fn read_threshold(text: &[u8], members: usize) -> Result<usize, PolicyProblem> {
    let wrong = || PolicyProblem::Threshold { got: Label::new(text), members };
    match text {
        b"all" => Ok(members),
        b"any" => Ok(1),
        _ => std::str::from_utf8(text)
            .ok()
            .and_then(parse_decimal)
            .and_then(|k| usize::try_from(k).ok())
            .filter(|k| (1..=members).contains(k))
            .ok_or_else(wrong),
    }
}

/// `items` without the first word.
fn wrong_items(expected: &'static str, items: &[&[u8]]) -> PolicyProblem {
    PolicyProblem::Items { expected, got: items.len().saturating_add(1) }
}
