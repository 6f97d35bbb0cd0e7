//! Where log lines go: JSON lines on standard output.
//!
//! Owns: the subscriber. Never: what is logged.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

/// Of the HTTP/2 library errors only: with its warnings any stranger could fill the log.
const STRANGERS: &str = "h2";

/// Starts logging; a process that already logs (a test, a demo) keeps what it has.
///
/// `RUST_LOG` chooses the levels; the default is `info`, and `h2=error` unless it says otherwise.
pub fn init() {
    let levels =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let levels = quietened(levels);
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

/// Only errors of what strangers can make speak, unless the levels name it.
fn quietened(levels: EnvFilter) -> EnvFilter {
    let is_named = levels.to_string().split(',').any(|part| {
        part.strip_prefix(STRANGERS).is_some_and(|rest| rest.starts_with(['=', ':', '[']))
    });
    match format!("{STRANGERS}=error").parse::<Directive>() {
        Ok(directive) if !is_named => levels.add_directive(directive),
        _ => levels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing::{error, info, warn};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(levels: &str) -> String {
        let lines = Lines::default();
        let (kept, levels) = (lines.clone(), quietened(EnvFilter::new(levels)));
        let logging = tracing_subscriber::fmt()
            .with_env_filter(levels)
            .with_writer(move || lines.clone())
            .finish();
        tracing::subscriber::with_default(logging, || {
            warn!(target: "h2::proto::streams", "a-stranger");
            error!(target: "h2::proto", "an-error");
            info!("ours");
        });
        let text = kept.0.lock().unwrap().clone();
        let text = String::from_utf8(text).unwrap();
        let words = ["a-stranger", "an-error", "ours"];
        words.into_iter().filter(|word| text.contains(word)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn strangers_write_no_lines_unless_somebody_wants_them() {
        for (levels, expected) in [
            ("info", "an-error ours"),
            ("debug", "an-error ours"),
            ("info,h2=warn", "a-stranger an-error ours"),
            ("error,h2::proto=warn", "a-stranger an-error"),
        ] {
            assert_eq!(said(levels), expected, "{levels}");
        }
    }
}
