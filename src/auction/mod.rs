//! The auction: who wins which imp, at what price, and why the others do not.
//!
//! This file is the folder's face: it drives screening and clearing. Pure: equal inputs give
//! equal results, whatever the order in which the answers came.
//! Invariant: each bid of each answer ends in exactly one win or loss.

mod block;
mod clear;
mod fit;
pub mod floor;
mod html;
mod markup;
pub mod offer;
mod pick;
mod pod;
mod price;
pub mod pricing;
mod references;
pub mod rules;
mod screen;
mod vast;

use offer::{AuctionInput, AuctionResult, Terms};

/// Screens every bid, then sells each imp to the best offer that is left.
pub fn run(input: &AuctionInput<'_>) -> AuctionResult {
    let terms = Terms::new(input);
    let screened = screen::screen(&terms);
    clear::clear(&terms, screened)
}
