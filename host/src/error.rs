//! Everything the host can refuse, for callers to tell apart without reading a message.
//!
//! A script's failure is none of these: it is an execution with its status and error.

use crate::engine::GuestError;
use crate::programs::ProgramError;
use crate::secrets::SecretsError;
use crate::tenancy::TokenRefused;
use std::time::Duration;
use vm_storage::{
    ExecutionErrorCode, ExecutionId, SessionId, SessionStatus, StorageError, TemplateId, TenantId,
    TokenId,
};

/// What the host refuses, and why.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no such template.
    #[error("there is no template {0}")]
    TemplateNotFound(TemplateId),
    /// The template is another tenant's, which shares it.
    #[error("template {0} is shared by another tenant, and can only be read")]
    TemplateReadOnly(TemplateId),
    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    TenantNotFound(TenantId),
    /// There is no such token.
    #[error("there is no token {0}")]
    TokenNotFound(TokenId),
    /// The token that a change was asked for with is not taken any more.
    #[error(transparent)]
    TokenRefused(#[from] TokenRefused),
    /// The system gave no randomness for a secret.
    #[error("the system gave no randomness: {0}")]
    Entropy(String),
    /// There is no such session.
    #[error("there is no session {0}")]
    SessionNotFound(SessionId),
    /// There is no such execution.
    #[error("there is no execution {0}")]
    ExecutionNotFound(ExecutionId),
    /// The session takes no executions.
    #[error("session {id} is {}", status_name(*.status))]
    SessionNotReady {
        /// The session.
        id: SessionId,
        /// What it is instead.
        status: SessionStatus,
    },
    /// Another execution runs in the session.
    #[error("session {0} is running another execution")]
    SessionBusy(SessionId),
    /// The worktree is no directory that can be used.
    #[error("the worktree cannot be used: {0}")]
    Worktree(#[from] WorktreeError),
    /// A program that scripts may run is not there.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// What is to be reached of the network is no address.
    #[error("cannot allow what is to be reached: {0}")]
    Address(String),
    /// The file of secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The path of a stored session's worktree does not lead to its directory any more.
    #[error("the worktree of session {session} cannot be used: {reason}")]
    WorktreeUnavailable {
        /// The session.
        session: SessionId,
        /// What is wrong with it.
        reason: String,
    },
    /// A stored session cannot be restored by this host; another may have what it needs.
    #[error("session {session} cannot be restored: {source}")]
    GuestUnavailable {
        /// The session.
        session: SessionId,
        /// What is missing.
        source: GuestError,
    },
    /// A snippet, or the arguments and environment of a file, are larger than an execution's record
    /// may hold.
    #[error("the input has {bytes} bytes, past the limit of {limit}")]
    InputTooLarge {
        /// Its size.
        bytes: usize,
        /// [`MAX_INPUT_BYTES`](crate::limits::MAX_INPUT_BYTES).
        limit: usize,
    },
    /// The path of a file to run is not one.
    #[error("invalid path '{path}': {source}")]
    InvalidPath {
        /// As the caller gave it.
        path: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// The file to run cannot be read.
    #[error("cannot read '{path}': {source}")]
    File {
        /// As the caller gave it.
        path: String,
        /// What is wrong with it.
        source: FileError,
    },
    /// A startup file's path is wrong, or it cannot be read. The session stays, crashed.
    #[error("session {session} cannot start: {source}")]
    StartupFile {
        /// The session.
        session: SessionId,
        /// `InvalidPath` or `File`.
        source: Box<HostError>,
    },
    /// A startup file's mode is none that is supported. The session stays, crashed.
    #[error("session {session} cannot start: startup mode '{mode}' is not supported")]
    StartupMode {
        /// The session.
        session: SessionId,
        /// The mode.
        mode: String,
    },
    /// A startup file threw, or was stopped by a limit. The session stays, crashed.
    #[error("session {session} cannot start: {message}")]
    StartupFailed {
        /// The session.
        session: SessionId,
        /// The execution of the file that failed; none for a library.
        execution: Option<ExecutionId>,
        /// What stopped it; none when it threw.
        code: Option<ExecutionErrorCode>,
        /// What it threw, or what stopped it, in words.
        message: String,
    },
    /// A library of the template cannot be loaded. The session stays, crashed.
    #[error("failed to load libraries: {source}")]
    Library {
        /// The session.
        session: SessionId,
        /// What is wrong with it.
        source: LibraryError,
    },
    /// There are as many of something as this host allows.
    #[error("there are {limit} {what}, as many as this host allows")]
    CapacityExceeded {
        /// Of what.
        what: Capacity,
        /// How many.
        limit: u32,
        /// When to try again.
        retry_after: Duration,
    },
    /// A template has no such artifact.
    #[error("template {template} has no artifact {hash}")]
    ArtifactNotFound {
        /// The template.
        template: TemplateId,
        /// What was asked for.
        hash: String,
    },
    /// There is a backup of this name.
    #[error("there is a backup {name} already")]
    BackupExists {
        /// The name.
        name: String,
    },
    /// A backup cannot be written or read.
    #[error("the backup failed: {0}")]
    Backup(String),
    /// The host is shutting down, and begins nothing.
    #[error("the host is shutting down")]
    Stopping,
    /// The folder of libraries cannot be read.
    #[error("the library folder cannot be read: {0}")]
    LibraryFolder(#[source] LibraryError),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The WebAssembly engine failed in a way that is not a script's doing.
    #[error("the engine failed: {0}")]
    Engine(String),
}

/// What a host has a bounded number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// Sessions that are starting or ready.
    Sessions,
    /// Executions, and sessions being made, that have started or wait to start.
    Executions,
}

impl std::fmt::Display for Capacity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sessions => "live sessions",
            Self::Executions => "executions under way",
        })
    }
}

pub use crate::library::LibraryError;
pub use crate::worktree::{FileError, PathError, WorktreeError};

impl HostError {
    /// A failure to write or read a backup.
    #[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
    pub(crate) fn backup(error: std::io::Error) -> Self {
        Self::Backup(error.to_string())
    }

    /// A failure of wasmtime's, with its causes.
    #[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
    pub(crate) fn engine(error: wasmtime::Error) -> Self {
        Self::Engine(format!("{error:#}"))
    }
}

impl From<vm_guest::SplitError> for HostError {
    fn from(error: vm_guest::SplitError) -> Self {
        Self::Engine(error.to_string())
    }
}

fn status_name(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Starting => "starting",
        SessionStatus::Ready => "ready",
        SessionStatus::Crashed => "crashed",
        SessionStatus::Closed => "closed",
    }
}
