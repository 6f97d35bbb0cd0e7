//! The tasks of one thread, counted, so that a drain can wait for them.
//!
//! Owns: [`Tasks`]. Never: a limit (the admission permit is one), a thread.
//! Invariant: the count is that of spawned tasks which have neither ended nor been dropped.

use std::cell::Cell;
use std::rc::Rc;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

/// Counts the tasks that it spawns on its thread's local runtime.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Rc<Open>);

#[derive(Debug, Default)]
struct Open {
    count: Cell<usize>,
    none: Notify,
}

/// One open task; the count goes down when this is dropped.
#[derive(Debug)]
pub struct Counted(Rc<Open>);

impl Drop for Counted {
    fn drop(&mut self) {
        let left = self.0.count.get().saturating_sub(1);
        self.0.count.set(left);
        if left == 0 {
            self.0.none.notify_waiters();
        }
    }
}

impl Tasks {
    /// Spawns on this thread. Dropping the handle does not stop the task.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let counted = self.enter();
        spawn_local(async move {
            let _counted = counted;
            future.await
        })
    }

    /// Counts a task that holds this until its end. For a large future: `spawn` has room for it
    /// twice and copies it once more.
    pub fn enter(&self) -> Counted {
        self.0.count.set(self.0.count.get() + 1);
        Counted(Rc::clone(&self.0))
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.0.count.get()
    }

    /// Waits until none is open.
    pub async fn none_left(&self) {
        while self.count() > 0 {
            // One thread: nothing can end between the check and the registration.
            self.0.none.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::{Builder, LocalOptions};

    #[test]
    fn waiting_ends_with_the_last_task_even_if_it_panics() {
        let runtime = Builder::new_current_thread().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let tasks = Tasks::default();
            let gate = Rc::new(Notify::new());
            let held = Rc::clone(&gate);
            tasks.spawn(async move { held.notified().await });
            let broken = tasks.spawn(async { panic!("on purpose") });
            assert_eq!(tasks.count(), 2);
            assert!(broken.await.unwrap_err().is_panic());
            assert_eq!(tasks.count(), 1);
            gate.notify_one();
            tasks.none_left().await;
            assert_eq!(tasks.count(), 0);
        });
    }
}
