//! Blocks on the wire and in the Raft log: `quorate.peer.v1.SignedBlock`, and the check of its signature.

use bytes::Bytes;
use prost::Message;
use quorate_core::{
    block::{BlockError, BlockHeader, BlockKey, BlockPublicKey, SignedBlock, VerifiedBlock},
    hash::{Hash, sha256},
    name::ClusterId,
    position::{BlockHeight, NodeId, Term},
};
use quorate_proto::peer::v1 as pb;

/// The place of a block in the chain: what the next one follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub height: BlockHeight,
    /// Its hash.
    pub hash: Hash,
}

/// A block as it is carried, parsed and not verified.
#[derive(Debug, Clone)]
pub struct CarriedBlock {
    /// Who says it proposed it.
    pub proposer: NodeId,
    /// The encoded block.
    pub body: Bytes,
    signed: SignedBlock,
}

/// A carried block that is refused.
#[derive(Debug, thiserror::Error)]
pub enum CarriedBlockError {
    /// Not the message it has to be.
    #[error("block: {0}")]
    Malformed(String),
    /// Proposed by nobody we know.
    #[error("block {height}: node {proposer} was never a node of this cluster, as far as is known here")]
    Stranger {
        /// Its number.
        height: BlockHeight,
        /// Who says it proposed it.
        proposer: NodeId,
    },
    /// Its signature or place is wrong.
    #[error("block {height} of node {proposer}: {source}")]
    Invalid {
        /// Its number.
        height: BlockHeight,
        /// Who says it proposed it.
        proposer: NodeId,
        /// What is wrong.
        source: BlockError,
    },
}

/// Makes and signs the block that follows `previous`; gives it with its encoding. The caller answers for using each (term, height)
/// once.
pub fn seal(
    key: &BlockKey,
    cluster: ClusterId,
    proposer: NodeId,
    term: Term,
    previous: Option<Link>,
    body: Bytes,
) -> (CarriedBlock, Bytes) {
    let (height, before) = match previous {
        None => (BlockHeight::new(0), Hash::ZERO),
        Some(link) => (BlockHeight::new(link.height.get() + 1), link.hash),
    };
    let header = BlockHeader { cluster, term, height, previous: before, body_hash: sha256(&[&body]) };
    let signed = key.sign(header);
    let message = pb::SignedBlock {
        term: term.get(),
        height: height.get(),
        previous: before.as_bytes().to_vec().into(),
        proposer: proposer.get(),
        body: body.clone(),
        signature: signed.signature.to_vec().into(),
    };
    (CarriedBlock { proposer, body, signed }, message.encode_to_vec().into())
}

impl CarriedBlock {
    /// Parses the payload of a Raft entry. Hashes the body, once.
    pub fn parse(cluster: ClusterId, payload: Bytes) -> Result<Self, CarriedBlockError> {
        let malformed = |what: &str| CarriedBlockError::Malformed(what.to_owned());
        let message = pb::SignedBlock::decode(payload)
            .map_err(|error| CarriedBlockError::Malformed(error.to_string()))?;
        let previous =
            Hash::try_from(message.previous.as_ref()).map_err(|_| malformed("previous is not 32 bytes"))?;
        let signature =
            message.signature.as_ref().try_into().map_err(|_| malformed("signature is not 64 bytes"))?;
        let header = BlockHeader {
            cluster,
            term: Term::new(message.term),
            height: BlockHeight::new(message.height),
            previous,
            body_hash: sha256(&[&message.body]),
        };
        let signed = SignedBlock { header, signature };
        Ok(Self { proposer: NodeId::new(message.proposer), body: message.body, signed })
    }

    /// Its header.
    pub fn header(&self) -> &BlockHeader {
        &self.signed.header
    }

    /// Header and signature, not verified.
    pub fn signed(&self) -> &SignedBlock {
        &self.signed
    }

    /// Its place in the chain.
    pub fn link(&self) -> Link {
        Link { height: self.signed.header.height, hash: self.signed.header.hash() }
    }

    /// Checks that it follows `previous`, and that its proposer, whose key this is if it is known, signed it.
    pub fn verify(
        &self,
        key: Option<&BlockPublicKey>,
        previous: Option<Link>,
    ) -> Result<VerifiedBlock, CarriedBlockError> {
        let verified = self.verify_signature(key)?;
        let follows = verified.check_follows(previous.map(|link| (link.height, link.hash)));
        follows.map(|()| verified).map_err(|source| self.invalid(source))
    }

    /// Checks that its proposer, whose key this is if it is known, signed it, wherever it belongs.
    pub fn verify_signature(&self, key: Option<&BlockPublicKey>) -> Result<VerifiedBlock, CarriedBlockError> {
        let (height, proposer) = (self.signed.header.height, self.proposer);
        let key = key.ok_or(CarriedBlockError::Stranger { height, proposer })?;
        self.signed.verify(key).map_err(|source| self.invalid(source))
    }

    fn invalid(&self, source: BlockError) -> CarriedBlockError {
        CarriedBlockError::Invalid { height: self.signed.header.height, proposer: self.proposer, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (BlockKey, BlockPublicKey) {
        let key = BlockKey::from_seed(&[1; 32]);
        let public = key.public();
        (key, public)
    }

    #[test]
    fn a_chain_of_sealed_blocks_verifies() {
        let (key, keys) = keys();
        let cluster = ClusterId::new([3; 16]);
        let mut previous = None;
        for n in 0..3_u8 {
            let body = Bytes::from(vec![n]);
            let (sealed, payload) = seal(&key, cluster, NodeId::new(1), Term::new(2), previous, body.clone());
            let block = CarriedBlock::parse(cluster, payload).unwrap();
            assert_eq!(block.link(), sealed.link());
            assert_eq!(block.body, body);
            block.verify(Some(&keys), previous).unwrap();
            previous = Some(block.link());
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (key, keys) = keys();
        let cluster = ClusterId::new([3; 16]);
        let (_, payload) =
            seal(&key, cluster, NodeId::new(1), Term::new(2), None, Bytes::from_static(b"body"));
        for bit in 0..payload.len() * 8 {
            let mut flipped = payload.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let parsed = CarriedBlock::parse(cluster, flipped.into());
            let known = |block: &CarriedBlock| (block.proposer == NodeId::new(1)).then_some(keys);
            assert!(
                parsed.and_then(|block| block.verify(known(&block).as_ref(), None)).is_err(),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn another_cluster_or_a_gap_is_refused() {
        let (key, keys) = keys();
        let cluster = ClusterId::new([3; 16]);
        let (sealed, payload) = seal(&key, cluster, NodeId::new(1), Term::new(2), None, Bytes::new());
        let other = CarriedBlock::parse(ClusterId::new([4; 16]), payload.clone()).unwrap();
        assert!(other.verify(Some(&keys), None).is_err());
        let block = CarriedBlock::parse(cluster, payload).unwrap();
        assert!(block.verify(Some(&keys), Some(sealed.link())).is_err());
        assert!(matches!(block.verify(None, None), Err(CarriedBlockError::Stranger { .. })));
    }
}
