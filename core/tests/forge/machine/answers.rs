//! Answers of nodes: bundles whose parts were altered, left out, swapped, or taken from other answers.

use quorate_core::answer::{
    AnswerError, Bundle, Contents, Direction, HistoryCursor, IncludedTransaction, KeyRange, Proven,
    TransactionProof,
};
use quorate_core::position::LogIndex;
use quorate_core::state_tree::Query;

use super::questions::{is_entry, is_true, now, then};
use super::rng::Rng;
use super::states::{alter as alter_proof, other_operation};
use super::support::Shown;
use super::tally::Judged;
use super::world::{Age, KEYS, World};

/// Alters contents, or takes those of another write.
fn alter_contents(contents: &mut Contents, rng: &mut Rng) {
    match rng.below(4) {
        0 => rng.flip(&mut contents.salt),
        1 => contents.attributes.push(b'x'),
        2 => contents.value.push(0),
        _ if contents.value.is_empty() => contents.value.push(1),
        _ => rng.flip(&mut contents.value),
    }
}

/// Alters what a server shows of a transaction.
pub(crate) fn alter_transaction(proof: &mut TransactionProof, world: &World, rng: &mut Rng) {
    let operations = proof.operations.len();
    match rng.below(14) {
        0 | 1 => {
            // Version and type stay: the leaf still decodes.
            let at = 2 + rng.below(proof.leaf.len().saturating_sub(2).max(1));
            proof.leaf[at.min(117)] ^= 1 << rng.below(8);
        }
        2 if rng.one_in(3) => proof.index = LogIndex::new(proof.index.get() ^ (1 << rng.below(4))),
        3 | 4 => rng.path(&mut proof.path, &world.pool),
        5 | 6 if operations > 0 => {
            let shown = &mut proof.operations[rng.below(operations)];
            shown.operation = other_operation(&shown.operation, rng);
        }
        7 if operations > 0 => {
            let shown = &mut proof.operations[rng.below(operations)];
            shown.position ^= 1;
        }
        8 if operations > 0 => {
            let at = rng.below(operations);
            rng.path(&mut proof.operations[at].path, &world.pool);
        }
        9 if operations > 1 => {
            let (a, b) = (rng.below(operations), rng.below(operations));
            let operation = proof.operations[a].operation.clone();
            proof.operations[a].operation = std::mem::replace(&mut proof.operations[b].operation, operation);
        }
        10 if operations > 0 => drop(proof.operations.remove(rng.below(operations))),
        11 => {
            if let Some(meta) = &mut proof.meta {
                rng.flip(&mut meta.bytes);
            }
        }
        _ => {
            let shown = proof.operations.iter_mut().filter_map(|shown| shown.contents.as_mut());
            let mut shown: Vec<&mut Contents> = shown.collect();
            if !shown.is_empty() {
                let at = rng.below(shown.len());
                alter_contents(shown[at], rng);
            }
        }
    }
}

/// Alters one thing of a bundle.
fn alter(bundle: &mut Bundle, world: &World, rng: &mut Rng, asked: &Query) {
    let other = world.any(rng);
    match rng.below(12) {
        0 => match &mut bundle.commit {
            Some(commit) if rng.one_in(2) => rng.flip(&mut commit.leaf[2..]),
            Some(commit) if rng.one_in(2) => rng.path(&mut commit.path, &world.pool),
            Some(commit) => {
                let theirs = other.ledger.leaf_proof(other.ledger.last_index());
                // Where a path has another length, that alone is refused.
                if theirs.path.len() == commit.path.len() {
                    *commit = theirs;
                } else {
                    commit.leaf = theirs.leaf;
                }
            }
            None => {}
        },
        1 => {
            if let Some(point) = &mut bundle.point {
                point.leaf = other.ledger.leaf_proof(rng.next() % other.size()).leaf;
            }
        }
        2..=4 if !bundle.state_proofs.is_empty() => {
            let at = rng.below(bundle.state_proofs.len());
            bundle.state_proofs[at] = alter_proof(&bundle.state_proofs[at], world, rng, asked);
        }
        5 | 6 if !bundle.contents.is_empty() => {
            let at = rng.below(bundle.contents.len());
            alter_contents(&mut bundle.contents[at], rng);
        }
        7 if !bundle.contents.is_empty() => drop(bundle.contents.remove(rng.below(bundle.contents.len()))),
        8 if !bundle.transactions.is_empty() => {
            drop(bundle.transactions.remove(rng.below(bundle.transactions.len())));
        }
        9 if !bundle.transactions.is_empty() => {
            let at = rng.below(bundle.transactions.len());
            let theirs = other.ledger.transaction_proof(other.transaction(rng), Shown::All);
            if theirs.path.len() == bundle.transactions[at].path.len() || rng.one_in(6) {
                bundle.transactions[at] = theirs;
            } else {
                bundle.transactions[at].leaf = theirs.leaf;
            }
        }
        _ if !bundle.transactions.is_empty() => {
            let at = rng.below(bundle.transactions.len());
            alter_transaction(&mut bundle.transactions[at], world, rng);
        }
        _ if !bundle.contents.is_empty() => {
            let at = rng.below(bundle.contents.len());
            alter_contents(&mut bundle.contents[at], rng);
        }
        _ => {
            if let Some(proof) = bundle.state_proofs.first_mut() {
                *proof = alter_proof(proof, world, rng, asked);
            }
        }
    }
}

