//! The file: JSON with the fields of `docs/formats.md` §4, all of them always there.

use serde::{Deserialize, Serialize};

use super::error::EvidenceError;
use super::make::{Evidence, EvidenceKind, ProposedBlock};
use crate::block::{BlockHeader, BlockPublicKey, SignedBlock};
use crate::hash::Hash;
use crate::name::ClusterId;
use crate::note::SignedNote;
use crate::note::text::{decode_base64, encode_base64, parse_decimal};
use crate::position::{BlockHeight, Term};

/// The version of the format.
const VERSION: u64 = 1;

/// What reads and writes the JSON; unknown fields are refused, because the kind says what counts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    kind: String,
    notes: Vec<String>,
    blocks: Vec<Block>,
    root: Option<String>,
    consistency: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    cluster: String,
    term: String,
    height: String,
    previous: String,
    body_hash: String,
    proposer: String,
    signature: String,
}

/// Only the version, to say what is wrong with a file of another one.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl Evidence {
    /// Reads a file. What it says is a claim until [`Evidence::verify`].
    ///
    /// # Errors
    /// [`EvidenceError`] names the field.
    pub fn parse(json: &str) -> Result<Self, EvidenceError> {
        let broken = |error: serde_json::Error| EvidenceError::Json { reason: error.to_string() };
        let Version { version: got } = serde_json::from_str(json).map_err(broken)?;
        if got != VERSION {
            return Err(EvidenceError::Version { got });
        }
        let file: File = serde_json::from_str(json).map_err(broken)?;
        let notes = file.notes.iter().zip(1..).map(|(note, number)| {
            SignedNote::parse(note).map_err(|source| EvidenceError::Note { number, source })
        });
        let hashes = file.consistency.iter().map(|text| read_hash("consistency", text));
        Ok(Self {
            kind: EvidenceKind::from_word(&file.kind).ok_or(field("kind", "it is none of this version"))?,
            notes: notes.collect::<Result<_, _>>()?,
            blocks: file.blocks.iter().map(Block::read).collect::<Result<_, _>>()?,
            root: file.root.map(|text| read_hash("root", &text)).transpose()?,
            consistency: hashes.collect::<Result<_, _>>()?,
        })
    }

    /// The file, on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let file = File {
            version: VERSION,
            kind: self.kind.as_str().to_owned(),
            notes: self.notes.iter().map(ToString::to_string).collect(),
            blocks: self.blocks.iter().map(Block::write).collect(),
            root: self.root.map(|root| root.to_base64()),
            consistency: self.consistency.iter().map(Hash::to_base64).collect(),
        };
        // Strings, numbers and lists of these: serialising them has no way to fail.
        serde_json::to_string(&file).unwrap_or_default()
    }
}

impl Block {
    fn read(&self) -> Result<ProposedBlock, EvidenceError> {
        let number = |name, text| parse_decimal(text).ok_or(field(name, "it is no decimal number"));
        let cluster = ClusterId::from_hex(&self.cluster);
        let proposer = decode_base64(&self.proposer).ok_or(field("proposer", "it is no base64"))?;
        let signature = decode_base64(&self.signature).and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        let header = BlockHeader {
            cluster: cluster.map_err(|_| field("cluster", "it is not 32 hex digits"))?,
            term: Term::new(number("term", &self.term)?),
            height: BlockHeight::new(number("height", &self.height)?),
            previous: read_hash("previous", &self.previous)?,
            body_hash: read_hash("body_hash", &self.body_hash)?,
        };
        Ok(ProposedBlock {
            proposer: BlockPublicKey::try_from(proposer.as_slice())?,
            block: SignedBlock {
                header,
                signature: signature.ok_or(field("signature", "it is not 64 bytes in base64"))?,
            },
        })
    }

    fn write(proposed: &ProposedBlock) -> Self {
        let SignedBlock { header, signature } = &proposed.block;
        Self {
            cluster: header.cluster.to_string(),
            term: header.term.to_string(),
            height: header.height.to_string(),
            previous: header.previous.to_base64(),
            body_hash: header.body_hash.to_base64(),
            proposer: encode_base64(proposed.proposer.as_bytes()),
            signature: encode_base64(signature),
        }
    }
}

fn read_hash(name: &'static str, text: &str) -> Result<Hash, EvidenceError> {
    Hash::from_base64(text).map_err(|_| field(name, "it is not 32 bytes in canonical base64"))
}

const fn field(field: &'static str, problem: &'static str) -> EvidenceError {
    EvidenceError::Field { field, problem }
}
