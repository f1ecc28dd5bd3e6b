//! The host: the one value that callers hold. It makes sessions, runs executions in them, and
//! answers what storage knows of them.
//!
//! Invariant: an execution that was begun is run to its end and committed whether or not its
//! caller is still there.

mod detached;
mod execute;
mod options;

pub use execute::{Manner, OnBusy, Source};
pub use options::{HostOptions, HostStats};

use crate::artifacts::{ArtifactOptions, Artifacts};
use crate::effective::Effective;
use crate::engine::{Engine, EngineOptions, Metering};
use crate::error::HostError;
use crate::grants::Grantable;
use crate::hibernate::hibernate_idle_sessions;
use crate::library::{LibraryFolder, LibraryName};
use crate::live::Registry;
use crate::net::Network;
use crate::programs::Programs;
use crate::recorder::Observer;
use crate::running::Running;
use crate::scheduler::Scheduler;
use crate::secrets::Secrets;
use crate::startup::{SessionRequest, Startup, blocking};
use crate::typescript::TypeScript;
use crate::upkeep::keep_up;
use crate::worktree::Roots;
use detached::Detached;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::MutexGuard;
use tokio_util::task::TaskTracker;
use vm_storage::{Limits, Retention, Session, Storage, Swept, TemplateId, TemplateSnapshot};

/// Sessions and what runs in them. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    engine: Engine,
    storage: Storage,
    sessions: Registry,
    artifacts: Artifacts,
    libraries: Arc<LibraryFolder>,
    roots: Arc<Roots>,
    grantable: Grantable,
    ceilings: Limits,
    max_resident: u32,
    retention: Retention,
    guest_dir: Option<PathBuf>,
    module_dir: Option<PathBuf>,
    backup_dir: Option<PathBuf>,
    backing_up: tokio::sync::Mutex<()>,
    scheduler: Scheduler,
    running: Running,
    /// Everything that must end before the store may be closed.
    tasks: TaskTracker,
    stopping: AtomicBool,
    hibernations: AtomicU64,
    executions_removed: AtomicU64,
    events_removed: AtomicU64,
}

/// A host that may be gone.
pub(crate) struct WeakHost(Weak<Inner>);

impl WeakHost {
    pub(crate) fn upgrade(&self) -> Option<Host> {
        let host = Host(self.0.upgrade()?);
        (!host.0.stopping.load(Ordering::Acquire)).then_some(host)
    }
}

impl Host {
    /// Starts a host on a store: loads or compiles the guest and makes the base image.
    ///
    /// # Errors
    /// [`HostError::Engine`] when the machine cannot run it, [`HostError::Worktree`] when a root is
    /// no directory, [`HostError::Program`] when a program that is allowed is not there,
    /// [`HostError::Address`] and [`HostError::Secrets`] when these are malformed.
    pub async fn start(storage: Storage, options: HostOptions) -> Result<Self, HostError> {
        Self::of_guest(vm_guest::wasm().into(), storage, options).await
    }

    /// A host of any guest, trusted or not.
    pub(crate) async fn of_guest(
        guest: Cow<'static, [u8]>,
        storage: Storage,
        options: HostOptions,
    ) -> Result<Self, HostError> {
        let typescript = TypeScript::new(options.cache_dir.clone());
        let engine = EngineOptions {
            max_resident: options.max_resident,
            cache_dir: options.cache_dir,
            guest_dir: options.guest_dir.clone(),
            tracking: options.page_tracking,
            metering: Metering::Fuel,
        };
        let artifacts = ArtifactOptions {
            folder: options.module_dir.clone(),
            max_bytes: options.max_module_bytes,
            forms: options.forms,
        };
        let (worktree_roots, counted) = (options.worktree_roots, storage.clone());
        let (allowed, secrets) = (options.allowed_programs, options.secrets);
        let addresses = options.allowed_addresses.iter().map(|range| range.parse());
        let addresses = addresses.collect::<Result<_, _>>().map_err(HostError::Address)?;
        let made = blocking(move || {
            let roots = Roots::open(&worktree_roots)?;
            let grantable = Grantable {
                programs: Arc::new(Programs::find(&allowed)?),
                network: Arc::new(Network::new(addresses)),
                secrets: Secrets::read(secrets.as_deref())?,
                typescript,
                storage: counted.clone(),
            };
            Ok::<_, HostError>((
                roots,
                grantable,
                Engine::new(&guest, &engine)?,
                Artifacts::open(artifacts),
                counted.live_session_count()?,
            ))
        });
        let (roots, grantable, engine, artifacts, live) = made.await??;
        let host = Self(Arc::new(Inner {
            engine,
            storage,
            sessions: Registry::new(options.max_sessions, live),
            artifacts,
            libraries: Arc::new(LibraryFolder::open(&options.library_dir)),
            roots: Arc::new(roots),
            grantable,
            ceilings: options.ceilings,
            max_resident: options.max_resident,
            retention: options.retention,
            guest_dir: options.guest_dir,
            module_dir: options.module_dir,
            backup_dir: options.backup_dir,
            backing_up: tokio::sync::Mutex::default(),
            scheduler: Scheduler::new(options.concurrency),
            running: Running::default(),
            tasks: TaskTracker::new(),
            stopping: AtomicBool::new(false),
            hibernations: AtomicU64::new(0),
            executions_removed: AtomicU64::new(0),
            events_removed: AtomicU64::new(0),
        }));
        let weak = || WeakHost(Arc::downgrade(&host.0));
        tokio::spawn(hibernate_idle_sessions(weak(), options.idle_hibernate));
        tokio::spawn(keep_up(weak(), options.upkeep_period));
        Ok(host)
    }

