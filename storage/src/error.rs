//! Everything that the store can refuse, and why.
//!
//! Invariant: each variant's text is one sentence that names the file or the id it is about.
//! Which status a client sees is for `api` to say.

use crate::id::{ExecutionId, SessionId, TemplateId, TenantId, TokenId};
use crate::kv::{KvQuota, KvUsage};
use std::io;
use std::path::PathBuf;

/// Everything that the store can refuse.
///
/// The first group comes from [`Storage::open`](crate::Storage::open), the second from requests
/// that cannot be met as they stand, the third from the state of the store.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file is not a database of ours, or not as it was last written.
    #[error("the database {} is damaged: {detail}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file was written by a later version of this program.
    #[error("the database {} has format {found}, newer than the {supported} that this version reads", path.display())]
    NewerFormat {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The format of this version.
        supported: u64,
    },
    /// The file was written by an earlier version of this program.
    #[error("the database {} has format {found}, older than the {supported} that this version reads", path.display())]
    OlderFormat {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The format of this version.
        supported: u64,
    },
    /// Another process, or another [`Storage`](crate::Storage) of this one, has the file open.
    #[error("the database {} is open elsewhere", path.display())]
    OpenElsewhere {
        /// The database.
        path: PathBuf,
    },
    /// There is no folder for the file to be in.
    #[error("the folder of the database {} does not exist", path.display())]
    MissingFolder {
        /// The database.
        path: PathBuf,
    },
    /// The operating system does not let the file be read and written.
    #[error("the database {} cannot be opened for reading and writing: {source}", path.display())]
    NotWritable {
        /// The database.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    UnknownTenant(TenantId),
    /// A tenant of this id is there already.
    #[error("tenant {0} exists already")]
    DuplicateTenant(TenantId),
    /// Another tenant has this name.
    #[error("there is a tenant named {name:?} already")]
    TenantNameTaken {
        /// The name.
        name: String,
    },
    /// There is no room for another tenant.
    #[error("there are {limit} tenants, as many as there may be")]
    TooManyTenants {
        /// The bound, [`MAX_TENANTS`](crate::MAX_TENANTS).
        limit: u64,
    },
    /// The tenant still owns templates or sessions.
    #[error("tenant {0} has templates or sessions")]
    TenantNotEmpty(TenantId),
    /// The tenant that is there from the beginning stays, and is served.
    #[error("the local tenant can be neither suspended nor deleted")]
    LocalTenant,
    /// There is no such token.
    #[error("there is no token {0}")]
    UnknownToken(TokenId),
    /// There is no room for another token.
    #[error("there are {limit} tokens, as many as there may be")]
    TooManyTokens {
        /// The bound, [`MAX_TOKENS`](crate::MAX_TOKENS).
        limit: u64,
    },
    /// There is no such template.
    #[error("there is no template {0}")]
    UnknownTemplate(TemplateId),
    /// A template of this id is there already.
    #[error("template {0} exists already")]
    DuplicateTemplate(TemplateId),
    /// Another template of the tenant has this name, and both are to be unique.
    #[error("there is a template named {name:?} already")]
    TemplateNameTaken {
        /// The name.
        name: String,
    },
    /// The template is not of the version that it was to be.
    #[error("template {id} is of version {version}")]
    TemplateVersion {
        /// The template.
        id: TemplateId,
        /// Its version.
        version: u64,
    },
    /// There is no room for another template.
    #[error("there are {limit} templates, as many as there may be")]
    TooManyTemplates {
        /// The bound, [`MAX_TEMPLATES`](crate::MAX_TEMPLATES).
        limit: u64,
    },
    /// An update tried to give a template another id.
    #[error("template {0} cannot change its id")]
    TemplateRenamed(TemplateId),
    /// An execution was committed for a session that is not there.
    #[error("there is no session {0}")]
    UnknownSession(SessionId),
    /// A session that is starting or ready cannot be purged.
    #[error("session {0} is live")]
    SessionLive(SessionId),
    /// A change of a heap does not follow the last one: somebody else changed the heap.
    #[error("the heap of session {session} was changed by commit {expected}, not {found}")]
    HeapConflict {
        /// Whose heap it is.
        session: SessionId,
        /// The ordinal of the last change.
        expected: u64,
        /// The ordinal that the change named.
        found: u64,
    },
    /// What an execution saw of its workspace is not so any more: somebody else changed it.
    #[error("what was read of workspace {workspace} has changed")]
    KvConflict {
        /// Its id.
        workspace: String,
    },
    /// A workspace has no room for what an execution wrote.
    #[error(
        "workspace {workspace} would hold {} keys and {} bytes, and may hold {} and {}",
        after.keys, after.bytes, quota.keys, quota.bytes
    )]
    KvQuotaExceeded {
        /// Its id.
        workspace: String,
        /// What it would hold.
        after: KvUsage,
        /// What it may.
        quota: KvQuota,
    },
    /// An execution has read as many keys as it may.
    #[error("an execution may read {limit} keys")]
    KvTooManyReads {
        /// [`MAX_KV_READS`](crate::MAX_KV_READS).
        limit: usize,
    },
    /// An execution was committed with a session, or for a session, that is not its own.
    #[error("execution {execution} belongs to session {expected}, not {found}")]
    ForeignSession {
        /// The execution.
        execution: ExecutionId,
        /// Its session.
        expected: SessionId,
        /// The session that came with it.
        found: SessionId,
    },
    /// An execution was committed with an event of another.
    #[error("an event of execution {found} came with execution {execution}")]
    ForeignEvent {
        /// The execution.
        execution: ExecutionId,
        /// Whose event it is.
        found: ExecutionId,
    },
    /// An execution's events do not continue those it has.
    #[error("execution {execution} continues with event {expected}, not {found}")]
    SequenceGap {
        /// The execution.
        execution: ExecutionId,
        /// The number that comes next.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// An execution that has ended was committed again.
    #[error("execution {0} has ended")]
    ExecutionOver(ExecutionId),
    /// A record nests its JSON so deep that it could be written but not read.
    #[error("the {record} nests {depth} levels, past the limit of {limit}")]
    RecordTooDeep {
        /// Which record.
        record: String,
        /// How deep it nests.
        depth: usize,
        /// The bound, [`MAX_RECORD_DEPTH`](crate::MAX_RECORD_DEPTH).
        limit: usize,
    },
    /// A record is larger than any that the recorder lets through.
    #[error("the {record} has {bytes} bytes, past the limit of {limit}")]
    RecordTooLarge {
        /// Which record.
        record: String,
        /// Its size.
        bytes: usize,
        /// The bound, [`MAX_RECORD_BYTES`](crate::MAX_RECORD_BYTES).
        limit: usize,
    },

    /// A record cannot be decoded.
    #[error("the {record} is damaged: {detail}")]
    DamagedRecord {
        /// Which record.
        record: String,
        /// What was found.
        detail: String,
    },
    /// A heap cannot be loaded.
    #[error("the heap of session {session} is damaged: {detail}")]
    DamagedHeap {
        /// Whose heap it is.
        session: SessionId,
        /// What was found.
        detail: String,
    },
    /// Events that were asked for are not kept any more.
    #[error("the events of execution {execution} are kept from {oldest_seq} on")]
    EventsExpired {
        /// The execution.
        execution: ExecutionId,
        /// The number of the oldest that is kept, or of the next one there would be.
        oldest_seq: u64,
    },
    /// A backup cannot be written where it should be, or is none.
    #[error("the backup {} {problem}", path.display())]
    Backup {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The disk failed or is full, or the store is being reopened or compacted. Whether a write that
    /// was answered so is there after all is not known; it is there whole or not at all.
    #[error("the database {} cannot be used at present: {detail}", path.display())]
    Unavailable {
        /// The database.
        path: PathBuf,
        /// What failed; for the log, not for clients.
        detail: String,
    },
    /// The store was shut down.
    #[error("the database {} is closed", path.display())]
    Closed {
        /// The database.
        path: PathBuf,
    },
}
