//! Page tokens: where the next page of a scan or a history begins.
//!
//! Contract: a token is bytes that only this module reads. It names the question by its digest, so a token of another
//! question is refused; and it holds nothing that the caller could not have asked for himself, so it needs no
//! secret: whoever makes one up gets a page of his own question, at worst a strange one. It is good on every replica
//! and has no end of life.

use prost::{Message, bytes::Bytes};
use quorate_core::{
    hash::{Hash, sha256},
    position::{LogIndex, Revision},
};
use quorate_proto::v1::{HistoryRequest, ReadOptions, ScanRequest};
use tonic::Status;

use super::errors::Reason;

const VERSION: u32 = 1;

/// Longest token, bytes: a key and a few numbers.
const MAX_TOKEN: usize = 2_048;

/// The bytes of a token.
#[derive(Clone, PartialEq, prost::Message)]
struct TokenBytes {
    #[prost(uint32, tag = "1")]
    version: u32,
    /// Digest of the question.
    #[prost(bytes = "bytes", tag = "2")]
    question: Bytes,
    /// Log index as of which a scan reads.
    #[prost(uint64, tag = "3")]
    at: u64,
    /// Key at which the next page of a scan begins; from the last key down, the first one beyond it.
    #[prost(bytes = "bytes", tag = "4")]
    next_key: Bytes,
    /// Revision at which the next page of a history begins.
    #[prost(uint64, tag = "5")]
    next_revision: u64,
}

/// The next page of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanToken {
    /// The log index as of which all pages read.
    pub(crate) at: LogIndex,
    /// The key at which the page begins; from the last key down, the first one beyond it.
    pub(crate) next: Vec<u8>,
}

/// The next page of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistoryToken {
    /// The revision with which the page begins.
    pub(crate) next: Revision,
}

impl ScanToken {
    /// The token in a request; `None` for the first page.
    pub(crate) fn read(request: &ScanRequest) -> Result<Option<Self>, Status> {
        let Some(token) = read(&request.page_token, &scan_question(request))? else {
            return Ok(None);
        };
        Ok(Some(Self { at: LogIndex::new(token.at), next: token.next_key.into() }))
    }

    /// The token for the page after one of `request`.
    pub(crate) fn write(self, request: &ScanRequest) -> Bytes {
        write(TokenBytes {
            question: digest(&scan_question(request)),
            at: self.at.get(),
            next_key: self.next.into(),
            ..TokenBytes::default()
        })
    }
}

impl HistoryToken {
    /// The token in a request; `None` for the first page.
    pub(crate) fn read(request: &HistoryRequest) -> Result<Option<Self>, Status> {
        let Some(token) = read(&request.page_token, &history_question(request))? else {
            return Ok(None);
        };
        if token.next_revision == 0 {
            return Err(unreadable("it names no revision"));
        }
        Ok(Some(Self { next: Revision::new(token.next_revision) }))
    }

    /// The token for the page after one of `request`.
    pub(crate) fn write(self, request: &HistoryRequest) -> Bytes {
        let question = digest(&history_question(request));
        write(TokenBytes { question, next_revision: self.next.get(), ..TokenBytes::default() })
    }
}

/// What makes a scan the same question: everything but how its answer is proven and how long its pages are.
fn scan_question(request: &ScanRequest) -> Vec<u8> {
    let question = ScanRequest {
        limit: 0,
        page_token: Bytes::new(),
        options: as_of(request.options.as_ref()),
        ..request.clone()
    };
    [b"scan".as_slice(), &question.encode_to_vec()].concat()
}

fn history_question(request: &HistoryRequest) -> Vec<u8> {
    let question = HistoryRequest {
        limit: 0,
        page_token: Bytes::new(),
        options: as_of(request.options.as_ref()),
        ..request.clone()
    };
    [b"history".as_slice(), &question.encode_to_vec()].concat()
}

fn as_of(options: Option<&ReadOptions>) -> Option<ReadOptions> {
    let at = options.and_then(|options| options.at)?;
    Some(ReadOptions { at: Some(at), ..ReadOptions::default() })
}

fn digest(question: &[u8]) -> Bytes {
    let hash: Hash = sha256(&[question]);
    Bytes::copy_from_slice(hash.as_bytes())
}

fn write(token: TokenBytes) -> Bytes {
    TokenBytes { version: VERSION, ..token }.encode_to_vec().into()
}

fn read(token: &Bytes, question: &[u8]) -> Result<Option<TokenBytes>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    if token.len() > MAX_TOKEN {
        return Err(unreadable("it is longer than any token"));
    }
    let decoded = TokenBytes::decode(token.clone()).map_err(|_| unreadable("it does not decode"))?;
    if decoded.version != VERSION {
        return Err(unreadable("it is of another version"));
    }
    if decoded.question != digest(question) {
        let problem =
            "this token is of another query: a page is asked for with the same query as the one before";
        return Err(Reason::PageTokenMismatch.of("page_token", problem));
    }
    Ok(Some(decoded))
}

/// A token that this module did not make.
pub(crate) fn unreadable(problem: &str) -> Status {
    let advice = "take it from the page before, unchanged";
    Reason::PageTokenInvalid.of("page_token", format!("not a token: {problem}; {advice}"))
}
