//! Calls of the file system that a session waits for.
//!
//! Invariant: none runs on an async worker, and a session has few under way: a call outlives the
//! execution that is stopped while it waits, and a file system that does not answer must not take the
//! host's threads one by one.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls of one session that may be under way.
const MAX_CALLS: usize = 4;

/// What a call came to; an error is a code and a reason with a newline between them.
pub(super) type Called = Result<Vec<u8>, String>;

/// A session's calls that have not come back, though the execution that made them may be over.
#[derive(Clone, Debug)]
pub(crate) struct Calls(Arc<Semaphore>);

impl Calls {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CALLS)))
    }

    /// A place for a call that is under way, until it is dropped.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, String> {
        let place = Arc::clone(&self.0).try_acquire_owned();
        place.map_err(|_| "EBUSY\ntoo many calls of this session have not come back".to_owned())
    }

    /// Makes a call that may block.
    pub(super) async fn make(&self, call: impl FnOnce() -> Called + Send + 'static) -> Called {
        let place = self.place()?;
        let task = move || {
            let answer = call();
            drop(place);
            answer
        };
        match tokio::task::spawn_blocking(task).await {
            Ok(answer) => answer,
            Err(_) => Err("EIO\nthe host is stopping".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_of_a_session_that_have_not_come_back_are_few() {
        let calls = Calls::new();
        let stuck: Vec<_> =
            (0..MAX_CALLS).map(|_| Arc::clone(&calls.0).try_acquire_owned()).collect();
        assert!(stuck.iter().all(Result::is_ok));
        let refused = calls.make(|| Ok(Vec::new())).await.expect_err("none is left");
        assert!(refused.starts_with("EBUSY\n"), "{refused}");
        drop(stuck);
        assert_eq!(calls.make(|| Ok(vec![0])).await, Ok(vec![0]));
    }
}
