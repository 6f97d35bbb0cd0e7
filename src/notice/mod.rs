//! What bidders are told afterwards: that they won, that they pay, that they lost.
//!
//! This file is the folder's vocabulary; it imports none of its children.

pub mod address;
pub mod event_log;
pub mod guard;
