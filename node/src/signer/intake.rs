//! Where apply puts checkpoints, and where a received snapshot is compared with what this node promised and what a
//! majority certified.
//!
//! A snapshot is believed in two steps. Every hash in it was recomputed before it comes here, so it is *a* state. That it
//! is *the* state is what the cosigners say: the note that comes with each of its ledgers has to be of exactly its head,
//! with the signatures of a majority. So a leader alone cannot make this node install, and then sign, what it made up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use quorate_core::{
    hash::Hash,
    name::{ClusterOrigin, LedgerName},
    note::SignedNote,
    position::TreeSize,
};
use quorate_ledger::{outcome::NewCheckpoint, view::LedgerHead};
use tokio::sync::mpsc;

use super::{
    anchor::Anchor,
    desk::Signer,
    notes::heads,
    pen::{LastSigned, PenFault, promises},
};
use crate::{
    machine::CheckpointSink,
    store::{log::LogStore, state::ReadView},
};

/// How long the certificates of a snapshot are waited for.
const CERTIFIED_IN: Duration = Duration::from_secs(10);

/// The way from apply to the signer.
#[derive(Clone)]
pub struct Intake {
    queue: mpsc::UnboundedSender<NewCheckpoint>,
    log: LogStore,
    signer: Signer,
}

/// Makes the way from apply to the signer; the other end is for [`Signer::start`].
pub fn intake(log: LogStore, signer: Signer) -> (Intake, mpsc::UnboundedReceiver<NewCheckpoint>) {
    let (queue, checkpoints) = mpsc::unbounded_channel();
    (Intake { queue, log, signer }, checkpoints)
}

impl CheckpointSink for Intake {
    fn checkpoint(&self, checkpoint: NewCheckpoint) {
        if self.queue.send(checkpoint).is_err() {
            // Only at the end of the process: the signer outlives everything that applies.
            tracing::debug!("the signer has ended");
        }
    }

    fn accepts(&self, snapshot: &ReadView, notes: &[String]) -> Result<(), String> {
        consistent(&self.log, snapshot)?;
        let promised = promises(&self.log).map_err(|fault| fault.to_string())?;
        let heads: Vec<Head> = heads(snapshot).map_err(|fault| fault.to_string())?;
        not_older(&promised, &heads)?;
        certified(&heads, notes, self.signer.origin(), &self.signer.anchor(snapshot)?)
    }

    fn certificates(&self, heads: Vec<Arc<LedgerHead>>) -> BoxFuture<'static, Result<Vec<String>, String>> {
        let signer = self.signer.clone();
        async move {
            let waiting = heads.iter().map(|head| async {
                let (size, root) = (head.frontier.size(), head.frontier.root());
                let certified = signer.certified(&head.name, size, root, CERTIFIED_IN).await;
                certified.map(|certified| certified.note.to_string()).map_err(|error| error.to_string())
            });
            futures::future::try_join_all(waiting).await
        }
        .boxed()
    }
}

/// A ledger in a snapshot.
type Head = NewCheckpoint;

/// A snapshot that ends before what this node signed is not one that a leader could have to send.
fn not_older(promised: &BTreeMap<LedgerName, LastSigned>, heads: &[Head]) -> Result<(), String> {
    for (name, last) in promised {
        let size = heads.iter().find(|head| head.ledger == *name).map_or(TreeSize::ZERO, |head| head.size);
        if size < last.size {
            return Err(format!(
                "ledger {name} ends at size {size}, and this node signed size {}: it is older than that",
                last.size
            ));
        }
    }
    Ok(())
}

/// Whether there is, for the head of every ledger, a note of it that is certified.
fn certified(
    heads: &[Head],
    notes: &[String],
    cluster: &ClusterOrigin,
    anchor: &Anchor,
) -> Result<(), String> {
    let mut parsed = BTreeMap::new();
    for note in notes {
        let note = SignedNote::parse(note).map_err(|error| format!("one of its notes: {error}"))?;
        parsed.insert(note.checkpoint().origin.clone(), note);
    }
    for head in heads {
        let (name, size) = (&head.ledger, head.size);
        let note = parsed.remove(cluster.ledger(name).as_str());
        let note = note.ok_or_else(|| format!("there is no note of ledger {name}"))?;
        let note = note.open(&anchor.known(&head.sets)?);
        let note = note.map_err(|error| format!("the note of ledger {name}: {error}"))?;
        let (certified, root) = (note.checkpoint().size, note.checkpoint().root);
        if (certified, root) != (size, head.root) {
            return Err(format!(
                "ledger {name} has root {} at size {size}, and its note certifies {root} at size {certified}",
                head.root
            ));
        }
        if !anchor.certifies(&note, &head.sets)? {
            return Err(format!(
                "the note of ledger {name} at size {size} has {} signatures of members, which are no majority",
                note.cosigners().count()
            ));
        }
    }
    Ok(())
}

