//! What callers may read: the store, merged with what this process holds and has not written yet.
//!
//! Invariant: an execution or session that a caller was told of is found here at every moment, and
//! an event only once it is durable. So memory is looked at first and the store after it: what
//! leaves memory in between is in the store by then.

use crate::artifacts::{Artifact, UsedBy};
use crate::error::HostError;
use crate::host::Host;
use crate::live::LiveSession;
use crate::running::RunningExecution;
use crate::startup::blocking;
use std::fs::File;
use std::sync::Arc;
use vm_storage::{
    Contents, Event, Execution, ExecutionId, MAX_LIVE_IDS, Page, PageRequest, Session,
    SessionFilter, SessionId, SessionStatus, StorageError, Template, TemplateId,
};

/// Why a session that storage calls starting is not.
const LOST: &str = "the store could not be told how its start ended";

/// Events that are read at one time, and bytes of their records but for the last: each of many clients
/// that do not read their answers has so much of the host's memory.
const MAX_EVENTS: usize = 4_096;
const MAX_EVENTS_BYTES: usize = 64 << 10;

/// The sessions that are live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many are starting or ready.
    pub live_sessions: u64,
    /// Which ones, sorted; at most [`vm_storage::MAX_LIVE_IDS`] of them.
    pub live_session_ids: Vec<SessionId>,
}

impl Host {
    /// One template, the tenant's own or one that is shared.
    ///
    /// # Errors
    /// `TemplateNotFound`, and the states of the store.
    pub async fn template(&self, id: TemplateId) -> Result<Template, HostError> {
        let template = self.read(move |storage| storage.template(id)).await?;
        let is_seen = |own: &Template| own.tenant_id == self.tenant_id() || own.is_shared;
        template.filter(is_seen).ok_or(HostError::TemplateNotFound(id))
    }

    /// One template that the tenant may change.
    ///
    /// # Errors
    /// `TemplateNotFound`, `TemplateReadOnly` for another's that is shared, and the states of the store.
    pub(crate) async fn own_template(&self, id: TemplateId) -> Result<Template, HostError> {
        let template = self.template(id).await?;
        if template.tenant_id != self.tenant_id() {
            return Err(HostError::TemplateReadOnly(id));
        }
        Ok(template)
    }

    /// Templates, oldest first.
    ///
    /// # Errors
    /// The states of the store.
    pub async fn list_templates(
        &self,
        page: PageRequest<TemplateId>,
    ) -> Result<Page<Template, TemplateId>, HostError> {
        let tenant = self.tenant_id();
        self.read(move |storage| storage.templates(tenant, page)).await
    }

    /// The modules that a template's libraries and startup files were made into, oldest first.
    ///
    /// # Errors
    /// `TemplateNotFound`, and the states of the store.
    pub async fn list_artifacts(&self, id: TemplateId) -> Result<Vec<Artifact>, HostError> {
        self.template(id).await?;
        self.artifacts().list(UsedBy { tenant: self.tenant_id(), template: id }).await
    }

    /// One of them, a WebAssembly module, as a file at its start and its length in bytes: a module may
    /// have 64 MiB, and whoever takes it may take its time.
    ///
    /// # Errors
    /// `TemplateNotFound`, `ArtifactNotFound`, and the states of the store.
    pub async fn artifact(
        &self,
        template: TemplateId,
        hash: &str,
    ) -> Result<(File, u64), HostError> {
        self.template(template).await?;
        let user = UsedBy { tenant: self.tenant_id(), template };
        let module = self.artifacts().download(user, hash).await;
        module.ok_or_else(|| HostError::ArtifactNotFound { template, hash: hash.to_owned() })
    }

    /// One session.
    ///
    /// # Errors
    /// `SessionNotFound`, and the states of the store.
    pub async fn session(&self, id: SessionId) -> Result<Session, HostError> {
        let starting = self.sessions().get(id).and_then(|live| live.initial());
        let stored = self.read(move |storage| storage.session(id)).await?;
        let found = stored.or_else(|| starting.map(|session| (*session).clone()));
        match found.filter(|session| session.tenant_id == self.tenant_id()) {
            Some(session) => self.as_it_is(session).await,
            None => Err(HostError::SessionNotFound(id)),
        }
    }

    /// Sessions that a filter accepts, newest first.
    ///
    /// # Errors
    /// The states of the store.
    pub async fn list_sessions(
        &self,
        filter: SessionFilter,
        page: PageRequest<SessionId>,
    ) -> Result<Page<Session, SessionId>, HostError> {
        let starting = self.starting();
        let (tenant, asked) = (self.tenant_id(), filter.clone());
        let read = self.read(move |storage| {
            let Page { mut items, next } = storage.sessions(tenant, &asked, page)?;
            let in_page = |id: SessionId| {
                page.cursor.is_none_or(|cursor| id < cursor) && next.is_none_or(|next| id >= next)
            };
            for session in starting.iter().filter(|session| in_page(session.id)) {
                // It may have been stored since the list was read.
                if storage.session(session.id)?.is_none() {
                    items.push((**session).clone());
                }
            }
            Ok(Page { items, next })
        });
        let Page { items, next } = read.await?;
        let mut sessions = Vec::with_capacity(items.len());
        for session in items {
            sessions.push(self.as_it_is(session).await?);
        }
        sessions.retain(|session| filter.accepts(session));
        sessions.sort_by_key(|session| std::cmp::Reverse(session.id));
        Ok(Page { items: sessions, next })
    }

