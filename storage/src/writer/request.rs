//! What the writer can be asked for, already encoded.
//!
//! Invariant: everything that can be checked without the tables has been checked by the time that
//! a request is made.

use crate::error::StorageError;
use crate::execution::Execution;
use crate::id::{ExecutionId, SessionId, TemplateId};
use crate::record::encode;
use crate::session::Session;
use crate::storage::write::ExecutionCommit;
use crate::tables::{Noun, encode_event};
use crate::template::Template;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// The answer to one request, sent when it is durable or refused.
pub(crate) type Reply = oneshot::Sender<Result<(), StorageError>>;

/// One message to the writer.
pub(crate) enum Request {
    /// Write something.
    Write(WriteRequest),
    /// Look whether the database wants reopening.
    Wake,
    /// End, and answer when the file is closed.
    Stop(Reply),
}

/// One write and whom to answer.
pub(crate) struct WriteRequest {
    pub(crate) work: Work,
    pub(crate) bytes: usize,
    pub(crate) reply: Reply,
    /// The room that its bytes take in the queue, given back when it is dropped.
    pub(crate) room: OwnedSemaphorePermit,
}

/// A change to a template; gives whether it is to be kept.
pub(crate) type TemplateChange = Box<dyn FnOnce(&mut Template) -> bool + Send>;

/// What to write.
pub(crate) enum Work {
    CreateTemplate { id: TemplateId, record: Vec<u8> },
    UpdateTemplate { id: TemplateId, change: TemplateChange },
    DeleteTemplate { id: TemplateId },
    PutSession(PreparedSession),
    CommitExecution(PreparedExecution),
}

impl Work {
    /// The bytes of its records: what it costs to hold and to write. One that has none counts as
    /// a record of some size that it will read and write.
    pub(crate) fn bytes(&self) -> usize {
        const SMALL_RECORD: usize = 1_024;
        match self {
            Self::CreateTemplate { record, .. } => record.len(),
            Self::UpdateTemplate { .. } | Self::DeleteTemplate { .. } => SMALL_RECORD,
            Self::PutSession(session) => session.record.len(),
            Self::CommitExecution(execution) => {
                execution.record.len()
                    + execution.events.iter().map(Vec::len).sum::<usize>()
                    + execution.session.as_ref().map_or(0, |session| session.record.len())
            }
        }
    }
}

/// A session ready to be written.
pub(crate) struct PreparedSession {
    pub(crate) id: SessionId,
    pub(crate) is_live: bool,
    pub(crate) record: Vec<u8>,
}

impl PreparedSession {
    pub(crate) fn of(session: &Session) -> Result<Self, StorageError> {
        Ok(Self {
            id: session.id,
            is_live: session.status.is_live(),
            record: encode(&Noun::Session(session.id), session)?,
        })
    }
}

/// A commit of an execution ready to be written.
pub(crate) struct PreparedExecution {
    pub(crate) id: ExecutionId,
    pub(crate) session_id: SessionId,
    pub(crate) is_over: bool,
    pub(crate) record: Vec<u8>,
    /// The number of the first event; the others follow on.
    pub(crate) first_seq: u64,
    pub(crate) events: Vec<Vec<u8>>,
    pub(crate) session: Option<PreparedSession>,
}

impl PreparedExecution {
    pub(crate) fn of(commit: &ExecutionCommit) -> Result<Self, StorageError> {
        let ExecutionCommit { execution, new_events, session } = commit;
        let first_seq = new_events.first().map_or(0, |event| event.seq);
        let mut events = Vec::with_capacity(new_events.len());
        for (event, expected) in new_events.iter().zip(first_seq..) {
            if event.execution_id != execution.id {
                let (execution, found) = (execution.id, event.execution_id);
                return Err(StorageError::ForeignEvent { execution, found });
            }
            if event.seq != expected {
                let (execution, found) = (execution.id, event.seq);
                return Err(StorageError::SequenceGap { execution, expected, found });
            }
            events.push(encode_event(event)?);
        }
        Ok(Self {
            id: execution.id,
            session_id: execution.session_id,
            is_over: execution.status.is_over(),
            record: encode(&Noun::Execution(execution.id), execution)?,
            first_seq,
            events,
            session: session.as_ref().map(|own| prepare_own(execution, own)).transpose()?,
        })
    }
}

fn prepare_own(execution: &Execution, session: &Session) -> Result<PreparedSession, StorageError> {
    if session.id == execution.session_id {
        return PreparedSession::of(session);
    }
    Err(StorageError::ForeignSession {
        execution: execution.id,
        expected: execution.session_id,
        found: session.id,
    })
}
