//! Requests that read.

use std::{collections::BTreeSet, time::Duration};

use quorate_core::{
    answer::{Direction, KeyRange},
    entry::{MAX_AUTHOR, request_id},
    hash::Hash,
    name::LedgerName,
    position::{LogIndex, TreeSize},
};
use quorate_proto::v1;
use tonic::Status;

use super::field;
use crate::{
    api::{checkpoint::Wanted, errors::Reason, transactions::Contents},
    signer::Need,
};

/// Most keys that one call may ask for.
const MAX_KEYS: usize = 1_000;

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consistency {
    /// At least as new as every write acknowledged before.
    Linearizable,
    /// Cosigned at most so long ago.
    Stale(Duration),
}

/// How a read is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) consistency: Consistency,
    /// The log index as of which; `None`: the present.
    pub(crate) at: Option<LogIndex>,
    /// Whether the answer carries proofs.
    pub(crate) prove: bool,
    /// What the client believes in; zero: nothing.
    pub(crate) trusted: TreeSize,
    /// Whose cosignatures the checkpoint must carry.
    pub(crate) need: Need,
}

impl Options {
    /// Checks the options of a request; none are the defaults.
    pub(crate) fn new(options: Option<&v1::ReadOptions>) -> Result<Self, Status> {
        use v1::read_options::Consistency as Asked;
        let absent = v1::ReadOptions::default();
        let options = options.unwrap_or(&absent);
        let consistency = match options.consistency {
            None | Some(Asked::Linearizable(true)) => Consistency::Linearizable,
            Some(Asked::MaxStalenessMs(bound)) => Consistency::Stale(Duration::from_millis(bound)),
            Some(Asked::Linearizable(false)) => {
                let problem = "false: state how stale the answer may be instead (max_staleness_ms)";
                return Err(Reason::ConsistencyFalse.of("options.linearizable", problem));
            }
        };
        Ok(Self {
            consistency,
            at: options.at.map(LogIndex::new),
            prove: options.prove,
            trusted: TreeSize::new(options.trusted_size),
            need: field::need(
                (options.min_cosigners, &options.witnesses, options.min_witnesses),
                "options.",
            )?,
        })
    }
}

/// Checks a question for one key.
pub(crate) fn get(request: &v1::GetRequest) -> Result<(LedgerName, Options), Status> {
    let ledger = field::ledger(&request.ledger)?;
    field::key(&request.key, || "key".to_owned())?;
    Ok((ledger, Options::new(request.options.as_ref())?))
}

/// Checks a question for several keys.
pub(crate) fn get_many(request: &v1::GetManyRequest) -> Result<(LedgerName, Options), Status> {
    let ledger = field::ledger(&request.ledger)?;
    if request.keys.is_empty() {
        return Err(Reason::KeysEmpty.of("keys", format_args!("empty: 1 to {MAX_KEYS} keys")));
    }
    if request.keys.len() > MAX_KEYS {
        let problem = format_args!("{} keys: at most {MAX_KEYS} in one call", request.keys.len());
        return Err(Reason::TooManyKeys.of("keys", problem));
    }
    let mut seen = BTreeSet::new();
    for (position, key) in request.keys.iter().enumerate() {
        field::key(key, || format!("keys[{position}]"))?;
        if !seen.insert(key) {
            return Err(
                Reason::KeyDuplicate.of(format!("keys[{position}]"), "the same key is asked for twice")
            );
        }
    }
    Ok((ledger, Options::new(request.options.as_ref())?))
}

/// A scan, without its page token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanQuestion {
    pub(crate) ledger: LedgerName,
    pub(crate) range: KeyRange,
    pub(crate) direction: Direction,
    pub(crate) limit: usize,
    pub(crate) keys_only: bool,
    pub(crate) options: Options,
}

/// Checks a scan.
pub(crate) fn scan(request: &v1::ScanRequest) -> Result<ScanQuestion, Status> {
    Ok(ScanQuestion {
        ledger: field::ledger(&request.ledger)?,
        range: range(request.keys.as_ref())?,
        direction: if request.reverse { Direction::Descending } else { Direction::Ascending },
        limit: field::limit(request.limit)?,
        keys_only: request.keys_only,
        options: Options::new(request.options.as_ref())?,
    })
}

