//! What the tests stand on: a store in memory, a replica on it, requests in short words, and a naive model.

pub(crate) mod model;
pub(crate) mod naive;
pub(crate) mod nodes;
pub(crate) mod replica;
pub(crate) mod requests;
pub(crate) mod store;
