//! What the writer can be asked for, already encoded.
//!
//! Invariant: everything that can be checked without the tables has been checked by the time that
//! a request is made.

use super::sweep::Swept;
use crate::error::StorageError;
use crate::execution::Execution;
use crate::heap::codec::{MAX_PATCH_BYTES, encode_patch};
use crate::heap::{HeapChange, HeapCommit, HeapMemory, PageWrite};
use crate::id::{ExecutionId, SessionId, TemplateId, TenantId, TokenId};
use crate::kv::{KvCommit, MAX_KV_KEY_BYTES, MAX_KV_VALUE_BYTES};
use crate::record::encode;
use crate::retention::Retention;
use crate::session::{Session, SessionStatus};
use crate::storage::write::ExecutionCommit;
use crate::tables::{Noun, encode_event};
use crate::template::Template;
use crate::tenant::{Tenant, Token};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// The answer to one request, sent when it is durable or refused.
pub(crate) type Reply = oneshot::Sender<Result<Done, StorageError>>;

/// What a request that was carried out has to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// The ordinal of an execution that was committed.
    pub(crate) ordinal: u64,
    /// What a step of sweeping did.
    pub(crate) swept: Swept,
    /// Whether compacting gained anything.
    pub(crate) compacted: bool,
}

/// One message to the writer.
#[expect(clippy::large_enum_variant, reason = "nearly every message is a write")]
pub(crate) enum Request {
    /// Write something.
    Write(WriteRequest),
    /// Compact the file, which nobody may use meanwhile.
    Compact(Reply),
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

impl WriteRequest {
    /// Whom to answer, and the room that is given back with that.
    pub(crate) fn reply(self) -> (Reply, OwnedSemaphorePermit) {
        (self.reply, self.room)
    }
}

/// A change to a record; gives whether it is to be kept.
pub(crate) type Change<T> = Box<dyn FnOnce(&mut T) -> bool + Send>;

/// What to write.
pub(crate) enum Work {
    CreateTenant(Tenant),
    UpdateTenant { id: TenantId, change: Change<Tenant> },
    DeleteTenant { id: TenantId },
    CreateToken(Token),
    DeleteToken { id: TokenId },
    CreateTemplate(PreparedTemplate),
    UpdateTemplate { id: TemplateId, change: Change<Template> },
    DeleteTemplate { id: TemplateId, expected: Option<Vec<u64>> },
    PutSession(PreparedSession),
    PurgeSession { id: SessionId },
    PostponeExpiry { id: SessionId, due_ms: u64, next_ms: Option<u64> },
    CommitExecution(PreparedExecution),
    Abandon { executions: Vec<ExecutionId>, sessions: Vec<SessionId> },
    Sweep(Retention),
}

impl Work {
    /// Whether it only makes room: on a disk that is full, that is what is still carried out.
    pub(crate) fn makes_room(&self) -> bool {
        match self {
            Self::PurgeSession { .. }
            | Self::DeleteTemplate { .. }
            | Self::DeleteTenant { .. }
            | Self::DeleteToken { .. }
            | Self::Sweep(_) => true,
            Self::PutSession(session) => !session.status.is_live(),
            Self::CreateTenant(_)
            | Self::UpdateTenant { .. }
            | Self::CreateToken(_)
            | Self::CreateTemplate(_)
            | Self::UpdateTemplate { .. }
            | Self::PostponeExpiry { .. }
            | Self::CommitExecution(_)
            | Self::Abandon { .. } => false,
        }
    }

    /// Whether its caller may write it: it takes little more than the disk's own time, and the caller
    /// has nothing else to do meanwhile.
    pub(crate) fn may_be_led(&self) -> bool {
        match self {
            Self::CreateTenant(_)
            | Self::CreateToken(_)
            | Self::DeleteToken { .. }
            | Self::CreateTemplate(_)
            | Self::DeleteTemplate { .. }
            | Self::PutSession(_)
            | Self::PurgeSession { .. }
            | Self::PostponeExpiry { .. } => true,
            // One that is running would stand still for as long as the disk takes.
            Self::CommitExecution(execution) => execution.is_over,
            // A change is somebody else's code.
            Self::UpdateTenant { .. }
            | Self::UpdateTemplate { .. }
            | Self::DeleteTenant { .. }
            | Self::Abandon { .. }
            | Self::Sweep(_) => false,
        }
    }

