//! What a client wants of the signatures of a checkpoint.

use quorate_core::key::KeyId;

/// Outside witnesses that one request may name, at most.
pub(crate) const MAX_NAMED: usize = 16;

/// How many have to have signed. A copy costs nothing: it goes with every read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// Cosignatures altogether; 0: a majority of the replicas.
    pub cosigners: usize,
    /// Outside witnesses that count besides the replicas.
    named: [Option<KeyId>; MAX_NAMED],
    /// How many of these have to be among them.
    pub outside: usize,
}

impl Need {
    /// So many replicas; 0: a majority of them.
    #[must_use]
    pub const fn replicas(cosigners: usize) -> Self {
        Self { cosigners, named: [None; MAX_NAMED], outside: 0 }
    }

    /// With outside witnesses that count too, `outside` of which have to be there; `None` if too many are named.
    #[must_use]
    pub fn with(mut self, named: impl IntoIterator<Item = KeyId>, outside: usize) -> Option<Self> {
        let mut places = self.named.iter_mut();
        for id in named {
            *places.next()? = Some(id);
        }
        self.outside = outside;
        Some(self)
    }

    /// Whether an outside witness counts.
    #[must_use]
    pub fn counts(&self, id: KeyId) -> bool {
        self.named().any(|named| named == id)
    }

    /// The outside witnesses that count.
    pub fn named(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.named.iter().flatten().copied()
    }

    /// Whether outside witnesses count at all.
    #[must_use]
    pub const fn looks_outside(&self) -> bool {
        matches!(self.named, [Some(_), ..])
    }

    /// How many signatures are enough where a majority is `majority`.
    #[must_use]
    pub fn enough(&self, majority: usize) -> usize {
        if self.cosigners == 0 { majority.saturating_add(self.outside) } else { self.cosigners }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> KeyId {
        KeyId::new([byte; 4])
    }

    #[test]
    fn who_is_named_counts_and_nobody_else() {
        let need = Need::replicas(3).with([id(1), id(2)], 1).unwrap();
        assert!(need.looks_outside() && need.counts(id(1)) && need.counts(id(2)) && !need.counts(id(3)));
        assert!(!Need::replicas(3).looks_outside());
        assert_eq!((need.enough(2), Need::replicas(0).with([id(1)], 1).unwrap().enough(2)), (3, 3));
    }

    #[test]
    fn what_is_named_is_bounded() {
        let most: Vec<KeyId> = (0..16).map(id).collect();
        assert!(Need::replicas(0).with(most.clone(), 0).is_some());
        assert!(Need::replicas(0).with(most.into_iter().chain([id(16)]), 0).is_none());
    }
}
