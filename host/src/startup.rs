//! Making a session: its worktree is opened, its libraries and startup files are loaded, and it is
//! durable before anyone may use it.
//!
//! ```text
//!   read every file ──▶ image there ──▶ begin with it, its executions recorded ──▶ ready
//!                  └──▶ none ──▶ replay, libraries first ──▶ make one ──▶ ready
//! ```
//!
//! Every file is read before any runs, so that the template's module is made of one state of the
//! worktree. Invariant: a session that cannot start is kept, crashed, with `last_error` saying why,
//! and without a runtime; and nobody can tell one that began with an image from one that replayed.

mod replay;

use crate::artifacts::{Part, Ran, Recorded, Scripts, UsedBy};
use crate::error::{FileError, HostError};
use crate::grants::realm_flags;
use crate::host::Host;
use crate::library::LibraryName;
use crate::limits;
use crate::live::{Closing, LiveSession, Slot};
use crate::recorder::Observer;
use crate::runtime::Failure;
use crate::scheduler::Admission;
use crate::typescript::{Kind, is_typescript};
use crate::worktree::{Worktree, WorktreePath};
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, RwLockReadGuard};
use vm_guest::abi::script_flags;
use vm_storage::{
    ExecutionCommit, Session, SessionId, SessionStatus, StartupFile, StartupForm, Template,
    TemplateId, TemplateSnapshot, now,
};

/// The ways that startup files are evaluated: as a script, and as a module.
const MODE_EVAL: &str = "eval";
const MODE_MODULE: &str = "module";

/// What a session is made of.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    /// The template.
    pub template_id: TemplateId,
    /// The client's name for the workspace.
    pub workspace_id: String,
    /// The commit the worktree was made from.
    pub base_commit_oid: String,
    /// Absolute path of the worktree, a directory.
    pub worktree_path: String,
}

/// A session being made.
pub(crate) struct Startup<'a> {
    host: &'a Host,
    admission: Admission,
    observer: Option<Observer>,
}

impl<'a> Startup<'a> {
    pub(crate) fn new(host: &'a Host, admission: Admission, observer: Option<Observer>) -> Self {
        Self { host, admission, observer }
    }

    /// Makes the session and waits until it is ready.
    pub(crate) async fn create(
        mut self,
        template: Template,
        request: SessionRequest,
    ) -> Result<Session, HostError> {
        let reserved = self.host.sessions().reserve()?;
        let worktree = self.host.worktree(request.worktree_path.clone()).await?;
        let mut snapshot = TemplateSnapshot::from(&template);
        limits::lower(&mut snapshot.settings.limits, &self.host.ceilings());
        let session = Session {
            id: SessionId::new(),
            tenant_id: self.host.tenant_id(),
            template_id: template.id,
            workspace_id: request.workspace_id,
            base_commit_oid: request.base_commit_oid,
            worktree_path: request.worktree_path,
            status: SessionStatus::Starting,
            created_at: now(),
            closed_at: None,
            last_error: None,
            template: snapshot,
            engine: Some(self.host.engine().guest.binding.clone()),
            worktree: Some(worktree.identity()),
        };
        let live = LiveSession::starting(Slot::starting(session, worktree, self.host));
        let mut slot = OwnedMutexGuard::map(live.lock().await, |slot| {
            slot.as_mut().expect("checked by construction: it was made with one")
        });
        self.host.sessions().insert(Arc::clone(&live));
        self.host.make_room();
        let started = tokio::select! {
            biased;
            () = self.admission.start() => Box::pin(self.start(&mut slot, &live)).await,
            closing = live.closed() => Err(closed(&live, closing)),
        };
        let started = match started {
            Ok(()) => Ok(()),
            Err(error) => self.keep_crashed(&mut slot, error).await,
        };
        match started {
            Ok(()) => {
                live.touch();
                live.set_ready();
                reserved.keep();
                Ok(slot.session.clone())
            }
            Err(error) => {
                self.host.sessions().retire(&live);
                Err(error)
            }
        }
    }

