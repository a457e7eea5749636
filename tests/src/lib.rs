//! What the whole-cluster tests share: the harness that runs real nodes, the oracle that recomputes everything,
//! and the rules of the house.

pub mod cluster;
pub mod house;
pub mod http;
pub mod oracle;
