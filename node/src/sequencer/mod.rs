//! The sequencer: puts requests into blocks, on the leader.
//!
//! A block closes when no other is on its way; or when there is room on the way (at most `blocks_in_flight` blocks are
//! not yet applied) and it has become as large as the one before it; or at a limit. Under light load a block is one
//! request and leaves at once; under heavy load blocks grow by themselves, because requests gather while earlier blocks
//! are on their way. There is no timer.
//!
//! A (term, height) is used once: after any proposal of a term did not succeed, this node proposes nothing more in
//! that term, and consensus refuses a proposal made for another term than its own. *Crash between signing and
//! appending:* a restarted node never leads again in the same term, so the signed block stays the only one.
//!
//! The queue is bounded in requests, bytes and time (`admission`); what does not fit is refused at once, and a request that
//! nobody waits for any more goes into no block.

mod admission;
mod block_time;
mod gather;
mod run;

pub(crate) use run::FOUND_EVERY;
pub use run::{Sequencer, SequencerParts, SubmitError};
