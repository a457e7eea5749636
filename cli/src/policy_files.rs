//! Policy files of several ledgers as one policy.
//!
//! There is one file per ledger, because some readers demand every log that a policy lists; this client does not. The
//! cosigners and the quorum must be the same in all of them: anything else would be two clusters, or a policy that
//! somebody changed in one place only.

use std::fs;
use std::path::PathBuf;

use quorate_core::policy::{MAX_POLICY_BYTES, Policy};

use crate::error::CliError;

/// Reads the files. At least one must be given.
pub(crate) fn load(files: &[PathBuf]) -> Result<Policy, CliError> {
    let mut policies = files.iter().map(read);
    let Some(first) = policies.next() else {
        return Err(none_given());
    };
    let first = first?;
    let mut logs = lines(&first, true);
    let rules = lines(&first, false);
    for (policy, path) in policies.zip(files.iter().skip(1)) {
        let policy = policy?;
        if lines(&policy, false) != rules {
            let first = files.first().map(|path| path.display().to_string()).unwrap_or_default();
            return Err(CliError::usage(
                format!(
                    "the policies {first} and {} do not have the same witnesses and quorum",
                    path.display()
                ),
                "give only policies of one cluster, all from the same time",
            ));
        }
        for log in lines(&policy, true) {
            if !logs.contains(&log) {
                logs.push(log);
            }
        }
    }
    logs.extend(rules);
    Policy::parse(logs.concat())
        .map_err(|source| CliError::Policy { path: files.first().cloned().unwrap_or_default(), source })
}

/// What to say when no policy is known.
pub(crate) fn none_given() -> CliError {
    CliError::usage(
        "there is no trust policy, so no answer can be verified",
        "give --policy FILE (or QUORATE_POLICY, or a context): `quorate init` and `quorate dev` write one, \
         `quorate policy export` on a machine that has one prints it",
    )
}

fn read(path: &PathBuf) -> Result<Policy, CliError> {
    let file = fs::File::open(path).map_err(CliError::io("open policy", path))?;
    let mut text = Vec::new();
    let limit = u64::try_from(MAX_POLICY_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut limited = std::io::Read::take(file, limit);
    std::io::Read::read_to_end(&mut limited, &mut text).map_err(CliError::io("read policy", path))?;
    Policy::parse(&text).map_err(|source| CliError::Policy { path: path.clone(), source })
}

/// The lines of the printed policy that name logs, or all others.
fn lines(policy: &Policy, logs: bool) -> Vec<Vec<u8>> {
    let bytes = policy.to_bytes();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| line.starts_with(b"log ") == logs).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use quorate_core::key::{CosignerKey, LogKey};
    use quorate_core::name::{ClusterId, ClusterOrigin, LedgerName};
    use quorate_core::position::NodeId;

    use super::*;

    fn policy(ledger: &str, seeds: [u8; 3]) -> Policy {
        let cluster = ClusterOrigin::new("test", &ClusterId::new([7; 16])).unwrap();
        let origin = cluster.ledger(&LedgerName::new(ledger).unwrap());
        let log = LogKey::derive(&[9; 32], &origin);
        let node = |(id, seed): (u64, &u8)| {
            CosignerKey::from_seed(&cluster.node(NodeId::new(id)), &[*seed; 32]).unwrap().verifier().clone()
        };
        let cosigners: Vec<_> = (1..).zip(&seeds).map(node).collect();
        Policy::majority(log.verifier(), &cosigners).unwrap()
    }

    fn write(dir: &std::path::Path, name: &str, policy: &Policy) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, policy.to_bytes()).unwrap();
        path
    }

    #[test]
    fn policies_of_one_cluster_become_one_with_all_their_logs() {
        let dir = tempfile::tempdir().unwrap();
        let a = write(dir.path(), "a", &policy("default", [1, 2, 3]));
        let b = write(dir.path(), "b", &policy("_system", [1, 2, 3]));
        let merged = load(&[a.clone(), b, a.clone()]).unwrap();
        assert_eq!(merged.logs().len(), 2);
        assert_eq!(merged.witnesses().len(), 3);
        assert_eq!(load(&[a]).unwrap(), policy("default", [1, 2, 3]));
    }

    #[test]
    fn policies_with_other_cosigners_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let a = write(dir.path(), "a.policy", &policy("default", [1, 2, 3]));
        let b = write(dir.path(), "b.policy", &policy("_system", [1, 2, 4]));
        let error = load(&[a, b]).unwrap_err().to_string();
        assert!(error.contains("a.policy") && error.contains("b.policy"), "{error}");
    }

    #[test]
    fn no_policy_says_where_to_get_one() {
        let (exit, next) = load(&[]).unwrap_err().exit();
        assert_eq!(exit.code(), 2);
        assert!(next.unwrap().contains("--policy FILE"));
    }
}
