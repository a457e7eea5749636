//! Who belongs to the cluster, and how that changes while it runs.
//!
//! The truth is in `_system`: the records of all nodes that ever were, and the cosigner set
//! ([`quorate_ledger::registry`] judges every change of it). Everything else follows the *applied* state: whose blocks and
//! cosignatures count, who is let in at the peer port, where nodes are reached, and who votes.
//!
//! An operator's wish is a transaction there: it registers, promotes or removes. The leader carries it out step by step;
//! what the next step is follows from the records and from Raft's configuration alone ([`plan`]), so a new leader goes on
//! where the old one was killed. Adding: registered → learner → caught up → in the cosigner set, certified by the old and
//! the new set → voter. Removing: leadership handed over → no voter → out of the cosigner set → forgotten by Raft. So a
//! voter is always in the cosigner set before it can lead, and a node that leaves the set does not vote any more.
//!
//! | part | what |
//! |---|---|
//! | [`roster`] | who is let in, and where nodes are reached, from the applied state |
//! | [`plan`] | the next step, pure |
//! | [`driver`] | takes the steps, on the leader |
//! | [`office`] | what operators and joining nodes may ask for |
//! | [`freeze`] | ledgers that take no transactions, as operators ask for it |
//! | [`refusal`] | why not |
//! | [`documents`] | transactions of `_system` |
//! | [`follow`] | follows the applied state: addresses, and whether this node is a node any more |
//! | [`archive`] | asks other nodes for what this one lacks of earlier epochs |
//! | `start` | starts the last three |
//! | [`invitation`], [`join`] | the file that lets a new node in, and what that node does with it |

pub(crate) mod archive;
pub(crate) mod documents;
pub(crate) mod driver;
pub(crate) mod follow;
pub(crate) mod freeze;
pub mod invitation;
pub mod join;
pub(crate) mod office;
pub(crate) mod plan;
pub(crate) mod refusal;
pub(crate) mod roster;
mod start;

pub use freeze::{Freezing, Frozen};
pub use office::Office;
pub use refusal::Refusal;
pub(crate) use start::start;
