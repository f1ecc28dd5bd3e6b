//! What one connection is doing, and until when it may: waiting for a request, receiving the head of
//! one, or answering.
//!
//! ```text
//!   idle ──first byte──▶ head ──request──▶ busy (as often as requests overlap)
//!    ▲                                       │
//!    └──────────── last response sent ───────┘
//! ```
//!
//! Invariant: a connection without a request under way always has a deadline.

use super::ServerOptions;
use super::connections::Place;
use futures_util::task::AtomicWaker;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection without a request may stay when the server is stopping: enough for an
/// answer to be flushed.
const STOPPING_IDLE: Duration = Duration::from_millis(500);

/// What one connection is doing.
pub(super) struct Activity {
    state: Mutex<State>,
    place: Place,
    /// Wakes the connection's task when requests have ended elsewhere.
    waker: AtomicWaker,
    options: ServerOptions,
}

struct State {
    requests: u32,
    /// When the last byte of an answer was sent, or the connection began.
    idle_since: Instant,
    /// When the first byte after that came.
    head_since: Option<Instant>,
    protocol: Protocol,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// HTTP/1, or not known yet.
    Http1,
    /// Bytes come between requests too, so that only the idle time counts.
    Http2,
}

/// One request under way, until its response has been handed to the connection whole.
pub(super) struct Request(Arc<Activity>);

impl Activity {
    pub(super) fn new(place: Place, options: ServerOptions) -> Arc<Self> {
        let idle_since = Instant::now();
        let state = State { requests: 0, idle_since, head_since: None, protocol: Protocol::Http1 };
        Arc::new(Self { state: Mutex::new(state), place, waker: AtomicWaker::new(), options })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Held for a few assignments, which leave it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came.
    pub(super) fn received(&self) {
        let mut state = self.state();
        if state.requests == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    /// Bytes were taken by the client. What is left of an answer keeps its connection from being
    /// idle, as long as the client reads on.
    pub(super) fn sent(&self) {
        let mut state = self.state();
        if state.requests == 0 {
            state.idle_since = Instant::now();
        }
    }

    /// A request's head came.
    pub(super) fn begin(self: &Arc<Self>, version: http::Version) -> Request {
        let mut state = self.state();
        state.requests += 1;
        state.head_since = None;
        if version == http::Version::HTTP_2 {
            state.protocol = Protocol::Http2;
        }
        self.place.set_busy();
        Request(Arc::clone(self))
    }

    /// When the connection is to be closed; never while it has a request.
    pub(super) fn deadline(&self, stopping: bool) -> Option<Instant> {
        let state = self.state();
        if state.requests > 0 {
            return None;
        }
        let idle_timeout = if stopping { STOPPING_IDLE } else { self.options.idle_timeout };
        let idle = state.idle_since + idle_timeout;
        match (state.head_since, state.protocol) {
            (Some(since), Protocol::Http1) => Some(since + self.options.header_timeout),
            (Some(_), Protocol::Http2) | (None, _) => Some(idle),
        }
    }

    /// Has this waker woken when the connection becomes idle.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let activity = &self.0;
        let mut state = activity.state();
        state.requests -= 1;
        if state.requests == 0 {
            state.idle_since = Instant::now();
            activity.place.set_idle(state.idle_since);
            drop(state);
            activity.waker.wake();
        }
    }
}
