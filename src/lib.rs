//! gavel: an `OpenRTB` ad exchange that uses the whole machine.
//!
//! The modules stand in reading order, lowest floor first: a module imports only from
//! floors below its own (`tests/it/tidy.rs` enforces it). `ARCHITECTURE.md` is the map.
#![doc = include_str!("ARCHITECTURE.md")]

// floor 0: words and numbers
pub mod clock;
pub mod deadline;
pub mod domain;
pub mod money;
pub mod openrtb;
pub mod tlv;

// floor 1: the vocabularies of the road
pub mod arrival;
pub mod bid;
pub mod coding;
pub mod correlation;
pub mod facts;
pub mod json;
pub mod money_event;
pub mod negatives;
pub mod partner;
pub mod request;

// floor 2: what every stage may ask for
pub mod capture;
pub mod journal;
pub mod lifecycle;
pub mod limits;
pub mod telemetry;

// floor 3: the stages that look at one thing
pub mod admit;
pub mod auction;
pub mod broker;
pub mod enrich;
pub mod ledger;
pub mod macros;
pub mod token;

// floor 4: what the user allows
pub mod privacy;

// floor 5: bidders
pub mod bidder;

// floor 6: one moment of everything; what bidders are told afterwards
pub mod notice;
pub mod snapshot;

// floor 7: the road
pub mod exchange;

// floor 8: the edges
pub mod http;
pub mod runtime;

// floor 9: settings
pub mod config;

// floor 10: what changes under way
pub mod reload;

// floor 11: the parts, put together
pub mod app;
