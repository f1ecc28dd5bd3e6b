//! One execution, from its first event to its commit.
//!
//! An execution is a transaction on its session's heap:
//!
//! ```text
//!  admitted ─▶ started ─▶ restored ─▶ runs in slices ─┬─ value, exception ─▶ changes ─▶ commit ─▶ heap
//!                 │            │            │         │                                  │ fails
//!                 └──cancel────┴────────────┴─────────┴─ timeout, trap, limit ─▶ commit ─┴▶ rolled back
//! ```
//!
//! The commit is one transaction of the store: status, events, metrics, and what the execution
//! changed in the heap and among its workspace's keys. When these are refused, because others changed
//! what it had read or there is no room, it is rolled back like one that is stopped.
//!
//! Invariant: what [`Run::run`] answers is durable, and the session's heap, here and in the store, is
//! the state of the last execution that came to its end and was committed. The instance of one that
//! did not is never called again. When a commit fails nobody knows whether it is there: the session
//! is forgotten here, and the store says what it is. What a script did outside its heap, files it
//! wrote, stays done.

mod drive;

use crate::artifacts::BrokenPart;
use crate::error::HostError;
use crate::heap::{Delta, Told};
use crate::host::Host;
use crate::limits;
use crate::live::{Awake, LiveSession, Slot};
use crate::recorder::{Observer, SharedRecorder};
use crate::running::Entry;
use crate::runtime::{Failure, Runtime, Script};
use crate::scheduler::Admission;
use drive::{Checkpoints, drive};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use vm_guest::abi::Outcome;
use vm_storage::{
    ConsoleLevel, Event, EventPayload, Execution, ExecutionCommit, ExecutionError,
    ExecutionErrorCode, ExecutionId, ExecutionKind, ExecutionStatus, HeapCommit, KvCommit, Metrics,
    Session, SessionStatus, StorageError, now,
};

/// Pages of native stack, 4 KiB each, from which an instance is dropped after its execution: the
/// engine keeps the stack of an instance, and recursion can take up to 32 MiB of it.
const DEEP_STACK_PAGES: u64 = 1_024;

/// What the event of a stopped execution says of the session.
const ROLLED_BACK: &str = "the session is as it was before this execution";

/// An execution that is over and durable, with all its events.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// The execution.
    pub execution: Execution,
    /// Its events, in order.
    pub events: Vec<Event>,
}

/// What an execution is, before it runs.
pub(crate) struct Spec {
    pub(crate) kind: ExecutionKind,
    pub(crate) input: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) args: serde_json::Map<String, serde_json::Value>,
    pub(crate) env: BTreeMap<String, String>,
}

