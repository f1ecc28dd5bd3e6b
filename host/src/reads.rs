//! What callers may read: the store, merged with what this process holds and has not written yet.
//!
//! Invariant: an execution or session that a caller was told of is found here at every moment, and
//! an event only once it is durable. So memory is looked at first and the store after it: what
//! leaves memory in between is in the store by then.

use crate::error::HostError;
use crate::host::Host;
use crate::startup::blocking;
use vm_storage::{
    Event, Execution, ExecutionId, Session, SessionFilter, SessionId, SessionStatus, StorageError,
    Template, TemplateId,
};

/// Why a session that storage calls live is not.
const LOST: &str = "its last execution could not be committed, and its state is lost";

/// The sessions that are live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Starting or ready, sorted.
    pub live_sessions: Vec<SessionId>,
}

impl Host {
    /// One template.
    ///
    /// # Errors
    /// `TemplateNotFound`, and the states of the store.
    pub async fn template(&self, id: TemplateId) -> Result<Template, HostError> {
        let template = self.read(move |storage| storage.template(id)).await?;
        template.ok_or(HostError::TemplateNotFound(id))
    }

    /// All templates, oldest first.
    ///
    /// # Errors
    /// The states of the store.
    pub async fn list_templates(&self) -> Result<Vec<Template>, HostError> {
        self.read(vm_storage::Storage::templates).await
    }

    /// One session.
    ///
    /// # Errors
    /// `SessionNotFound`, and the states of the store.
    pub async fn session(&self, id: SessionId) -> Result<Session, HostError> {
        let starting = self.sessions().get(id).map(|live| live.initial());
        let stored = self.read(move |storage| storage.session(id)).await?;
        let session = stored.or_else(|| starting.map(|session| (*session).clone()));
        session.map(|session| self.as_it_is(session)).ok_or(HostError::SessionNotFound(id))
    }

    /// Sessions that a filter accepts, newest first; at most `limit`, and at most
    /// [`vm_storage::MAX_SESSIONS_LISTED`].
    ///
    /// # Errors
    /// The states of the store.
    pub async fn list_sessions(
        &self,
        filter: SessionFilter,
        limit: usize,
    ) -> Result<Vec<Session>, HostError> {
        let mut starting = self.sessions().all();
        starting.retain(|live| !live.is_ready());
        // What is lost is stored as live: it is sorted out here, so all statuses are asked for.
        let asked = if self.sessions().has_lost_any() {
            SessionFilter { statuses: Vec::new(), ..filter.clone() }
        } else {
            filter.clone()
        };
        let read = self.read(move |storage| {
            let mut sessions = storage.sessions(&asked, limit)?;
            for session in starting.iter().map(|live| live.initial()) {
                if sessions.iter().all(|stored| stored.id != session.id) {
                    // It may have been stored since the list was read.
                    let stored = storage.session(session.id)?;
                    sessions.push(stored.unwrap_or_else(|| (*session).clone()));
                }
            }
            Ok(sessions)
        });
        let sessions = read.await?.into_iter().map(|session| self.as_it_is(session));
        let mut sessions: Vec<_> = sessions.filter(|session| filter.accepts(session)).collect();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.id));
        sessions.truncate(limit);
        Ok(sessions)
    }

    /// The sessions that are live.
    pub fn summary(&self) -> Summary {
        let mut live_sessions: Vec<SessionId> =
            self.sessions().all().iter().map(|live| live.id).collect();
        live_sessions.sort_unstable();
        Summary { live_sessions }
    }

    /// One execution; one that runs is found too.
    ///
    /// # Errors
    /// `ExecutionNotFound`, and the states of the store.
    pub async fn execution(&self, id: ExecutionId) -> Result<Execution, HostError> {
        let running = self.running().find(id);
        let stored = self.read(move |storage| storage.execution(id)).await?;
        let found = stored.or_else(|| running.map(|running| running.execution.clone()));
        found.ok_or(HostError::ExecutionNotFound(id))
    }

    /// Executions of a session, newest first, with the one that runs; at most `limit`, and at most
    /// [`vm_storage::MAX_EXECUTIONS_LISTED`].
    ///
    /// # Errors
    /// `SessionNotFound`, and the states of the store.
    pub async fn list_executions(
        &self,
        session: SessionId,
        limit: usize,
    ) -> Result<Vec<Execution>, HostError> {
        let live = self.sessions().get(session).is_some();
        let running = self.running().of(session);
        let stored = self.read(move |storage| {
            let known = live || storage.session(session)?.is_some();
            if known { storage.executions(session, limit).map(Some) } else { Ok(None) }
        });
        let mut executions = stored.await?.ok_or(HostError::SessionNotFound(session))?;
        if let Some(running) = running
            && executions.iter().all(|execution| execution.id != running.execution.id)
        {
            executions.insert(0, running.execution.clone());
            executions.truncate(limit);
        }
        Ok(executions)
    }

    /// Durable events of an execution with a `seq` above `after_seq`, in order; at most `limit`,
    /// and at most [`vm_storage::MAX_EVENTS_READ`].
    ///
    /// # Errors
    /// `ExecutionNotFound`, and the states of the store.
    pub async fn events(
        &self,
        execution: ExecutionId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Event>, HostError> {
        let running = self.running().find(execution).is_some();
        let read = self.read(move |storage| {
            let events = storage.events(execution, after_seq, limit)?;
            let known = running || !events.is_empty() || storage.execution(execution)?.is_some();
            Ok(known.then_some(events))
        });
        read.await?.ok_or(HostError::ExecutionNotFound(execution))
    }

    /// Reads the store on a blocking thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&vm_storage::Storage) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, HostError> {
        let storage = self.storage().clone();
        Ok(blocking(move || read(&storage)).await??)
    }

    /// A session as storage has it, unless its state is lost.
    pub(crate) fn as_it_is(&self, mut session: Session) -> Session {
        if session.status.is_live() && self.sessions().is_lost(session.id) {
            session.status = SessionStatus::Crashed;
            session.last_error = Some(LOST.to_owned());
        }
        session
    }
}