/// Whether a state continues what this node signed: for each ledger, the root at the size last signed is the root
/// that was signed (trust.md, rule 3). A shorter state says nothing; the pen refuses to sign it again differently.
pub(super) fn consistent(log: &LogStore, view: &ReadView) -> Result<(), String> {
    for (name, last) in promises(log).map_err(|fault| fault.to_string())? {
        let Some(ledger) = view.ledger(&name) else {
            continue;
        };
        if last.size > ledger.size() {
            continue;
        }
        let computed = ledger.root_at(last.size).map_err(|fault| fault.to_string())?.unwrap_or(Hash::ZERO);
        if computed != last.root {
            let fault = PenFault::TwoRoots { ledger: name, size: last.size, signed: last.root, computed };
            return Err(fault.to_string());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use quorate_core::{
        checkpoint::Checkpoint,
        hash::sha256,
        key::CosignerKey,
        name::ClusterId,
        position::{Micros, NodeId},
    };

    use super::{super::panel::Panel, *};

    struct Members {
        origin: ClusterOrigin,
        keys: Vec<CosignerKey>,
        anchor: Anchor,
    }

    fn members(cluster: u8) -> Members {
        let origin = ClusterOrigin::new("test", &ClusterId::new([cluster; 16])).unwrap();
        let key = |n: u8| CosignerKey::from_seed(&origin.node(NodeId::new(n.into())), &[n; 32]).unwrap();
        let keys: Vec<CosignerKey> = (1..=3).map(key).collect();
        let verifiers = (1..).map(NodeId::new).zip(keys.iter().map(|key| key.verifier().clone())).collect();
        Members { origin, keys, anchor: Anchor::of_founders(Panel::new(verifiers)) }
    }

    fn head(ledger: &str, size: u64, root: u8) -> Head {
        NewCheckpoint {
            ledger: LedgerName::new(ledger).unwrap(),
            size: TreeSize::new(size),
            root: sha256(&[&[root]]),
            state_root: Hash::ZERO,
            time: Micros::new(1),
            sets: Vec::new(),
        }
    }

    impl Members {
        fn note(&self, head: &Head, signers: &[usize]) -> String {
            let origin = self.origin.ledger(&head.ledger).as_str().to_owned();
            let checkpoint = Checkpoint { origin, size: head.size, root: head.root };
            let mut note = SignedNote::new(checkpoint.clone());
            for signer in signers {
                note.add(self.keys[*signer].cosign(&checkpoint, 5).unwrap().to_line());
            }
            note.to_string()
        }

        fn judge(&self, heads: &[Head], notes: &[String]) -> Result<(), String> {
            certified(heads, notes, &self.origin, &self.anchor)
        }
    }

    #[test]
    fn a_snapshot_needs_a_majority_over_exactly_its_heads() {
        let members = members(7);
        let heads = [head("_system", 3, 1), head("default", 9, 2)];
        let system = members.note(&heads[0], &[0, 2]);
        let good = members.note(&heads[1], &[0, 1]);
        members.judge(&heads, &[good.clone(), system.clone()]).unwrap();
        let stranger = self::members(8);
        let mut bent = good.clone().into_bytes();
        let at = bent.len() - 10;
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        for (what, note, word) in [
            ("one signature", members.note(&heads[1], &[0]), "1 signatures"),
            ("one signature twice", members.note(&heads[1], &[0, 0]), "1 signatures"),
            ("a smaller size", members.note(&head("default", 8, 2), &[0, 1]), "at size 8"),
            ("another root", members.note(&head("default", 9, 3), &[0, 1]), "certifies"),
            ("another cluster", stranger.note(&heads[1], &[0, 1]), "no note of ledger default"),
            ("a bent signature", String::from_utf8(bent).unwrap(), "the note of ledger default"),
            ("nonsense", "nonsense".to_owned(), "one of its notes"),
        ] {
            let refused = members.judge(&heads, &[system.clone(), note]).unwrap_err();
            assert!(refused.contains(word), "{what}: {refused}");
        }
        let missing = members.judge(&heads, &[system]).unwrap_err();
        assert!(missing.contains("no note of ledger default"), "{missing}");
    }

    #[test]
    fn a_snapshot_older_than_what_was_signed_is_refused() {
        let signed = |size| LastSigned { size: TreeSize::new(size), root: Hash::ZERO, time: 1 };
        let promised = BTreeMap::from([(LedgerName::new("default").unwrap(), signed(9))]);
        not_older(&promised, &[head("default", 9, 1), head("new", 1, 1)]).unwrap();
        for heads in [vec![head("default", 8, 1)], vec![head("other", 99, 1)], vec![]] {
            assert!(not_older(&promised, &heads).unwrap_err().contains("older"));
        }
    }
}
