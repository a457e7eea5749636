//! The wire formats of Quorate: what clients and nodes say to each other.
//!
//! [`v1`] is the public interface, [`peer::v1`] what nodes say among themselves. Both are generated from the
//! documented `.proto` files in `proto/proto`. The generated types stop at the edge: everything behind it uses
//! the types of `quorate-core`, and [`convert`] is the only place that maps one to the other.

pub mod codec;
pub mod convert;

/// The public interface, package `quorate.v1`.
pub mod v1 {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated; documented in the .proto files"
    )]
    tonic::include_proto!("quorate.v1");
}

/// What nodes say to each other, package `quorate.peer.v1`.
pub mod peer {
    /// Version 1 of the interface between nodes.
    pub mod v1 {
        #![allow(
            missing_docs,
            unreachable_pub,
            clippy::all,
            clippy::pedantic,
            clippy::allow_attributes_without_reason,
            reason = "generated; documented in the .proto files"
        )]
        tonic::include_proto!("quorate.peer.v1");
    }
}

/// The compiled descriptors of both packages (a serialized `FileDescriptorSet`), for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
