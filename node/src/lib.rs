//! Placeholder.
pub mod clock;
pub mod http;
pub mod tls;
