//! The host: the one value that callers hold. It makes sessions, runs executions in them, and
//! answers what storage knows of them.
//!
//! Invariant: an execution that was begun is run to its end and committed whether or not its
//! caller is still there; each runs in a task of its own.

use crate::engine::{Engine, EngineOptions};
use crate::error::HostError;
use crate::execution::{Finished, Run, Spec, Work};
use crate::heap::PageTracking;
use crate::hibernate::hibernate_idle_sessions;
use crate::library::{LibraryFolder, LibraryName};
use crate::limits::{self, MAX_INPUT_BYTES};
use crate::live::{Closing, Entered, LiveSession, Registry, Slot, Turn};
use crate::recorder::Observer;
use crate::running::Running;
use crate::runtime::Script;
use crate::scheduler::{Admission, Concurrency, Scheduler};
use crate::startup::{SessionRequest, Startup, blocking, read_file};
use crate::template_module::TemplateModules;
use crate::upkeep::keep_up;
use crate::worktree::Roots;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{MutexGuard, OwnedMutexGuard};
use tokio_util::task::TaskTracker;
use vm_guest::abi::script_flags;
use vm_storage::{
    ExecutionKind, Limits, Retention, Session, SessionId, SessionStatus, Storage, Swept,
};

/// What stacks call a snippet.
const REPL_NAME: &str = "<repl>";

/// How a host is made.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Sessions that may be starting or ready at one time, most of which take room in the store
    /// and nowhere else.
    pub max_sessions: u32,
    /// Sessions that may have an instance at one time. Each reserves 4 GiB of address space, of
    /// which it uses what it touches.
    pub max_resident: u32,
    /// How long a session keeps its instance without being used.
    pub idle_hibernate: Duration,
    /// Folder of libraries, `NAME-VERSION.js` each; one that does not exist has none.
    pub library_dir: PathBuf,
    /// Folder for compiled code, of this user alone; `None` compiles the guest at every start,
    /// which takes about a second.
    pub cache_dir: Option<PathBuf>,
    /// Folder beside the database where the guests of its sessions are kept, so that a later version
    /// of this program restores them; `None` keeps none.
    pub guest_dir: Option<PathBuf>,
    /// Folder that backups are made in; `None` makes none.
    pub backup_dir: Option<PathBuf>,
    /// How long executions and events are kept.
    pub retention: Retention,
    /// How often the host looks for what it has to remove or end.
    pub upkeep_period: Duration,
    /// Folders that every worktree must lie in; none named means that any will do.
    pub worktree_roots: Vec<PathBuf>,
    /// What no session may pass, whatever its template says.
    pub ceilings: Limits,
    /// Executions that may be under way at one time.
    pub concurrency: Concurrency,
    /// How the pages that an execution changed are found; where the kernel does not offer it,
    /// by comparison.
    pub page_tracking: PageTracking,
}

impl HostOptions {
    /// Sessions that may be live unless the options say otherwise.
    pub const DEFAULT_MAX_SESSIONS: u32 = 100_000;

    /// Sessions that may have an instance unless the options say otherwise.
    pub const DEFAULT_MAX_RESIDENT: u32 = 1_000;

    /// How long a session keeps its instance unless the options say otherwise.
    pub const DEFAULT_IDLE_HIBERNATE: Duration = Duration::from_secs(30);

    /// A host of the default size, without a cache, with worktrees anywhere.
    pub fn new(library_dir: PathBuf) -> Self {
        Self {
            max_sessions: Self::DEFAULT_MAX_SESSIONS,
            max_resident: Self::DEFAULT_MAX_RESIDENT,
            idle_hibernate: Self::DEFAULT_IDLE_HIBERNATE,
            library_dir,
            cache_dir: None,
            guest_dir: None,
            backup_dir: None,
            retention: Retention::default(),
            upkeep_period: Duration::from_secs(1),
            worktree_roots: Vec::new(),
            ceilings: limits::MAX,
            concurrency: Concurrency::default(),
            page_tracking: PageTracking::Kernel,
        }
    }
}

/// What an execution runs.
#[derive(Clone, Debug)]
pub enum Source {
    /// A snippet.
    Repl {
        /// Its text.
        input: String,
    },
    /// A file of the worktree.
    File {
        /// Its path, relative to the worktree.
        path: String,
        /// What the script sees as `__ARGS__`.
        args: serde_json::Map<String, serde_json::Value>,
        /// What the script sees as `__ENV__` and `process.env`.
        env: BTreeMap<String, String>,
    },
}

