//! How an execution finds its session: from the id that a client names to the state that it runs in.
//!
//! Invariant: an execution that has its turn runs in the one entry of its session that is not
//! retired, whatever became of the one it was first told of.

use super::Host;
use super::detached::Detached;
use crate::artifacts::BrokenPart;
use crate::error::HostError;
use crate::execution::{Finished, Run, Spec, Work};
use crate::grants::modules;
use crate::limits::{self, MAX_INPUT_BYTES};
use crate::live::{Entered, LiveSession, Slot, Turn};
use crate::recorder::Observer;
use crate::runtime::Script;
use crate::scheduler::Admission;
use crate::startup::{blocking, read_file};
use crate::typescript::{Kind, Stripped, is_typescript};
use crate::worktree::WorktreePath;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, oneshot};
use vm_guest::abi::{ModuleFormat, script_flags};
use vm_storage::{Execution, ExecutionKind, Session, SessionId, SessionStatus};

/// What stacks call a snippet.
const REPL_NAME: &str = "<repl>";

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

/// How an execution is run.
#[derive(Clone, Default)]
pub struct Manner {
    /// Sees its events as they are made.
    pub observer: Option<Observer>,
    /// What becomes of it where another runs in the session.
    pub on_busy: OnBusy,
}

/// What becomes of an execution where another runs in its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBusy {
    /// It is refused: `SessionBusy`.
    #[default]
    Refuse,
    /// It runs after those that asked before it; beyond a bound of these it is refused.
    Queue,
}

/// Who is told of an execution while it runs.
struct Told {
    observer: Option<Observer>,
    announce: Option<oneshot::Sender<Execution>>,
}

