//! A host in this process, for commands that need no daemon: a database, a template, one session.

use super::{Exit, LocalArgs, template_file};
use crate::settings_patch::{LimitsPatch, SettingsError, SettingsPatch};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use vm_host::limits::MAX;
use vm_host::{FileError, Host, HostError, HostOptions, Observer, SessionRequest};
use vm_storage::{
    ExecutionErrorCode, Session, SessionId, Storage, StorageError, StorageOptions, Template,
};

/// What keeps a command from running.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocalError {
    #[error("cannot read the template {}: {source}", path.display())]
    TemplateFile { path: PathBuf, source: io::Error },
    #[error("{} is not a template: {reason}", path.display())]
    Template { path: PathBuf, reason: String },
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("a capability of the template is wrong: {0}")]
    Capability(#[from] vm_host::ConfigError),
    #[error(
        "cannot listen on {0}: without auth the daemon only serves this machine; ask for tokens with \
         --auth, give a loopback address such as 127.0.0.1:3210, or insist with --insecure"
    )]
    Listen(SocketAddr),
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("cannot find {}: {source}", path.display())]
    NoSuchFile { path: PathBuf, source: io::Error },
    #[error("the path {} is not UTF-8", path.display())]
    NotUtf8 { path: PathBuf },
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Host(#[from] HostError),
}

/// The exit status of a failure that is not the script's own.
pub(super) fn exit_of(error: &HostError) -> Exit {
    match error {
        HostError::StartupFailed { code, .. } => code.map_or(Exit::Failure, exit_of_code),
        HostError::StartupFile { .. }
        | HostError::StartupMode { .. }
        | HostError::Library { .. }
        | HostError::InputTooLarge { .. }
        | HostError::InvalidPath { .. }
        | HostError::File { .. }
        | HostError::Program(_)
        | HostError::Address(_)
        | HostError::Secrets(_)
        | HostError::Worktree(_) => Exit::Usage,
        HostError::WorktreeUnavailable { .. }
        | HostError::GuestUnavailable { .. }
        | HostError::ArtifactNotFound { .. }
        | HostError::BackupExists { .. }
        | HostError::Backup(_)
        | HostError::TemplateNotFound(_)
        | HostError::TemplateReadOnly(_)
        | HostError::TenantNotFound(_)
        | HostError::TokenNotFound(_)
        | HostError::Entropy(_)
        | HostError::TokenRefused(_)
        | HostError::SessionNotFound(_)
        | HostError::ExecutionNotFound(_)
        | HostError::SessionNotReady { .. }
        | HostError::SessionBusy(_)
        | HostError::CapacityExceeded { .. }
        | HostError::Stopping
        | HostError::LibraryFolder(_)
        | HostError::Storage(_)
        | HostError::Engine(_) => Exit::Failed,
    }
}

/// The exit status of an execution that was stopped.
pub(super) fn exit_of_code(code: ExecutionErrorCode) -> Exit {
    match code {
        ExecutionErrorCode::FuelExhausted
        | ExecutionErrorCode::WallTimeExceeded
        | ExecutionErrorCode::OutputLimitExceeded => Exit::Limit,
        ExecutionErrorCode::Cancelled => Exit::Interrupted,
        ExecutionErrorCode::GuestTrapped
        | ExecutionErrorCode::KvConflict
        | ExecutionErrorCode::KvUnavailable
        | ExecutionErrorCode::KvQuotaExceeded => Exit::Failure,
        ExecutionErrorCode::HostStopped => Exit::Failed,
    }
}

/// A host with one template, and the folder its database is in when that is thrown away.
pub(super) struct Local {
    pub(super) host: Host,
    template: Template,
    worktree: String,
    session: OnceLock<SessionId>,
    _folder: Option<tempfile::TempDir>,
}

/// What a [`Local`] is made with.
pub(super) struct LocalOptions<'a> {
    pub(super) args: &'a LocalArgs,
    /// The worktree when the arguments name none.
    pub(super) default_worktree: PathBuf,
    /// Limits that go before the template's.
    pub(super) limits: LimitsPatch,
    pub(super) db: Option<&'a Path>,
}

