//! Waits, beside a start that failed, until there is reason to try again.
//!
//! Owns: [`Lookout`] and [`Reason`]. Never: a file's content, the try itself.
//! Invariant: whatever is not heard of (a port that is free again, a folder that is unlocked) is
//! found out after [`AGAIN`], so that no fault that is gone keeps a process from serving.

use crate::clock;
use crate::reload::ReloadSettings;
use crate::reload::watch::{Waker, Watch, WatchSettings};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::warn;

/// After so long it is tried again although nothing was seen to change.
const AGAIN: Duration = Duration::from_secs(30);

/// Why it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A file changed, and has stood still since.
    Changed,
    /// SIGHUP.
    Asked,
    /// [`AGAIN`] has passed.
    Time,
}

/// Watches the files of a start that failed.
#[derive(Debug)]
pub struct Lookout {
    post: Arc<Post>,
    waker: Waker,
    news: Receiver<()>,
}

/// What both sides see.
#[derive(Debug)]
struct Post {
    paths: Mutex<Vec<PathBuf>>,
    stop: AtomicBool,
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.post.stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Lookout {
    /// Watches these from now on; `None`: there is no thread for it, and time alone is left.
    pub fn start(paths: Vec<PathBuf>) -> Option<Self> {
        let watch = Watch::new(WatchSettings::default(), &paths);
        let waker = watch.waker();
        let post = Arc::new(Post { paths: Mutex::new(paths), stop: AtomicBool::new(false) });
        // one that nobody has taken yet says as much as two
        let (told, news) = channel(1);
        let own = Arc::clone(&post);
        let thread = std::thread::Builder::new().name("gavel-lookout".to_owned());
        match thread.spawn(move || own.watch(watch, &told)) {
            Ok(_) => Some(Self { post, waker, news }),
            Err(fault) => {
                warn!(%fault, "nobody watches the files: it is tried again from time to time");
                None
            }
        }
    }

    /// Other files: a further try failed, and has read these. What happened to one of the files
    /// from before since then is still told.
    pub fn set(&self, paths: Vec<PathBuf>) {
        *self.post.paths() = paths;
        self.waker.wake();
    }

    async fn changed(&mut self) {
        if self.news.recv().await.is_none() {
            // the thread died: time is left
            std::future::pending::<()>().await;
        }
    }
}

impl Post {
    fn watch(&self, mut watch: Watch, told: &Sender<()>) {
        let settle = ReloadSettings::default().settle;
        // a file that changed may still be being written: until it has stood still
        let mut due = None;
        while !self.stop.load(Ordering::Acquire) {
            let changes = watch.wait(due);
            if changes.is_asked {
                watch.set(&self.paths().clone());
            }
            let is_touched = !changes.touched.is_empty() || changes.has_overflowed;
            if is_touched {
                due = Some(clock::monotonic() + settle);
            } else if !changes.renamed.is_empty() || (due.is_some() && changes.is_empty()) {
                due = None;
                // full: told already
                let _ = told.try_send(());
            }
        }
    }

    fn paths(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the first reason to try again; `asked` ends with each SIGHUP.
pub async fn reason(lookout: Option<&mut Lookout>, asked: impl Future<Output = ()>) -> Reason {
    let changed = async {
        match lookout {
            Some(lookout) => lookout.changed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = asked => Reason::Asked,
        () = changed => Reason::Changed,
        () = tokio::time::sleep(AGAIN) => Reason::Time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test(start_paused = true)]
    async fn time_is_a_reason_where_nothing_is_seen_to_change() {
        let before = tokio::time::Instant::now();
        assert_eq!(reason(None, pending()).await, Reason::Time);
        assert_eq!(before.elapsed(), AGAIN);
        assert_eq!(reason(None, ready(())).await, Reason::Asked);
    }

    #[tokio::test]
    async fn a_file_that_comes_is_a_reason_also_one_that_is_named_later() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second, beside] = ["first", "second", ".new"].map(|name| dir.path().join(name));
        let mut lookout = Lookout::start(vec![first.clone()]).unwrap();
        std::fs::write(&first, "whole").unwrap();
        assert_eq!(reason(Some(&mut lookout), pending()).await, Reason::Changed);
        std::fs::write(&beside, "whole").unwrap();
        std::fs::rename(&beside, &second).unwrap();
        lookout.set(vec![first, second]);
        assert_eq!(reason(Some(&mut lookout), pending()).await, Reason::Changed);
    }
}
