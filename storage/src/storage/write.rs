//! Writes: each is one request to the writer, answered once it is durable.
//!
//! Invariant: records are encoded, and their bounds checked, here on the caller's time, so that
//! the one writer only moves bytes. A future dropped after its first poll may still be carried out.

use super::Storage;
use crate::error::StorageError;
use crate::event::Event;
use crate::execution::Execution;
use crate::heap::{HeapChange, HeapCommit, HeapMemory, PageWrite};
use crate::id::{ExecutionId, SessionId, TemplateId, TenantId, TokenId};
use crate::kv::KvCommit;
use crate::retention::Retention;
use crate::session::Session;
use crate::template::Template;
use crate::tenant::{Tenant, Token};
use crate::writer::Swept;
use crate::writer::request::{Change, PreparedExecution, PreparedSession, PreparedTemplate, Work};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tokio::sync::oneshot;

/// What one commit of an execution writes, all of it or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutionCommit {
    /// The execution as it now is.
    pub execution: Execution,
    /// The events since the commit before, numbered on from it.
    pub new_events: Vec<Event>,
    /// Its session, when that changed with it.
    pub session: Option<Session>,
    /// What it did to the session's heap; none when nothing of it stays.
    pub heap: Option<HeapCommit>,
    /// What it did to its workspace's keys, and saw of them; none when it was neither.
    pub kv: Option<KvCommit>,
}

impl Storage {
    /// Keeps a new template with all its parts.
    ///
    /// # Errors
    /// `DuplicateTemplate`, `UnknownTenant`, `TemplateNameTaken`, `TooManyTemplates`, a record bound, or the state of the store.
    pub async fn create_template(&self, template: Template) -> Result<(), StorageError> {
        let template = PreparedTemplate::of(&template)?;
        self.queue.ask(&self.slot, Work::CreateTemplate(template)).await.map(drop)
    }

