//! What is sent to a witness and what it answers (c2sp.org/tlog-witness, `add-checkpoint`). Pure.
//!
//! ```text
//! old <size> \n
//! <base64 of a hash> \n      the RFC 6962 consistency proof from the old size
//! \n
//! <checkpoint as a signed note>
//! ```

use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_core::{
    checkpoint::Checkpoint,
    hash::Hash,
    key::VerifierKey,
    note::{Cosignature, NoteSignature},
    position::TreeSize,
};

use crate::signer::Signed;

/// Media type of the answer that names the size a witness has.
const SIZE_TYPE: &str = "text/x.tlog.size";

/// Signature lines of an answer that are looked at, at most.
const MAX_LINES: usize = 64;

/// Characters of a witness's words that go into the log.
const MAX_WORDS: usize = 200;

/// An HTTP answer, bounded, not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The media type; empty if there is none.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What a witness said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It cosigned, and the cosignature verifies.
    Cosigned(Signed),
    /// The checkpoint it cosigned last has this size.
    Has(TreeSize),
}

/// Why a checkpoint was not cosigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cannot be reached.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("it did not answer in time")]
    Slow,
    /// The answer is none that the specification knows, or does not verify.
    #[error("its answer is not to be used: {0}")]
    BadAnswer(String),
    /// It says it has a size that this ledger does not reach.
    #[error(
        "it says it has cosigned size {0}, which this ledger has not reached: another log has its name, or it is wrong"
    )]
    Ahead(TreeSize),
    /// It says again and again that it has another size: others ask it as often.
    #[error("others were faster, {0} times")]
    Overtaken(u32),
    /// 400.
    #[error("it does not read what it was sent (400): {0}")]
    BadRequest(String),
    /// 403.
    #[error("it knows another key for this log (403): {0}; give it the log's vkey")]
    NotSigned(String),
    /// 404.
    #[error("it does not witness this log (404): {0}; give it the log's vkey")]
    UnknownLog(String),
    /// 409 without a size.
    #[error(
        "it cosigned another root for this size (409): {0}; keep its answer: two histories of this ledger were signed"
    )]
    OtherRoot(String),
    /// 422.
    #[error(
        "it says that the checkpoint does not continue what it cosigned (422): {0}; two histories of this ledger may have been signed"
    )]
    NotConsistent(String),
    /// Any other status.
    #[error("it answered {0}: {1}")]
    Status(u16, String),
}

impl Failure {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Slow => "timeout",
            Self::BadAnswer(_) => "bad_answer",
            Self::Ahead(_) => "ahead",
            Self::Overtaken(_) => "overtaken",
            Self::BadRequest(_) => "bad_request",
            Self::NotSigned(_) => "not_signed",
            Self::UnknownLog(_) => "unknown_log",
            Self::OtherRoot(_) => "other_root",
            Self::NotConsistent(_) => "not_consistent",
            Self::Status(..) => "status",
        }
    }

    /// Whether it may go away by itself soon. What somebody has to mend is tried again less often.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Slow | Self::Overtaken(_) => true,
            Self::Status(status, _) => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// The body of a request: the checkpoint in `note` continues what was cosigned at `old`.
#[must_use]
pub fn request(old: TreeSize, path: &[Hash], note: &str) -> String {
    let mut body = format!("old {old}\n");
    for hash in path {
        body.push_str(&STANDARD.encode(hash.as_bytes()));
        body.push('\n');
    }
    body.push('\n');
    body.push_str(note);
    body
}

/// What an answer says of the checkpoint that was sent.
///
/// # Errors
/// [`Failure`].
pub fn read(answer: &Answer, key: &VerifierKey, checkpoint: &Checkpoint) -> Result<Said, Failure> {
    let text = words(&answer.body);
    match answer.status {
        200 => cosignature(&answer.body, key, checkpoint).map(Said::Cosigned),
        400 => Err(Failure::BadRequest(text)),
        403 => Err(Failure::NotSigned(text)),
        404 => Err(Failure::UnknownLog(text)),
        409 if is_size(&answer.content_type) => {
            let size = std::str::from_utf8(&answer.body).ok().and_then(|text| size(text.strip_suffix('\n')?));
            let problem = || Failure::BadAnswer(format!("409 with {text:?}, which is no size"));
            size.map(Said::Has).ok_or_else(problem)
        }
        409 => Err(Failure::OtherRoot(text)),
        422 => Err(Failure::NotConsistent(text)),
        status => Err(Failure::Status(status, text)),
    }
}

fn is_size(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(SIZE_TYPE))
}

/// A decimal number without leading zeroes.
fn size(text: &str) -> Option<TreeSize> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(TreeSize::new(number))
}

/// The line of this key; lines of others are passed over.
fn cosignature(body: &[u8], key: &VerifierKey, checkpoint: &Checkpoint) -> Result<Signed, Failure> {
    let bad = |problem: &str| Failure::BadAnswer(problem.to_owned());
    let text = std::str::from_utf8(body).map_err(|_| bad("it is no text"))?;
    let text = text.strip_suffix('\n').ok_or_else(|| bad("its last line has no end"))?;
    for line in text.split('\n').take(MAX_LINES) {
        let line = NoteSignature::parse(line).ok_or_else(|| bad("a line of it is no signature line"))?;
        if !line.names(key) {
            continue;
        }
        let cosignature =
            Cosignature::from_line(&line).ok_or_else(|| bad("its signature is no cosignature"))?;
        cosignature.verify(key, checkpoint).map_err(|error| bad(&error.to_string()))?;
        let Cosignature { time, signature, .. } = cosignature;
        return Ok(Signed { root: checkpoint.root, time, signature });
    }
    Err(bad("there is no signature of the configured key in it"))
}

/// The beginning of what somebody wrote, without what could disturb a terminal.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(MAX_WORDS).collect()
}
