//! Ending: an execution or a session by a client's wish, or all of them because the host ends.
//!
//! Invariant: when [`Host::shutdown`] has returned, everything that was answered, and the record of
//! everything that was cancelled, is durable, and no session is left that the next host on the same
//! store would have to put right, unless the store failed.

use crate::error::HostError;
use crate::host::Host;
use crate::live::{Closing, LiveSession};
use std::sync::Arc;
use tokio::task::JoinSet;
use vm_storage::{Execution, ExecutionId, Session, SessionId, SessionStatus};

impl Host {
    /// Ends a session: what runs in it is cancelled, its runtime is dropped. Closing one that is
    /// closed changes nothing.
    ///
    /// # Errors
    /// `SessionNotFound`, and the states of the store.
    pub async fn close_session(&self, id: SessionId) -> Result<Session, HostError> {
        match self.sessions().get(id) {
            Some(live) => self.close_live(live, Closing::ByClient).await,
            None => self.close_crashed(id).await,
        }
    }

    async fn close_live(
        &self,
        live: Arc<LiveSession>,
        closing: Closing,
    ) -> Result<Session, HostError> {
        live.begin_closing(closing);
        let host = self.clone();
        self.detached(async move {
            let mut slot = live.slot.lock().await;
            if slot.session.status != SessionStatus::Closed {
                let closed = closing.close(&slot.session);
                let stored = host.storage().put_session(closed.clone()).await;
                if closing == Closing::ByClient
                    && slot.session.status.is_live()
                    && let Err(error) = stored
                {
                    // It goes on: what runs in it was cancelled, and nothing else was lost.
                    live.keep_open();
                    return Err(error.into());
                }
                slot.session = closed;
                slot.clear();
                let stored = stored.map_err(HostError::from);
                host.leave(live.id, &stored);
                stored?;
            }
            host.sessions().remove(live.id);
            Ok(slot.session.clone())
        })
        .await
    }

    /// Ends an execution: its session is as it was before it, and ready. One that has ended stays
    /// as it is. Gives it when it is over and durable.
    ///
    /// # Errors
    /// `ExecutionNotFound`, and the states of the store.
    pub async fn cancel_execution(&self, id: ExecutionId) -> Result<Execution, HostError> {
        if let Some(running) = self.running().find(id) {
            running.cancel().await;
        }
        self.execution(id).await
    }

    /// Closes a session that is not live any more.
    async fn close_crashed(&self, id: SessionId) -> Result<Session, HostError> {
        let session = self.session(id).await?;
        if session.status == SessionStatus::Closed {
            return Ok(session);
        }
        let closed = Closing::ByClient.close(&session);
        self.storage().put_session(closed.clone()).await?;
        self.sessions().forget_lost(id);
        Ok(closed)
    }

    /// Ends the host in order: takes nothing new, lets what runs end until `grace` is over, then
    /// cancels it, closes every session and the store.
    ///
    /// # Errors
    /// The first that a session or the store gave; the others are closed all the same.
    pub async fn shutdown(self, grace: impl Future<Output = ()>) -> Result<(), HostError> {
        self.begin_stopping();
        tokio::select! {
            () = self.tasks().wait() => {}
            () = grace => {}
        }
        let mut outcome = Ok(());
        // A session whose start began before the host stopped may still come in.
        loop {
            let sessions = self.sessions().all();
            if sessions.is_empty() && self.tasks().is_empty() {
                break;
            }
            outcome = outcome.and(self.close_together(sessions).await);
            self.tasks().wait().await;
        }
        outcome.and(self.storage().clone().shutdown().await.map_err(HostError::from))
    }

    /// Closes sessions at one time, so that their commits are grouped.
    async fn close_together(&self, sessions: Vec<Arc<LiveSession>>) -> Result<(), HostError> {
        let mut closing = JoinSet::new();
        for live in sessions {
            let host = self.clone();
            closing.spawn(async move { host.close_live(live, Closing::ByHost).await });
        }
        let mut outcome = Ok(());
        while let Some(closed) = closing.join_next().await {
            let closed = closed
                .unwrap_or_else(|error| Err(HostError::Engine(format!("a task failed: {error}"))));
            outcome = outcome.and(closed.map(drop));
        }
        outcome
    }
}
