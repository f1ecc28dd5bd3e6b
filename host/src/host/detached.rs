//! Work that ends whether or not its caller waits for it.
//!
//! It runs in its caller's task, which costs no hand-over to another, and goes on in a task of its own
//! when the caller leaves.
//!
//! Invariant: work that was polled once is polled to its end, and counts among the host's tasks until
//! then.

use crate::error::HostError;
use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TrackedFuture;

type Work<T> = Pin<Box<dyn Future<Output = Result<T, HostError>> + Send>>;

/// Work that goes on when this is dropped.
pub(super) struct Detached<T: Send + 'static> {
    /// `None` once it has ended.
    work: Option<TrackedFuture<CatchUnwind<AssertUnwindSafe<Work<T>>>>>,
    was_begun: bool,
}

impl<T: Send + 'static> Detached<T> {
    pub(super) fn new(
        tasks: &TaskTracker,
        work: impl Future<Output = Result<T, HostError>> + Send + 'static,
    ) -> Self {
        let work: Work<T> = Box::pin(work);
        let work = tasks.track_future(AssertUnwindSafe(work).catch_unwind());
        Self { work: Some(work), was_begun: false }
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = Result<T, HostError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.was_begun = true;
        let work = self.work.as_mut().expect("checked by the caller: it is polled to its end once");
        let ended = std::task::ready!(Pin::new(work).poll(context));
        self.work = None;
        Poll::Ready(ended.unwrap_or_else(|_| {
            Err(HostError::Engine("a task failed: it panicked".to_owned()))
        }))
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take().filter(|_| self.was_begun) else { return };
        // Without a runtime there is nobody to go on with it: the process ends.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_goes_on_without_its_caller_and_is_waited_for() {
        let tasks = TaskTracker::new();
        let (go, gone) = oneshot::channel::<()>();
        let (sender, told) = oneshot::channel();
        let mut work = Box::pin(Detached::new(&tasks, async move {
            gone.await.expect("it is told to go on");
            sender.send(7).expect("somebody listens");
            Ok(())
        }));
        assert!(futures_util::poll!(work.as_mut()).is_pending());
        drop(work);
        assert_eq!(tasks.len(), 1);
        go.send(()).expect("it waits for this");
        assert_eq!(told.await, Ok(7));
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn work_that_nobody_began_is_not_done_and_a_panic_is_an_error() {
        let tasks = TaskTracker::new();
        drop(Detached::<()>::new(&tasks, async { panic!("it ran") }));
        assert!(tasks.is_empty());
        let failed = Detached::<()>::new(&tasks, async { panic!("as planned") }).await;
        assert!(matches!(failed, Err(HostError::Engine(_))), "{failed:?}");
        assert!(tasks.is_empty());
    }
}
