//! That a node holds both of its keys: what it signs once, when it is registered.
//!
//! Contract: a node that joins a cluster signs one statement with its cosigner key and with its block key. It names the
//! cluster, the node and both public keys, so that nobody can register a key that is not theirs, under another id or in
//! another cluster, or pair it with a key of somebody else. The text in front of it keeps it from being anything else
//! that is signed with Ed25519 in this project.
//!
//! ```text
//! statement = "quorate-node/v1\n" ‖ cluster id (16) ‖ node id u64 ‖ cosigner public key (32) ‖ block public key (32)
//! ```

use ed25519_dalek::Signature;

use crate::key::{KeyError, read_public_key};
use crate::name::ClusterId;
use crate::position::NodeId;

/// What is signed first.
const DOMAIN: &[u8] = b"quorate-node/v1\n";

/// Which node of which cluster has which keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStatement {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The public half of its cosigner key.
    pub cosigner: [u8; 32],
    /// The public half of its block key.
    pub block: [u8; 32],
}

/// A statement signed with both keys, not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Possession {
    /// Ed25519 over the statement, by the cosigner key.
    pub cosigner: [u8; 64],
    /// The same, by the block key.
    pub block: [u8; 64],
}

/// Why a proof of possession is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PossessionError {
    /// One of the keys is not one.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The statement was not signed with the cosigner key.
    #[error("the proof of possession of the cosigner key does not verify")]
    Cosigner,
    /// The statement was not signed with the block key.
    #[error("the proof of possession of the block key does not verify")]
    Block,
}

impl NodeStatement {
    /// The bytes that are signed.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let parts: [&[u8]; 5] =
            [DOMAIN, self.cluster.as_bytes(), &self.node.to_be_bytes(), &self.cosigner, &self.block];
        parts.concat()
    }

    /// Checks that both keys signed this, strictly.
    ///
    /// # Errors
    /// [`PossessionError`] names the key.
    pub fn verify(&self, proof: &Possession) -> Result<(), PossessionError> {
        let bytes = self.bytes();
        let signed = |key: &[u8; 32], signature: &[u8; 64]| {
            let key = read_public_key(key)?;
            Ok::<_, KeyError>(key.verify_strict(&bytes, &Signature::from_bytes(signature)).is_ok())
        };
        if !signed(&self.cosigner, &proof.cosigner)? {
            return Err(PossessionError::Cosigner);
        }
        if !signed(&self.block, &proof.block)? {
            return Err(PossessionError::Block);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockKey;
    use crate::key::CosignerKey;

    fn proven() -> (NodeStatement, Possession) {
        let cosigner = CosignerKey::from_seed("test/44444444/node/4", &[1; 32]).unwrap();
        let block = BlockKey::from_seed(&[2; 32]);
        let statement = NodeStatement {
            cluster: ClusterId::new([0x44; 16]),
            node: NodeId::new(4),
            cosigner: *cosigner.verifier().public_key(),
            block: *block.public().as_bytes(),
        };
        (statement, Possession { cosigner: cosigner.possess(&statement), block: block.possess(&statement) })
    }

    #[test]
    fn the_statement_has_the_documented_bytes() {
        let (statement, _) = proven();
        let expected = format!(
            "{}{}{}{}{}",
            "71756f726174652d6e6f64652f76310a",
            "44".repeat(16),
            "0000000000000004",
            "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
            "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"
        );
        assert_eq!(hex::encode(statement.bytes()), expected);
    }

    #[test]
    fn both_keys_are_needed_and_nothing_can_be_exchanged() {
        let (statement, proof) = proven();
        statement.verify(&proof).unwrap();
        let swapped = Possession { cosigner: proof.block, block: proof.cosigner };
        assert_eq!(statement.verify(&swapped), Err(PossessionError::Cosigner));
        let half = Possession { block: proof.cosigner, ..proof };
        assert_eq!(statement.verify(&half), Err(PossessionError::Block));
        for other in [
            NodeStatement { node: NodeId::new(5), ..statement },
            NodeStatement { cluster: ClusterId::new([0x45; 16]), ..statement },
            NodeStatement { block: *BlockKey::from_seed(&[3; 32]).public().as_bytes(), ..statement },
        ] {
            assert_eq!(other.verify(&proof), Err(PossessionError::Cosigner));
        }
        let weak = NodeStatement { cosigner: [0; 32], ..statement };
        assert!(matches!(weak.verify(&proof), Err(PossessionError::Key(_))));
    }
}
