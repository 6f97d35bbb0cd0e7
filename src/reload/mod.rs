//! What changes while requests go by.
//!
//! Owns: [`watch`], which says that files changed. Never: a request.

pub mod watch;
