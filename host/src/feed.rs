//! Events of an execution as they become durable.
//!
//! ```text
//!  is it on its way? ──▶ read what is durable: given ──▶ wait until more is durable, or it has left
//!        ▲                                                   │          not on its way: the end
//!        └───────────────────────────────────────────────────┘
//! ```
//!
//! Invariant: each event above the one it began after is given once, in order, and only once it is
//! durable; whoever reads slowly is given more at a time, and keeps nobody waiting.

use crate::error::HostError;
use crate::host::Host;
use tokio::sync::watch;
use vm_storage::{Event, Execution, ExecutionId, Page};

/// The events of an execution, from one on. Cheap to hold: it keeps none of them.
pub struct EventFeed {
    host: Host,
    execution: ExecutionId,
    after_seq: u64,
    /// Says when more is durable; none where the execution is not on its way, and nothing more comes.
    durable: Option<watch::Receiver<usize>>,
    /// There may be more already.
    is_behind: bool,
}

impl Host {
    /// The events of an execution with a `seq` above `after_seq`, as they become durable.
    pub fn follow(&self, execution: ExecutionId, after_seq: u64) -> EventFeed {
        let durable = self.running_one(execution).map(|running| running.durable());
        EventFeed { host: self.clone(), execution, after_seq, durable, is_behind: false }
    }

    /// One execution, when it is over.
    ///
    /// # Errors
    /// `ExecutionNotFound`, and the states of the store.
    pub async fn execution_ended(&self, id: ExecutionId) -> Result<Execution, HostError> {
        if let Some(running) = self.running_one(id) {
            running.over().await;
        }
        self.execution(id).await
    }
}

impl EventFeed {
    /// The next events that are durable now.
    ///
    /// # Errors
    /// `ExecutionNotFound`, `Storage(EventsExpired)` when some of them are not kept any more, and the
    /// states of the store.
    pub async fn now(&mut self) -> Result<Vec<Event>, HostError> {
        // Before the store is looked at, so that what comes meanwhile is noticed.
        if let Some(durable) = &mut self.durable {
            durable.mark_unchanged();
            if durable.has_changed().is_err() {
                self.durable = None;
            }
        }
        let Page { items, next } = self.host.events(self.execution, self.after_seq).await?;
        self.after_seq = items.last().map_or(self.after_seq, |last| last.seq);
        self.is_behind = next.is_some();
        Ok(items)
    }

    /// Waits until there may be more; false when there is none, and none will be. Nothing is lost where
    /// this is dropped while it waits.
    pub async fn more(&mut self) -> bool {
        if self.is_behind {
            return true;
        }
        let Some(durable) = &mut self.durable else { return false };
        // Where it fails the execution has left, and what is left of it is yet to be read.
        if durable.changed().await.is_err() {
            self.durable = None;
        }
        true
    }
}
