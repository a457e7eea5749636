//! What the ledger says about an artifact: the value under its key.
//!
//! ```json
//! {"Name":"src/main.rs","Kind":"file","Size":2013,"Hash":"9f86…","Signer":"build@example.org",
//!  "Metadata":{"arch":"x86_64"},"Status":"trusted"}
//! ```
//!
//! Contract: written in this order, without spaces. The signer is whatever the writer claims; nothing proves it, so it
//! is printed as claimed. The newest record of an artifact counts. Untrusting appends a record and touches neither the
//! older ones nor the artifact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Artifact;

/// What the writer thinks of the artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// To be relied on.
    Trusted,
    /// Not to be used.
    Untrusted,
    /// Not maintained any more.
    Unsupported,
}

impl Status {
    /// The word in records and documents.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
            Self::Unsupported => "unsupported",
        }
    }
}

/// The value under an artifact's key. Fields unknown here are ignored: other writers may have more to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) size: u64,
    pub(crate) hash: String,
    #[serde(default)]
    pub(crate) signer: String,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, serde_json::Value>,
    pub(crate) status: Status,
}

impl Record {
    /// Media type of the value.
    pub(crate) const CONTENT_TYPE: &'static str = "application/json";

    /// A record about this artifact. Given attributes go before what was found out.
    pub(crate) fn new(
        artifact: &Artifact,
        status: Status,
        signer: &str,
        attributes: &[(String, String)],
    ) -> Self {
        let given = attributes.iter().map(|(name, value)| (name, value));
        let metadata = artifact.metadata.iter().chain(given);
        let metadata = metadata.map(|(name, value)| (name.clone(), value.as_str().into()));
        Self {
            name: artifact.name.clone(),
            kind: artifact.kind.word().to_owned(),
            size: artifact.size,
            hash: artifact.key(),
            signer: signer.to_owned(),
            metadata: metadata.collect(),
            status,
        }
    }

    /// The same record with another status, by another signer: what untrusting appends. Name and metadata stay, the
    /// given attributes are added.
    pub(crate) fn restated(mut self, status: Status, signer: &str, attributes: &[(String, String)]) -> Self {
        self.status = status;
        signer.clone_into(&mut self.signer);
        let given = attributes.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        self.metadata.extend(given);
        self
    }

    /// The bytes of the value.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads a value; `None` if it is no record about the artifact with this key.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(value).ok()?;
        (record.hash.as_bytes() == key).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::hash::Hash;

    use super::super::Kind;
    use super::*;

    fn artifact() -> Artifact {
        Artifact {
            name: "a \"quoted\" file".into(),
            kind: Kind::File,
            size: 3,
            sha256: Hash::new([0xab; 32]),
            metadata: [("found".to_owned(), "1".to_owned()), ("both".to_owned(), "found".to_owned())].into(),
        }
    }

    fn attributes() -> Vec<(String, String)> {
        vec![("both".into(), "given".into()), ("arch".into(), "x86_64".into())]
    }

    #[test]
    fn the_value_is_this_json_and_no_other() {
        let record = Record::new(&artifact(), Status::Trusted, "me", &attributes());
        let expected = format!(
            "{{\"Name\":\"a \\\"quoted\\\" file\",\"Kind\":\"file\",\"Size\":3,\"Hash\":\"{}\",\"Signer\":\"me\",\
             \"Metadata\":{{\"arch\":\"x86_64\",\"both\":\"given\",\"found\":\"1\"}},\"Status\":\"trusted\"}}",
            "ab".repeat(32)
        );
        assert_eq!(String::from_utf8(record.to_bytes().unwrap()).unwrap(), expected);
        assert_eq!(Record::read("ab".repeat(32).as_bytes(), expected.as_bytes()), Some(record));
    }

    #[test]
    fn a_record_about_something_else_is_none() {
        let value = Record::new(&artifact(), Status::Trusted, "", &[]).to_bytes().unwrap();
        assert_eq!(Record::read("cd".repeat(32).as_bytes(), &value), None);
        assert_eq!(Record::read(b"key", b"not json"), None);
        assert_eq!(Record::read(b"key", b"{\"Hash\":\"key\",\"Status\":\"fine\"}"), None);
    }

    #[test]
    fn other_writers_may_say_more_and_their_metadata_is_kept() {
        let value = br#"{"Name":"n","Kind":"docker","Size":1,"Hash":"key","Metadata":{"deep":{"a":[1]}},"Status":"trusted","Extra":1}"#;
        let record = Record::read(b"key", value).unwrap();
        let restated = record.clone().restated(Status::Untrusted, "me", &attributes());
        assert_eq!(restated.metadata.get("deep"), record.metadata.get("deep"));
        assert_eq!((restated.status, restated.signer.as_str()), (Status::Untrusted, "me"));
        assert_eq!(restated.metadata.len(), 3);
    }
}
