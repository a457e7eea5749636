//! Evidence that blames the wrong one, and blocks that nobody signed. In this world node 2 has lied in every way there
//! is, node 3 once signed a wrong root (a disagreement, which convicts nobody), node 1 never.

use quorate_core::block::{BlockHeader, BlockKey, SignedBlock};
use quorate_core::checkpoint::Checkpoint;
use quorate_core::evidence::{Culprit, Evidence, EvidenceKind, Keys, Verdict};
use quorate_core::hash::{Hash, sha256};
use quorate_core::name::ClusterId;
use quorate_core::note::{OpenedNote, SignedNote};
use quorate_core::position::{BlockHeight, Term, TreeSize};
use quorate_core::tree::consistency_path;

use super::notes::Parts;
use super::rng::Rng;
use super::tally::Judged;
use super::world::{Age, World};

/// Node 1, who never lied, node 2, who did, and node 3.
const HONEST: usize = 0;
const LIAR: usize = 1;
const WRONG: usize = 2;

fn checkpoint_of(age: &Age) -> Checkpoint {
    age.ledger.head()
}

/// What nodes signed: the honest note, and the lies.
fn signed(ledger: &Age, checkpoint: &Checkpoint, nodes: &[usize], time: u64) -> OpenedNote {
    ledger.ledger.sign(checkpoint, nodes, time).open(ledger.policy.keys()).unwrap()
}

fn header(term: u64, height: u64, body: &[u8]) -> BlockHeader {
    BlockHeader {
        cluster: ClusterId::new([3; 16]),
        term: Term::new(term),
        height: BlockHeight::new(height),
        previous: sha256(&[b"previous"]),
        body_hash: sha256(&[body]),
    }
}

fn liar_block_key() -> BlockKey {
    BlockKey::from_seed(&[5; 32])
}

fn honest_block_key() -> BlockKey {
    BlockKey::from_seed(&[6; 32])
}

/// True evidence of each kind, and the notes that honest nodes signed.
fn truth(world: &World, rng: &mut Rng) -> Evidence {
    let (old, new) = (&world.ages[1], &world.ages[3]);
    let fork = &world.forks[1];
    let (small, large) = (checkpoint_of(old), checkpoint_of(new));
    let other = Checkpoint { root: rng.hash(), ..large.clone() };
    match rng.below(5) {
        0 => {
            let (a, b) = (signed(new, &large, &[HONEST, LIAR], 1_040), signed(new, &other, &[LIAR], 1_041));
            Evidence::of_notes(&a, &b).unwrap()
        }
        1 => {
            let forked = checkpoint_of(fork);
            let size = TreeSize::new(old.size());
            let path = consistency_path(&fork.ledger.tree, size, TreeSize::new(fork.size())).unwrap();
            let root = quorate_core::tree::root_at(&fork.ledger.tree, size).unwrap();
            let (a, b) = (signed(new, &small, &[HONEST, LIAR], 1_010), signed(new, &forked, &[LIAR], 1_041));
            Evidence::of_rewrite(&a, &b, root, &path).unwrap()
        }
        2 => {
            let (a, b) = (signed(new, &small, &[LIAR], 1_050), signed(new, &large, &[HONEST, LIAR], 1_040));
            Evidence::of_notes(&a, &b).unwrap()
        }
        3 => {
            let (a, b) = (signed(new, &large, &[HONEST], 1_040), signed(new, &other, &[WRONG], 1_040));
            Evidence::of_notes(&a, &b).unwrap()
        }
        _ => {
            let key = liar_block_key();
            let block = |body: &[u8]| key.sign(header(3, 9, body)).verify(&key.public()).unwrap();
            Evidence::of_blocks(&block(b"one"), &block(b"two")).unwrap()
        }
    }
}

/// A note that honest nodes signed: of some age, at the honest time.
fn honest_note(world: &World, rng: &mut Rng) -> Parts {
    let age = &world.ages[rng.below(4)];
    Parts::of(&age.ledger.sign(&checkpoint_of(age), &[HONEST], age.ledger.cosign_seconds))
}

fn alter_note(text: &str, world: &World, rng: &mut Rng) -> String {
    let Ok(note) = SignedNote::parse(text) else { return text.to_owned() };
    let mut parts = Parts::of(&note);
    let honest = honest_note(world, rng);
    match rng.below(4) {
        // Adds what an honest node signed elsewhere, so that it would be blamed.
        0 => parts.lines.push(honest.lines[1].clone()),
        1 => parts.lines = vec![honest.lines[1].clone()],
        2 => return honest.text(),
        _ => parts.alter(world, rng, &note),
    }
    parts.text()
}

