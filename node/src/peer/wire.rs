//! Which versions of the wire two nodes speak, so that nodes of different releases work together or say why not.
//!
//! Contract: every call, and every answer to one, says which versions of `quorate.peer.v1` its sender speaks, and which
//! program it is. Two nodes that speak a version in common speak the newest of them; that is all there is to agree on, so
//! nothing is remembered. Two that have none in common do not talk: the one that is called refuses, the one that calls
//! takes no answer, both show it ([`Refused`]), and try again after a rest. Who says nothing speaks version 1, as the nodes
//! did that were before this.
//!
//! What is said here decides nothing else: who a node is, its certificate proves.

use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use quorate_core::position::NodeId;
use quorate_proto::peer::v1::peer_client::PeerClient;
use tonic::{
    Status,
    body::Body,
    codegen::{Service, StdError, http},
    metadata::{Ascii, MetadataMap, MetadataValue},
    transport::Channel,
};

use crate::{clock::Clock, upkeep::Refused};

/// Name of the metadata entry that says which versions are spoken: `1`, or `1-3` for all from 1 to 3.
const WIRE_HEADER: &str = "quorate-wire";

/// Name of the metadata entry that says which version a program is.
const PROGRAM_HEADER: &str = "quorate-version";

/// Characters of another program's version that are shown.
const SHOWN: usize = 32;

/// A peer that is refused is called again after this long.
const REST: Duration = Duration::from_secs(5);

/// Where it says what to do.
const ADVICE: &str =
    "run versions on all nodes that have one in common, one step at a time (docs/operations/upgrade.md)";

/// The versions that a node speaks: all from the oldest to the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

/// What this program speaks.
pub const SPOKEN: Versions = Versions { oldest: 1, newest: 1 };

/// What a node speaks that says nothing.
const UNSAID: Versions = Versions { oldest: 1, newest: 1 };

impl Versions {
    /// The newest version that both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u32> {
        let (oldest, newest) = (self.oldest.max(other.oldest), self.newest.min(other.newest));
        (oldest <= newest).then_some(newest)
    }

    fn parse(text: &str) -> Option<Self> {
        let (oldest, newest) = text.split_once('-').unwrap_or((text, text));
        let (oldest, newest) = (oldest.parse().ok()?, newest.parse().ok()?);
        (0 < oldest && oldest <= newest).then_some(Self { oldest, newest })
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { oldest, newest } if oldest == newest => write!(f, "{newest}"),
            Self { oldest, newest } => write!(f, "{oldest}-{newest}"),
        }
    }
}

/// What this node says to its peers, and what becomes of what they say. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Wire {
    own: NodeId,
    spoken: Versions,
    refused: Refused,
    clock: Clock,
}

impl Wire {
    /// Node `own` speaks these versions; whom it refuses is shown in `refused`.
    #[must_use]
    pub const fn new(own: NodeId, spoken: Versions, refused: Refused) -> Self {
        Self { own, spoken, refused, clock: Clock::system() }
    }

