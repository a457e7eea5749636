//! Blocks that were decoded when they were sealed or came, for whoever applies them: to hash and to decode them again takes
//! as long as the first time.
//!
//! Contract. A block is found by the bytes of its Raft entry: by where they are in memory. They are held here, and nobody
//! changes them, so these are the very bytes that were decoded. What is not found is decoded anew. Bounded; the oldest goes first.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use quorate_ledger::block::Block;

use crate::block::CarriedBlock;

/// Blocks kept, at most: more than are on their way at once, unless a node catches up.
const BLOCKS: usize = 32;
/// Bytes of their entries, at most, besides the newest.
const BYTES: usize = 4 << 20;

/// A block with what its bytes decode to.
#[derive(Debug, Clone)]
pub struct DecodedBlock {
    /// As it is carried.
    pub carried: CarriedBlock,
    /// Its body.
    pub block: Block,
}

/// The blocks that are about to be applied.
#[derive(Debug, Default)]
pub struct DecodedBlocks(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    blocks: VecDeque<(Bytes, DecodedBlock)>,
    bytes: usize,
}

impl DecodedBlocks {
    /// Keeps what the bytes of an entry were decoded to.
    pub fn keep(&self, payload: Bytes, decoded: DecodedBlock) {
        let mut kept = self.kept();
        kept.bytes += payload.len();
        kept.blocks.push_back((payload, decoded));
        while kept.blocks.len() > 1 && (kept.blocks.len() > BLOCKS || kept.bytes > BYTES) {
            kept.drop_first();
        }
    }

    /// What these very bytes were decoded to, if it is here; it and those before it are here no longer.
    pub fn take(&self, payload: &Bytes) -> Option<DecodedBlock> {
        let is_same = |held: &Bytes| std::ptr::eq::<[u8]>(&**held, &**payload);
        let mut kept = self.kept();
        let at = kept.blocks.iter().position(|(held, _)| is_same(held))?;
        (0..at).for_each(|_| drop(kept.drop_first()));
        kept.drop_first()
    }

    /// A panic under the lock leaves a count that is wrong, never a block.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn drop_first(&mut self) -> Option<DecodedBlock> {
        let (payload, decoded) = self.blocks.pop_front()?;
        self.bytes = self.bytes.saturating_sub(payload.len());
        Some(decoded)
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{
        block::BlockKey,
        name::ClusterId,
        position::{NodeId, Term},
    };

    use super::*;
    use crate::block::seal;

    fn sealed(time: u64) -> (Bytes, DecodedBlock) {
        let cluster = ClusterId::new([3; 16]);
        let key = BlockKey::from_seed(&[1; 32]);
        let block = Block { time, ..Block::default() };
        let body = prost::Message::encode_to_vec(&block).into();
        let (carried, payload) = seal(&key, cluster, NodeId::new(1), Term::new(2), None, body);
        (payload, DecodedBlock { carried, block })
    }

    #[test]
    fn a_block_is_found_once_and_by_its_own_bytes_only() {
        let blocks = DecodedBlocks::default();
        let sealed: Vec<_> = (1..=3).map(sealed).collect();
        for (payload, decoded) in &sealed {
            blocks.keep(payload.clone(), decoded.clone());
        }
        let equal = Bytes::copy_from_slice(&sealed[1].0);
        assert!(blocks.take(&equal).is_none(), "equal bytes elsewhere");
        assert!(blocks.take(&sealed[1].0.slice(1..)).is_none(), "a part of them");
        let found = blocks.take(&sealed[1].0.clone()).unwrap();
        assert_eq!(found.block.time, 2);
        assert!(blocks.take(&sealed[1].0).is_none(), "it was taken");
        assert!(blocks.take(&sealed[0].0).is_none(), "what was before it is not needed any more");
        assert_eq!(blocks.take(&sealed[2].0).unwrap().block.time, 3);
        assert_eq!(blocks.kept().bytes, 0);
    }

    #[test]
    fn what_nobody_takes_is_bounded() {
        let blocks = DecodedBlocks::default();
        let sealed: Vec<_> = (0..100).map(sealed).collect();
        for (payload, decoded) in &sealed {
            blocks.keep(payload.clone(), decoded.clone());
        }
        assert_eq!(blocks.kept().blocks.len(), BLOCKS);
        assert!(blocks.take(&sealed[0].0).is_none() && blocks.take(&sealed[99].0).is_some());
        let large = Bytes::from(vec![0; BYTES + 1]);
        blocks.keep(large.clone(), sealed[0].1.clone());
        assert!(blocks.take(&large).is_some(), "the newest stays, however large");
    }
}
