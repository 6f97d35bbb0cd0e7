//! Taking turns at the worker.
//!
//! Owns: [`step_aside`]. Never: a timer, a poll of the network.

use std::future::poll_fn;
use std::task::Poll;

/// Lets the tasks that are ready now go first, once.
///
/// A worker that is busy finds several requests ready at a time. Each of them is read, and its calls
/// written, before the first call of any is sent: what reads them and what sends them are each more
/// code than a core keeps at hand, and so either is fetched once for all of them. With nobody else
/// ready it costs one turn of the queue.
pub async fn step_aside() {
    let mut has_gone = false;
    poll_fn(|cx| {
        if has_gone {
            return Poll::Ready(());
        }
        has_gone = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use tokio::runtime::{Builder, LocalOptions};
    use tokio::task::spawn_local;

    #[test]
    fn whoever_is_ready_goes_first() {
        let runtime = Builder::new_current_thread().build_local(LocalOptions::default()).unwrap();
        let said: Rc<RefCell<Vec<(u32, char)>>> = Rc::default();
        runtime.block_on(async {
            let tasks: Vec<_> = "abc"
                .chars()
                .map(|name| {
                    let said = Rc::clone(&said);
                    spawn_local(async move {
                        said.borrow_mut().push((1, name));
                        step_aside().await;
                        said.borrow_mut().push((2, name));
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        let all = [(1, 'a'), (1, 'b'), (1, 'c'), (2, 'a'), (2, 'b'), (2, 'c')];
        assert_eq!(*said.borrow(), all);
    }
}
