//! The host: the one value that callers hold. It makes sessions, runs executions in them, and
//! answers what storage knows of them.
//!
//! Invariant: an execution that was begun is run to its end and committed whether or not its
//! caller is still there; each runs in a task of its own.

use crate::engine::{Engine, EngineOptions};
use crate::error::HostError;
use crate::execution::{Finished, Run, Spec, Work};
use crate::library::LibraryFolder;
use crate::limits::{self, MAX_INPUT_BYTES};
use crate::live::{LiveSession, Registry, Slot};
use crate::recorder::Observer;
use crate::runtime::Script;
use crate::startup::{SessionRequest, Startup, blocking, read_file};
use crate::template_module::TemplateModules;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;
use vm_guest::abi::script_flags;
use vm_storage::{ExecutionKind, Session, SessionId, SessionStatus, Storage, now};

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
    /// Template modules compiled since the host started.
    pub template_modules_compiled: u64,
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
}

impl Host {
    /// Starts a host on a store: loads or compiles the guest and makes the base image.
    ///
    /// # Errors
    /// [`HostError::Engine`] when the machine cannot run it.
    pub async fn start(storage: Storage, options: HostOptions) -> Result<Self, HostError> {
        let HostOptions { max_sessions, library_dir, cache_dir } = options;
        let engine = EngineOptions { max_sessions, cache_dir };
        let engine = blocking(move || Engine::new(&engine)).await??;
        Ok(Self(Arc::new(Inner {
            engine,
            storage,
            sessions: Registry::new(max_sessions),
            modules: TemplateModules::new(),
            libraries: Arc::new(LibraryFolder::open(&library_dir)),
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
    /// `TemplateNotFound`, `Worktree`, `CapacityExceeded`; `StartupFile`, `StartupMode`,
    /// `StartupFailed` and `Library`, which leave the session behind, crashed; and the states of
    /// the store.
    pub async fn create_session(
        &self,
        request: SessionRequest,
        observer: Option<Observer>,
    ) -> Result<Session, HostError> {
        let host = self.clone();
        detached(async move {
            let (storage, id) = (host.storage().clone(), request.template_id);
            let template = blocking(move || storage.template(id)).await??;
            let template = template.ok_or(HostError::TemplateNotFound(id))?;
            Startup::new(&host, observer).create(template, request).await
        })
        .await
    }

    /// Runs a snippet or a file in a session, and gives it when it is durable. What the script
    /// does wrong, and the limits it passes, are in the execution, not an error.
    ///
    /// # Errors
    /// `InputTooLarge`, `SessionNotFound`, `SessionNotReady`, `SessionBusy`, `InvalidPath`, `File`,
    /// and the states of the store.
    pub async fn execute(
        &self,
        session: SessionId,
        source: Source,
        observer: Option<Observer>,
    ) -> Result<Finished, HostError> {
        source.check_size()?;
        let Some(live) = self.0.sessions.get(session) else {
            return Err(self.absent(session).await?);
        };
        let slot = live.try_enter()?;
        let host = self.clone();
        detached(async move { host.run(&live, slot, source, observer).await }).await
    }

    /// Ends a session: what runs in it is cancelled, its runtime is dropped. Closing one that is
    /// over changes nothing.
    ///
    /// # Errors
    /// `SessionNotFound`, and the states of the store.
    pub async fn close_session(&self, id: SessionId) -> Result<Session, HostError> {
        let Some(live) = self.0.sessions.get(id) else {
            let storage = self.storage().clone();
            let session = blocking(move || storage.session(id)).await??;
            return session.ok_or(HostError::SessionNotFound(id));
        };
        live.begin_closing();
        let host = self.clone();
        detached(async move {
            let mut slot = live.slot.lock().await;
            slot.runtime = None;
            if slot.session.status != SessionStatus::Closed {
                let mut closed = slot.session.clone();
                closed.status = SessionStatus::Closed;
                closed.closed_at = Some(now());
                host.storage().put_session(closed.clone()).await?;
                slot.session = closed;
            }
            host.0.sessions.remove(id);
            Ok(slot.session.clone())
        })
        .await
    }

    async fn run(
        &self,
        live: &LiveSession,
        mut slot: OwnedMutexGuard<Slot>,
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
                let source = blocking(move || read_file(&worktree, &name, max_bytes)).await??;
                let inputs = (json(&args), json(&env));
                (Spec::file(path.clone(), args, env), path, source, Some(inputs))
            }
        };
        let run = Run {
            storage: self.storage(),
            slot: &mut slot,
            closing: live.closing(),
            observer,
            then: None,
        };
        let script = Script { name: &name, source: &source, flags };
        let finished = run.run(spec, Work::Script { script, inputs }).await;
        if slot.runtime.is_none() {
            self.0.sessions.remove(live.id);
        }
        finished
    }

    /// Why a session that is not live takes no executions.
    async fn absent(&self, id: SessionId) -> Result<HostError, HostError> {
        let storage = self.storage().clone();
        Ok(match blocking(move || storage.session(id)).await?? {
            None => HostError::SessionNotFound(id),
            Some(Session { status: SessionStatus::Closed, .. }) => {
                HostError::SessionNotReady { id, status: SessionStatus::Closed }
            }
            // One that storage calls live lost its runtime when a commit failed.
            Some(_) => HostError::SessionNotReady { id, status: SessionStatus::Crashed },
        })
    }

    /// What the host has done and holds.
    pub fn stats(&self) -> HostStats {
        HostStats {
            live_sessions: self.0.sessions.len(),
            template_modules_compiled: self.0.modules.compiled(),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
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

/// Runs a future in a task of its own, so that it ends whether or not its caller waits.
async fn detached<R: Send + 'static>(
    task: impl Future<Output = Result<R, HostError>> + Send + 'static,
) -> Result<R, HostError> {
    match tokio::spawn(task).await {
        Ok(result) => result,
        Err(error) => Err(HostError::Engine(format!("a task failed: {error}"))),
    }
}
