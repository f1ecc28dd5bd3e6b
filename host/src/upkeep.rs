//! What a host does by itself, in bounded steps: it ends sessions that were not used for their
//! template's time to live, removes what is not kept any more, and ends in the store what ended here
//! while the store could not be told.
//!
//! Invariant: a step that fails is tried again later; nothing here keeps a request from its answer
//! for longer than one small commit.

use crate::error::HostError;
use crate::host::{Host, WeakHost};
use crate::live::Closing;
use std::time::Duration;
use vm_storage::{PageRequest, Session, SessionId, SessionStatus, now};

/// Sessions whose time may be over that are looked at in one step.
const SESSIONS_PER_STEP: usize = 256;
/// Executions and sessions that are looked at in one step because they may be abandoned.
const UNFINISHED_PER_STEP: usize = 1_024;
/// Rest between two steps, so that removing much leaves the store to others most of the time.
const REST: Duration = Duration::from_millis(10);

/// Keeps a host up, for as long as it is there.
pub(crate) async fn keep_up(host: WeakHost, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        loop {
            let Some(host) = host.upgrade() else { return };
            let step = async {
                host.mend().await?;
                host.evict_artifacts().await?;
                Ok(host.expire().await? | host.sweep().await?)
            };
            match step.await {
                Ok(true) => {}
                Ok(false) => break,
                Err(HostError::Stopping) => return,
                Err(error) => {
                    tracing::warn!(%error, "upkeep is tried again later");
                    break;
                }
            }
            drop(host);
            tokio::time::sleep(REST).await;
        }
    }
}

impl Host {
    /// Ends executions and sessions in the store that nobody runs or starts: the commit of their end
    /// failed.
    async fn mend(&self) -> Result<(), HostError> {
        let unfinished = self.read(|storage| storage.unfinished(UNFINISHED_PER_STEP)).await?;
        let (mut executions, mut sessions) = unfinished;
        // What runs is in memory from before it is stored as running until its end is stored.
        let running = self.running().ids();
        executions.retain(|id| !running.contains(id));
        sessions.retain(|id| !self.sessions().get(*id).is_some_and(|live| live.is_starting()));
        if executions.is_empty() && sessions.is_empty() {
            return Ok(());
        }
        tracing::warn!(?executions, ?sessions, "their end could not be stored before");
        Ok(self.storage().abandon(executions, sessions).await?)
    }

    /// Removes template modules when there are too many, but no image of a stored session.
    async fn evict_artifacts(&self) -> Result<(), HostError> {
        if !self.artifacts().wants_eviction() {
            return Ok(());
        }
        let storage = self.storage().clone();
        self.artifacts().evict(move || Ok(storage.images_in_use()?)).await
    }

    /// Removes some of what is not kept; gives whether there may be more.
    async fn sweep(&self) -> Result<bool, HostError> {
        let retention = self.retention();
        let bounded = !retention.executions.is_unbounded() || !retention.events.is_unbounded();
        let contents = self.contents().await?;
        if !bounded && contents.unswept_sessions == 0 {
            return Ok(false);
        }
        let swept = self.storage().sweep(retention).await?;
        self.note_swept(swept);
        Ok(swept.is_unfinished())
    }

    /// Ends some of the sessions whose time is over; gives whether there may be more.
    async fn expire(&self) -> Result<bool, HostError> {
        let now_ms = u64::try_from(now().as_millisecond()).unwrap_or(0);
        let due = self.read(move |storage| storage.due_sessions(now_ms, SESSIONS_PER_STEP)).await?;
        for (due_ms, id) in &due {
            self.refuse_when_stopping()?;
            let next_ms = self.end_or_postpone(*id, now_ms).await?;
            self.storage().postpone_expiry(*id, *due_ms, next_ms).await?;
        }
        Ok(due.len() == SESSIONS_PER_STEP)
    }

    /// Ends a session unless it was used since; gives when it is due next.
    async fn end_or_postpone(&self, id: SessionId, now_ms: u64) -> Result<Option<u64>, HostError> {
        let used = self.read(move |storage| {
            let Some(session) = storage.session(id)? else { return Ok(None) };
            let last = storage.executions(id, PageRequest::first(1))?.items.pop();
            let used = last.map_or(session.created_at, |last| last.ended_at.unwrap_or(now()));
            Ok(Some((session, used)))
        });
        let Some((session, used)) = used.await? else { return Ok(None) };
        let is_busy = self.sessions().get(id).is_some_and(|live| live.is_busy());
        let used = if is_busy { now() } else { used };
        match (session.status, session.due_ms(used)) {
            (SessionStatus::Ready, Some(due_ms)) if due_ms > now_ms => Ok(Some(due_ms)),
            (SessionStatus::Ready, Some(_)) => {
                let owner = self.within(session.tenant_id);
                let Session { id, .. } = owner.close(id, Closing::ByTtl).await?;
                tracing::info!(session_id = %id, "the session's time to live is over");
                Ok(None)
            }
            (_, None)
            | (SessionStatus::Starting | SessionStatus::Crashed | SessionStatus::Closed, _) => {
                Ok(None)
            }
        }
    }
}