    /// The sessions that are live.
    ///
    /// # Errors
    /// The states of the store.
    pub async fn summary(&self) -> Result<Summary, HostError> {
        let (starting, tenant) = (self.starting(), self.tenant_id());
        let summary = self.read(move |storage| {
            let (mut live_sessions, mut live_session_ids) = storage.live_session_ids(tenant)?;
            for session in starting {
                if storage.session(session.id)?.is_none() {
                    live_sessions += 1;
                    live_session_ids.push(session.id);
                }
            }
            live_session_ids.sort_unstable();
            live_session_ids.truncate(MAX_LIVE_IDS);
            Ok(Summary { live_sessions, live_session_ids })
        });
        summary.await
    }

    /// What the store holds.
    ///
    /// # Errors
    /// The states of the store.
    pub async fn contents(&self) -> Result<Contents, HostError> {
        self.read(vm_storage::Storage::contents).await
    }

    /// The tenant's sessions that are being made, as they were when that began.
    fn starting(&self) -> Vec<Arc<Session>> {
        let all = self.sessions().all();
        let own = all.iter().filter(|live| live.belongs_to(self.tenant_id()) && live.is_starting());
        own.filter_map(|live| live.initial()).collect()
    }

    /// The tenant's execution of this id that is on its way.
    pub(crate) fn running_one(&self, id: ExecutionId) -> Option<Arc<RunningExecution>> {
        let own = |running: &Arc<RunningExecution>| running.execution.tenant_id == self.tenant_id();
        self.running().find(id).filter(own)
    }

    /// One execution; one that runs is found too.
    ///
    /// # Errors
    /// `ExecutionNotFound`, and the states of the store.
    pub async fn execution(&self, id: ExecutionId) -> Result<Execution, HostError> {
        let running = self.running_one(id);
        let stored = self.read(move |storage| storage.execution(id)).await?;
        let found = stored.or_else(|| running.map(|running| running.execution.clone()));
        let own = found.filter(|execution| execution.tenant_id == self.tenant_id());
        own.ok_or(HostError::ExecutionNotFound(id))
    }

    /// Executions of a session, newest first, the one that runs at the head of the first page.
    ///
    /// # Errors
    /// `SessionNotFound`, and the states of the store.
    pub async fn list_executions(
        &self,
        session: SessionId,
        page: PageRequest<u64>,
    ) -> Result<Page<Execution, u64>, HostError> {
        let tenant = self.tenant_id();
        let is_own = |live: &Arc<LiveSession>| live.is_starting() && live.belongs_to(tenant);
        let starting = self.sessions().get(session).is_some_and(|live| is_own(&live));
        let running = self.running().of(session).filter(|_| page.cursor.is_none());
        let stored = self.read(move |storage| {
            let stored = storage.session(session)?;
            let known = starting || stored.is_some_and(|stored| stored.tenant_id == tenant);
            if known { storage.executions(session, page).map(Some) } else { Ok(None) }
        });
        let mut page = stored.await?.ok_or(HostError::SessionNotFound(session))?;
        if let Some(running) = running
            && page.items.iter().all(|execution| execution.id != running.execution.id)
        {
            page.items.insert(0, running.execution.clone());
        }
        Ok(page)
    }

    /// Durable events of an execution with a `seq` above `after_seq`, in order, as many as are read at one
    /// time; `next` is the last of them where there may be more.
    ///
    /// # Errors
    /// `ExecutionNotFound`, `Storage(EventsExpired)` when some of them are not kept any more, and
    /// the states of the store.
    pub async fn events(
        &self,
        execution: ExecutionId,
        after_seq: u64,
    ) -> Result<Page<Event, u64>, HostError> {
        let (running, tenant) = (self.running_one(execution).is_some(), self.tenant_id());
        let page = PageRequest { limit: MAX_EVENTS, cursor: Some(after_seq) };
        let read = move |storage: &vm_storage::Storage| {
            let is_own = |execution: &Execution| execution.tenant_id == tenant;
            storage.events_page(execution, page, MAX_EVENTS_BYTES, is_own)
        };
        match self.read(read).await? {
            None if running => Ok(Page { items: Vec::new(), next: None }),
            stored => stored.ok_or(HostError::ExecutionNotFound(execution)),
        }
    }

    /// Reads the store on a blocking thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&vm_storage::Storage) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, HostError> {
        let storage = self.storage().clone();
        Ok(blocking(move || read(&storage)).await??)
    }

    /// A session as storage has it, unless it was starting and nobody starts it any more.
    async fn as_it_is(&self, session: Session) -> Result<Session, HostError> {
        let nobody_starts = |session: &Session| {
            session.status == SessionStatus::Starting && !self.starts(session.id)
        };
        if !nobody_starts(&session) {
            return Ok(session);
        }
        // It may have come to its end since it was read.
        let id = session.id;
        let again = self.read(move |storage| storage.session(id)).await?;
        let mut session = again.unwrap_or(session);
        if nobody_starts(&session) {
            session.status = SessionStatus::Crashed;
            session.last_error = Some(LOST.to_owned());
        }
        Ok(session)
    }

    fn starts(&self, id: SessionId) -> bool {
        self.sessions().get(id).is_some_and(|live| live.is_starting())
    }
}
