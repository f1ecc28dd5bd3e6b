//! Everything the API can refuse, and the one place that knows status codes of refusals.
//!
//! Invariant: a client sees `code`, `message` and `details`, none of which shows internals; what
//! they leave out is in `cause`, which goes to the log under the request's id.

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;
use vm_host::{FileError, HostError, PathError, TokenRefused, WorktreeError};
use vm_storage::{StorageError, TenantId};

/// When a client that met a full or failing host may try again, unless the host says otherwise.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Bytes of a message: it may quote what the client sent.
const MAX_MESSAGE_BYTES: usize = 1_024;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:ident $text:literal,)+) => {
        /// What went wrong, as clients tell it apart: the `code` of an error's envelope.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)+
        }

        impl ErrorCode {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The status that it always comes with.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }
        }
    };
}

codes! {
    /// A field is missing, empty or out of its range; an id is malformed; a query value is wrong.
    Validation = BAD_REQUEST "VALIDATION_ERROR",
    /// The body is not JSON, or not of the right shape.
    InvalidRequest = BAD_REQUEST "INVALID_REQUEST",
    /// No route has this path.
    RouteNotFound = NOT_FOUND "ROUTE_NOT_FOUND",
    /// The route has other methods; `Allow` names them.
    MethodNotAllowed = METHOD_NOT_ALLOWED "METHOD_NOT_ALLOWED",
    /// The body is larger than the server takes.
    PayloadTooLarge = PAYLOAD_TOO_LARGE "PAYLOAD_TOO_LARGE",
    /// The body came too slowly.
    RequestTimeout = REQUEST_TIMEOUT "REQUEST_TIMEOUT",
    /// The body is not said to be JSON.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "UNSUPPORTED_MEDIA_TYPE",
    /// The request has no token that is taken.
    Unauthenticated = UNAUTHORIZED "UNAUTHENTICATED",
    /// The token is not for this, or its tenant is suspended.
    Forbidden = FORBIDDEN "FORBIDDEN",
    /// There is no such tenant.
    TenantNotFound = NOT_FOUND "TENANT_NOT_FOUND",
    /// Another tenant has this name.
    TenantExists = CONFLICT "TENANT_EXISTS",
    /// There is no such token.
    TokenNotFound = NOT_FOUND "TOKEN_NOT_FOUND",
    /// There is no such template.
    TemplateNotFound = NOT_FOUND "TEMPLATE_NOT_FOUND",
    /// There is no such session.
    SessionNotFound = NOT_FOUND "SESSION_NOT_FOUND",
    /// There is no such execution.
    ExecutionNotFound = NOT_FOUND "EXECUTION_NOT_FOUND",
    /// The template has no such module.
    ArtifactNotFound = NOT_FOUND "ARTIFACT_NOT_FOUND",
    /// The worktree has no such file.
    FileNotFound = NOT_FOUND "FILE_NOT_FOUND",
    /// The session is starting, crashed or closed.
    SessionNotReady = CONFLICT "SESSION_NOT_READY",
    /// Another execution runs in the session.
    SessionBusy = CONFLICT "SESSION_BUSY",
    /// The path is absolute, has `..` or NUL, or leads out of the worktree.
    InvalidPath = UNPROCESSABLE_ENTITY "INVALID_PATH",
    /// The execution passed `max_events` or `max_output_kb`.
    OutputLimitExceeded = UNPROCESSABLE_ENTITY "OUTPUT_LIMIT_EXCEEDED",
    /// There is no such startup mode.
    StartupModeUnsupported = UNPROCESSABLE_ENTITY "STARTUP_MODE_UNSUPPORTED",
    /// The module is built in, or there is none of this name.
    ModuleNotAllowed = UNPROCESSABLE_ENTITY "MODULE_NOT_ALLOWED",
    /// There is no such engine.
    EngineUnsupported = UNPROCESSABLE_ENTITY "ENGINE_UNSUPPORTED",
    /// A library of the session's template is not installed.
    LibraryNotAvailable = UNPROCESSABLE_ENTITY "LIBRARY_NOT_AVAILABLE",
    /// A startup file threw or was stopped.
    StartupFailed = UNPROCESSABLE_ENTITY "STARTUP_FAILED",
    /// The session's worktree is not where it was.
    WorktreeUnavailable = CONFLICT "WORKTREE_UNAVAILABLE",
    /// The session was made by another version, and what it needs of that is not here.
    GuestUnavailable = CONFLICT "GUEST_UNAVAILABLE",
    /// Another template of the tenant has this unique name.
    TemplateExists = CONFLICT "TEMPLATE_EXISTS",
    /// The template is not of the version that `If-Match` names.
    VersionMismatch = PRECONDITION_FAILED "VERSION_MISMATCH",
    /// There is a backup of this name.
    BackupExists = CONFLICT "BACKUP_EXISTS",
    /// Some of what was asked for is not kept any more; `details` say from where on it is.
    CursorExpired = GONE "CURSOR_EXPIRED",
    /// The host has no room; `Retry-After` says when to try again.
    CapacityExceeded = SERVICE_UNAVAILABLE "CAPACITY_EXCEEDED",
    /// The database cannot be written; `Retry-After` says when to try again.
    StorageUnavailable = SERVICE_UNAVAILABLE "STORAGE_UNAVAILABLE",
    /// Without auth, the request's Host is not loopback or its Origin is foreign.
    ForbiddenOrigin = FORBIDDEN "FORBIDDEN_ORIGIN",
    /// Anything else; the log has it under the request's id.
    Internal = INTERNAL_SERVER_ERROR "INTERNAL",
}