    /// The store the host works on.
    pub fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// Makes a session: runs its template's libraries and startup files, and gives it when it is
    /// ready and durable.
    ///
    /// # Errors
    /// `TemplateNotFound`, `Worktree`, `CapacityExceeded`, `Stopping`; `StartupFile`, `StartupMode`,
    /// `StartupFailed` and `Library`, which leave the session behind, crashed; and the states of
    /// the store.
    pub async fn create_session(
        &self,
        request: SessionRequest,
        observer: Option<Observer>,
    ) -> Result<Session, HostError> {
        self.refuse_when_stopping()?;
        let admission = self.0.scheduler.admit()?;
        let host = self.clone();
        self.detached(async move {
            let template = host.template(request.template_id).await?;
            // It holds a runtime, and is too large to be moved about.
            Box::pin(Startup::new(&host, admission, observer).create(template, request)).await
        })
        .await
    }

    /// Deletes a template; its sessions live on.
    ///
    /// # Errors
    /// `UnknownTemplate` and the other states of the store.
    pub async fn delete_template(&self, id: TemplateId) -> Result<(), HostError> {
        self.storage().delete_template(id).await?;
        self.artifacts().forget_template(id).await;
        Ok(())
    }

    /// What templates may grant.
    pub(crate) fn grantable(&self) -> &Grantable {
        &self.0.grantable
    }

    /// What a session has of its template's modules and capabilities, here and now.
    pub fn effective(&self, template: &TemplateSnapshot) -> Effective {
        self.0.grantable.effective(template)
    }

    /// What strips types.
    pub(crate) fn typescript(&self) -> &TypeScript {
        &self.0.grantable.typescript
    }

    pub(crate) fn begin_stopping(&self) {
        self.0.stopping.store(true, Ordering::Release);
        self.0.tasks.close();
    }

    /// Everything that must end before the store may be closed.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(crate) fn refuse_when_stopping(&self) -> Result<(), HostError> {
        if self.0.stopping.load(Ordering::Acquire) { Err(HostError::Stopping) } else { Ok(()) }
    }

    /// Runs a future to its end, whether or not its caller waits.
    pub(crate) fn detached<R: Send + 'static>(
        &self,
        work: impl Future<Output = Result<R, HostError>> + Send + 'static,
    ) -> Detached<R> {
        Detached::new(&self.0.tasks, work)
    }

    /// The names of the libraries that are installed, sorted.
    ///
    /// # Errors
    /// [`HostError::LibraryFolder`] when the folder cannot be read.
    pub async fn libraries_installed(&self) -> Result<Vec<LibraryName>, HostError> {
        let libraries = self.libraries();
        blocking(move || libraries.list()).await?.map_err(HostError::LibraryFolder)
    }

    /// What no session may pass, whatever its template says.
    pub fn ceilings(&self) -> Limits {
        self.0.ceilings
    }

    /// What the host has done and holds.
    pub fn stats(&self) -> HostStats {
        HostStats {
            live_sessions: self.0.sessions.live(),
            held_sessions: self.0.sessions.len(),
            instances: self.0.engine.places.in_use(),
            instances_made: self.0.engine.places.taken(),
            hibernations: self.0.hibernations.load(Ordering::Relaxed),
            executions_removed: self.0.executions_removed.load(Ordering::Relaxed),
            events_removed: self.0.events_removed.load(Ordering::Relaxed),
            executions: self.0.scheduler.admitted(),
            template_modules_compiled: self.0.artifacts.compiled(),
            template_images_made: self.0.artifacts.images_made(),
            page_tracking: self.0.engine.tracking(),
        }
    }

    pub(crate) fn note_hibernated(&self) {
        self.0.hibernations.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_swept(&self, swept: Swept) {
        self.0.executions_removed.fetch_add(swept.executions, Ordering::Relaxed);
        self.0.events_removed.fetch_add(swept.events, Ordering::Relaxed);
    }

    pub(crate) fn guest_dir(&self) -> Option<PathBuf> {
        self.0.guest_dir.clone()
    }

    pub(crate) fn module_dir(&self) -> Option<PathBuf> {
        self.0.module_dir.clone()
    }

    pub(crate) fn backup_dir(&self) -> Option<PathBuf> {
        self.0.backup_dir.clone()
    }

    /// The right to make a backup.
    pub(crate) async fn backup_turn(&self) -> MutexGuard<'_, ()> {
        self.0.backing_up.lock().await
    }

    pub(crate) fn retention(&self) -> Retention {
        self.0.retention
    }

    pub(crate) fn max_resident(&self) -> usize {
        self.0.max_resident as usize
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn running(&self) -> &Running {
        &self.0.running
    }

    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.0.scheduler
    }

    pub(crate) fn roots(&self) -> Arc<Roots> {
        Arc::clone(&self.0.roots)
    }

    pub(crate) fn sessions(&self) -> &Registry {
        &self.0.sessions
    }

    pub(crate) fn artifacts(&self) -> &Artifacts {
        &self.0.artifacts
    }

    pub(crate) fn libraries(&self) -> Arc<LibraryFolder> {
        Arc::clone(&self.0.libraries)
    }
}
