//! The public side: from a connection to an `Outcome` and back to bytes.

pub mod auth;
