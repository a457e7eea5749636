//! Receipts: other notes, leaves, paths, operations, values and state proofs in them.

use quorate_core::hash::Hash;
use quorate_core::receipt::{Receipt, ReceiptExtra, RevealedOperation, VerifiedReceipt};
use quorate_core::state_tree::Query;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;

use super::answers::is_stored;
use super::notes::Parts;
use super::questions::{is_true, now};
use super::rng::Rng;
use super::states::{alter as alter_proof, other_operation, query};
use super::support::Shown;
use super::tally::Judged;
use super::world::{Age, KEYS, World};

/// A receipt in its parts.
struct File {
    extra: ReceiptExtra,
    index: u64,
    path: Vec<Hash>,
    note: Parts,
}

impl File {
    fn of(receipt: &Receipt, path: Vec<Hash>) -> Self {
        Self {
            extra: receipt.extra().clone(),
            index: receipt.index().get(),
            path,
            note: Parts::of(receipt.note()),
        }
    }

    fn text(&self) -> String {
        let mut text =
            format!("c2sp.org/tlog-proof@v1\nextra {}\n", STANDARD.encode(self.extra.encode_to_vec()));
        text += &format!("index {}\n", self.index);
        self.path.iter().for_each(|hash| text += &format!("{}\n", hash.to_base64()));
        text + "\n" + &self.note.text()
    }

    fn alter(&mut self, age: &Age, world: &World, rng: &mut Rng) {
        let other = world.any(rng);
        let elsewhere = rng.next() % other.size();
        match rng.below(16) {
            0 if rng.one_in(2) => self.note = Parts::of(&other.note),
            1 | 2 => self.note.alter(world, rng, &age.note),
            3 if rng.one_in(4) => self.index ^= 1 << rng.below(3),
            4 if other.ledger.leaf_proof(elsewhere).path.len() == self.path.len() => {
                self.path = other.ledger.leaf_proof(elsewhere).path;
            }
            5 | 6 => rng.path(&mut self.path, &world.pool),
            7 => self.extra.leaf.clone_from(&other.ledger.leaves[elsewhere as usize]),
            8 => {
                let at = 2 + rng.below(self.extra.leaf.len() - 2);
                self.extra.leaf[at] ^= 1 << rng.below(8);
            }
            9 if !self.extra.meta.is_empty() => rng.flip(&mut self.extra.meta),
            10 | 11 if !self.extra.state_proof.is_empty() => {
                let asked = query(rng);
                self.extra.state_proof = alter_proof(&self.extra.state_proof, world, rng, &asked);
            }
            12 if self.extra.operations.len() > 1 => {
                let last = self.extra.operations.len() - 1;
                let value = self.extra.operations[0].value.clone();
                self.extra.operations[0].value =
                    std::mem::replace(&mut self.extra.operations[last].value, value);
            }
            _ => {
                let count = self.extra.operations.len();
                if count > 0 {
                    let at = rng.below(count);
                    alter_operation(&mut self.extra.operations[at], rng, world);
                }
            }
        }
    }
}

fn alter_operation(shown: &mut RevealedOperation, rng: &mut Rng, world: &World) {
    match rng.below(6) {
        0 | 1 => shown.operation = other_operation(&shown.operation, rng),
        2 if !shown.salt.is_empty() => rng.flip(&mut shown.salt),
        3 if !shown.salt.is_empty() => shown.attributes.push(b'x'),
        4 if !shown.path.is_empty() => {
            let at = rng.below(shown.path.len());
            shown.path[at] = rng.pick(&world.pool).as_bytes().to_vec();
        }
        5 if !shown.path.is_empty() => shown.position ^= 1,
        _ if !shown.salt.is_empty() => shown.value.push(7),
        _ => shown.operation = other_operation(&shown.operation, rng),
    }
}

/// Alters and verifies; what is believed is compared with the model at the checkpoint of the file.
fn judge(mut file: File, age: &Age, world: &World, rng: &mut Rng) -> Judged {
    for _ in 0..1 + rng.below(2) {
        file.alter(age, world, rng);
    }
    let text = file.text();
    match Receipt::parse(&text).and_then(|receipt| receipt.verify(&age.policy)) {
        Err(error) => Judged::by(&error),
        Ok(receipt) => {
            let body = receipt.checkpoint().checkpoint().body();
            let says = world.age_of(&body).is_some_and(|signed| is_true_receipt(&receipt, signed));
            Judged::accepted(says, text)
        }
    }
}

fn is_true_receipt(receipt: &VerifiedReceipt, age: &Age) -> bool {
    match receipt {
        VerifiedReceipt::Transaction(receipt) => is_stored(age, receipt.transaction()),
        VerifiedReceipt::State(receipt) => {
            let readings = receipt.readings();
            let answered = KEYS.iter().filter_map(|key| receipt.get(key).ok());
            let says = |reading: &_| -> bool {
                let reading: &quorate_core::answer::Reading = reading;
                is_true(age, reading, &now(age, reading.key()))
            };
            readings.iter().all(says) && answered.collect::<Vec<_>>().iter().all(says)
        }
    }
}

pub(crate) fn of_transaction(world: &World, rng: &mut Rng) -> Judged {
    let age = world.age(rng);
    let index = age.transaction(rng);
    let operations = &age.ledger.transactions[&index].operations;
    let shown =
        if rng.one_in(2) { Shown::All } else { Shown::Key(&operations[rng.below(operations.len())].key) };
    let proof = age.ledger.transaction_proof(index, shown);
    let receipt = Receipt::of_transaction(age.note.clone(), &proof);
    judge(File::of(&receipt, proof.path), age, world, rng)
}

pub(crate) fn of_state(world: &World, rng: &mut Rng) -> Judged {
    let (age, asked) =
        (world.age(rng), if rng.one_in(3) { query(rng) } else { Query::Key(rng.pick(&KEYS).to_vec()) });
    let found = age.ledger.records.iter().filter(|(key, _)| asked.contains(key));
    let values = found.filter_map(|(_, records)| {
        let newest = records.last()?;
        Some((newest.operation.encode(), newest.contents.clone()?))
    });
    let commit = age.ledger.leaf_proof(age.ledger.last_index());
    let path = commit.path.clone();
    let receipt =
        Receipt::of_state(age.note.clone(), commit, age.ledger.state.prove(&asked), values.collect())
            .unwrap();
    judge(File::of(&receipt, path), age, world, rng)
}
