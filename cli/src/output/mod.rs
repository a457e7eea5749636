//! What a person or a program gets to see.
//!
//! Contract: results go to stdout, everything else (progress, hints, warnings, errors) to stderr. With `-o json` or
//! `-o yaml`, stdout holds exactly one document per call, made of the types in [`json`] and nothing else; an error is a
//! document on stderr. Text from the ledger or from a server is never written to a terminal as it is: control
//! characters are escaped ([`text`]).

pub(crate) mod json;
pub(crate) mod json_members;
#[cfg(test)]
mod json_tests;
mod printer;
mod table;
pub(crate) mod text;
pub(crate) mod time;
mod yaml;

pub(crate) use printer::{Format, Output};
pub(crate) use table::Table;
