//! The pieces of the package as their users see them.
#![allow(clippy::unwrap_used, reason = "a fault of a helper is a failed test too")]

mod builds;
mod capture;
mod captures;
mod demo;
mod diff;
mod drive;
mod gate;
mod generate;
mod lint;
mod played;
mod report;
mod script;
mod stub;
mod verdicts;
