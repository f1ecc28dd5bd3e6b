//! The sessions that a host holds, and how many there are in all.
//!
//! Invariant: of a session there is one entry that is not retired, and it is the one in here.

use super::{IDLE, LiveSession, RETIRED};
use crate::error::{Capacity, HostError};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vm_storage::SessionId;

/// When a client that met a full host may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The sessions that a host holds, and how many there are in all.
pub(crate) struct Registry {
    /// Held to look up, insert or remove one entry, or to copy all, never across an await.
    sessions: Mutex<HashMap<SessionId, Arc<LiveSession>>>,
    /// Sessions that are starting or ready, held or not.
    live: AtomicU64,
    max_sessions: u32,
}

/// The place of a session that is being made, given back unless it is kept.
pub(crate) struct Reserved<'a> {
    registry: &'a Registry,
    is_kept: bool,
}

impl Registry {
    /// A registry of a store with so many live sessions.
    pub(crate) fn new(max_sessions: u32, live: u64) -> Self {
        Self { sessions: Mutex::default(), live: AtomicU64::new(live), max_sessions }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<LiveSession>>> {
        // Every critical section is one call of the map's.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a place for one more session, or refuses because there are too many.
    pub(crate) fn reserve(&self) -> Result<Reserved<'_>, HostError> {
        let max = u64::from(self.max_sessions);
        let one_more = |live: u64| (live < max).then_some(live + 1);
        match self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => Ok(Reserved { registry: self, is_kept: false }),
            Err(_) => Err(HostError::CapacityExceeded {
                what: Capacity::Sessions,
                limit: self.max_sessions,
                retry_after: RETRY_AFTER,
            }),
        }
    }

    /// Says that a session is over.
    pub(crate) fn release(&self) {
        let one_less = |live: u64| live.checked_sub(1);
        self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).ok();
    }

    /// Sessions that are starting or ready, held or not.
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Acquire)
    }

    /// Adds a session that is being made.
    pub(crate) fn insert(&self, session: Arc<LiveSession>) {
        self.lock().insert(session.id, session);
    }

    /// The entry of a session, which may turn out not to exist.
    pub(crate) fn entry(&self, id: SessionId) -> Arc<LiveSession> {
        Arc::clone(self.lock().entry(id).or_insert_with(|| LiveSession::unloaded(id)))
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        self.lock().get(&id).cloned()
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<LiveSession>> {
        self.lock().values().cloned().collect()
    }

    /// Sessions that are held.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Takes a session out, whatever runs in it. The caller holds its slot.
    pub(crate) fn retire(&self, session: &LiveSession) {
        if session.turn.swap(RETIRED, Ordering::AcqRel) != RETIRED {
            self.lock().remove(&session.id);
        }
    }

    /// Takes a session out if nothing runs in it, and says whether it did. The caller holds its
    /// slot.
    pub(crate) fn retire_idle(&self, session: &LiveSession) -> bool {
        let retired = session.exchange(IDLE, RETIRED).is_ok();
        if retired {
            self.lock().remove(&session.id);
        }
        retired
    }
}

impl Reserved<'_> {
    /// The session is there to stay.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.registry.release();
        }
    }
}
