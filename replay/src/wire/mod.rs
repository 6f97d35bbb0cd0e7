//! What the driver and the simulated bidders share: waiting for sockets and reading HTTP/1.1.
//!
//! Owns: nothing itself. `poller` waits for sockets and an absolute time; `answer` finds the end
//! of an HTTP answer; `ask` finds the end of an HTTP request; `http2` cuts frames.

pub mod answer;
pub mod ask;
pub mod http2;
pub mod poller;