    /// Whom this node refuses.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.refused.clone()
    }

    /// Says what this node speaks.
    pub(super) fn tell(&self, headers: &mut http::HeaderMap) {
        let spoken = self.spoken.to_string();
        for (name, value) in [(WIRE_HEADER, spoken.as_str()), (PROGRAM_HEADER, env!("CARGO_PKG_VERSION"))] {
            if let Ok(value) = http::HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }

    /// Hears what `peer` says in a call or an answer.
    ///
    /// # Errors
    /// It speaks no version that this node speaks; it is refused until it says something else.
    pub(super) fn hear(&self, peer: NodeId, said: &MetadataMap) -> Result<(), Status> {
        let text = |value: &MetadataValue<Ascii>| {
            let text = String::from_utf8_lossy(value.as_encoded_bytes()).into_owned();
            text.chars().filter(char::is_ascii_graphic).take(SHOWN).collect::<String>()
        };
        let wire = said.get(WIRE_HEADER).map(text);
        let versions = wire.as_deref().map_or(Some(UNSAID), Versions::parse);
        if versions.is_some_and(|versions| versions.common(self.spoken).is_some()) {
            if self.refused.forget(peer) {
                tracing::info!(%peer, "the peer speaks a version of the wire that this node speaks, again");
            }
            return Ok(());
        }
        let program = said.get(PROGRAM_HEADER).map_or_else(|| "an unknown version".to_owned(), text);
        let why = format!(
            "node {peer} ({program}) speaks version {} of the wire between nodes, and node {} ({}) speaks {}: they \
             have none in common and do not talk to each other; {ADVICE}",
            wire.unwrap_or_else(|| UNSAID.to_string()),
            self.own,
            env!("CARGO_PKG_VERSION"),
            self.spoken,
        );
        if self.refused.note(peer, &why, self.clock.monotonic().saturating_add(REST)) {
            tracing::error!(%peer, why, "a peer is refused");
        }
        Err(Status::failed_precondition(why))
    }

    /// Whether `peer` may be called now.
    ///
    /// # Errors
    /// It was refused a moment ago.
    fn may_call(&self, peer: NodeId) -> Result<(), Status> {
        let now = self.clock.monotonic();
        match self.refused.resting(peer, now, now.saturating_add(REST)) {
            Some(why) => Err(Status::failed_precondition(why)),
            None => Ok(()),
        }
    }
}

/// The client for calls to one peer.
pub(super) type Client = PeerClient<Line>;

/// The way to one peer, on which both sides say which versions they speak.
#[derive(Clone, Debug)]
pub(super) struct Line {
    channel: Channel,
    peer: NodeId,
    wire: Wire,
}

impl Line {
    /// To `peer` over `channel`.
    pub(super) const fn new(channel: Channel, peer: NodeId, wire: Wire) -> Self {
        Self { channel, peer, wire }
    }
}

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<'static, Result<Self::Response, StdError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.channel.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Err(refusal) = self.wire.may_call(self.peer) {
            return futures::future::ready(Err(refusal.into())).boxed();
        }
        self.wire.tell(request.headers_mut());
        let (answer, wire, peer) = (self.channel.call(request), self.wire.clone(), self.peer);
        async move {
            let response = answer.await?;
            wire.hear(peer, &MetadataMap::from_headers(response.headers().clone()))?;
            Ok(response)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(oldest: u32, newest: u32) -> Versions {
        Versions { oldest, newest }
    }

    #[test]
    fn the_newest_version_in_common_is_spoken() {
        for (one, other, common) in [
            ((1, 1), (1, 1), Some(1)),
            ((1, 3), (2, 4), Some(3)),
            ((1, 3), (3, 3), Some(3)),
            ((1, 1), (2, 3), None),
            ((4, 9), (2, 3), None),
        ] {
            let (one, other) = (versions(one.0, one.1), versions(other.0, other.1));
            assert_eq!((one.common(other), other.common(one)), (common, common), "{one} and {other}");
        }
    }

    #[test]
    fn versions_are_written_and_read() {
        for (text, read) in [("1", (1, 1)), ("2-5", (2, 5))] {
            assert_eq!(Versions::parse(text), Some(versions(read.0, read.1)));
            assert_eq!(versions(read.0, read.1).to_string(), text);
        }
        for wrong in ["", "0", "0-1", "3-2", "1-", "-1", "1-2-3", "x", "99999999999"] {
            assert_eq!(Versions::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn who_says_nothing_speaks_version_1_and_nonsense_is_refused() {
        let peer = NodeId::new(2);
        let hear = |spoken: Versions, said: Option<&'static str>| {
            let refused = Refused::default();
            let wire = Wire::new(NodeId::new(1), spoken, refused.clone());
            let mut headers = MetadataMap::new();
            if let Some(said) = said {
                headers.insert(WIRE_HEADER, MetadataValue::from_static(said));
            }
            let heard = wire.hear(peer, &headers).is_ok();
            assert_eq!(refused.now().is_empty(), heard);
            heard
        };
        assert!(hear(SPOKEN, None));
        assert!(hear(versions(1, 2), None));
        assert!(!hear(versions(2, 2), None));
        assert!(!hear(SPOKEN, Some("0")));
        assert!(!hear(SPOKEN, Some("two")));
    }
}
