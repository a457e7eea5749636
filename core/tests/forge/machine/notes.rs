//! Signed notes: other texts under true signatures, true texts under other signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_core::key::CosignerKey;
use quorate_core::note::{NoteSignature, SignedNote};

use super::rng::Rng;
use super::tally::Judged;
use super::world::World;

/// A signature line in its parts.
#[derive(Clone)]
pub(crate) struct Line {
    name: String,
    id: [u8; 4],
    signature: Vec<u8>,
}

/// A note in its parts.
pub(crate) struct Parts {
    pub(crate) body: String,
    pub(crate) lines: Vec<Line>,
}

impl Parts {
    pub(crate) fn of(note: &SignedNote) -> Self {
        let line = |line: &NoteSignature| Line {
            name: line.name().to_owned(),
            id: *line.id().as_bytes(),
            signature: line.signature().to_vec(),
        };
        Self { body: note.checkpoint().body(), lines: note.signatures().iter().map(line).collect() }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.body);
        for line in &self.lines {
            let bytes = [line.id.as_slice(), &line.signature].concat();
            text += &format!("— {} {}\n", line.name, STANDARD.encode(bytes));
        }
        text
    }

    /// Signs line `at` anew with a key that is not its owner's, under its owner's name and key id.
    fn forge_line(&mut self, at: usize, rng: &mut Rng, note: &SignedNote) {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&rng.next().to_be_bytes());
        let key = CosignerKey::from_seed("somebody.else/node/1", &seed).unwrap();
        let signed = key.cosign(note.checkpoint(), 1_040).unwrap();
        let bytes = signed.to_line().signature().to_vec();
        // The log's signature is the 64 bytes alone.
        let keep = bytes.len() - self.lines[at].signature.len().min(bytes.len());
        self.lines[at].signature = bytes[keep..].to_vec();
    }

    pub(crate) fn alter(&mut self, world: &World, rng: &mut Rng, note: &SignedNote) {
        let other = Self::of(&world.any(rng).note);
        let at = rng.below(self.lines.len());
        let place = rng.below(other.lines.len());
        match rng.below(12) {
            0 => self.body = other.body,
            1 => {
                let lines: Vec<&str> = self.body.lines().collect();
                let theirs: Vec<&str> = other.body.lines().collect();
                let mut mixed = lines.clone();
                let n = rng.below(3);
                mixed[n] = theirs[n];
                self.body = mixed.join("\n") + "\n";
            }
            2 => self.lines[at].signature.clone_from(&other.lines[place].signature),
            3 => self.lines[at] = other.lines[place].clone(),
            4 | 5 => rng.flip(&mut self.lines[at].signature),
            6 | 7 => self.forge_line(at, rng, note),
            // A later or an earlier time than was signed.
            8 if self.lines[at].signature.len() == 72 => rng.flip(&mut self.lines[at].signature[4..8]),
            // Fewer than the policy asks for; one of them three times.
            9 => {
                let keep = self.lines[at].clone();
                self.lines.truncate(1);
                self.lines.extend([keep.clone(), keep.clone(), keep]);
            }
            10 => drop(self.lines.remove(0)),
            _ => {
                let (a, b) = (rng.below(self.lines.len()), rng.below(self.lines.len()));
                let signature = self.lines[a].signature.clone();
                self.lines[a].signature = std::mem::replace(&mut self.lines[b].signature, signature);
            }
        }
    }
}

pub(crate) fn note(world: &World, rng: &mut Rng) -> Judged {
    let age = world.age(rng);
    let mut parts = Parts::of(&age.note);
    for _ in 0..1 + rng.below(2) {
        parts.alter(world, rng, &age.note);
    }
    let opened = SignedNote::parse(&parts.text()).map_err(|error| Judged::by(&error));
    let certified = opened.and_then(|note| age.policy.certify(note).map_err(|error| Judged::by(&error)));
    match certified {
        Err(refused) => refused,
        Ok(certified) => {
            // The text was signed, and each cosignature counts with the time at which it was made.
            let time = age.ledger.cosign_seconds;
            let is_true = world.was_signed(&certified.checkpoint().body())
                && certified.cosigners().all(|(_, signed)| signed == time);
            Judged::accepted(is_true, parts.text())
        }
    }
}
