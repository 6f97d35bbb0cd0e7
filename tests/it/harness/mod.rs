//! A whole exchange in its own process, scripted bidders, and a plain HTTP client.

pub mod bidder;
pub mod group;
pub mod http;
pub mod nats;
pub mod server;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Stops a child, and waits until none of its threads runs any more: the signal alone leaves those
/// on other processors time for an answer.
pub fn halt(child: Pid) {
    kill(child, Signal::SIGSTOP).unwrap();
    let state = waitpid(child, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert_eq!(state, WaitStatus::Stopped(child, Signal::SIGSTOP));
}

/// For tests that are about something else than overload: a machine that is busy with other tests
/// makes an exchange lag, which is then no reason to shed.
pub const PATIENT: &str =
    "[admission]\nlag_target = '100ms'\nburst_time = '1h'\nburst_lag = '1h'\n";