impl ErrorCode {
    /// The code of this text, for clients.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// Boxed, so that a `Result` of it stays small.
    pub(crate) details: Box<Map<String, Value>>,
    pub(crate) retry_after: Option<Duration>,
    /// What the log says and the client does not see.
    pub(crate) cause: Option<String>,
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE_BYTES {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
            message.push('…');
        }
        Self { code, message, details: Box::default(), retry_after: None, cause: None }
    }

    /// A field, query parameter or part of the path that is wrong.
    pub(crate) fn validation(field: &str, reason: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Validation, format!("{field} {reason}")).with("field", field)
    }

    /// A failure that is the server's own.
    pub(crate) fn internal(cause: impl fmt::Display) -> Self {
        let message = "the server failed; its log has the reason under this request's id";
        Self { cause: Some(cause.to_string()), ..Self::new(ErrorCode::Internal, message) }
    }

    /// The host has no room at present.
    pub(crate) fn capacity(message: impl Into<String>) -> Self {
        let retry_after = Some(RETRY_AFTER);
        Self { retry_after, ..Self::new(ErrorCode::CapacityExceeded, message) }
    }

    /// Adds a detail.
    #[must_use]
    pub(crate) fn with(mut self, key: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value)
            .expect("checked by their types: ids, numbers and texts are JSON");
        self.details.insert(key.to_owned(), value);
        self
    }

    /// The body of the answer.
    pub(crate) fn envelope(&self) -> Value {
        let Self { code, message, details, retry_after: _, cause: _ } = self;
        let code = code.as_str();
        serde_json::json!({"error": {"code": code, "message": message, "details": details}})
    }
}