fn alter_block(block: &mut serde_json::Value, rng: &mut Rng) {
    let field = *rng.pick(&["term", "height", "previous", "body_hash", "proposer", "signature"]);
    let text = match field {
        "term" | "height" => (rng.next() % 12).to_string(),
        "previous" | "body_hash" => rng.hash().to_base64(),
        "proposer" => Hash::new(*honest_block_key().public().as_bytes()).to_base64(),
        _ => {
            let key = if rng.one_in(2) { liar_block_key() } else { honest_block_key() };
            let signature = key.sign(header(3, rng.next() % 12, b"one")).signature;
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(signature)
        }
    };
    block[field] = text.into();
}

fn alter(file: &mut serde_json::Value, world: &World, rng: &mut Rng) {
    let notes = file["notes"].as_array().map_or(0, Vec::len);
    match rng.below(7) {
        0 => {
            let kinds = ["fork", "rewrite", "rollback", "disagreement", "equivocation"];
            file["kind"] = (*rng.pick(&kinds)).into();
        }
        1 if file["root"].is_string() => file["root"] = rng.hash().to_base64().into(),
        2 if file["root"].is_string() => {
            let path = file["consistency"].as_array_mut().unwrap();
            if !path.is_empty() {
                let at = rng.below(path.len());
                path[at] = rng.pick(&world.pool).to_base64().into();
            }
        }
        3 if notes == 2 => file["notes"].as_array_mut().unwrap().swap(0, 1),
        _ if notes == 2 => {
            let at = rng.below(2);
            let text = file["notes"][at].as_str().unwrap_or_default().to_owned();
            file["notes"][at] = alter_note(&text, world, rng).into();
        }
        _ => {
            let at = rng.below(2);
            alter_block(&mut file["blocks"][at], rng);
        }
    }
}

pub(crate) fn evidence(world: &World, rng: &mut Rng) -> Judged {
    let age = &world.ages[3];
    let true_evidence = truth(world, rng);
    let mut file: serde_json::Value = serde_json::from_str(&true_evidence.to_json()).unwrap();
    for _ in 0..1 + rng.below(2) {
        alter(&mut file, world, rng);
    }
    let keys = Keys::new(age.policy.keys(), &[liar_block_key().public(), honest_block_key().public()]);
    let text = file.to_string();
    match Evidence::parse(&text).and_then(|evidence| evidence.verify(&keys)) {
        Err(error) => Judged::by(&error),
        Ok(verdict) => Judged::accepted(is_true_verdict(&verdict, age), text),
    }
}

/// Only the liar may be called guilty; only different nodes, one of them not honest, may be called suspects.
fn is_true_verdict(verdict: &Verdict, age: &Age) -> bool {
    let nodes = age.ledger.node_keys();
    match verdict {
        Verdict::Guilty { kind, culprits } => culprits.iter().all(|culprit| match culprit {
            Culprit::Cosigner(key) => key.same_key(&nodes[LIAR]) && *kind != EvidenceKind::Equivocation,
            Culprit::Proposer(key) => {
                *key == liar_block_key().public() && *kind == EvidenceKind::Equivocation
            }
        }),
        Verdict::Suspects { keys: [a, b], .. } => {
            !a.same_key(b) && [a, b].iter().any(|key| !key.same_key(&nodes[HONEST]))
        }
    }
}

/// A signed block, altered: its header, its signature, its body, or who is said to have signed it.
pub(crate) fn block(_: &World, rng: &mut Rng) -> Judged {
    let key = honest_block_key();
    let bodies: [&[u8]; 2] = [b"one", b"two"];
    let honest = key.sign(header(1 + rng.next() % 4, rng.next() % 6, rng.pick::<&[u8]>(&bodies)));
    let mut block = honest;
    let mut body = bodies[0];
    if honest.header.body_hash != sha256(&[body]) {
        body = bodies[1];
    }
    let honest_body = body;
    let mut proposer = key.public();
    match rng.below(9) {
        0 => block.header.term = Term::new(rng.next() % 6),
        1 => block.header.height = BlockHeight::new(rng.next() % 6),
        2 => block.header.previous = rng.hash(),
        3 => block.header.body_hash = sha256(&[*rng.pick(&bodies)]),
        4 => rng.flip(&mut block.signature),
        5 => proposer = liar_block_key().public(),
        6 => body = *rng.pick(&bodies),
        7 => block = SignedBlock { header: block.header, ..liar_block_key().sign(block.header) },
        _ => block.header.cluster = ClusterId::new([4; 16]),
    }
    let previous = (BlockHeight::new(honest.header.height.get().saturating_sub(1)), honest.header.previous);
    let previous = (honest.header.height.get() > 0).then_some(previous);
    let verified = block.verify(&proposer).and_then(|verified| {
        verified.check_body(body)?;
        // The first block has no previous one: there its own hash stands.
        if previous.is_some() { verified.check_follows(previous) } else { Ok(()) }
    });
    match verified {
        Err(error) => Judged::by(&error),
        Ok(()) => Judged::accepted(block == honest && body == honest_body, block),
    }
}
