//! Reads: each sees one committed state of the store.
//!
//! Invariant: a read never waits for a commit. It may read the file, so **call it off the async
//! workers** (`spawn_blocking`) wherever that could hurt. Every list is bounded by a constant here
//! or by one that the writer enforces.

use super::Storage;
use crate::database::Fault;
use crate::error::StorageError;
use crate::event::Event;
use crate::execution::Execution;
use crate::id::{ExecutionId, SessionId, TemplateId};
use crate::record::decode;
use crate::session::{Session, SessionFilter};
use crate::tables::{Noun, Snapshot, decode_event, get, number_of, numbered};
use crate::template::Template;
use redb::{ReadableTable, ReadableTableMetadata};

/// The most sessions of one list: some 2 MB of answer; a client with more has a filter.
pub const MAX_SESSIONS_LISTED: usize = 1_000;

/// The most executions of one list, for the same reason.
pub const MAX_EXECUTIONS_LISTED: usize = 1_000;

/// The most events of one read: more than the default `max_events`, so that one read nearly always
/// suffices. Who wants the rest reads on after the last `seq`.
pub const MAX_EVENTS_READ: usize = 65_536;

impl Storage {
    /// One template, or `None` where there is none of this id.
    pub fn template(&self, id: TemplateId) -> Result<Option<Template>, StorageError> {
        self.read(|snapshot| get(&snapshot.templates, Noun::Template(id)))
    }

    /// All templates, oldest first; at most [`MAX_TEMPLATES`](crate::MAX_TEMPLATES).
    pub fn templates(&self) -> Result<Vec<Template>, StorageError> {
        self.read(|snapshot| {
            let rows = snapshot.templates.iter()?.map(|row| {
                let (key, record) = row?;
                let id = TemplateId::from_bytes(key.value());
                Ok(decode(&Noun::Template(id), record.value())?)
            });
            rows.collect()
        })
    }

    /// One session, or `None` where there is none of this id.
    pub fn session(&self, id: SessionId) -> Result<Option<Session>, StorageError> {
        self.read(|snapshot| get(&snapshot.sessions, Noun::Session(id)))
    }

    /// Sessions, newest first: at most `limit`, and at most [`MAX_SESSIONS_LISTED`].
    ///
    /// A filter for live sessions walks only those; any other may walk all sessions there are.
    pub fn sessions(
        &self,
        filter: &SessionFilter,
        limit: usize,
    ) -> Result<Vec<Session>, StorageError> {
        let limit = limit.min(MAX_SESSIONS_LISTED);
        self.read(|snapshot| {
            if filter.is_for_live_ones() {
                let ids = live_ids(snapshot)?.into_iter().rev();
                let sessions =
                    ids.filter_map(|id| get(&snapshot.sessions, Noun::Session(id)).transpose());
                return take(sessions, filter, limit);
            }
            let sessions = snapshot.sessions.iter()?.rev().map(|row| {
                let (key, record) = row?;
                Ok(decode(&Noun::Session(SessionId::from_bytes(key.value())), record.value())?)
            });
            take(sessions, filter, limit)
        })
    }

    /// How many sessions are `starting` or `ready`; costs the same however many there are.
    pub fn live_session_count(&self) -> Result<u64, StorageError> {
        self.read(|snapshot| Ok(snapshot.live_sessions.len()?))
    }

    /// Which sessions are `starting` or `ready`, sorted.
    pub fn live_session_ids(&self) -> Result<Vec<SessionId>, StorageError> {
        self.read(live_ids)
    }

    /// One execution, or `None` where there is none of this id.
    pub fn execution(&self, id: ExecutionId) -> Result<Option<Execution>, StorageError> {
        self.read(|snapshot| get(&snapshot.executions, Noun::Execution(id)))
    }

    /// Executions of a session, newest first: at most `limit`, and at most
    /// [`MAX_EXECUTIONS_LISTED`]. Empty for a session that is not there.
    pub fn executions(
        &self,
        session_id: SessionId,
        limit: usize,
    ) -> Result<Vec<Execution>, StorageError> {
        let owner = session_id.as_bytes();
        let (first, last) = (numbered(owner, 0), numbered(owner, u64::MAX));
        self.read(|snapshot| {
            let rows = snapshot.session_executions.range::<&[u8; 24]>(&first..=&last)?.rev();
            let executions = rows.map(|row| {
                let id = ExecutionId::from_bytes(row?.1.value());
                get(&snapshot.executions, Noun::Execution(id))?.ok_or_else(|| dangling(id))
            });
            executions.take(limit.min(MAX_EXECUTIONS_LISTED)).collect()
        })
    }

    /// Events of an execution with a `seq` above `after_seq`, in order: at most `limit`, and at
    /// most [`MAX_EVENTS_READ`]. Empty for an execution that is not there.
    pub fn events(
        &self,
        execution_id: ExecutionId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Event>, StorageError> {
        let Some(first) = after_seq.checked_add(1) else {
            return Ok(Vec::new());
        };
        let owner = execution_id.as_bytes();
        let (first, last) = (numbered(owner, first), numbered(owner, u64::MAX));
        self.read(|snapshot| {
            let events = snapshot.events.range::<&[u8; 24]>(&first..=&last)?.map(|row| {
                let (key, bytes) = row?;
                Ok(decode_event(execution_id, number_of(key.value()), bytes.value())?)
            });
            events.take(limit.min(MAX_EVENTS_READ)).collect()
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Snapshot) -> Result<T, Fault>) -> Result<T, StorageError> {
        let outcome = self.slot.read(read);
        if let Err(StorageError::Unavailable { .. }) = outcome {
            self.queue.wake();
        }
        outcome
    }
}

/// The first sessions that a filter accepts.
fn take(
    sessions: impl Iterator<Item = Result<Session, Fault>>,
    filter: &SessionFilter,
    limit: usize,
) -> Result<Vec<Session>, Fault> {
    sessions
        .filter(|session| session.as_ref().map_or(true, |session| filter.accepts(session)))
        .take(limit)
        .collect()
}

fn live_ids(snapshot: &Snapshot) -> Result<Vec<SessionId>, Fault> {
    snapshot.live_sessions.iter()?.map(|row| Ok(SessionId::from_bytes(row?.0.value()))).collect()
}

fn dangling(id: ExecutionId) -> Fault {
    Fault::Refused(StorageError::DamagedRecord {
        record: Noun::Execution(id).to_string(),
        detail: "its session names it and it is not there".to_owned(),
    })
}