impl From<HostError> for ApiError {
    fn from(error: HostError) -> Self {
        let message = error.to_string();
        let of = |code| Self::new(code, message.as_str());
        match error {
            HostError::TemplateNotFound(id) => {
                of(ErrorCode::TemplateNotFound).with("template_id", id)
            }
            HostError::TemplateReadOnly(id) => of(ErrorCode::Forbidden).with("template_id", id),
            HostError::TokenRefused(TokenRefused::Invalid) => of(ErrorCode::Unauthenticated),
            HostError::TokenRefused(TokenRefused::Suspended) => of(ErrorCode::Forbidden),
            HostError::TenantNotFound(id) => of(ErrorCode::TenantNotFound).with("tenant_id", id),
            HostError::TokenNotFound(id) => of(ErrorCode::TokenNotFound).with("token_id", id),
            HostError::SessionNotFound(id) => of(ErrorCode::SessionNotFound).with("session_id", id),
            HostError::ExecutionNotFound(id) => {
                of(ErrorCode::ExecutionNotFound).with("execution_id", id)
            }
            HostError::SessionNotReady { id, status } => {
                of(ErrorCode::SessionNotReady).with("session_id", id).with("status", status)
            }
            HostError::SessionBusy(id) => of(ErrorCode::SessionBusy).with("session_id", id),
            HostError::Worktree(source) => of_worktree(&source, of),
            // It is found out before anything is served.
            HostError::Program(_) | HostError::Address(_) | HostError::Secrets(_) => {
                ApiError::internal(in_full(&error))
            }
            HostError::WorktreeUnavailable { session, reason: _ } => {
                of(ErrorCode::WorktreeUnavailable).with("session_id", session)
            }
            HostError::GuestUnavailable { session, source: _ } => {
                of(ErrorCode::GuestUnavailable).with("session_id", session)
            }
            HostError::ArtifactNotFound { template, hash } => {
                of(ErrorCode::ArtifactNotFound).with("template_id", template).with("hash", hash)
            }
            HostError::BackupExists { name } => of(ErrorCode::BackupExists).with("name", name),
            HostError::Backup(cause) => Self {
                cause: Some(cause),
                retry_after: Some(RETRY_AFTER),
                ..Self::new(ErrorCode::StorageUnavailable, "the backup cannot be written")
            },
            HostError::InputTooLarge { bytes: _, limit } => {
                of(ErrorCode::PayloadTooLarge).with("limit_bytes", limit)
            }
            HostError::InvalidPath { path, source } => of(code_of_path(source)).with("path", path),
            HostError::File { path, source } => of_file(&source, of).with("path", path),
            HostError::StartupFile { session, source } => {
                Self { message: message.clone(), ..Self::from(*source) }.with("session_id", session)
            }
            HostError::StartupMode { session, mode } => {
                of(ErrorCode::StartupModeUnsupported).with("session_id", session).with("mode", mode)
            }
            HostError::StartupFailed { session, execution, code, message: _ } => {
                let mut error = of(ErrorCode::StartupFailed).with("session_id", session);
                if let Some(execution) = execution {
                    error = error.with("execution_id", execution);
                }
                if let Some(code) = code {
                    error = error.with("reason", code);
                }
                error
            }
            HostError::Library { session, source } => {
                of_library(&source, of).with("session_id", session)
            }
            HostError::CapacityExceeded { what: _, limit, retry_after } => {
                let error = of(ErrorCode::CapacityExceeded).with("limit", limit);
                Self { retry_after: Some(retry_after), ..error }
            }
            HostError::Stopping => Self::capacity(message),
            HostError::LibraryFolder(source) => Self::internal(in_full(&source)),
            HostError::Storage(source) => source.into(),
            HostError::Engine(cause) | HostError::Entropy(cause) => Self::internal(cause),
        }
    }
}

fn code_of_path(error: PathError) -> ErrorCode {
    match error {
        PathError::Empty
        | PathError::Absolute
        | PathError::ParentDir
        | PathError::Nul
        | PathError::TooLong { limit: _ } => ErrorCode::InvalidPath,
    }
}

fn of_worktree(error: &WorktreeError, of: impl Fn(ErrorCode) -> ApiError) -> ApiError {
    match error {
        WorktreeError::NotAbsolute { path: _ }
        | WorktreeError::NotFound { path: _ }
        | WorktreeError::NotADirectory { path: _ }
        // A path with a NUL, one that is too long, one that may not be read.
        | WorktreeError::Io { path: _, source: _ } => of(ErrorCode::Validation),
        WorktreeError::OutsideRoots { path: _ } => of(ErrorCode::InvalidPath),
    }
    .with("field", "worktree_path")
}

fn of_file(error: &FileError, of: impl Fn(ErrorCode) -> ApiError) -> ApiError {
    match error {
        FileError::NotFound | FileError::NotADirectory => of(ErrorCode::FileNotFound),
        FileError::Escapes
        | FileError::NotAFile
        | FileError::IsADirectory
        | FileError::TooLarge { limit: _ }
        | FileError::TooManyLinks
        | FileError::Link
        | FileError::NameTooLong
        | FileError::PermissionDenied => of(ErrorCode::InvalidPath),
        // Only what changes or lists files gives these, and no request does.
        FileError::AlreadyExists
        | FileError::NotEmpty
        | FileError::Quota { limit: _ }
        | FileError::TooManyEntries { limit: _ }
        | FileError::NoSpace
        | FileError::Io(_) => ApiError::internal(in_full(error)),
    }
}

