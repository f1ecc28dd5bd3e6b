//! Live sessions: the ones that are starting or ready in this process.
//!
//! ```text
//!              startup done
//!   starting ───────────────▶ ready ──close──▶ closed (from every other state)
//!      │                      │   ▲
//!      │ startup failed       │   │ the next execution restores the committed heap
//!      ▼                      ▼   │
//!   crashed            ready, no runtime: a timeout, cancel, trap, passed limit or
//!                      failed commit dropped it
//! ```
//!
//! A session is in the registry while it is starting or ready. Invariant: a runtime is only
//! touched by whoever holds its session's slot, and the slot is held until what was done in it is
//! durable.

use crate::engine::Engine;
use crate::error::{Capacity, HostError};
use crate::heap::Heap;
use crate::runtime::{Runtime, RuntimeOptions};
use crate::worktree::Worktree;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use vm_storage::{Session, SessionId, SessionStatus, now};

/// When a client that met a full host may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What one session's executions work on, one at a time.
pub(crate) struct Slot {
    pub(crate) session: Session,
    pub(crate) worktree: Arc<Worktree>,
    /// What its runtimes are made with, one after the other.
    pub(crate) options: RuntimeOptions,
    /// The state of its last committed execution.
    pub(crate) heap: Heap,
    /// `None` until it is restored after an execution that did not come to its end.
    pub(crate) runtime: Option<Runtime>,
}

impl Slot {
    /// The runtime, restored from the committed heap if there is none.
    pub(crate) async fn restored(&mut self, engine: &Engine) -> Result<&mut Runtime, HostError> {
        if self.runtime.is_none() {
            let runtime = Runtime::restore(engine, self.options.clone(), &self.heap).await?;
            self.runtime = Some(runtime);
        }
        Ok(self.runtime.as_mut().expect("made above"))
    }

    /// Makes what the runtime changed the state to go back to.
    pub(crate) async fn adopt(&mut self) {
        if let Some(runtime) = &mut self.runtime {
            let changes = runtime.changes(&self.heap).await;
            self.heap.apply(changes);
        }
    }

    /// Drops the runtime, and with it whatever was not committed; the next execution restores it.
    pub(crate) fn drop_runtime(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.discard();
        }
    }

    /// Drops all the state of a session that is over.
    pub(crate) fn clear(&mut self) {
        self.drop_runtime();
        self.heap.clear();
    }
}

/// A session that is starting or ready.
pub(crate) struct LiveSession {
    pub(crate) id: SessionId,
    pub(crate) slot: Arc<tokio::sync::Mutex<Slot>>,
    /// As it was made, before anything of it is stored.
    initial: Arc<Session>,
    ready: AtomicBool,
    closing: watch::Sender<Closing>,
}

/// Whether a session is being closed, and whose wish it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Nobody's: it goes on.
    No,
    /// A client's.
    ByClient,
    /// The host's, which ends.
    ByHost,
}

impl Closing {
    /// What its `last_error` says of a session that was closed so.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::No | Self::ByClient => None,
            Self::ByHost => Some("the host stopped"),
        }
    }

    /// The session, closed.
    pub(crate) fn close(self, session: &Session) -> Session {
        let mut closed = session.clone();
        closed.status = SessionStatus::Closed;
        closed.closed_at = Some(now());
        closed.last_error = self.reason().map(str::to_owned).or(closed.last_error);
        closed
    }
}

impl LiveSession {
    pub(crate) fn new(slot: Slot) -> Arc<Self> {
        Arc::new(Self {
            id: slot.session.id,
            initial: Arc::new(slot.session.clone()),
            slot: Arc::new(tokio::sync::Mutex::new(slot)),
            ready: AtomicBool::new(false),
            closing: watch::Sender::new(Closing::No),
        })
    }

    /// The session as it was when it began to start.
    pub(crate) fn initial(&self) -> Arc<Session> {
        Arc::clone(&self.initial)
    }

    /// Lets executions in.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether it lets executions in.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Takes the slot for an execution.
    pub(crate) fn try_enter(&self) -> Result<tokio::sync::OwnedMutexGuard<Slot>, HostError> {
        if !self.is_ready() {
            return Err(HostError::SessionNotReady {
                id: self.id,
                status: SessionStatus::Starting,
            });
        }
        self.slot.clone().try_lock_owned().map_err(|_| HostError::SessionBusy(self.id))
    }

    /// Tells whatever runs in the session to stop, and lets nothing new begin.
    pub(crate) fn begin_closing(&self, closing: Closing) {
        self.closing.send_if_modified(|current| {
            let is_first = *current == Closing::No;
            if is_first {
                *current = closing;
            }
            is_first
        });
    }

    /// Lets executions in again, because a client's close could not be made durable.
    pub(crate) fn keep_open(&self) {
        self.closing.send_replace(Closing::No);
    }

    /// Waits until the session is being closed.
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing();
        // The sender outlives this: it is the session's.
        drop(closing.wait_for(|closing| *closing != Closing::No).await);
    }

    /// Says when the session is being closed.
    pub(crate) fn closing(&self) -> watch::Receiver<Closing> {
        self.closing.subscribe()
    }
}

/// The live sessions of a host, bounded in number.
pub(crate) struct Registry {
    /// Held to look up, insert or remove one entry, never across an await.
    sessions: Mutex<HashMap<SessionId, Arc<LiveSession>>>,
    /// Sessions that are over, though storage could not be told so.
    lost: Mutex<HashSet<SessionId>>,
    max_sessions: u32,
}

impl Registry {
    pub(crate) fn new(max_sessions: u32) -> Self {
        let (sessions, lost) = (Mutex::default(), Mutex::default());
        Self { sessions, lost, max_sessions }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<LiveSession>>> {
        // Every critical section is one call of the map's.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses when the host is full. A host that fills up between this and `insert` is refused
    /// there; asking first saves the work of a session that has no place.
    pub(crate) fn check_capacity(&self) -> Result<(), HostError> {
        self.refuse_when_full(self.lock().len())
    }

    pub(crate) fn insert(&self, session: Arc<LiveSession>) -> Result<(), HostError> {
        let mut sessions = self.lock();
        self.refuse_when_full(sessions.len())?;
        sessions.insert(session.id, session);
        Ok(())
    }

    fn refuse_when_full(&self, live: usize) -> Result<(), HostError> {
        if live >= self.max_sessions as usize {
            return Err(HostError::CapacityExceeded {
                what: Capacity::Sessions,
                limit: self.max_sessions,
                retry_after: RETRY_AFTER,
            });
        }
        Ok(())
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        self.lock().get(&id).cloned()
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<LiveSession>> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn remove(&self, id: SessionId) {
        self.lock().remove(&id);
    }

    fn lost(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a session is over, though storage could not be told so.
    pub(crate) fn lose(&self, id: SessionId) {
        self.lost().insert(id);
    }

    pub(crate) fn is_lost(&self, id: SessionId) -> bool {
        self.lost().contains(&id)
    }

    pub(crate) fn has_lost_any(&self) -> bool {
        !self.lost().is_empty()
    }

    /// Storage has been told.
    pub(crate) fn forget_lost(&self, id: SessionId) {
        self.lost().remove(&id);
    }
}