fn range(keys: Option<&v1::scan_request::Keys>) -> Result<KeyRange, Status> {
    match keys {
        None => {
            let problem = "missing: name a prefix (an empty one for all keys) or a range";
            Err(Reason::KeysMissing.of("keys", problem))
        }
        Some(v1::scan_request::Keys::Prefix(prefix)) => {
            field::bound(prefix, "prefix")?;
            Ok(KeyRange::prefix(prefix))
        }
        Some(v1::scan_request::Keys::Range(range)) => {
            field::bound(&range.first, "range.first")?;
            field::bound(range.end.as_deref().unwrap_or_default(), "range.end")?;
            KeyRange::new(range.first.to_vec(), range.end.as_deref().map(<[u8]>::to_vec)).map_err(|_| {
                let problem = "not greater than range.first: the range is empty";
                Reason::RangeEmpty.of("range.end", problem)
            })
        }
    }
}

/// Checks a question for a history, without its page token: the ledger, the writes per page and the options.
pub(crate) fn history(request: &v1::HistoryRequest) -> Result<(LedgerName, usize, Options), Status> {
    let ledger = field::ledger(&request.ledger)?;
    field::key(&request.key, || "key".to_owned())?;
    Ok((ledger, field::limit(request.limit)?, Options::new(request.options.as_ref())?))
}

/// Which transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one at this log index.
    Index(LogIndex),
    /// The newest of this request.
    Request(Hash),
}

/// Checks which transaction is asked for; `caller` is who asks.
pub(crate) fn which(request: &v1::GetTransactionRequest, caller: &str) -> Result<Which, Status> {
    use v1::get_transaction_request::Which as Asked;
    match &request.which {
        None => Err(Reason::WhichMissing.of("which", "missing: name a log index or a request")),
        Some(Asked::Index(index)) => Ok(Which::Index(LogIndex::new(*index))),
        Some(Asked::Request(name)) => {
            field::idempotency_key(&name.idempotency_key, "request.idempotency_key")?;
            let author = if name.author.is_empty() { caller } else { &name.author };
            request_id(author, &name.idempotency_key).map(Which::Request).map_err(|_| {
                let problem = format_args!("{} bytes: an author has at most {MAX_AUTHOR}", author.len());
                Reason::AuthorTooLong.of("request.author", problem)
            })
        }
    }
}

/// Checks the bounds of a stretch of the log; an absent end is `None`.
pub(crate) fn list_range(
    request: &v1::ListTransactionsRequest,
) -> Result<(LedgerName, LogIndex, Option<TreeSize>), Status> {
    let ledger = field::ledger(&request.ledger)?;
    let end = (request.to != 0).then_some(TreeSize::new(request.to));
    if end.is_some_and(|end| end.get() < request.from) {
        let problem = format_args!("{} is before from, {}", request.to, request.from);
        return Err(Reason::SizesOutOfOrder.of("to", problem));
    }
    Ok((ledger, LogIndex::new(request.from), end))
}

/// What a reader of the log as it grows asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) ledger: LedgerName,
    pub(crate) from: LogIndex,
    pub(crate) contents: Contents,
    /// What its first checkpoint continues, and what all of them carry.
    pub(crate) wanted: Wanted,
}

/// Checks a subscription.
pub(crate) fn subscription(request: &v1::SubscribeRequest) -> Result<Subscription, Status> {
    let ledger = field::ledger(&request.ledger)?;
    field::bound(&request.prefix, "prefix")?;
    let trusted = TreeSize::new(request.trusted_size);
    let need = field::need((request.min_cosigners, &request.witnesses, request.min_witnesses), "")?;
    Ok(Subscription {
        ledger,
        from: LogIndex::new(request.from),
        contents: Contents::new(request.contents, request.prefix.clone()),
        wanted: Wanted { trusted, need },
    })
}
