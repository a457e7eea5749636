//! Policies as files.

use std::fmt;

use super::quorum::Group;
use super::{Label, Policy, Witness};

impl Policy {
    /// The policy as a file, without comments: logs, witnesses, groups, quorum. Reads as the same policy.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for log in &self.logs {
            line(&mut file, &[b"log", log.key.to_string().as_bytes()], log.url.as_ref());
        }
        for witness in &self.witnesses {
            witness_line(&mut file, witness);
        }
        for group in &self.quorum.groups {
            group_line(&mut file, group);
        }
        let rule = self.quorum.rule.as_ref();
        let name = rule.map_or(b"none".as_slice(), |(name, _)| name.as_bytes());
        line(&mut file, &[b"quorum", name], None);
        file
    }
}

impl fmt::Display for Policy {
    /// As [`Policy::to_bytes`], with what is not UTF-8 replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl std::str::FromStr for Policy {
    type Err = super::PolicyFileError;

    fn from_str(file: &str) -> Result<Self, Self::Err> {
        Self::parse(file)
    }
}

pub(super) fn witness_line(file: &mut Vec<u8>, witness: &Witness) {
    let key = witness.key.to_string();
    line(file, &[b"witness", witness.name.as_bytes(), key.as_bytes()], witness.url.as_ref());
}

pub(super) fn group_line(file: &mut Vec<u8>, group: &Group) {
    let threshold = group.threshold.to_string();
    let mut items = vec![b"group".as_slice(), group.name.as_bytes(), threshold.as_bytes()];
    items.extend(group.members.iter().map(|(name, _)| name.as_bytes()));
    line(file, &items, None);
}

pub(super) fn line(file: &mut Vec<u8>, items: &[&[u8]], url: Option<&Label>) {
    file.extend_from_slice(&items.join(b" ".as_slice()));
    if let Some(url) = url {
        file.push(b' ');
        file.extend_from_slice(url.as_bytes());
    }
    file.push(b'\n');
}