impl Host {
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
        self.execute_with(session, source, Manner { observer, ..Manner::default() }).await
    }

    /// The same, in a manner of the caller's.
    ///
    /// # Errors
    /// As [`Host::execute`].
    pub async fn execute_with(
        &self,
        session: SessionId,
        source: Source,
        manner: Manner,
    ) -> Result<Finished, HostError> {
        self.begun(session, source, manner, None).await?.await
    }

    /// Begins what [`Host::execute`] does, and gives it as soon as a reader finds it, durable and
    /// running; or over, when it was over by then. It goes on by itself.
    ///
    /// # Errors
    /// As [`Host::execute`].
    pub async fn begin(
        &self,
        session: SessionId,
        source: Source,
        manner: Manner,
    ) -> Result<Execution, HostError> {
        let (announce, announced) = oneshot::channel();
        let work = self.begun(session, source, manner, Some(announce)).await?;
        let mut work = pin!(work);
        tokio::select! {
            biased;
            Ok(execution) = announced => Ok(execution),
            finished = &mut work => Ok(finished?.execution),
        }
    }

    /// Takes the turn; gives what runs in it, whether or not somebody waits.
    async fn begun(
        &self,
        session: SessionId,
        source: Source,
        manner: Manner,
        announce: Option<oneshot::Sender<Execution>>,
    ) -> Result<Detached<Finished>, HostError> {
        source.check_size()?;
        self.refuse_when_stopping()?;
        let entered = self.enter(session, manner.on_busy).await?;
        let admission = self.inner.scheduler.admit()?;
        let host = self.clone();
        let told = Told { observer: manner.observer, announce };
        Ok(self.detached(async move { host.run(entered, admission, source, told).await }))
    }

    /// Takes the turn in a session, which is loaded if this process does not hold it.
    ///
    /// # Errors
    /// `SessionNotFound`, `SessionNotReady`, `SessionBusy`, and the states of the store.
    async fn enter(
        &self,
        id: SessionId,
        on_busy: OnBusy,
    ) -> Result<(Arc<LiveSession>, Turn), HostError> {
        loop {
            let live = self.load(id).await?;
            let entered = match on_busy {
                OnBusy::Refuse => live.try_enter()?,
                OnBusy::Queue => live.enter_queued().await?,
            };
            match entered {
                Entered::Turn(turn) => return Ok((live, turn)),
                // It hibernated or was closed since it was looked up.
                Entered::Retired => tokio::task::yield_now().await,
            }
        }
    }

    /// The entry of a session that is starting or ready, loaded if this process does not hold it.
    pub(crate) async fn load(&self, id: SessionId) -> Result<Arc<LiveSession>, HostError> {
        loop {
            let live = self.inner.sessions.entry(id);
            if live.is_ready() || live.is_starting() {
                if live.belongs_to(self.tenant) {
                    return Ok(live);
                }
                return Err(HostError::SessionNotFound(id));
            }
            let mut slot = live.lock().await;
            if live.is_retired() {
                continue;
            }
            if slot.is_none() {
                match self.stored_ready(id).await {
                    Ok(session) => {
                        live.set_tenant(session.tenant_id);
                        *slot = Some(Slot::of(session));
                    }
                    Err(error) => {
                        self.inner.sessions.retire(&live);
                        return Err(error);
                    }
                }
            }
            if !live.belongs_to(self.tenant) {
                return Err(HostError::SessionNotFound(id));
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
        let session = stored.filter(|session| session.tenant_id == self.tenant);
        let session = session.ok_or(HostError::SessionNotFound(id))?;
        let status = match session.status {
            SessionStatus::Ready => return Ok(session),
            // Nobody starts it any more: it failed, and the store could not be told.
            SessionStatus::Starting | SessionStatus::Crashed => SessionStatus::Crashed,
            SessionStatus::Closed => SessionStatus::Closed,
        };
        Err(HostError::SessionNotReady { id, status })
    }

    async fn run(
        &self,
        entered: (Arc<LiveSession>, Turn),
        mut admission: Admission,
        source: Source,
        told: Told,
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
            (live, turn) = self.enter(live.id, OnBusy::Refuse).await?;
        };
        let runtime = slot.session.template.settings.runtime;
        let mut flags = if runtime.strict { script_flags::STRICT } else { 0 };
        let (spec, name, source, inputs) = match source {
            Source::Repl { input } => {
                let source = input.clone().into_bytes();
                let source = if runtime.typescript {
                    self.stripped(&live, source, Kind::Line).await?
                } else {
                    Ok(source.into())
                };
                flags |= script_flags::REPL;
                (Spec::repl(input), REPL_NAME.to_owned(), source, None)
            }
            Source::File { path, args, env } => {
                let (source, format) = self.script(&live, &mut slot, &path).await?;
                flags |= format_flags(format);
                let source = if is_typescript(&path) {
                    self.stripped(&live, source, Kind::File).await?
                } else {
                    Ok(source.into())
                };
                // What the request says of a name counts.
                let mut variables = self.grantable().secrets(&slot.session).variables;
                variables.extend(env.clone());
                let inputs = (json(&args), json(&variables));
                (Spec::file(path.clone(), args, env), path, source, Some(inputs))
            }
        };
        let run = Run {
            host: self,
            live: &live,
            slot: &mut slot,
            admission: &mut admission,
            observer: told.observer,
            announce: told.announce,
            then: None,
        };
        let ran = match source {
            Ok(source) => {
                let script = Script { name: &name, source: &source, flags };
                run.run(spec, Work::Script { script, inputs }).await
            }
            Err(refused) => {
                let broken = BrokenPart::of_syntax(0, &refused, &name);
                run.run(spec, Work::Broken(&broken)).await
            }
        };
        live.touch();
        drop((slot, turn));
        // Those who wait for its end find the session free.
        ran.map(|(finished, _over)| finished)
    }

    /// Reads a script of a session's worktree, and finds what it is.
    async fn script(
        &self,
        live: &LiveSession,
        slot: &mut Slot,
        path: &str,
    ) -> Result<(Vec<u8>, ModuleFormat), HostError> {
        let max_bytes = limits::memory_bytes(&slot.session.template.settings.limits);
        let (worktree, path) = (slot.worktree(self).await?, path.to_owned());
        let modules = modules(&slot.session.template, &worktree, self.typescript());
        let read = blocking(move || {
            let source = read_file(&worktree, &path, max_bytes)?;
            let format = WorktreePath::strict(&path).map(|path| modules.entry_format(&path));
            Ok((source, format.unwrap_or(ModuleFormat::CommonJs)))
        });
        // A file system may take its time.
        unless_closed(live, read).await?
    }

    /// A source without its types.
    async fn stripped(
        &self,
        live: &LiveSession,
        source: Vec<u8>,
        kind: Kind,
    ) -> Result<Stripped, HostError> {
        unless_closed(live, self.typescript().strip(source, kind)).await
    }
}

/// What work gives that closing the session does not wait for.
async fn unless_closed<R>(
    live: &LiveSession,
    work: impl Future<Output = Result<R, HostError>>,
) -> Result<R, HostError> {
    tokio::select! {
        biased;
        done = work => done,
        closing = live.closed() => Err(closing.refusal(live.id)),
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

/// How a guest is told what a file is.
fn format_flags(format: ModuleFormat) -> u32 {
    match format {
        ModuleFormat::Module => script_flags::MODULE,
        ModuleFormat::BySyntax => script_flags::BY_SYNTAX,
        ModuleFormat::CommonJs | ModuleFormat::Json => 0,
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value)
        .expect("checked by their types: texts and maps with string keys are JSON")
}
