//! The only source of chance: splitmix64 from a seed that is printed.

use quorate_core::hash::Hash;

pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Flips one bit.
    pub(crate) fn flip(&mut self, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            let at = self.below(bytes.len());
            bytes[at] ^= 1 << self.below(8);
        }
    }

    pub(crate) fn hash(&mut self) -> Hash {
        let mut bytes = [0; 32];
        bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.next().to_be_bytes()));
        Hash::new(bytes)
    }

    /// Another hash: one bit off, one of these, or any.
    pub(crate) fn other_hash(&mut self, hash: &Hash, pool: &[Hash]) -> Hash {
        match self.below(4) {
            0 => self.hash(),
            1 if !pool.is_empty() => *self.pick(pool),
            _ => {
                let mut bytes = *hash.as_bytes();
                self.flip(&mut bytes);
                Hash::new(bytes)
            }
        }
    }

    /// Alters a path: a hash changed, two swapped, the path of something else; seldom its length.
    pub(crate) fn path(&mut self, path: &mut Vec<Hash>, pool: &[Hash]) {
        match self.below(90) {
            0 => drop(path.pop()),
            1 => path.push(self.hash()),
            2..=20 if path.len() > 1 => {
                let (a, b) = (self.below(path.len()), self.below(path.len()));
                path.swap(a, b);
            }
            21..=30 if pool.len() == path.len() => path.copy_from_slice(pool),
            _ if !path.is_empty() => {
                let at = self.below(path.len());
                path[at] = self.other_hash(&path[at].clone(), pool);
            }
            _ => {}
        }
    }
}
