//! Work that ends whether or not its caller waits for it.
//!
//! It runs in its caller's task as far as it goes without waiting, which is all of a small execution
//! on a store that is idle, and costs no hand-over to another task. From where it waits it goes on in a
//! task of its own.
//!
//! Invariant: work that was polled once is polled to its end, whatever its caller does, and counts
//! among the host's tasks until then.

use crate::error::HostError;
use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TrackedFuture;

type Ended<T> = Result<Result<T, HostError>, Box<dyn std::any::Any + Send>>;
type Work<T> = Pin<Box<dyn Future<Output = Result<T, HostError>> + Send>>;

/// Work that goes on when this is dropped.
pub(crate) enum Detached<T: Send + 'static> {
    /// Not polled yet.
    New(TrackedFuture<CatchUnwind<AssertUnwindSafe<Work<T>>>>),
    /// It had to wait.
    Spawned(JoinHandle<Ended<T>>),
    Over,
}

impl<T: Send + 'static> Detached<T> {
    pub(super) fn new(
        tasks: &TaskTracker,
        work: impl Future<Output = Result<T, HostError>> + Send + 'static,
    ) -> Self {
        let work: Work<T> = Box::pin(work);
        Self::New(tasks.track_future(AssertUnwindSafe(work).catch_unwind()))
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = Result<T, HostError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let failed = |why: &str| Err(HostError::Engine(format!("a task failed: {why}")));
        let mut task = match std::mem::replace(&mut *self, Self::Over) {
            Self::New(mut work) => match Pin::new(&mut work).poll(context) {
                Poll::Ready(ended) => {
                    return Poll::Ready(ended.unwrap_or_else(|_| failed("it panicked")));
                }
                Poll::Pending => tokio::spawn(work),
            },
            Self::Spawned(task) => task,
            Self::Over => panic!("checked by the caller: a future is not polled after its end"),
        };
        match Pin::new(&mut task).poll(context) {
            Poll::Pending => {
                *self = Self::Spawned(task);
                Poll::Pending
            }
            Poll::Ready(Ok(Ok(result))) => Poll::Ready(result),
            Poll::Ready(Ok(Err(_))) => Poll::Ready(failed("it panicked")),
            Poll::Ready(Err(error)) => Poll::Ready(failed(&error.to_string())),
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
