//! A whole exchange in its own process, scripted bidders, and a plain HTTP client.

pub mod bidder;
pub mod http;
pub mod server;
