//! What bidders are told afterwards: that they won, that they pay, that they lost.
//!
//! Durable notices are events of the journal with a bidder's URL; those of lost bids come straight
//! from the auction, at best effort. [`sender`] is the thread that sends both, [`courier`] makes one
//! try, [`guard`] stands before each connection.
//!
//! This file is the folder's vocabulary; it imports none of its children.

pub mod address;
pub mod command;
pub mod courier;
pub mod event_log;
pub mod guard;
pub mod held;
pub mod lane;
pub mod orders;
pub mod plan;
pub mod room;
pub mod schedule;
pub mod sender;
pub mod shelf;
pub mod tally;
pub mod window;

use crate::money_event::EventType;

/// One URL of one bidder, every macro resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub kind: EventType,
    pub bidder: String,
    pub url: String,
}