/// Opens an altered answer, made by `answer` of an age, under the checkpoint of `age` or of an older or newer one.
fn judge<T>(
    (world, rng): (&World, &mut Rng),
    age: &Age,
    (asked, answer): (&Query, impl Fn(&Age) -> Bundle),
    read: impl FnOnce(&Proven) -> Result<T, AnswerError>,
    truth: impl FnOnce(T) -> bool,
) -> Judged {
    // Now and then the whole answer of another checkpoint, as it was.
    let from = if rng.one_in(24) { world.any(rng) } else { age };
    let mut bundle = answer(from);
    if std::ptr::eq(from, age) || rng.one_in(3) {
        for _ in 0..1 + rng.below(2) {
            alter(&mut bundle, world, rng, asked);
        }
    }
    let shown = format!("{bundle:?}");
    match Proven::open(age.certified.clone(), bundle).and_then(|proven| read(&proven)) {
        Err(error) => Judged::by(&error),
        Ok(believed) => Judged::accepted(truth(believed), shown),
    }
}

pub(crate) fn get(world: &World, rng: &mut Rng) -> Judged {
    let (age, key) = (world.age(rng), *rng.pick(&KEYS));
    // Sometimes the answer is about another key than was asked for.
    let told = if rng.one_in(8) { *rng.pick(&KEYS) } else { key };
    let asked = Query::Key(key.to_vec());
    let answer = |age: &Age| age.ledger.answer_get(&[told]);
    judge(
        (world, rng),
        age,
        (&asked, answer),
        |proven| proven.get(key),
        |reading| is_true(age, &reading, &now(age, key)),
    )
}

pub(crate) fn get_many(world: &World, rng: &mut Rng) -> Judged {
    let age = world.age(rng);
    let keys = [*rng.pick(&KEYS), *rng.pick(&KEYS)];
    let told = if rng.one_in(8) { [keys[1], keys[0]] } else { keys };
    let asked = Query::Key(keys[0].to_vec());
    let answer = |age: &Age| age.ledger.answer_get(&told);
    judge(
        (world, rng),
        age,
        (&asked, answer),
        |proven| proven.get_many(&keys),
        |readings| {
            readings.len() == 2
                && readings.iter().zip(keys).all(|(reading, key)| is_true(age, reading, &now(age, key)))
        },
    )
}

