//! Where log lines go: JSON lines on standard output.
//!
//! Owns: the subscriber, and what is said of a panic. Never: what else is logged. Invariant: nobody
//! waits for whoever reads the log, at the end of the process for a second at most.

mod lines;

use lines::{BYTES_MAX, Lines};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::time::Duration;
use tracing::error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

/// Of the HTTP/2 library errors only: with its warnings any stranger could fill the log.
const STRANGERS: &str = "h2";

/// At the end of the process its last lines have so long to be written.
const AT_THE_END: Duration = Duration::from_secs(1);

/// What a thread that panics waits for its line: it may be the last of the process.
const AT_A_PANIC: Duration = Duration::from_millis(20);

/// The log of this process.
#[derive(Clone, Debug)]
pub struct Log {
    /// `None`: somebody else's.
    lines: Option<Arc<Lines>>,
}

impl Log {
    /// Lines that were not written: nobody read them, or standard output is broken.
    pub fn dropped(&self) -> u64 {
        self.lines.as_ref().map_or(0, |lines| lines.dropped())
    }

    /// Waits until what was logged is written, for a second at most: the process ends.
    pub fn end(&self) {
        if let Some(lines) = &self.lines {
            lines.flush(AT_THE_END);
        }
    }
}

/// Starts logging; a process that already logs (a test, a demo) keeps what it has.
///
/// `RUST_LOG` chooses the levels; the default is `info`, and `h2=error` unless it says otherwise.
pub fn init() -> io::Result<Log> {
    let lines = Lines::new(BYTES_MAX);
    let levels =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let levels = quietened(levels);
    let logging = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(levels)
        // it would be told on standard error, which may be as broken
        .log_internal_errors(false)
        .with_writer(Arc::clone(&lines))
        .try_init();
    if logging.is_err() {
        return Ok(Log { lines: None });
    }
    // past the buffer of the library, whose lock a write that hangs would hold
    lines.write_to(File::from(io::stdout().as_fd().try_clone_to_owned()?))?;
    let panicking = Arc::clone(&lines);
    panic::set_hook(Box::new(move |info| {
        tell_panic(info);
        panicking.flush(AT_A_PANIC);
    }));
    Ok(Log { lines: Some(lines) })
}

/// A line like any other: to write to standard error might hang, or fail and panic once more.
fn tell_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let payload = info.payload();
    let formatted = || payload.downcast_ref::<String>().map(String::as_str);
    let why = payload.downcast_ref::<&str>().copied().or_else(formatted);
    let backtrace = Backtrace::capture();
    let is_captured = backtrace.status() == BacktraceStatus::Captured;
    error!(
        thread = thread.name(),
        at = info.location().map(tracing::field::display),
        why,
        backtrace = is_captured.then(|| tracing::field::display(&backtrace)),
        "a thread panicked"
    );
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
    use std::process::Command;
    use std::sync::Mutex;
    use tracing::{info, warn};

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
    #[ignore = "takes over the log of its process: run by the next"]
    fn threads_panic() {
        let log = init().unwrap();
        for number in [1, 2] {
            let panicking = std::thread::Builder::new().name(format!("t-{number}"));
            let panicking = panicking.spawn(move || assert!(number == 2, "number {number}"));
            assert_eq!(panicking.unwrap().join().is_err(), number == 1);
        }
        let plain = std::thread::spawn(|| panic!("on purpose"));
        assert!(plain.join().is_err());
        log.end();
    }

    #[test]
    fn a_panic_is_a_line_of_the_log_and_nothing_on_standard_error() {
        let output = Command::new(std::env::current_exe().unwrap())
            // with one thread the name of the test stands before its first line
            .args(["--ignored", "--exact", "--test-threads=2", "app::log::tests::threads_panic"])
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let whys: Vec<String> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|line| line["message"] == "a thread panicked")
            .map(|line| {
                assert!(line["at"].as_str().unwrap().starts_with("src/app/log.rs:"), "{line}");
                line["why"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(whys, ["number 1", "on purpose"], "{text}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
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
