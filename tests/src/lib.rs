//! What the whole-cluster tests share: the harness that runs real nodes, the oracle that recomputes everything,
//! and the rules of the house.

pub mod audit;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod drill;
pub mod folder;
pub mod go;
pub mod house;
pub mod http;
pub mod life;
pub mod newer;
pub mod oracle;
pub mod process;
pub mod shell;
pub mod strace;
pub mod witness;
pub mod writer;
