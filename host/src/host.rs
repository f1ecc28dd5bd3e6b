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
use crate::tenancy::Tenancy;
use crate::typescript::TypeScript;
use crate::upkeep::keep_up;
use crate::worktree::{Roots, Worktree};
use detached::Detached;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::MutexGuard;
use tokio_util::task::TaskTracker;
use vm_storage::{
    Limits, Retention, Session, Storage, StorageError, Swept, Template, TemplateId,
    TemplateSnapshot, TenantId,
};

/// Sessions and what runs in them, as one tenant sees them. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
    tenant: TenantId,
}

struct Inner {
    engine: Engine,
    storage: Storage,
    sessions: Registry,
    artifacts: Artifacts,
    libraries: Arc<LibraryFolder>,
    roots: Arc<Roots>,
    tenancy: Tenancy,
    /// What templates of the local tenant may grant: what the host's user trusts it with.
    grantable: Grantable,
    /// What those of others may.
    foreign_grantable: Grantable,
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
        let host = Host { inner: self.0.upgrade()?, tenant: TenantId::LOCAL };
        (!host.inner.stopping.load(Ordering::Acquire)).then_some(host)
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
            let foreign_grantable = Grantable {
                programs: Arc::default(),
                network: Arc::new(Network::new(Vec::new())),
                secrets: Secrets::default(),
                typescript: typescript.clone(),
                storage: counted.clone(),
            };
            let grantable = Grantable {
                programs: Arc::new(Programs::find(&allowed)?),
                network: Arc::new(Network::new(addresses)),
                secrets: Secrets::read(secrets.as_deref())?,
                typescript,
                storage: counted.clone(),
            };
            Ok::<_, HostError>((
                roots,
                (grantable, foreign_grantable),
                Tenancy::load(&counted)?,
                Engine::new(&guest, &engine)?,
                Artifacts::open(artifacts),
                counted.live_session_count()?,
            ))
        });
        let (roots, grantable, tenancy, engine, artifacts, live) = made.await??;
        let (grantable, foreign_grantable) = grantable;
        let inner = Inner {
            engine,
            storage,
            sessions: Registry::new(options.max_sessions, live),
            artifacts,
            libraries: Arc::new(LibraryFolder::open(&options.library_dir)),
            roots: Arc::new(roots),
            tenancy,
            grantable,
            foreign_grantable,
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
        };
        let host = Self { inner: Arc::new(inner), tenant: TenantId::LOCAL };
        let weak = || WeakHost(Arc::downgrade(&host.inner));
        tokio::spawn(hibernate_idle_sessions(weak(), options.idle_hibernate));
        tokio::spawn(keep_up(weak(), options.upkeep_period));
        Ok(host)
    }

    /// The same host as another tenant sees it: what it makes is that tenant's, and what is another's is
    /// not there. A host that was started sees as [`TenantId::LOCAL`] does.
    #[must_use]
    pub fn within(&self, tenant: TenantId) -> Self {
        Self { inner: Arc::clone(&self.inner), tenant }
    }

    /// The tenant that it sees as.
    pub fn tenant_id(&self) -> TenantId {
        self.tenant
    }

    pub(crate) fn tenancy(&self) -> &Tenancy {
        &self.inner.tenancy
    }

    /// The store the host works on.
    pub fn storage(&self) -> &Storage {
        &self.inner.storage
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
        let admission = self.inner.scheduler.admit()?;
        let host = self.clone();
        self.detached(async move {
            let template = host.template(request.template_id).await?;
            // It holds a runtime, and is too large to be moved about.
            Box::pin(Startup::new(&host, admission, observer).create(template, request)).await
        })
        .await
    }

    /// Keeps a new template, as the tenant's own.
    ///
    /// # Errors
    /// Those of [`Storage::create_template`].
    pub async fn create_template(&self, mut template: Template) -> Result<Template, HostError> {
        template.tenant_id = self.tenant;
        self.storage().create_template(template.clone()).await?;
        Ok(template)
    }

    /// Changes a template, as [`Storage::update_template`] does.
    ///
    /// # Panics
    /// When `change` does.
    ///
    /// # Errors
    /// What `change` gives; `TemplateNotFound`, and the states of the store.
    pub async fn update_template<T, E, F>(&self, id: TemplateId, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + From<HostError> + Send + 'static,
        F: FnOnce(&mut Template) -> Result<T, E> + Send + 'static,
    {
        self.own_template(id).await?;
        self.storage().update_template(id, change).await
    }

    /// Deletes a template, where versions are `expected` only one of these; its sessions live on.
    ///
    /// # Errors
    /// `TemplateNotFound`, `Storage(TemplateVersion)`, and the states of the store.
    pub async fn delete_template(
        &self,
        id: TemplateId,
        expected: Option<Vec<u64>>,
    ) -> Result<(), HostError> {
        self.own_template(id).await?;
        self.storage().delete_template(id, expected).await?;
        self.artifacts().forget_template(id).await;
        Ok(())
    }

    /// What templates may grant.
    pub(crate) fn grantable(&self) -> &Grantable {
        if self.tenant.is_local() { &self.inner.grantable } else { &self.inner.foreign_grantable }
    }

    /// What a session has of its template's modules and capabilities, here and now.
    pub fn effective(&self, template: &TemplateSnapshot) -> Effective {
        self.grantable().effective(template)
    }

    /// What strips types.
    pub(crate) fn typescript(&self) -> &TypeScript {
        &self.inner.grantable.typescript
    }

    pub(crate) fn begin_stopping(&self) {
        self.inner.stopping.store(true, Ordering::Release);
        self.inner.tasks.close();
    }

    /// Everything that must end before the store may be closed.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.inner.tasks
    }

    pub(crate) fn refuse_when_stopping(&self) -> Result<(), HostError> {
        if self.inner.stopping.load(Ordering::Acquire) { Err(HostError::Stopping) } else { Ok(()) }
    }

    /// Runs a future to its end, whether or not its caller waits.
    pub(crate) fn detached<R: Send + 'static>(
        &self,
        work: impl Future<Output = Result<R, HostError>> + Send + 'static,
    ) -> Detached<R> {
        Detached::new(&self.inner.tasks, work)
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
        self.inner.ceilings
    }

    /// What the host has done and holds.
    pub fn stats(&self) -> HostStats {
        HostStats {
            live_sessions: self.inner.sessions.live(),
            held_sessions: self.inner.sessions.len(),
            instances: self.inner.engine.places.in_use(),
            instances_made: self.inner.engine.places.taken(),
            hibernations: self.inner.hibernations.load(Ordering::Relaxed),
            executions_removed: self.inner.executions_removed.load(Ordering::Relaxed),
            events_removed: self.inner.events_removed.load(Ordering::Relaxed),
            executions: self.inner.scheduler.admitted(),
            template_modules_compiled: self.inner.artifacts.compiled(),
            template_images_made: self.inner.artifacts.images_made(),
            page_tracking: self.inner.engine.tracking(),
        }
    }

    pub(crate) fn note_hibernated(&self) {
        self.inner.hibernations.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_swept(&self, swept: Swept) {
        self.inner.executions_removed.fetch_add(swept.executions, Ordering::Relaxed);
        self.inner.events_removed.fetch_add(swept.events, Ordering::Relaxed);
    }

    pub(crate) fn guest_dir(&self) -> Option<PathBuf> {
        self.inner.guest_dir.clone()
    }

    pub(crate) fn module_dir(&self) -> Option<PathBuf> {
        self.inner.module_dir.clone()
    }

    pub(crate) fn backup_dir(&self) -> Option<PathBuf> {
        self.inner.backup_dir.clone()
    }

    /// The right to make a backup.
    pub(crate) async fn backup_turn(&self) -> MutexGuard<'_, ()> {
        self.inner.backing_up.lock().await
    }

    pub(crate) fn retention(&self) -> Retention {
        self.inner.retention
    }

    pub(crate) fn max_resident(&self) -> usize {
        self.inner.max_resident as usize
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn running(&self) -> &Running {
        &self.inner.running
    }

    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.inner.scheduler
    }

    /// Opens a worktree, if it lies where the tenant's may.
    ///
    /// # Errors
    /// [`WorktreeError`], when it does not, or is no directory that can be opened.
    pub(crate) async fn worktree(&self, path: String) -> Result<Worktree, HostError> {
        let (roots, tenant) = (Arc::clone(&self.inner.roots), self.tenancy().find(self.tenant));
        let is_local = self.tenant.is_local();
        let open = move || match tenant {
            _ if is_local => roots.worktree(path.as_ref()),
            Some(tenant) => Roots::beneath(&tenant.worktree_roots).worktree(path.as_ref()),
            None => Roots::beneath(&[]).worktree(path.as_ref()),
        };
        Ok(blocking(open).await??)
    }

    pub(crate) fn sessions(&self) -> &Registry {
        &self.inner.sessions
    }

    pub(crate) fn artifacts(&self) -> &Artifacts {
        &self.inner.artifacts
    }

    pub(crate) fn libraries(&self) -> Arc<LibraryFolder> {
        Arc::clone(&self.inner.libraries)
    }
}
