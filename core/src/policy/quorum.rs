//! The rule of a policy, and what it is worth.

use std::fmt;

use super::{Label, Policy, Witness};

/// What a group or the quorum refers to, by its position in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Member {
    Witness(usize),
    Group(usize),
}

/// At least `threshold` of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: Label,
    /// 1 to the number of members.
    pub(super) threshold: usize,
    pub(super) members: Vec<(Label, Member)>,
}

/// The groups in the order of the file, so that members come before their group, and what the quorum line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quorum {
    pub(super) groups: Vec<Group>,
    /// `None` for `quorum none`.
    pub(super) rule: Option<(Label, Member)>,
}

impl Quorum {
    /// Computes a value of the rule from the values of its witnesses, upwards through the groups. Every name is
    /// a member at most once, so the rule is a tree, and what this adds up is counted once. `None` if the quorum is `none`.
    fn fold<T: Clone>(&self, witness: impl Fn(usize) -> T, group: impl Fn(usize, Vec<T>) -> T) -> Option<T> {
        let mut groups: Vec<T> = Vec::with_capacity(self.groups.len());
        for one in &self.groups {
            let members = one.members.iter().filter_map(|(_, member)| match member {
                Member::Witness(index) => Some(witness(*index)),
                Member::Group(index) => groups.get(*index).cloned(),
            });
            let value = group(one.threshold, members.collect());
            groups.push(value);
        }
        match &self.rule {
            None => None,
            Some((_, Member::Witness(index))) => Some(witness(*index)),
            Some((_, Member::Group(index))) => groups.get(*index).cloned(),
        }
    }
}

impl Policy {
    /// Whether these witnesses (by position) are enough.
    pub(super) fn is_met_by(&self, has_cosigned: impl Fn(usize) -> bool) -> bool {
        let met = self.quorum.fold(has_cosigned, |threshold, members| {
            members.into_iter().filter(|is_met| *is_met).count() >= threshold
        });
        met.unwrap_or(true)
    }

    /// The witnesses that the quorum counts, by position, in the order of the file's groups.
    pub(super) fn counted(&self) -> Vec<(usize, &Witness)> {
        let positions = self.quorum.fold(|index| vec![index], |_, members| members.concat());
        let mut positions = positions.unwrap_or_default();
        positions.sort_unstable();
        let counted = positions.into_iter();
        counted.filter_map(|index| Some((index, self.witnesses.get(index)?))).collect()
    }

    /// The least number of cosignatures that meets the quorum; 0 for `quorum none`.
    #[must_use]
    pub fn threshold(&self) -> usize {
        self.cheapest(|threshold, _| threshold)
    }

    /// The least number of cosignatures of these witnesses that meets the quorum when everybody else signs: 0 when the
    /// quorum can do without them.
    #[must_use]
    pub fn least_of(&self, these: impl Fn(&Witness) -> bool) -> usize {
        let cost = self.quorum.fold(
            |index| usize::from(self.witnesses.get(index).is_some_and(&these)),
            |threshold, mut costs| {
                costs.sort_unstable();
                costs.into_iter().take(threshold).fold(0, usize::saturating_add)
            },
        );
        cost.unwrap_or(0)
    }

    /// The witnesses that the quorum counts, in the order of the file.
    pub fn counted_witnesses(&self) -> impl Iterator<Item = &Witness> {
        self.counted().into_iter().map(|(_, witness)| witness)
    }

    /// How much this policy promises.
    #[must_use]
    pub fn promise(&self) -> Promise {
        let overlap = self.cheapest(|k, n| k.saturating_mul(2).saturating_sub(n));
        let blocking = self.cheapest(|k, n| n.saturating_sub(k).saturating_add(1));
        Promise {
            witnesses: self.counted().len(),
            threshold: self.threshold(),
            fork_impossible_up_to: overlap.checked_sub(1),
            may_be_down: blocking.saturating_sub(1),
            provably_guilty: overlap,
        }
    }

    /// The fewest witnesses with which `needed(k, n)` of the n members of each group can be had. A witness costs
    /// 1; a group costs its cheapest members.
    fn cheapest(&self, needed: impl Fn(usize, usize) -> usize) -> usize {
        let cost = self.quorum.fold(
            |_| 1_usize,
            |threshold, mut costs| {
                costs.sort_unstable();
                let needed = needed(threshold, costs.len());
                costs.into_iter().take(needed).fold(0, usize::saturating_add)
            },
        );
        cost.unwrap_or(0)
    }
}

/// What a policy promises about forks: two certified checkpoints of one log that exclude each other.
///
/// A fork needs two quorums. Honest witnesses cosign on one side at most, so whoever is in both lied. For
/// k of n these are at least 2k − n; in a policy of nested groups the same is counted group by group. Replicas
/// run by one operator are one domain and may lie together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// Witnesses the quorum counts: n.
    pub witnesses: usize,
    /// The least number of cosignatures that is enough: k.
    pub threshold: usize,
    /// With how many lying witnesses a certified fork is still impossible; `None` if not even with none.
    pub fork_impossible_up_to: Option<usize>,
    /// How many witnesses, whichever they are, may be down before nothing is certified any more.
    pub may_be_down: usize,
    /// How many witnesses a fork, if it is certified, proves guilty at least.
    pub provably_guilty: usize,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, k) = (self.witnesses, self.threshold);
        write!(f, "{k} of {n} cosignatures: ")?;
        match self.fork_impossible_up_to {
            None => f.write_str("a fork can be certified without any witness lying")?,
            Some(0) => f.write_str("no fork unless a witness lies")?,
            Some(liars) => write!(f, "no fork while at most {liars} lie")?,
        }
        let (down, guilty) = (self.may_be_down, self.provably_guilty);
        write!(f, "; {down} may be down; a fork proves at least {guilty} guilty")
    }
}
