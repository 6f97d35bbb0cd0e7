//! Everything that is tested from outside the library, in one binary (one link, one report).
#![allow(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::format_push_string,
    reason = "a test that panics has failed, and none is slow"
)]

mod auction;
mod backlog;
mod broker;
mod browser;
mod canaries;
mod capture;
mod cases;
mod configs;
mod console;
mod corpus;
mod drain;
mod enrich;
mod events;
mod fuzz;
mod groups;
mod harness;
mod journal;
mod ledger;
mod log;
mod memory;
mod notices;
mod probes;
mod process;
mod recover;
mod reload;
mod resets;
mod serve;
mod server;
mod ssrf;
mod telemetry;
mod tidy;
mod traces;
mod turned;