pub(crate) fn scan(world: &World, rng: &mut Rng) -> Judged {
    let age = world.age(rng);
    let asked = if rng.one_in(2) { KeyRange::all() } else { KeyRange::prefix(rng.pick::<&[u8]>(&KEYS)) };
    let direction = *rng.pick(&[Direction::Ascending, Direction::Descending]);
    let limit = 1 + rng.below(9);
    let (_, mut covered) = age.ledger.answer_scan(&asked, direction, limit);
    let answered = covered.clone();
    // The page may claim to cover more, or less, than it does.
    if rng.one_in(6) {
        covered = if rng.one_in(2) { asked.clone() } else { KeyRange::prefix(rng.pick::<&[u8]>(&KEYS)) };
    }
    let answer = |age: &Age| age.ledger.answer_scan(&answered, direction, usize::MAX).0;
    let read = |proven: &Proven| proven.scan(&asked, direction, &covered);
    judge((world, rng), age, (&covered.query(), answer), read, |page| {
        let mut keys: Vec<&Vec<u8>> = age.ledger.records.keys().filter(|key| covered.contains(key)).collect();
        if direction == Direction::Descending {
            keys.reverse();
        }
        let readings = page.readings();
        keys.len() == readings.len()
            && keys.iter().zip(readings).all(|(key, reading)| {
                reading.key() == key.as_slice() && is_true(age, reading, &now(age, key))
            })
    })
}

pub(crate) fn history(world: &World, rng: &mut Rng) -> Judged {
    let (age, key) = (world.age(rng), *rng.pick(&KEYS));
    let direction = *rng.pick(&[Direction::Ascending, Direction::Descending]);
    let cursor = HistoryCursor::new(key, direction);
    let limit = 1 + rng.below(9);
    let asked = Query::Key(key.to_vec());
    let answer = |age: &Age| age.ledger.answer_history(&cursor, limit);
    let read = |proven: &Proven| {
        let page = proven.history(&cursor)?;
        let records = age.ledger.records.get(key).map_or(&[][..], Vec::as_slice);
        let shown = page.entries().len();
        let ordered: Vec<_> = match direction {
            Direction::Ascending => records.iter().collect(),
            Direction::Descending => records.iter().rev().collect(),
        };
        let fits = page.entries().iter().zip(&ordered).all(|(entry, record)| is_entry(entry, record));
        Ok(shown <= ordered.len() && fits && page.next().is_none() == (shown == ordered.len()))
    };
    judge((world, rng), age, (&asked, answer), read, |is_true| is_true)
}

pub(crate) fn as_of(world: &World, rng: &mut Rng) -> Judged {
    let (age, key) = (world.age(rng), *rng.pick(&KEYS));
    let index = rng.next() % age.size();
    let asked = Query::Key(key.to_vec());
    let answer = |age: &Age| age.ledger.answer_as_of(&[key], index.min(age.size() - 1));
    // Sometimes it is read as of another index than was answered.
    let read_at = if rng.one_in(8) { rng.next() % age.size() } else { index };
    let read = |proven: &Proven| proven.as_of(LogIndex::new(read_at))?.get(key);
    judge((world, rng), age, (&asked, answer), read, |reading| {
        is_true(age, &reading, &then(&age.ledger, key, read_at))
    })
}

/// Whether all that is shown of a transaction is what the log holds.
pub(crate) fn is_stored(age: &Age, shown: &IncludedTransaction) -> bool {
    let Some(stored) = age.ledger.transactions.get(&shown.index().get()) else { return false };
    let operations = shown.operations().iter().all(|operation| {
        let place = operation.position() as usize;
        let fits = operation.contents().is_none_or(|contents| contents.opens(operation.operation()));
        stored.operations.get(place) == Some(operation.operation()) && fits
    });
    let meta = shown.meta().is_none_or(|meta| meta == stored.meta.bytes);
    shown.leaf().encode().as_slice() == stored.leaf && operations && meta
}

pub(crate) fn transaction(world: &World, rng: &mut Rng) -> Judged {
    let age = world.age(rng);
    let index = age.transaction(rng);
    let key = age.ledger.transactions[&index].operations[0].key.clone();
    let all = rng.one_in(2);
    let answer = |age: &Age| {
        let at = if age.ledger.transactions.contains_key(&index) {
            index
        } else {
            *age.ledger.transactions.keys().next().unwrap()
        };
        let shown = if all { Shown::All } else { Shown::Key(&key) };
        Bundle { transactions: vec![age.ledger.transaction_proof(at, shown)], ..Bundle::default() }
    };
    let read = |proven: &Proven| proven.transaction(LogIndex::new(index)).map(|shown| is_stored(age, shown));
    judge((world, rng), age, (&Query::Key(key.clone()), answer), read, |is_true| is_true)
}
