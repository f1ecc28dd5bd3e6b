//! The connections that are open: how many there are, and which have no request under way.
//!
//! Invariant: there are never more than the limit. One more takes the place of the one that has been
//! idle longest, so that clients which open connections and say nothing keep nobody out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The connections of one server.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    table: Mutex<Table>,
    /// Told when a connection has ended.
    room: Notify,
    max: usize,
}

#[derive(Default)]
struct Table {
    open: usize,
    next: u64,
    /// Those without a request under way, longest first, each with what tells it to close.
    idle: BTreeMap<(Instant, u64), CancellationToken>,
}

/// One open connection's place.
pub(super) struct Place {
    connections: Connections,
    number: u64,
    idle_since: Mutex<Option<Instant>>,
    close: CancellationToken,
}

impl Connections {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Shared { table: Mutex::default(), room: Notify::new(), max }))
    }

    /// Waits for a place for a new connection, which is idle, having the connection that idled
    /// longest closed when there is none.
    pub(super) async fn admit(&self) -> Place {
        loop {
            if let Some(number) = self.try_number() {
                let place = Place {
                    connections: self.clone(),
                    number,
                    idle_since: Mutex::new(None),
                    close: CancellationToken::new(),
                };
                // Idle from here on, not from when its task first runs: a busy machine must not
                // make the latest connection look like the one that idled longest.
                place.set_idle(Instant::now());
                return place;
            }
            self.close_longest_idle();
            self.0.room.notified().await;
        }
    }

    fn try_number(&self) -> Option<u64> {
        let mut table = self.lock();
        if table.open >= self.0.max {
            return None;
        }
        table.open += 1;
        table.next += 1;
        Some(table.next)
    }

    /// Tells the connection that has been idle longest to close.
    pub(super) fn close_longest_idle(&self) {
        if let Some((_, close)) = self.lock().idle.pop_first() {
            close.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Held for one or two operations on the table, which leave it whole.
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What tells the connection to close.
    pub(super) fn close(&self) -> CancellationToken {
        self.close.clone()
    }

    /// The connection has no request under way.
    pub(super) fn set_idle(&self, since: Instant) {
        *self.idle_since() = Some(since);
        self.connections.lock().idle.insert((since, self.number), self.close.clone());
    }

    /// The connection has one.
    pub(super) fn set_busy(&self) {
        if let Some(since) = self.idle_since().take() {
            self.connections.lock().idle.remove(&(since, self.number));
        }
    }

    fn idle_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.idle_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.set_busy();
        self.connections.lock().open -= 1;
        self.connections.0.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn one_more_takes_the_place_of_the_longest_idle() {
        let connections = Connections::new(2);
        let (first, second) = (connections.admit().await, connections.admit().await);
        first.set_busy();
        first.set_idle(Instant::now() + Duration::from_millis(1));
        let (told, close) = (second.close(), first.close());
        let ended = async {
            told.cancelled().await;
            drop(second);
        };
        let (third, ()) = tokio::join!(connections.admit(), ended);
        assert!(!close.is_cancelled());
        assert_eq!((third.number, connections.lock().open), (3, 2));
    }

    #[tokio::test]
    async fn nobody_busy_is_told_to_close() {
        let connections = Connections::new(1);
        let busy = connections.admit().await;
        busy.set_busy();
        let mut waiting = std::pin::pin!(connections.admit());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(!busy.close().is_cancelled());
        drop(busy);
        waiting.await;
    }
}
