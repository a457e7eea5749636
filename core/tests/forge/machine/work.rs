//! Which kinds there are, and the loop over them.

use super::rng::Rng;
use super::tally::{Judged, Tally};
use super::world::World;
use super::{answers, commits, evidence, logs, notes, receipts, states};

type Kind = (&'static str, fn(&World, &mut Rng) -> Judged);

const KINDS: &[Kind] = &[
    ("inclusion proof", logs::inclusion),
    ("consistency proof", logs::consistency),
    ("state proof", states::state_proof),
    ("note", notes::note),
    ("receipt of a transaction", receipts::of_transaction),
    ("receipt of state", receipts::of_state),
    ("answer: get", answers::get),
    ("answer: get many", answers::get_many),
    ("answer: scan", answers::scan),
    ("answer: history", answers::history),
    ("answer: as of an index", answers::as_of),
    ("answer: transaction", answers::transaction),
    ("answer: commit", commits::commit),
    ("evidence", evidence::evidence),
    ("block", evidence::block),
];

/// Forges `count` things, evenly over the kinds.
pub(crate) fn forge(count: u64, seed: u64) -> Tally {
    let (world, mut rng, mut tally) = (World::new(), Rng::new(seed), Tally::default());
    let mut forged = 0;
    let mut turn = 0;
    while forged < count {
        let (name, kind) = KINDS[turn % KINDS.len()];
        // An altered thing that happens to be true is no forgery: another one is drawn.
        for _ in 0..1_000 {
            if tally.add(name, kind(&world, &mut rng)) {
                forged += 1;
                break;
            }
        }
        turn += 1;
    }
    tally
}
