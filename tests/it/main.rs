//! Everything that is tested from outside the library, in one binary (one link, one report).
#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test that panics has failed")]

mod auction;
mod probes;
mod serve;
mod server;
mod enrich;
mod tidy;