impl Local {
    /// Opens the database and starts the host.
    pub(super) async fn start(options: LocalOptions<'_>) -> Result<Self, LocalError> {
        let mut template = template_file::read(options.args.template.as_deref())?;
        let limits = SettingsPatch { limits: options.limits, ..SettingsPatch::default() };
        limits.apply(&mut template.settings, &MAX)?;
        let worktree = options.args.worktree.clone().unwrap_or(options.default_worktree);
        let worktree = canonical(&worktree)?;
        let (folder, db) = if let Some(db) = options.db {
            (None, db.to_owned())
        } else {
            let folder = tempfile::Builder::new().prefix("vm-system-").tempdir();
            let what = "cannot make a temporary folder";
            let folder = folder.map_err(|source| LocalError::Io { what, source })?;
            let db = folder.path().join("vm-system.redb");
            (Some(folder), db)
        };
        // On a blocking thread it would gain nothing: this command has nothing else to do.
        let (storage, _) = Storage::open(&db, StorageOptions::default())?;
        let host = HostOptions {
            max_resident: 1,
            guest_dir: options.db.map(guest_dir),
            module_dir: options.db.map(module_dir),
            cache_dir: cache_dir(),
            allowed_programs: options.args.allow_exec.clone(),
            allowed_addresses: options.args.allow_net.clone(),
            secrets: options.args.secrets.clone(),
            ..HostOptions::new(options.args.library_dir.clone())
        };
        let host = Host::start(storage, host).await?;
        let template = host.create_template(template).await?;
        Ok(Self { host, template, worktree, session: OnceLock::new(), _folder: folder })
    }

    /// Makes a session of the template.
    pub(super) async fn session(&self, observer: Option<Observer>) -> Result<Session, LocalError> {
        let request = SessionRequest {
            template_id: self.template.id,
            workspace_id: "local".to_owned(),
            base_commit_oid: "none".to_owned(),
            worktree_path: self.worktree.clone(),
        };
        let session = self.host.create_session(request, observer).await?;
        self.session.get_or_init(|| session.id);
        Ok(session)
    }

    /// Cancels what runs, and closes the session and the database: nobody goes on with it.
    pub(super) async fn stop(&self) -> Result<(), LocalError> {
        if let Some(session) = self.session.get() {
            self.host.close_session(*session).await?;
        }
        Ok(self.host.clone().shutdown(std::future::ready(())).await?)
    }
}

/// Where the guests of a database's sessions are kept: beside it.
pub(super) fn guest_dir(db: &Path) -> PathBuf {
    beside(db, ".guests")
}

/// Where a database's template modules are kept: beside it.
pub(super) fn module_dir(db: &Path) -> PathBuf {
    beside(db, ".modules")
}

/// Where a database's backups are kept: beside it.
pub(super) fn backup_dir(db: &Path) -> PathBuf {
    beside(db, ".backups")
}

/// A database's path, which backups are told by too, whatever folder the caller is in.
pub(super) fn absolute_db(db: &Path) -> Result<PathBuf, LocalError> {
    let what = "cannot tell the current folder";
    std::path::absolute(db).map_err(|source| LocalError::Io { what, source })
}

fn beside(db: &Path, suffix: &str) -> PathBuf {
    let mut path = db.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Where compiled code is kept: `VM_SYSTEM_CACHE_DIR`, or the user's cache folder.
pub(super) fn cache_dir() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("VM_SYSTEM_CACHE_DIR") {
        return (!folder.is_empty()).then(|| folder.into());
    }
    let folders = directories::ProjectDirs::from("", "", "vm-system")?;
    Some(folders.cache_dir().to_owned())
}

fn canonical(path: &Path) -> Result<String, LocalError> {
    let given = || path.to_owned();
    let path =
        path.canonicalize().map_err(|source| LocalError::NoSuchFile { path: given(), source })?;
    path.into_os_string().into_string().map_err(|path| LocalError::NotUtf8 { path: path.into() })
}

/// A path as a daemon of this machine would find it, whatever its current folder.
pub(super) fn absolute(path: &Path) -> Result<String, LocalError> {
    let what = "cannot tell the current folder";
    let path = std::path::absolute(path).map_err(|source| LocalError::Io { what, source })?;
    path.into_os_string().into_string().map_err(|path| LocalError::NotUtf8 { path: path.into() })
}

/// The folder of a file and its name in it.
pub(super) fn folder_and_name(file: &Path) -> Result<(PathBuf, String), LocalError> {
    let given = || file.to_owned();
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let name = file.file_name().ok_or_else(|| {
        LocalError::Host(HostError::File {
            path: file.display().to_string(),
            source: FileError::IsADirectory,
        })
    })?;
    let name = name.to_str().ok_or_else(|| LocalError::NotUtf8 { path: given() })?;
    Ok((folder, name.to_owned()))
}
