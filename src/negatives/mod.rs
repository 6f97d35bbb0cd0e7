//! The four negatives: expected, counted, explained, and never "errors".
//!
//! [`Refusal`](refusal::Refusal): we turn the request away. [`NotCalled`](not_called::NotCalled):
//! a bidder is not invited. [`NoAnswer`](no_answer::NoAnswer): invited, nothing usable.
//! [`Rejection`](rejection::Rejection): an offer is dropped. Each request, bidder and offer that
//! does not go on ends in exactly one of them.

pub mod no_answer;
pub mod not_called;
pub mod refusal;
pub mod rejection;