    /// Changes a template, atomically against every other write; gives what `change` gives.
    ///
    /// `change` runs on the writer, so everyone else's commits wait for it: let it only edit.
    /// When it errs, nothing is written and its error is the answer. `updated_at` is for `change` to set, `version` is counted.
    ///
    /// # Panics
    /// When `change` does.
    ///
    /// # Errors
    /// What `change` gives; `UnknownTemplate`, `TemplateRenamed`, `TemplateNameTaken`, a record bound, or the state of
    /// the store.
    pub async fn update_template<T, E, F>(&self, id: TemplateId, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        F: FnOnce(&mut Template) -> Result<T, E> + Send + 'static,
    {
        self.change(change, |change| Work::UpdateTemplate { id, change }).await
    }

    /// Has the writer make a change, and gives what that gives.
    async fn change<R, T, E>(
        &self,
        change: impl FnOnce(&mut R) -> Result<T, E> + Send + 'static,
        work: impl FnOnce(Change<R>) -> Work,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let (sender, mut outcome) = oneshot::channel::<Result<Result<T, E>, Box<dyn Any + Send>>>();
        let change = Box::new(move |record: &mut R| {
            let result = catch_unwind(AssertUnwindSafe(|| change(record)));
            let keep = matches!(result, Ok(Ok(_)));
            // The caller may have gone; what it asked for is carried out all the same.
            drop(sender.send(result));
            keep
        });
        self.queue.ask(&self.slot, work(change)).await?;
        match outcome.try_recv().expect("checked by the writer: an answer of Ok follows the change")
        {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Keeps a new tenant.
    ///
    /// # Errors
    /// `DuplicateTenant`, `TenantNameTaken`, `TooManyTenants`, or the state of the store.
    pub async fn create_tenant(&self, tenant: Tenant) -> Result<(), StorageError> {
        self.queue.ask(&self.slot, Work::CreateTenant(tenant)).await.map(drop)
    }

    /// Changes a tenant, as [`Storage::update_template`] does a template.
    ///
    /// # Panics
    /// When `change` does.
    ///
    /// # Errors
    /// What `change` gives; `UnknownTenant`, `TenantNameTaken`, `LocalTenant` for what that one may not
    /// be, or the state of the store.
    pub async fn update_tenant<T, E, F>(&self, id: TenantId, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        F: FnOnce(&mut Tenant) -> Result<T, E> + Send + 'static,
    {
        self.change(change, |change| Work::UpdateTenant { id, change }).await
    }

    /// Removes a tenant that owns no templates and sessions, its tokens first, then its workspaces' keys.
    ///
    /// # Errors
    /// `UnknownTenant`, `TenantNotEmpty`, `LocalTenant`, or the state of the store.
    pub async fn delete_tenant(&self, id: TenantId) -> Result<(), StorageError> {
        while self.queue.ask(&self.slot, Work::DeleteTenant { id }).await?.swept.is_unfinished() {}
        Ok(())
    }

    /// Keeps a new token.
    ///
    /// # Errors
    /// `UnknownTenant`, `TooManyTokens`, a record bound, or the state of the store.
    pub async fn create_token(&self, token: Token) -> Result<(), StorageError> {
        self.queue.ask(&self.slot, Work::CreateToken(token)).await.map(drop)
    }

    /// Removes a token.
    ///
    /// # Errors
    /// `UnknownToken`, or the state of the store.
    pub async fn delete_token(&self, id: TokenId) -> Result<(), StorageError> {
        self.queue.ask(&self.slot, Work::DeleteToken { id }).await.map(drop)
    }

    /// Removes a template with all its parts; where versions are `expected`, only one of these.
    ///
    /// # Errors
    /// `UnknownTemplate`, `TemplateVersion`, or the state of the store.
    pub async fn delete_template(
        &self,
        id: TemplateId,
        expected: Option<Vec<u64>>,
    ) -> Result<(), StorageError> {
        self.queue.ask(&self.slot, Work::DeleteTemplate { id, expected }).await.map(drop)
    }

    /// Keeps a session as it now is, new or changed. What is stored of the heap of one that is over
    /// is removed in the background.
    ///
    /// # Errors
    /// A record bound, `UnknownSession` when it was purged, or the state of the store.
    pub async fn put_session(&self, session: Session) -> Result<(), StorageError> {
        let session = PreparedSession::of(&session, None)?;
        self.queue.ask(&self.slot, Work::PutSession(session)).await.map(drop)
    }

    /// Keeps a session with a heap that no execution left, in one transaction.
    ///
    /// # Errors
    /// A record bound, `HeapConflict` when something was committed to its heap before, or the state
    /// of the store.
    pub async fn put_session_with_heap(
        &self,
        session: Session,
        memory: HeapMemory,
        pages: Vec<(u32, PageWrite)>,
    ) -> Result<(), StorageError> {
        let heap = HeapCommit { follows: 0, memory, change: HeapChange::Pages(pages) };
        let session = PreparedSession::of(&session, Some(heap))?;
        self.queue.ask(&self.slot, Work::PutSession(session)).await.map(drop)
    }

    /// Removes a session that is over, with its executions and their events: nobody finds them any
    /// more. Their rows go in the background.
    ///
    /// # Errors
    /// `UnknownSession`, `SessionLive`, or the state of the store.
    pub async fn purge_session(&self, id: SessionId) -> Result<(), StorageError> {
        self.queue.ask(&self.slot, Work::PurgeSession { id }).await.map(drop)
    }

    /// Has a session that was due at one time be due at another, or never.
    ///
    /// # Errors
    /// The state of the store.
    pub async fn postpone_expiry(
        &self,
        id: SessionId,
        due_ms: u64,
        next_ms: Option<u64>,
    ) -> Result<(), StorageError> {
        self.queue.ask(&self.slot, Work::PostponeExpiry { id, due_ms, next_ms }).await.map(drop)
    }

    /// Ends executions that still run and sessions that still start in the store, as a start does
    /// after a crash, because nobody runs or starts them: their last commit failed. Those that have
    /// ended stay as they are.
    ///
    /// # Errors
    /// The state of the store.
    pub async fn abandon(
        &self,
        executions: Vec<ExecutionId>,
        sessions: Vec<SessionId>,
    ) -> Result<(), StorageError> {
        self.queue.ask(&self.slot, Work::Abandon { executions, sessions }).await.map(drop)
    }

    /// Takes one step of what is removed in the background: what belongs to sessions that are over
    /// or purged, and what `retention` does not keep.
    ///
    /// # Errors
    /// The state of the store.
    pub async fn sweep(&self, retention: Retention) -> Result<Swept, StorageError> {
        Ok(self.queue.ask(&self.slot, Work::Sweep(retention)).await?.swept)
    }

    /// Keeps an execution as it now is, its new events, its session, and what it did to the session's
    /// heap and to its workspace's keys, in one transaction. Gives the ordinal of the execution among its session's, from 1.
    ///
    /// Called once when the execution ends; one that takes long may be committed before, as
    /// `running`, with the events so far.
    ///
    /// # Errors
    /// `SequenceGap`, `ForeignEvent`, `ForeignSession`, `UnknownSession`, `ExecutionOver`,
    /// `HeapConflict`, `KvConflict`, `KvQuotaExceeded`, a record bound, or the state of the store.
    pub async fn commit_execution(&self, commit: ExecutionCommit) -> Result<u64, StorageError> {
        let prepared = PreparedExecution::of(commit)?;
        let done = self.queue.ask(&self.slot, Work::CommitExecution(prepared)).await?;
        Ok(done.ordinal)
    }
}