    async fn start(&mut self, slot: &mut Slot, live: &LiveSession) -> Result<(), HostError> {
        let snapshot = &slot.session.template;
        let files = ordered(&snapshot.startup_files);
        let esm = snapshot.settings.runtime.esm;
        let runs = |mode: &str| mode == MODE_EVAL || (mode == MODE_MODULE && esm);
        if let Some(file) = files.iter().find(|file| !runs(&file.mode)) {
            let (session, mode) = (live.id, file.mode.clone());
            return Err(HostError::StartupMode { session, mode });
        }
        let worktree = slot.worktree(self.host).await?;
        let snapshot = &slot.session.template;
        let mut scripts = self.read(snapshot, worktree, &files, live.id).await?;
        self.strip(&mut scripts).await?;
        if scripts.parts.is_empty() {
            slot.session.template.startup = Some(StartupForm::Image);
            return self.become_ready(slot, &[], None).await;
        }
        let limits = slot.session.template.settings.limits;
        let (engine, artifacts) = (self.host.engine(), self.host.artifacts());
        let realm = realm_flags(&slot.session.template);
        let key = scripts.image_key(engine, realm, &limits);
        let template = UsedBy::of(&slot.session);
        let grants = slot.grants();
        // A worktree may take its time to answer; closing the session does not wait for it.
        let image = tokio::select! {
            biased;
            image = artifacts.image(engine, template, &key, &grants) => image,
            closing = live.closed() => return Err(closed(live, closing)),
        };
        if let Some((image, held)) = image {
            slot.begin_with(&image.guest);
            slot.session.template.startup = Some(StartupForm::Image);
            return self.become_ready(slot, image.startup(), Some(held)).await;
        }
        slot.session.template.startup = Some(StartupForm::Replayed);
        let ran = Box::pin(self.replay(slot, live, &scripts, &files)).await?;
        let witness = slot.runtime().take_witness();
        match witness {
            Some(Ok(asked)) => {
                let ran = Ran { scripts: &scripts, asked, startup: &ran };
                artifacts.make_image(engine, template, key, &slot.awake().heap, ran).await;
            }
            Some(Err(reason)) => {
                tracing::debug!(session_id = %live.id, %reason, "no image is made");
            }
            None => {}
        }
        if engine.places.are_wanted() {
            slot.drop_runtime();
        }
        Ok(())
    }

    /// Makes a session durable that begins with an image, with the executions that made the image as
    /// its own, while its instance is made. What holds the image is let go when the store has it.
    async fn become_ready(
        &self,
        slot: &mut Slot,
        startup: &[Recorded],
        held: Option<RwLockReadGuard<'_, ()>>,
    ) -> Result<(), HostError> {
        let mut session = slot.session.clone();
        let storage = self.host.storage();
        let mut commits = Vec::with_capacity(startup.len());
        for (index, recorded) in startup.iter().enumerate() {
            let is_last = index + 1 == startup.len();
            session.status = if is_last { SessionStatus::Ready } else { SessionStatus::Starting };
            let (execution, new_events) = recorded.replayed(&session);
            if let Some(observer) = &self.observer {
                for event in &new_events {
                    observer(event);
                }
            }
            let session = Some(session.clone());
            let (heap, kv) = (None, None);
            commits.push(ExecutionCommit { execution, new_events, session, heap, kv });
        }
        session.status = SessionStatus::Ready;
        let ready = session.clone();
        let committed = async {
            let _held = held;
            if commits.is_empty() {
                return storage.put_session(ready).await;
            }
            // The writer takes them in this order, most often into one transaction; a host that dies
            // between two leaves a session that has not started.
            let commits = commits.into_iter().map(|commit| storage.commit_execution(commit));
            futures_util::future::try_join_all(commits).await.map(drop)
        };
        let restored = self.host.scheduler().run(slot.restored(self.host));
        let (committed, restored) = tokio::join!(committed, restored);
        committed?;
        slot.session = session;
        restored
    }

    /// Reads the libraries and startup files, in the order they load.
    async fn read(
        &self,
        snapshot: &TemplateSnapshot,
        worktree: Arc<Worktree>,
        files: &[StartupFile],
        session: SessionId,
    ) -> Result<Scripts, HostError> {
        let flags = if snapshot.settings.runtime.strict { script_flags::STRICT } else { 0 };
        let tenant = self.host.tenant_id();
        if snapshot.libraries.is_empty() && files.is_empty() {
            return Ok(Scripts { tenant, parts: Vec::new(), libraries: 0 });
        }
        let max_bytes = limits::memory_bytes(&snapshot.settings.limits);
        let folder = self.host.libraries();
        let names = snapshot.libraries.clone();
        let part = |file: &StartupFile| (file.path.clone(), file.mode == MODE_MODULE);
        let paths: Vec<_> = files.iter().map(part).collect();
        blocking(move || {
            let mut parts = Vec::with_capacity(names.len() + paths.len());
            for name in &names {
                let source = LibraryName::parse(name)
                    .and_then(|library| folder.read(&library, max_bytes))
                    .map_err(|source| HostError::Library { session, source })?;
                parts.push(Part { name: format!("{name}.js"), source, flags });
            }
            for (path, is_module) in &paths {
                let source = read_file(&worktree, path, max_bytes).map_err(|source| {
                    HostError::StartupFile { session, source: Box::new(source) }
                })?;
                let flags = if *is_module { flags | script_flags::MODULE } else { flags };
                parts.push(Part { name: path.clone(), source: source.into(), flags });
            }
            Ok(Scripts { tenant, parts, libraries: names.len() })
        })
        .await?
    }