/// Counters of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostStats {
    /// Sessions that are starting or ready.
    pub live_sessions: u64,
    /// Sessions of which anything is in memory.
    pub held_sessions: usize,
    /// Instances there are.
    pub instances: usize,
    /// Instances made since the host started.
    pub instances_made: u64,
    /// Sessions that gave up what they had in memory, since the host started.
    pub hibernations: u64,
    /// Executions removed by retention or a purge, since the host started.
    pub executions_removed: u64,
    /// Events removed so.
    pub events_removed: u64,
    /// Executions, and sessions being made, that have started or wait to start.
    pub executions: usize,
    /// Template modules compiled since the host started.
    pub template_modules_compiled: u64,
    /// How the pages that an execution changed are found.
    pub page_tracking: PageTracking,
}

/// Sessions and what runs in them. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    engine: Engine,
    storage: Storage,
    sessions: Registry,
    modules: TemplateModules,
    libraries: Arc<LibraryFolder>,
    roots: Arc<Roots>,
    ceilings: Limits,
    max_resident: u32,
    retention: Retention,
    guest_dir: Option<PathBuf>,
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
    /// no directory.
    pub async fn start(storage: Storage, options: HostOptions) -> Result<Self, HostError> {
        Self::of_guest(vm_guest::wasm().into(), storage, options).await
    }

    /// A host of any guest, trusted or not.
    pub(crate) async fn of_guest(
        guest: Cow<'static, [u8]>,
        storage: Storage,
        options: HostOptions,
    ) -> Result<Self, HostError> {
        let engine = EngineOptions {
            max_resident: options.max_resident,
            cache_dir: options.cache_dir,
            guest_dir: options.guest_dir.clone(),
            tracking: options.page_tracking,
        };
        let (worktree_roots, counted) = (options.worktree_roots, storage.clone());
        let made = blocking(move || {
            let roots = Roots::open(&worktree_roots)?;
            Ok::<_, HostError>((
                roots,
                Engine::new(&guest, &engine)?,
                counted.live_session_count()?,
            ))
        });
        let (roots, engine, live) = made.await??;
        let host = Self(Arc::new(Inner {
            engine,
            storage,
            sessions: Registry::new(options.max_sessions, live),
            modules: TemplateModules::new(),
            libraries: Arc::new(LibraryFolder::open(&options.library_dir)),
            roots: Arc::new(roots),
            ceilings: options.ceilings,
            max_resident: options.max_resident,
            retention: options.retention,
            guest_dir: options.guest_dir,
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
            Startup::new(&host, admission, observer).create(template, request).await
        })
        .await
    }

    /// Runs a snippet or a file in a session, and gives it when it is durable. What the script
    /// does wrong, and the limits it passes, are in the execution, not an error.
    ///
    /// # Errors
    /// `InputTooLarge`, `SessionNotFound`, `SessionNotReady`, `SessionBusy`, `CapacityExceeded`,
    /// `InvalidPath`, `File`, `Stopping`, and the states of the store.
    pub async fn execute(
        &self,
        session: SessionId,
        source: Source,
        observer: Option<Observer>,
    ) -> Result<Finished, HostError> {
        source.check_size()?;
        self.refuse_when_stopping()?;
        let entered = self.enter(session).await?;
        let admission = self.0.scheduler.admit()?;
        let host = self.clone();
        self.detached(async move { host.run(entered, admission, source, observer).await }).await
    }

    /// Takes the turn in a session, which is loaded if this process does not hold it.
    ///
    /// # Errors
    /// `SessionNotFound`, `SessionNotReady`, `SessionBusy`, and the states of the store.
    async fn enter(&self, id: SessionId) -> Result<(Arc<LiveSession>, Turn), HostError> {
        loop {
            let live = self.load(id).await?;
            match live.try_enter()? {
                Entered::Turn(turn) => return Ok((live, turn)),
                // It hibernated or was closed since it was looked up.
                Entered::Retired => tokio::task::yield_now().await,
            }
        }
    }

    /// The entry of a session that is starting or ready, loaded if this process does not hold it.
    pub(crate) async fn load(&self, id: SessionId) -> Result<Arc<LiveSession>, HostError> {
        loop {
            let live = self.0.sessions.entry(id);
            if live.is_ready() || live.is_starting() {
                return Ok(live);
            }
            let mut slot = live.lock().await;
            if live.is_retired() {
                continue;
            }
            if slot.is_none() {
                match self.stored_ready(id).await {
                    Ok(session) => *slot = Some(Slot::of(session)),
                    Err(error) => {
                        self.0.sessions.retire(&live);
                        return Err(error);
                    }
                }
            }
            live.set_ready();
            drop(slot);
            self.make_room();
            return Ok(live);
        }
    }

    /// A session that is ready, as the store has it.
    async fn stored_ready(&self, id: SessionId) -> Result<Session, HostError> {
        let stored = self.read(move |storage| storage.session(id)).await?;
        let session = stored.ok_or(HostError::SessionNotFound(id))?;
        let status = match session.status {
            SessionStatus::Ready => return Ok(session),
            // Nobody starts it any more: it failed, and the store could not be told.
            SessionStatus::Starting | SessionStatus::Crashed => SessionStatus::Crashed,
            SessionStatus::Closed => SessionStatus::Closed,
        };
        Err(HostError::SessionNotReady { id, status })
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

    /// Runs a future in a task of its own, so that it ends whether or not its caller waits.
    pub(crate) async fn detached<R: Send + 'static>(
        &self,
        task: impl Future<Output = Result<R, HostError>> + Send + 'static,
    ) -> Result<R, HostError> {
        match self.0.tasks.spawn(task).await {
            Ok(result) => result,
            Err(error) => Err(HostError::Engine(format!("a task failed: {error}"))),
        }
    }

    async fn run(
        &self,
        entered: (Arc<LiveSession>, Turn),
        mut admission: Admission,
        source: Source,
        observer: Option<Observer>,
    ) -> Result<Finished, HostError> {
        let (mut live, mut turn) = entered;
        let mut slot = loop {
            let slot = live.lock().await;
            if !live.is_retired() {
                break OwnedMutexGuard::map(slot, |slot| {
                    slot.as_mut().expect("checked by `load`: a session that is entered is loaded")
                });
            }
            // It was closed, or its last commit failed, before this execution had its turn.
            (live, turn) = self.enter(live.id).await?;
        };
        let settings = &slot.session.template.settings;
        let flags = if settings.runtime.strict { script_flags::STRICT } else { 0 };
        let (spec, name, source, inputs) = match source {
            Source::Repl { input } => {
                let source = input.clone().into_bytes();
                (Spec::repl(input), REPL_NAME.to_owned(), source, None)
            }
            Source::File { path, args, env } => {
                let source = self.script(&live, &mut slot, &path).await?;
                let inputs = (json(&args), json(&env));
                (Spec::file(path.clone(), args, env), path, source, Some(inputs))
            }
        };
        let run = Run {
            host: self,
            live: &live,
            slot: &mut slot,
            admission: &mut admission,
            observer,
            then: None,
        };
        let script = Script { name: &name, source: &source, flags };
        let finished = run.run(spec, Work::Script { script, inputs }).await;
        live.touch();
        drop((slot, turn));
        finished
    }

    /// Reads a script of a session's worktree.
    async fn script(
        &self,
        live: &LiveSession,
        slot: &mut Slot,
        path: &str,
    ) -> Result<Vec<u8>, HostError> {
        let max_bytes = limits::memory_bytes(&slot.session.template.settings.limits);
        let (worktree, name) = (slot.worktree(self).await?, path.to_owned());
        let read = blocking(move || read_file(&worktree, &name, max_bytes));
        // A file system may take its time; closing the session does not wait for it.
        tokio::select! {
            biased;
            source = read => source?,
            closing = live.closed() => Err(match closing {
                Closing::HostStops => HostError::Stopping,
                Closing::No | Closing::ByClient | Closing::ByTtl => {
                    HostError::SessionNotReady { id: live.id, status: SessionStatus::Closed }
                }
            }),
        }
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
            template_modules_compiled: self.0.modules.compiled(),
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

    pub(crate) fn modules(&self) -> &TemplateModules {
        &self.0.modules
    }

    pub(crate) fn libraries(&self) -> Arc<LibraryFolder> {
        Arc::clone(&self.0.libraries)
    }
}

impl Source {
    /// Refuses what an execution's record could not hold, as JSON with every escape.
    fn check_size(&self) -> Result<(), HostError> {
        let bytes = match self {
            Self::Repl { input } => json(input).len(),
            Self::File { path: _, args, env } => json(args).len() + json(env).len(),
        };
        if bytes > MAX_INPUT_BYTES {
            return Err(HostError::InputTooLarge { bytes, limit: MAX_INPUT_BYTES });
        }
        Ok(())
    }
}

impl Spec {
    fn repl(input: String) -> Self {
        Self {
            kind: ExecutionKind::Repl,
            input: Some(input),
            path: None,
            args: serde_json::Map::new(),
            env: BTreeMap::new(),
        }
    }

    fn file(
        path: String,
        args: serde_json::Map<String, serde_json::Value>,
        env: BTreeMap<String, String>,
    ) -> Self {
        Self { kind: ExecutionKind::RunFile, input: None, path: Some(path), args, env }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value)
        .expect("checked by their types: texts and maps with string keys are JSON")
}
