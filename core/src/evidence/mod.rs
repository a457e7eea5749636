//! Evidence: a portable proof that somebody lied (`docs/formats.md` §4).
//!
//! Contract: [`Evidence`] is text that anyone can check with public keys alone; [`Evidence::verify`] gives a
//! [`Verdict`] or an error, and a verdict never rests on anybody's word. Only cosignatures (type 0x04) and block
//! signatures count. The log key does not: every replica holds it.
//!
//! | kind | what was signed | verdict |
//! |---|---|---|
//! | `fork` | by one key: one origin and size, two roots | guilty |
//! | `rewrite` | by one key: a larger tree that does not begin with the smaller one | guilty |
//! | `rollback` | by one replica: at a strictly later time a strictly smaller size | guilty |
//! | `equivocation` | by one proposer: two blocks for one cluster, term and height | guilty |
//! | `disagreement` | by two keys: what would be a fork or a rewrite by one | two suspects |
//!
//! For a rewrite, `consistency` is an RFC 6962 proof from the smaller size to the larger root, and `root` the
//! root it proves for the smaller size: not the one that was signed. A rollback counts against replicas only,
//! whose names are `<cluster origin>/node/<id>` for the origin of the notes: outside witnesses may well sign what
//! they see late.
//!
//! ```json
//! {"version":1,"kind":"fork","notes":["…","…"],"blocks":[],"root":null,"consistency":[]}
//! ```
//!
//! A block is `{"cluster":hex,"term":decimal,"height":decimal,"previous":base64,"body_hash":base64,
//! "proposer":base64,"signature":base64}`, every value a string.
//!
//! A disagreement that is not signed, or not by known keys, is an error and no evidence: it may be anybody's.

mod error;
mod json;
mod make;
mod verify;

pub use error::EvidenceError;
pub use make::{Evidence, EvidenceKind};
pub use verify::{Culprit, Keys, Verdict};
