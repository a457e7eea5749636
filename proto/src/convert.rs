//! The one mapping between wire and core types.