    /// The bytes of its records: what it costs to hold and to write. One that has none counts as
    /// a record of some size that it will read and write.
    pub(crate) fn bytes(&self) -> usize {
        const SMALL_RECORD: usize = 1_024;
        match self {
            Self::CreateTemplate(template) => template.record.len(),
            Self::CreateTenant(_)
            | Self::UpdateTenant { .. }
            | Self::DeleteTenant { .. }
            | Self::CreateToken(_)
            | Self::DeleteToken { .. }
            | Self::UpdateTemplate { .. }
            | Self::DeleteTemplate { .. }
            | Self::PurgeSession { .. }
            | Self::PostponeExpiry { .. }
            | Self::Abandon { .. }
            | Self::Sweep(_) => SMALL_RECORD,
            Self::PutSession(session) => session.bytes(),
            Self::CommitExecution(execution) => {
                execution.record.len()
                    + execution.events.iter().map(Vec::len).sum::<usize>()
                    + execution.session.as_ref().map_or(0, PreparedSession::bytes)
                    + execution.heap.as_ref().map_or(0, PreparedHeap::bytes)
                    + execution.kv.as_deref().map_or(0, kv_bytes)
            }
        }
    }
}

/// A template ready to be written.
pub(crate) struct PreparedTemplate {
    pub(crate) id: TemplateId,
    pub(crate) tenant: TenantId,
    pub(crate) is_shared: bool,
    /// Its name, where that is to be unique.
    pub(crate) unique_name: Option<String>,
    pub(crate) record: Vec<u8>,
}

impl PreparedTemplate {
    pub(crate) fn of(template: &Template) -> Result<Self, StorageError> {
        let Template { id, tenant_id, is_shared, .. } = *template;
        let unique_name = template.is_unique.then(|| template.name.clone());
        let record = encode(&Noun::Template(id), template)?;
        Ok(Self { id, tenant: tenant_id, is_shared, unique_name, record })
    }
}

/// A session ready to be written.
pub(crate) struct PreparedSession {
    pub(crate) id: SessionId,
    pub(crate) tenant: TenantId,
    pub(crate) status: SessionStatus,
    /// When it is first to be looked at because of its template's TTL, in milliseconds since 1970.
    pub(crate) due_ms: Option<u64>,
    pub(crate) record: Vec<u8>,
    /// What it was left with by what is no execution: libraries.
    pub(crate) heap: Option<PreparedHeap>,
}

impl PreparedSession {
    pub(crate) fn of(session: &Session, heap: Option<HeapCommit>) -> Result<Self, StorageError> {
        Ok(Self {
            id: session.id,
            tenant: session.tenant_id,
            status: session.status,
            due_ms: session.due_ms(session.created_at),
            record: encode(&Noun::Session(session.id), session)?,
            heap: heap.map(|heap| PreparedHeap::of(session.id, heap)).transpose()?,
        })
    }

    fn bytes(&self) -> usize {
        self.record.len() + self.heap.as_ref().map_or(0, PreparedHeap::bytes)
    }
}

/// A change of a heap ready to be written.
pub(crate) struct PreparedHeap {
    pub(crate) follows: u64,
    pub(crate) memory: HeapMemory,
    pub(crate) rows: HeapRows,
}

/// The rows that a change of a heap writes.
pub(crate) enum HeapRows {
    Patch(Vec<u8>),
    Pages(Vec<(u32, PageWrite)>),
}

impl PreparedHeap {
    fn of(session: SessionId, heap: HeapCommit) -> Result<Self, StorageError> {
        let HeapCommit { follows, memory, change } = heap;
        let rows = match change {
            HeapChange::Patch(patch) => {
                let row = encode_patch(follows, memory, &patch);
                HeapRows::Patch(row.ok_or_else(|| StorageError::RecordTooLarge {
                    record: format!("patch of the heap of session {session}"),
                    bytes: patch.bytes(),
                    limit: MAX_PATCH_BYTES,
                })?)
            }
            HeapChange::Pages(pages) => HeapRows::Pages(pages),
        };
        Ok(Self { follows, memory, rows })
    }

    fn bytes(&self) -> usize {
        match &self.rows {
            HeapRows::Patch(row) => row.len(),
            HeapRows::Pages(pages) => pages.iter().map(|(_, page)| page.bytes()).sum(),
        }
    }
}

/// A commit of an execution ready to be written.
pub(crate) struct PreparedExecution {
    pub(crate) id: ExecutionId,
    pub(crate) tenant: TenantId,
    pub(crate) session_id: SessionId,
    pub(crate) is_over: bool,
    pub(crate) record: Vec<u8>,
    /// The number of the first event; the others follow on.
    pub(crate) first_seq: u64,
    pub(crate) events: Vec<Vec<u8>>,
    pub(crate) session: Option<PreparedSession>,
    pub(crate) heap: Option<PreparedHeap>,
    pub(crate) kv: Option<Box<KvCommit>>,
}

impl PreparedExecution {
    pub(crate) fn of(commit: ExecutionCommit) -> Result<Self, StorageError> {
        let ExecutionCommit { execution, new_events, session, heap, kv } = commit;
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
            tenant: execution.tenant_id,
            session_id: execution.session_id,
            is_over: execution.status.is_over(),
            record: encode(&Noun::Execution(execution.id), &execution)?,
            first_seq,
            events,
            session: session.map(|own| prepare_own(&execution, &own)).transpose()?,
            heap: heap.map(|heap| PreparedHeap::of(execution.session_id, heap)).transpose()?,
            kv: kv.map(prepare_kv).transpose()?,
        })
    }
}

fn prepare_kv(kv: KvCommit) -> Result<Box<KvCommit>, StorageError> {
    for (key, value) in &kv.writes {
        let too_large = |what: &str, bytes: usize, limit: usize| {
            let record = format!("{what} of workspace {}", kv.workspace);
            Err(StorageError::RecordTooLarge { record, bytes, limit })
        };
        if key.len() > MAX_KV_KEY_BYTES {
            return too_large("key", key.len(), MAX_KV_KEY_BYTES);
        }
        if let Some(value) = value
            && value.len() > MAX_KV_VALUE_BYTES
        {
            return too_large("value", value.len(), MAX_KV_VALUE_BYTES);
        }
    }
    Ok(Box::new(kv))
}

/// What a workspace's part of a commit costs to hold and to write. What was read may have to be looked
/// at again, each key of it in some microsecond.
fn kv_bytes(kv: &KvCommit) -> usize {
    const A_READ: usize = 64;
    let written =
        kv.writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
    written.sum::<usize>() + kv.reads.len() * A_READ
}

fn prepare_own(execution: &Execution, session: &Session) -> Result<PreparedSession, StorageError> {
    if session.id == execution.session_id {
        return PreparedSession::of(session, None);
    }
    Err(StorageError::ForeignSession {
        execution: execution.id,
        expected: execution.session_id,
        found: session.id,
    })
}