/// What an execution runs.
pub(crate) enum Work<'a> {
    /// A script, with the inputs that a file sees.
    Script { script: Script<'a>, inputs: Option<(String, String)> },
    /// A part of the template's module.
    Linked { module: &'a wasmtime::Instance, part: u32 },
    /// A part that did not compile.
    Broken(&'a BrokenPart),
}

/// How an execution ended.
type End = Result<Outcome, Failure>;

/// What an execution needs of its surroundings.
pub(crate) struct Run<'a> {
    pub(crate) host: &'a Host,
    pub(crate) live: &'a LiveSession,
    pub(crate) slot: &'a mut Slot,
    pub(crate) admission: &'a mut Admission,
    pub(crate) observer: Option<Observer>,
    /// Is told of the execution when it is durable, before it runs.
    pub(crate) announce: Option<oneshot::Sender<Execution>>,
    /// What the session becomes when the execution ends well; `None` leaves it as it is. Startup
    /// executions say it, the last of them `Ready`.
    pub(crate) then: Option<SessionStatus>,
}

/// What came of running an execution.
struct Attempt {
    end: End,
    /// Events that are durable already.
    committed: usize,
    /// What it changed, if it came to its end, and what the store is told of it.
    changes: Option<Changes>,
    /// What it did with its workspace's keys, if it came to its end.
    kv: Option<KvCommit>,
    /// Whether its instance holds so much that a new one is worth making.
    sheds: bool,
}

/// What an execution changed.
struct Changes {
    delta: Delta,
    /// None when nothing changed that is kept.
    told: Option<(HeapCommit, Told)>,
}

impl Attempt {
    /// One that was stopped, of which so many events are durable already.
    fn failed(failure: Failure, committed: usize) -> Self {
        Self { end: Err(failure), committed, changes: None, kv: None, sheds: false }
    }
}

impl Run<'_> {
    /// Runs it and commits it. It is over for those who wait for that when the entry is dropped, which
    /// is to be when the next one may begin.
    pub(crate) async fn run(
        mut self,
        spec: Spec,
        work: Work<'_>,
    ) -> Result<(Finished, Entry), HostError> {
        let limits = self.slot.session.template.settings.limits;
        let mut execution = self.execution(spec);
        let running = self.host.running().enter(&execution);
        let recorder = SharedRecorder::new(execution.id, &limits, self.observer.take());
        let echo =
            execution.input.as_ref().or(execution.path.as_ref()).cloned().unwrap_or_default();
        let echoed = recorder.lock().push(EventPayload::InputEcho { text: echo });
        let attempt = match echoed {
            Ok(()) => self.attempt(&mut execution, &running, &recorder, work).await?,
            Err(limit) => Attempt::failed(Failure::Output(limit), 0),
        };
        self.conclude(&mut execution, &recorder, &attempt.end);
        Ok((self.commit(execution, &recorder, attempt).await?, running))
    }

    /// Waits for its turn, runs it, and finds what it changed.
    async fn attempt(
        &mut self,
        execution: &mut Execution,
        running: &Entry,
        recorder: &SharedRecorder,
        work: Work<'_>,
    ) -> Result<Attempt, HostError> {
        let mut stopped = pin!(async {
            tokio::select! {
                biased;
                () = running.cancelled() => Failure::Cancelled,
                closing = self.live.closed() => Failure::of_closing(closing),
            }
        });
        let scheduler = self.host.scheduler();
        let prepared = async {
            let mut start = pin!(self.admission.start());
            loop {
                tokio::select! {
                    biased;
                    () = &mut start => break,
                    // Who waits to start has no need of an instance that others wait for.
                    () = self.host.engine().places.wanted(), if self.slot.has_runtime() => {
                        self.slot.drop_runtime();
                    }
                }
            }
            scheduler.run(self.slot.restored(self.host)).await
        };
        tokio::select! {
            biased;
            prepared = prepared => prepared?,
            failure = &mut stopped => return Ok(Attempt::failed(failure, 0)),
        }
        let limits = self.slot.session.template.settings.limits;
        let fuel = limits::fuel(&limits);
        let Slot { session, awake, .. } = &mut *self.slot;
        let awake = awake.as_mut().expect("restored above");
        let runtime = awake.runtime.as_mut().expect("restored above");
        let starting = self.then.is_some().then_some(&*session);
        let storage = self.host.storage();
        let mut checkpoints = Checkpoints::new(storage, running, execution, starting, recorder);
        if let Some(announce) = self.announce.take() {
            if let Err(error) = checkpoints.write().await {
                drop(checkpoints);
                self.host.sessions().retire(self.live);
                self.slot.clear();
                return Err(error.into());
            }
            // Whoever asked may have gone.
            let _ = announce.send(execution.clone());
        }
        runtime.begin(fuel, recorder.clone());
        let (end, committed, wall) = {
            let work = pin!(perform(runtime, work, recorder));
            let slices = tokio::select! {
                biased;
                slices = scheduler.slices(work) => slices,
                failure = &mut stopped => {
                    return Ok(Attempt::failed(failure, checkpoints.committed()));
                }
            };
            let started = Instant::now();
            let deadline = Duration::from_millis(limits.wall_ms);
            let (end, committed) = drive(slices, deadline, stopped.as_mut(), checkpoints).await;
            (end, committed, started.elapsed())
        };
        execution.metrics.fuel_used = runtime.end(fuel);
        execution.metrics.peak_memory_bytes = runtime.memory_bytes();
        execution.metrics.host = runtime.host_calls();
        execution.metrics.wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        // A guest may have swallowed the error that passing a limit was.
        let passed = recorder.lock().passed();
        let (end, faults) = match (end, passed) {
            (Err(failure), _) => {
                let failure = runtime.explained(failure);
                return Ok(Attempt::failed(failure, committed));
            }
            (Ok(_), Some(limit)) => {
                let failure = Failure::Output(limit);
                return Ok(Attempt::failed(failure, committed));
            }
            (Ok(ended), None) => ended,
        };
        if faults > 0 {
            runtime.note_faults();
        }
        let kv = runtime.take_kv();
        let clock_ms = awake.clock_ms();
        let Awake { heap, runtime, .. } = awake;
        let runtime = runtime.as_mut().expect("restored above");
        let changes = scheduler.run(async {
            let delta = runtime.changes(heap).await;
            let told = heap.commit(&delta, clock_ms).await;
            Changes { delta, told }
        });
        tokio::select! {
            biased;
            changes = changes => {
                // Pages that are not the heap's are the native stack's.
                let own = 2 * changes.delta.pages.len() as u64;
                let sheds = faults.saturating_sub(own) > DEEP_STACK_PAGES;
                Ok(Attempt { end: Ok(end), committed, changes: Some(changes), kv, sheds })
            }
            failure = &mut stopped => Ok(Attempt::failed(failure, committed)),
        }
    }

    fn execution(&self, spec: Spec) -> Execution {
        Execution {
            id: ExecutionId::new(),
            tenant_id: self.slot.session.tenant_id,
            session_id: self.slot.session.id,
            kind: spec.kind,
            input: spec.input,
            path: spec.path,
            args: spec.args,
            env: spec.env,
            status: ExecutionStatus::Running,
            started_at: now(),
            ended_at: None,
            result: None,
            error: None,
            metrics: Metrics::default(),
        }
    }

    /// Writes into the execution, and as a system event, how it ended.
    fn conclude(&self, execution: &mut Execution, recorder: &SharedRecorder, end: &End) {
        let mut recorder = recorder.lock();
        match end {
            Ok(Outcome::Value) => {
                execution.status = ExecutionStatus::Ok;
                execution.result = recorder.value().cloned();
            }
            Ok(Outcome::Threw) => {
                let (message, stack) = recorder.exception().unwrap_or(("the script failed", None));
                let (message, stack) = (message.to_owned(), stack.map(str::to_owned));
                execution.status = ExecutionStatus::Error;
                execution.error = Some(ExecutionError { message, stack, code: None });
            }
            Err(failure) => {
                let (code, message) = failure.described();
                let goes_on = self.then.is_none() && *failure != Failure::Closed;
                let said =
                    if goes_on { format!("{message}; {ROLLED_BACK}") } else { message.clone() };
                recorder.system(said, ConsoleLevel::Error);
                execution.result = None;
                execution.status = stopped_status(code);
                execution.error = Some(ExecutionError { message, stack: None, code: Some(code) });
            }
        }
        execution.ended_at = Some(now());
        execution.metrics.events = recorder.events().len() as u64;
        execution.metrics.output_bytes = recorder.output_bytes();
    }

    /// Commits the execution, its events that are not durable yet, and what became of the session.
    async fn commit(
        mut self,
        mut execution: Execution,
        recorder: &SharedRecorder,
        mut attempt: Attempt,
    ) -> Result<Finished, HostError> {
        let (session, stored) = loop {
            let session = self.session_after(&execution, &attempt.end);
            let stored = self.store(&execution, &session, recorder, &mut attempt).await;
            let Some(failure) = stored.as_ref().err().and_then(refusal_of_keys) else {
                break (session, stored);
            };
            // Nothing of it is in the store, and without keys nothing is refused.
            attempt = Attempt::failed(failure, attempt.committed);
            self.conclude(&mut execution, recorder, &attempt.end);
        };
        let (ordinal, told) = match stored {
            Ok(stored) => stored,
            Err(error) => {
                self.host.sessions().retire(self.live);
                self.slot.clear();
                return Err(error.into());
            }
        };
        let is_over = !session.status.is_live();
        self.slot.session = session;
        if is_over {
            self.host.end(self.live);
            self.slot.clear();
        } else {
            self.adopt(attempt.changes, told, ordinal);
            let places = &self.host.engine().places;
            let may_drop = attempt.sheds || attempt.end.is_err() || places.are_wanted();
            // A start goes on in the instance that its template's module is linked to.
            if may_drop && self.then.is_none() {
                self.slot.drop_runtime();
            }
        }
        let events = recorder.lock().events().to_vec();
        Ok(Finished { execution, events })
    }

    /// What the session becomes with an execution that ended so.
    fn session_after(&self, execution: &Execution, end: &End) -> Session {
        let mut session = self.slot.session.clone();
        let failed_to_start = self.then.is_some() && execution.status != ExecutionStatus::Ok;
        if *end == Err(Failure::Closed) {
            let closing = *self.live.closing().borrow();
            session = closing.close(&session);
        } else if failed_to_start {
            session.status = SessionStatus::Crashed;
            session.last_error = execution.error.as_ref().map(|error| error.message.clone());
        } else if let Some(status) = self.then {
            session.status = status;
        }
        session
    }

    /// Asks the store to keep it; gives its ordinal, and how its change of the heap was told.
    async fn store(
        &mut self,
        execution: &Execution,
        session: &Session,
        recorder: &SharedRecorder,
        attempt: &mut Attempt,
    ) -> Result<(u64, Option<Told>), StorageError> {
        let is_over = !session.status.is_live();
        let told = attempt.changes.as_mut().and_then(|changes| changes.told.take());
        let (heap, told) = told.unzip();
        let new_events = recorder.lock().events()[attempt.committed..].to_vec();
        let commit = ExecutionCommit {
            execution: execution.clone(),
            new_events,
            session: (self.then.is_some() || is_over).then(|| session.clone()),
            heap: heap.filter(|_| !is_over),
            kv: attempt.kv.take(),
        };
        let ordinal = self.host.storage().commit_execution(commit).await?;
        Ok((ordinal, told))
    }

    /// Makes what was committed the state to go back to.
    fn adopt(&mut self, changes: Option<Changes>, told: Option<Told>, ordinal: u64) {
        let (Some(Changes { delta, told: _ }), Some(told)) = (changes, told) else { return };
        let heap = &mut self.slot.awake().heap;
        let pages: Vec<usize> = delta.pages.iter().map(|(number, _)| *number).collect();
        heap.apply(delta);
        heap.committed(ordinal, told, &pages);
    }
}

