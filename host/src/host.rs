//! The host: the one value that callers hold. It makes sessions, runs executions in them, and
//! answers what storage knows of them.
//!
//! Invariant: an execution that was begun is run to its end and committed whether or not its
//! caller is still there; each runs in a task of its own.

use crate::engine::{Engine, EngineOptions};
use crate::error::HostError;
use crate::execution::{Finished, Run, Spec, Work};
use crate::heap::PageTracking;
use crate::library::{LibraryFolder, LibraryName};
use crate::limits::{self, MAX_INPUT_BYTES};
use crate::live::{LiveSession, Registry, Slot};
use crate::recorder::Observer;
use crate::running::Running;
use crate::runtime::Script;
use crate::scheduler::{Admission, Concurrency, Scheduler};
use crate::startup::{SessionRequest, Startup, blocking, read_file};
use crate::template_module::TemplateModules;
use crate::worktree::Roots;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::OwnedMutexGuard;
use tokio_util::task::TaskTracker;
use vm_guest::abi::script_flags;
use vm_storage::{ExecutionKind, Limits, Session, SessionId, SessionStatus, Storage};

/// What stacks call a snippet.
const REPL_NAME: &str = "<repl>";

/// How a host is made.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Sessions that may be live at one time. Each reserves 4 GiB of address space, of which it
    /// uses what it touches.
    pub max_sessions: u32,
    /// Folder of libraries, `NAME-VERSION.js` each; one that does not exist has none.
    pub library_dir: PathBuf,
    /// Folder for compiled code, of this user alone; `None` compiles the guest at every start,
    /// which takes about a second.
    pub cache_dir: Option<PathBuf>,
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
    pub const DEFAULT_MAX_SESSIONS: u32 = 1_000;

    /// A host of the default size, without a cache, with worktrees anywhere.
    pub fn new(library_dir: PathBuf) -> Self {
        Self {
            max_sessions: Self::DEFAULT_MAX_SESSIONS,
            library_dir,
            cache_dir: None,
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
    pub live_sessions: usize,
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
    scheduler: Scheduler,
    running: Running,
    /// Everything that must end before the store may be closed.
    tasks: TaskTracker,
    stopping: AtomicBool,
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
        let HostOptions { max_sessions, library_dir, cache_dir, .. } = options;
        let worktree_roots = options.worktree_roots;
        let engine = EngineOptions { max_sessions, cache_dir, tracking: options.page_tracking };
        let made = blocking(move || {
            let roots = Roots::open(&worktree_roots)?;
            Ok::<_, HostError>((roots, Engine::new(&guest, &engine)?))
        });
        let (roots, engine) = made.await??;
        Ok(Self(Arc::new(Inner {
            engine,
            storage,
            sessions: Registry::new(max_sessions),
            modules: TemplateModules::new(),
            libraries: Arc::new(LibraryFolder::open(&library_dir)),
            roots: Arc::new(roots),
            ceilings: options.ceilings,
            scheduler: Scheduler::new(options.concurrency),
            running: Running::default(),
            tasks: TaskTracker::new(),
            stopping: AtomicBool::new(false),
        })))
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
        let Some(live) = self.0.sessions.get(session) else {
            return Err(self.absent(session).await?);
        };
        let slot = live.try_enter()?;
        let admission = self.0.scheduler.admit()?;
        let host = self.clone();
        self.detached(async move { host.run(&live, slot, admission, source, observer).await }).await
    }

    pub(crate) fn begin_stopping(&self) {
        self.0.stopping.store(true, Ordering::Release);
        self.0.tasks.close();
    }

    /// Everything that must end before the store may be closed.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    fn refuse_when_stopping(&self) -> Result<(), HostError> {
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
        live: &LiveSession,
        mut slot: OwnedMutexGuard<Slot>,
        mut admission: Admission,
        source: Source,
        observer: Option<Observer>,
    ) -> Result<Finished, HostError> {
        let settings = &slot.session.template.settings;
        let flags = if settings.runtime.strict { script_flags::STRICT } else { 0 };
        let (spec, name, source, inputs) = match source {
            Source::Repl { input } => {
                let source = input.clone().into_bytes();
                (Spec::repl(input), REPL_NAME.to_owned(), source, None)
            }
            Source::File { path, args, env } => {
                let max_bytes = limits::memory_bytes(&settings.limits);
                let (worktree, name) = (Arc::clone(&slot.worktree), path.clone());
                let read = blocking(move || read_file(&worktree, &name, max_bytes));
                // A file system may take its time; closing the session does not wait for it.
                let source = tokio::select! {
                    biased;
                    source = read => source??,
                    () = live.closed() => {
                        let (id, status) = (live.id, SessionStatus::Closed);
                        return Err(HostError::SessionNotReady { id, status });
                    }
                };
                let inputs = (json(&args), json(&env));
                (Spec::file(path.clone(), args, env), path, source, Some(inputs))
            }
        };
        let run = Run {
            host: self,
            slot: &mut slot,
            admission: &mut admission,
            closing: live.closing(),
            observer,
            then: None,
        };
        let script = Script { name: &name, source: &source, flags };
        let finished = run.run(spec, Work::Script { script, inputs }).await;
        if !slot.session.status.is_live() {
            self.leave(live.id, &finished);
        }
        finished
    }

    /// Takes a session that is over out of the registry. When that could not be committed,
    /// storage still calls it ready, and readers must be told otherwise.
    pub(crate) fn leave<R>(&self, id: SessionId, outcome: &Result<R, HostError>) {
        if let Err(HostError::Storage(_)) = outcome {
            self.0.sessions.lose(id);
        }
        self.0.sessions.remove(id);
    }

    /// Why a session that is not live takes no executions.
    async fn absent(&self, id: SessionId) -> Result<HostError, HostError> {
        let status = match self.session(id).await?.status {
            // It is starting no more: it failed, or was closed, since it was looked for.
            SessionStatus::Starting | SessionStatus::Ready | SessionStatus::Crashed => {
                SessionStatus::Crashed
            }
            SessionStatus::Closed => SessionStatus::Closed,
        };
        Ok(HostError::SessionNotReady { id, status })
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
            live_sessions: self.0.sessions.len(),
            executions: self.0.scheduler.admitted(),
            template_modules_compiled: self.0.modules.compiled(),
            page_tracking: self.0.engine.tracking(),
        }
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