fn of_library(error: &vm_host::LibraryError, of: impl Fn(ErrorCode) -> ApiError) -> ApiError {
    use vm_host::LibraryError;
    match error {
        LibraryError::NotInstalled { name } => {
            of(ErrorCode::LibraryNotAvailable).with("library", name)
        }
        // A template made by an older version may hold a name that is none by now.
        LibraryError::InvalidName(_) => of(ErrorCode::LibraryNotAvailable),
        LibraryError::File { name, source: _ } => {
            let cause = Some(in_full(error));
            ApiError { cause, ..of(ErrorCode::LibraryNotAvailable).with("library", name) }
        }
        LibraryError::Folder(_) | LibraryError::List(_) => {
            ApiError { cause: Some(in_full(error)), ..of(ErrorCode::LibraryNotAvailable) }
        }
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        let message = error.to_string();
        match error {
            StorageError::UnknownTemplate(id) => {
                Self::new(ErrorCode::TemplateNotFound, message).with("template_id", id)
            }
            StorageError::UnknownSession(id) => {
                Self::new(ErrorCode::SessionNotFound, message).with("session_id", id)
            }
            StorageError::UnknownTenant(id) => {
                Self::new(ErrorCode::TenantNotFound, message).with("tenant_id", id)
            }
            StorageError::TenantNameTaken { name } => {
                Self::new(ErrorCode::TenantExists, message).with("name", name)
            }
            StorageError::TemplateNameTaken { name } => {
                Self::new(ErrorCode::TemplateExists, message).with("name", name)
            }
            StorageError::TemplateVersion { id, version } => {
                Self::new(ErrorCode::VersionMismatch, message)
                    .with("template_id", id)
                    .with("version", version)
            }
            StorageError::LocalTenant => {
                Self::new(ErrorCode::Forbidden, message).with("tenant_id", TenantId::LOCAL)
            }
            StorageError::TooManyTenants { limit }
            | StorageError::TooManyTokens { limit }
            | StorageError::TooManyTemplates { limit } => {
                Self::capacity(message).with("limit", limit)
            }
            StorageError::RecordTooDeep { .. } | StorageError::RecordTooLarge { .. } => {
                Self::new(ErrorCode::Validation, message)
            }
            StorageError::EventsExpired { execution, oldest_seq } => {
                Self::new(ErrorCode::CursorExpired, message)
                    .with("execution_id", execution)
                    .with("oldest_seq", oldest_seq)
            }
            // Which file it is, and what its disk said, is for the log.
            StorageError::Unavailable { .. } | StorageError::Closed { .. } => Self {
                retry_after: Some(RETRY_AFTER),
                cause: Some(message),
                ..Self::new(ErrorCode::StorageUnavailable, "the database cannot be used at present")
            },
            StorageError::Damaged { .. }
            | StorageError::NewerFormat { .. }
            | StorageError::OlderFormat { .. }
            | StorageError::OpenElsewhere { .. }
            | StorageError::MissingFolder { .. }
            | StorageError::NotWritable { .. }
            | StorageError::DuplicateTemplate(_)
            | StorageError::DuplicateTenant(_)
            | StorageError::TenantNotEmpty(_)
            | StorageError::UnknownToken(_)
            | StorageError::TemplateRenamed(_)
            | StorageError::ForeignSession { .. }
            | StorageError::ForeignEvent { .. }
            | StorageError::SequenceGap { .. }
            | StorageError::ExecutionOver(_)
            | StorageError::SessionLive(_)
            | StorageError::HeapConflict { .. }
            | StorageError::KvConflict { .. }
            | StorageError::KvQuotaExceeded { .. }
            | StorageError::KvTooManyReads { .. }
            | StorageError::DamagedHeap { .. }
            | StorageError::Backup { .. }
            | StorageError::DamagedRecord { .. } => Self::internal(message),
        }
    }
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