    /// Strips the types of the scripts that have some.
    async fn strip(&self, scripts: &mut Scripts) -> Result<(), HostError> {
        for part in &mut scripts.parts[scripts.libraries..] {
            if let (true, Ok(text)) = (is_typescript(&part.name), &part.source.text) {
                let stripped = self.host.typescript().strip(text.to_vec(), Kind::File).await?;
                part.source = part.source.clone().stripped(stripped);
            }
        }
        Ok(())
    }

    /// Makes the failed session durable, unless its last execution's commit did, and gives the
    /// error back. Failures of the host's own leave no session.
    async fn keep_crashed(&self, slot: &mut Slot, error: HostError) -> Result<(), HostError> {
        slot.clear();
        if slot.session.status == SessionStatus::Closed {
            // It was closed while it started, and its last execution's commit says so.
            return Err(error);
        }
        let last_error = match &error {
            HostError::StartupFailed { message, .. } => message.clone(),
            HostError::StartupFile { source, .. } => source.to_string(),
            HostError::StartupMode { .. } | HostError::Library { .. } => error.to_string(),
            HostError::TemplateNotFound(_)
            | HostError::TemplateReadOnly(_)
            | HostError::SessionNotFound(_)
            | HostError::ExecutionNotFound(_)
            | HostError::TenantNotFound(_)
            | HostError::TokenNotFound(_)
            | HostError::Entropy(_)
            | HostError::TokenRefused(_)
            | HostError::SessionNotReady { .. }
            | HostError::SessionBusy(_)
            | HostError::Program(_)
            | HostError::Address(_)
            | HostError::Secrets(_)
            | HostError::Worktree(_)
            | HostError::WorktreeUnavailable { .. }
            | HostError::GuestUnavailable { .. }
            | HostError::ArtifactNotFound { .. }
            | HostError::BackupExists { .. }
            | HostError::Backup(_)
            | HostError::InputTooLarge { .. }
            | HostError::InvalidPath { .. }
            | HostError::File { .. }
            | HostError::CapacityExceeded { .. }
            | HostError::Stopping
            | HostError::LibraryFolder(_)
            | HostError::Storage(_)
            | HostError::Engine(_) => return Err(error),
        };
        slot.session.status = SessionStatus::Crashed;
        slot.session.last_error = Some(last_error);
        self.host.storage().put_session(slot.session.clone()).await?;
        Err(error)
    }
}

/// Startup files by their order, those of the same order as they were added.
fn ordered(files: &[StartupFile]) -> Vec<StartupFile> {
    let mut files = files.to_vec();
    files.sort_by_key(|file| file.order_index);
    files
}

/// The error of a session that was closed while it started.
fn closed(live: &LiveSession, closing: Closing) -> HostError {
    let (code, message) = Failure::of_closing(closing).described();
    HostError::StartupFailed { session: live.id, execution: None, code: Some(code), message }
}

/// Reads a script of the worktree.
pub(crate) fn read_file(
    worktree: &Worktree,
    path: &str,
    max_bytes: u64,
) -> Result<Vec<u8>, HostError> {
    let given = || path.to_owned();
    let relative = WorktreePath::strict(path)
        .map_err(|source| HostError::InvalidPath { path: given(), source })?;
    worktree
        .read(&relative, max_bytes)
        .map_err(|source: FileError| HostError::File { path: given(), source })
}

/// Runs what may block on the file system off the async workers.
pub(crate) async fn blocking<R: Send + 'static>(
    task: impl FnOnce() -> R + Send + 'static,
) -> Result<R, HostError> {
    tokio::task::spawn_blocking(task)
        .await
        .map_err(|error| HostError::Engine(format!("a blocking task failed: {error}")))
}
