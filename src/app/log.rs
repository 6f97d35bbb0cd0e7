//! Where log lines go: JSON lines on standard output.
//!
//! Owns: the subscriber. Never: what is logged.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging; a process that already logs (a test, a demo) keeps what it has.
///
/// `RUST_LOG` chooses the levels; the default is `info`.
pub fn init() {
    let levels =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let logging = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(levels)
        .try_init();
    // Somebody else logs already.
    drop(logging);
}
