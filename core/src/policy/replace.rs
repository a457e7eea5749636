//! The same rule for another set of replicas.

use super::quorum::Group;
use super::{Label, Member, Policy, PolicyFileError, Witness};
use crate::key::VerifierKey;
use crate::name::ClusterOrigin;

/// Why there is no policy like this one for other replicas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    /// The replicas do not stand side by side.
    #[error(
        "the replicas of {cluster} are not the members of one group of the policy, so it does not say what to ask of others in \
         their place; a new policy file is needed"
    )]
    Structure {
        /// The cluster.
        cluster: ClusterOrigin,
    },
    /// The new lines are no policy.
    #[error(transparent)]
    File(#[from] PolicyFileError),
}

impl Policy {
    /// The witnesses of this policy that are replicas of a cluster.
    pub fn replicas(&self, cluster: &ClusterOrigin) -> impl Iterator<Item = &Witness> {
        self.witnesses.iter().filter(move |witness| cluster.node_of(witness.key.name()).is_some())
    }

    /// The same policy with these replicas of a cluster in place of the ones it has. Logs, other witnesses and other
    /// groups stay. Of the one group that all replicas are members of, the threshold follows the number of members: all
    /// stays all, a majority stays a majority, and any other share stays at least that share and a majority.
    ///
    /// # Errors
    /// [`ReplaceError`]. A policy whose replicas are spread over several groups is not guessed at.
    pub fn with_replicas(
        &self,
        cluster: &ClusterOrigin,
        replicas: &[VerifierKey],
    ) -> Result<Self, ReplaceError> {
        let is_replica = |member: &Member| match member {
            Member::Witness(index) => {
                let witness = self.witnesses.get(*index);
                witness.is_some_and(|witness| cluster.node_of(witness.key.name()).is_some())
            }
            Member::Group(_) => false,
        };
        let with = |group: &&Group| group.members.iter().any(|(_, member)| is_replica(member));
        let structure = || ReplaceError::Structure { cluster: cluster.clone() };
        let mut groups = self.quorum.groups.iter().filter(with);
        let (Some(changed), None) = (groups.next(), groups.next()) else {
            return Err(structure());
        };
        let members = changed.members.iter().filter(|(_, member)| is_replica(member)).count();
        let by_itself = matches!(&self.quorum.rule, Some((_, member)) if is_replica(member));
        if members != self.replicas(cluster).count() || by_itself {
            return Err(structure());
        }
        let names: Vec<Vec<u8>> = replicas.iter().map(|key| name_of(cluster, key)).collect();
        let mut file = Vec::new();
        for log in &self.logs {
            super::print::line(&mut file, &[b"log", log.key.to_string().as_bytes()], log.url.as_ref());
        }
        for (name, key) in names.iter().zip(replicas) {
            super::print::line(&mut file, &[b"witness", name, key.to_string().as_bytes()], None);
        }
        for witness in &self.witnesses {
            if cluster.node_of(witness.key.name()).is_none() {
                super::print::witness_line(&mut file, witness);
            }
        }
        for group in &self.quorum.groups {
            if group.name != changed.name {
                super::print::group_line(&mut file, group);
                continue;
            }
            let others = group.members.iter().filter(|(_, member)| !is_replica(member));
            let others = others.map(|(name, _)| name.as_bytes());
            let all: Vec<&[u8]> = names.iter().map(Vec::as_slice).chain(others).collect();
            let threshold = threshold(group.threshold, group.members.len(), all.len()).to_string();
            let mut items: Vec<&[u8]> = vec![b"group", group.name.as_bytes(), threshold.as_bytes()];
            items.extend(all);
            super::print::line(&mut file, &items, None);
        }
        let name =
            self.quorum.rule.as_ref().map_or(b"none".as_slice(), |(name, _): &(Label, _)| name.as_bytes());
        super::print::line(&mut file, &[b"quorum", name], None);
        Ok(Self::parse(file)?)
    }
}

/// `node-<id>`, as in a policy that is made for a cluster.
fn name_of(cluster: &ClusterOrigin, key: &VerifierKey) -> Vec<u8> {
    match cluster.node_of(key.name()) {
        Some(node) => format!("node-{node}").into_bytes(),
        None => key.name().as_bytes().to_vec(),
    }
}

/// How many of `new` members correspond to `k` of `n`.
fn threshold(k: usize, n: usize, new: usize) -> usize {
    let majority = |count: usize| (count / 2).saturating_add(1);
    if k == n {
        return new;
    }
    if k == majority(n) {
        return majority(new);
    }
    let share = k.saturating_mul(new).div_ceil(n.max(1));
    share.max(majority(new)).min(new)
}

#[cfg(test)]
mod tests {
    use super::threshold;

    #[test]
    fn a_rule_keeps_its_meaning_for_another_number_of_members() {
        for (k, n, new, wanted) in [
            (2, 3, 5, 3),
            (3, 5, 3, 2),
            (3, 3, 5, 5),
            (1, 1, 3, 3),
            (4, 5, 7, 6),
            (5, 7, 5, 4),
            (3, 4, 6, 4),
            (1, 3, 5, 3),
        ] {
            assert_eq!(threshold(k, n, new), wanted, "{k} of {n}, {new}");
        }
    }
}
