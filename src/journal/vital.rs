//! Threads without which money stands still.
//!
//! Owns: [`Vital`]. Never: a thread. Invariant: such a thread never ends by a panic alone: the
//! process ends with it, and the next one goes on from the disk, which is what every step of these
//! threads is made for. A process that went on would take events that nobody writes or sends, and
//! say that it is ready.

use std::thread;
use std::time::Duration;

/// What is said of the end has so long to be written by the thread that writes the log.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Held by a thread for as long as it runs: where it panics, the process ends.
#[derive(Debug)]
pub struct Vital(pub &'static str);

impl Drop for Vital {
    fn drop(&mut self) {
        if thread::panicking() {
            let thread = self.0;
            tracing::error!(thread, "a thread that must not stop has panicked: the process ends");
            thread::sleep(LAST_WORDS);
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    /// Number of the signal of an abort.
    const ABORT: i32 = 6;

    #[test]
    #[ignore = "ends its process: run by the next"]
    fn a_vital_thread_panics() {
        let thread = thread::spawn(|| {
            let _vital = Vital("test");
            panic!("on purpose");
        });
        let _ = thread.join();
    }

    #[test]
    fn the_process_ends_with_a_vital_thread_that_panics() {
        let name = "journal::vital::tests::a_vital_thread_panics";
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(ended.signal(), Some(ABORT), "{ended}");
    }
}