async fn perform(runtime: &mut Runtime, work: Work<'_>, recorder: &SharedRecorder) -> End {
    match work {
        Work::Script { script, inputs } => {
            if let Some((args, env)) = inputs
                && runtime.set_inputs(&args, &env).await? == Outcome::Threw
            {
                return Ok(Outcome::Threw);
            }
            runtime.evaluate(script).await
        }
        Work::Linked { module, part } => runtime.run_linked(module, part).await,
        Work::Broken(broken) => {
            for payload in &broken.events {
                recorder.lock().push(payload.clone()).map_err(Failure::Output)?;
            }
            match &broken.failure {
                Some(failure) => Err(failure.clone()),
                None => Ok(Outcome::Threw),
            }
        }
    }
}

/// What an execution ended with whose keys the store refused, if that is what it did.
fn refusal_of_keys(error: &StorageError) -> Option<Failure> {
    match error {
        StorageError::KvConflict { .. } => Some(Failure::KvConflict),
        StorageError::KvQuotaExceeded { .. } => Some(Failure::KvQuota),
        _ => None,
    }
}

/// The status of an execution that was stopped.
fn stopped_status(code: ExecutionErrorCode) -> ExecutionStatus {
    match code {
        ExecutionErrorCode::FuelExhausted | ExecutionErrorCode::WallTimeExceeded => {
            ExecutionStatus::Timeout
        }
        ExecutionErrorCode::Cancelled => ExecutionStatus::Cancelled,
        ExecutionErrorCode::OutputLimitExceeded
        | ExecutionErrorCode::GuestTrapped
        | ExecutionErrorCode::HostStopped
        | ExecutionErrorCode::KvConflict
        | ExecutionErrorCode::KvUnavailable
        | ExecutionErrorCode::KvQuotaExceeded => ExecutionStatus::Error,
    }
}
