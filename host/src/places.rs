//! The places that the engine's pool has for instances, and who wants one when all are taken.
//!
//! Invariant: an instance has its place before it is made and gives it back after it is gone, so
//! that the pool never refuses. Who waits for a place is seen by those who hold one without need.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The places of a pool.
pub(crate) struct Places {
    semaphore: Arc<Semaphore>,
    /// How many wait for a place.
    waiting: watch::Sender<usize>,
    total: usize,
    taken: AtomicU64,
}

/// The place of one instance.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(crate) fn new(total: u32) -> Self {
        let total = total as usize;
        Self {
            semaphore: Arc::new(Semaphore::new(total)),
            waiting: watch::Sender::new(0),
            total,
            taken: AtomicU64::new(0),
        }
    }

    /// Takes a place, as soon as there is one.
    pub(crate) async fn take(&self) -> Place {
        self.taken.fetch_add(1, Ordering::Relaxed);
        if let Ok(permit) = Arc::clone(&self.semaphore).try_acquire_owned() {
            return Place { _permit: permit };
        }
        let _wants = Wants::begin(&self.waiting);
        let permit = Arc::clone(&self.semaphore).acquire_owned().await;
        Place { _permit: permit.expect("the semaphore is never closed") }
    }

    /// Waits until somebody waits for a place.
    pub(crate) async fn wanted(&self) {
        // The sender outlives this: it is borrowed.
        drop(self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await);
    }

    /// Whether somebody waits for a place.
    pub(crate) fn are_wanted(&self) -> bool {
        *self.waiting.borrow() > 0
    }

    /// Instances that there are.
    pub(crate) fn in_use(&self) -> usize {
        self.total - self.semaphore.available_permits()
    }

    /// Places taken so far, given back or not.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Counts one who waits, while it lives.
struct Wants<'a>(&'a watch::Sender<usize>);

impl<'a> Wants<'a> {
    fn begin(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Wants<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;

    #[tokio::test]
    async fn who_waits_for_a_place_is_seen_until_it_has_one_or_leaves() {
        let places = Places::new(1);
        let first = places.take().await;
        assert!(!places.are_wanted());
        let mut leaves = Box::pin(places.take());
        let mut stays = pin!(places.take());
        assert!(leaves.as_mut().now_or_never().is_none());
        assert!(stays.as_mut().now_or_never().is_none());
        places.wanted().await;
        drop(leaves);
        assert!(places.are_wanted());
        drop(first);
        let _second = stays.await;
        assert!(!places.are_wanted());
        assert_eq!((places.in_use(), places.taken()), (1, 3));
    }
}
