//! Hibernation: a session that is not used gives up its instance and everything else that it takes
//! in memory. What it is stays in the store, and its next execution goes on from there.
//!
//! Sessions go when they were idle for so long, when more are held than may be, and when another
//! wants the place of their instance; those that were used longest ago first.
//!
//! Invariant: only a session in which nothing runs hibernates, and nobody who uses it later can
//! tell but by the time that it takes.

use crate::host::{Host, WeakHost};
use crate::live::LiveSession;
use crate::places::Place;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use vm_storage::SessionId;

/// Sessions that go at one time when there are too many: looking for them costs as much for one.
const EVICTED_SHARE: usize = 32;
/// How often idle sessions are looked for: so many times in the time that they may be idle.
const LOOKS_PER_IDLE: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

impl Host {
    /// Has a session give up its instance now. Gives whether it did: one that is running, or is not
    /// held by this process, does not.
    pub fn hibernate(&self, id: SessionId) -> bool {
        self.sessions().get(id).is_some_and(|live| self.hibernate_idle(&live))
    }

    /// A place for an instance; a session that does not need its own gives it up.
    pub(crate) async fn place(&self) -> Place {
        let mut take = pin!(self.engine().places.take());
        tokio::select! {
            biased;
            place = &mut take => return place,
            () = std::future::ready(()) => {}
        }
        // It is seen to wait by now, so that an execution which ends after this gives up its place.
        self.evict(1);
        take.await
    }

    /// Keeps the sessions that are held to as many as there may be.
    pub(crate) fn make_room(&self) {
        let (held, max) = (self.sessions().len(), self.max_resident());
        if held > max {
            self.evict(held - max + max / EVICTED_SHARE);
        }
    }

    /// Has the sessions hibernate that were used longest ago, as many of those asked for as can.
    fn evict(&self, count: usize) {
        let mut sessions = self.sessions().all();
        sessions.sort_by_cached_key(|live| std::cmp::Reverse(live.idle()));
        let evicted = sessions.iter().filter(|live| self.hibernate_idle(live)).take(count).count();
        if evicted > 0 {
            tracing::debug!(evicted, "sessions were pushed out");
        }
    }

    fn hibernate_idle(&self, live: &Arc<LiveSession>) -> bool {
        if live.is_starting() || live.is_retired() {
            return false;
        }
        let Some(mut slot) = live.try_lock() else { return false };
        if !self.sessions().retire_idle(live) {
            return false;
        }
        if let Some(slot) = slot.as_mut() {
            slot.clear();
            self.note_hibernated();
        }
        true
    }
}

/// Has sessions hibernate that were idle for so long, for as long as the host is there.
pub(crate) async fn hibernate_idle_sessions(host: WeakHost, idle: Duration) {
    let pause = (idle / LOOKS_PER_IDLE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    loop {
        tokio::time::sleep(pause).await;
        let Some(host) = host.upgrade() else { return };
        let wanted = host.engine().places.are_wanted();
        for live in host.sessions().all() {
            if live.idle() >= idle {
                host.hibernate_idle(&live);
            }
        }
        if wanted {
            // An execution may have ended between being looked at and being seen to wait for.
            host.evict(1);
        }
    }
}
