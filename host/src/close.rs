//! Ending: an execution or a session by a client's wish, or all of them because the host ends.
//!
//! Invariant: when [`Host::shutdown`] has returned, everything that was answered, and the record of
//! everything that was stopped, is durable, and nothing is left that the next host on the same store
//! would have to put right, unless the store failed.

use crate::error::HostError;
use crate::host::Host;
use crate::live::{Closing, LiveSession};
use std::time::Duration;
use vm_storage::{Execution, ExecutionId, Session, SessionId, SessionStatus, StorageError};

/// How often sessions that came in while the host stops are told so.
const STOPPING_LOOK: Duration = Duration::from_millis(20);

impl Host {
    /// Ends a session: what runs in it is cancelled, what is stored of its heap removed. Closing one
    /// that is closed changes nothing.
    ///
    /// # Errors
    /// `SessionNotFound`, and the states of the store.
    pub async fn close_session(&self, id: SessionId) -> Result<Session, HostError> {
        self.close(id, Closing::ByClient).await
    }

    /// Ends a session and removes it, with its executions and their events: nobody finds them any
    /// more. Gives it as it was closed.
    ///
    /// # Errors
    /// `SessionNotFound`, and the states of the store.
    pub async fn purge_session(&self, id: SessionId) -> Result<Session, HostError> {
        let closed = self.close_session(id).await?;
        match self.storage().purge_session(id).await {
            Err(StorageError::UnknownSession(id)) => Err(HostError::SessionNotFound(id)),
            purged => Ok(purged.map(|()| closed)?),
        }
    }

    pub(crate) async fn close(
        &self,
        id: SessionId,
        closing: Closing,
    ) -> Result<Session, HostError> {
        loop {
            let live = match self.load(id).await {
                Ok(live) => live,
                Err(HostError::SessionNotReady { .. }) => return self.close_crashed(id).await,
                Err(error) => return Err(error),
            };
            let host = self.clone();
            let close = async move { host.close_live(&live, closing).await };
            if let Some(closed) = self.detached(close).await? {
                return Ok(closed);
            }
        }
    }

    /// Closes a session that this process holds; `None` when it was retired meanwhile.
    async fn close_live(
        &self,
        live: &LiveSession,
        closing: Closing,
    ) -> Result<Option<Session>, HostError> {
        live.begin_closing(closing);
        let mut slot = live.lock().await;
        let Some(slot) = slot.as_mut().filter(|_| !live.is_retired()) else {
            return Ok(None);
        };
        let closed = closing.close(&slot.session);
        let stored = self.storage().put_session(closed.clone()).await;
        slot.clear();
        match stored {
            Ok(()) => {
                self.end(live);
                Ok(Some(closed))
            }
            Err(error) => {
                // What runs in it was cancelled; whether it is closed, the store will say.
                self.sessions().retire(live);
                Err(error.into())
            }
        }
    }

    /// Takes a session that is over out of the registry. The caller holds its slot.
    pub(crate) fn end(&self, live: &LiveSession) {
        if !live.is_starting() {
            // One that was starting gives its place back itself.
            self.sessions().release();
        }
        self.sessions().retire(live);
    }

    /// Ends an execution: its session is as it was before it, and ready. One that has ended stays
    /// as it is. Gives it when it is over and durable.
    ///
    /// # Errors
    /// `ExecutionNotFound`, and the states of the store.
    pub async fn cancel_execution(&self, id: ExecutionId) -> Result<Execution, HostError> {
        if let Some(running) = self.running_one(id) {
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
        Ok(closed)
    }

    /// Ends the host in order: takes nothing new, lets what runs end until `grace` is over, then
    /// stops it, and closes the store. Sessions that are ready go on in the next host on it.
    ///
    /// # Errors
    /// What closing the store gave.
    pub async fn shutdown(self, grace: impl Future<Output = ()>) -> Result<(), HostError> {
        self.begin_stopping();
        tokio::select! {
            () = self.tasks().wait() => {}
            () = grace => {}
        }
        // What began before the host stopped may still come in.
        while !self.tasks().is_empty() {
            for live in self.sessions().all() {
                live.begin_closing(Closing::HostStops);
            }
            tokio::select! {
                () = self.tasks().wait() => {}
                () = tokio::time::sleep(STOPPING_LOOK) => {}
            }
        }
        Ok(self.storage().clone().shutdown().await?)
    }
}
