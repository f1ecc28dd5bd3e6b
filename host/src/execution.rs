//! One execution, from its first event to its commit.
//!
//! Invariant: what [`Run::run`] answers is durable. An execution that did not come to its end
//! takes its session with it, because the instance it was in is garbage; the session is committed
//! as crashed in the same transaction.

use crate::error::HostError;
use crate::limits;
use crate::live::{Closing, Slot};
use crate::recorder::{Observer, SharedRecorder};
use crate::running::Running;
use crate::runtime::{Failure, Runtime, Script};
use crate::template_module::BrokenPart;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use vm_guest::abi::Outcome;
use vm_storage::{
    ConsoleLevel, Event, EventPayload, Execution, ExecutionCommit, ExecutionError,
    ExecutionErrorCode, ExecutionId, ExecutionKind, ExecutionStatus, Metrics, Session,
    SessionStatus, Storage, now,
};

/// An execution that takes longer than this is committed as running, so that a host which dies
/// leaves a trace of it.
const CHECKPOINT_AFTER: Duration = Duration::from_millis(50);

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
    pub(crate) storage: &'a Storage,
    pub(crate) running: &'a Running,
    pub(crate) slot: &'a mut Slot,
    pub(crate) closing: watch::Receiver<Closing>,
    pub(crate) observer: Option<Observer>,
    /// What the session becomes when the execution ends well; `None` leaves it as it is. Startup
    /// executions say it, the last of them `Ready`.
    pub(crate) then: Option<SessionStatus>,
}

impl Run<'_> {
    /// Runs it and commits it.
    pub(crate) async fn run(mut self, spec: Spec, work: Work<'_>) -> Result<Finished, HostError> {
        let limits = self.slot.session.template.settings.limits;
        let mut execution = self.execution(spec);
        let recorder = SharedRecorder::new(execution.id, &limits, self.observer.take());
        let echo =
            execution.input.as_ref().or(execution.path.as_ref()).cloned().unwrap_or_default();
        let echoed = recorder.lock().push(EventPayload::InputEcho { text: echo });
        let fuel = limits::fuel(&limits);
        let started = Instant::now();
        let slot = &mut *self.slot;
        let Some(runtime) = slot.runtime.as_mut() else {
            // It crashed or was closed while this execution was on its way in.
            let (id, status) = (slot.session.id, slot.session.status);
            return Err(HostError::SessionNotReady { id, status });
        };
        let _running = self.running.enter(&execution);
        runtime.begin(fuel, recorder.clone());
        let (end, committed) = if let Err(limit) = echoed {
            (Err(Failure::Output(limit)), 0)
        } else {
            let checkpoint = Checkpoint {
                storage: self.storage,
                execution: &execution,
                session: self.then.is_some().then_some(&slot.session),
                recorder: &recorder,
            };
            let deadline = Duration::from_millis(limits.wall_ms);
            let work = perform(runtime, work, &recorder);
            drive(work, deadline, &mut self.closing, checkpoint).await
        };
        execution.metrics.fuel_used = runtime.end(fuel);
        execution.metrics.peak_memory_bytes = runtime.memory_bytes();
        execution.metrics.wall_ms =
            u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let lost = conclude(&mut execution, &recorder, end);
        self.commit(execution, &recorder, committed, lost).await
    }

    fn execution(&self, spec: Spec) -> Execution {
        Execution {
            id: ExecutionId::new(),
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

    /// Commits the execution, the events after the first `committed`, and what became of the
    /// session.
    async fn commit(
        self,
        execution: Execution,
        recorder: &SharedRecorder,
        committed: usize,
        lost: Lost,
    ) -> Result<Finished, HostError> {
        let events = recorder.lock().events().to_vec();
        let session = &mut self.slot.session;
        let failed_to_start = self.then.is_some() && execution.status != ExecutionStatus::Ok;
        let closing = *self.closing.borrow();
        if execution.status == ExecutionStatus::Cancelled && closing != Closing::No {
            *session = closing.close(session);
            self.slot.runtime = None;
        } else if lost == Lost::Yes || failed_to_start {
            session.status = SessionStatus::Crashed;
            session.last_error = execution.error.as_ref().map(|error| error.message.clone());
            self.slot.runtime = None;
        } else if let Some(status) = self.then {
            session.status = status;
        }
        let changed = self.then.is_some() || lost == Lost::Yes;
        let commit = ExecutionCommit {
            execution: execution.clone(),
            new_events: events[committed..].to_vec(),
            session: changed.then(|| session.clone()),
        };
        if let Err(error) = self.storage.commit_execution(commit).await {
            // The heap is ahead of what is durable, and there is no image to go back to yet.
            session.status = SessionStatus::Crashed;
            self.slot.runtime = None;
            return Err(error.into());
        }
        Ok(Finished { execution, events })
    }
}

/// Whether an execution took its session's state with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Yes,
    No,
}

/// Runs the work until it ends, its deadline passes or the session closes. Gives how it ended and
/// how many of its events are durable already.
///
/// The script runs here, on an async worker: it gives the worker back after every slice of fuel,
/// some 60 microseconds, so that no thread is held for long. The work is polled first, so that one
/// which ends at once never sets a timer.
async fn drive(
    work: impl Future<Output = End>,
    deadline: Duration,
    closing: &mut watch::Receiver<Closing>,
    checkpoint: Checkpoint<'_>,
) -> (End, usize) {
    let mut work = pin!(work);
    let mut wall = pin!(tokio::time::sleep(deadline));
    let mut closed = pin!(async {
        // The sender outlives this: it is the session's.
        drop(closing.wait_for(|closing| *closing != Closing::No).await);
    });
    let mut due = pin!(tokio::time::sleep(CHECKPOINT_AFTER));
    let mut write = pin!(checkpoint.write());
    let mut is_due = false;
    let mut committed = None;
    let end = loop {
        tokio::select! {
            biased;
            end = &mut work => break end,
            () = &mut wall => break Err(Failure::WallTime),
            () = &mut closed => break Err(Failure::Cancelled),
            () = &mut due, if !is_due => is_due = true,
            count = &mut write, if is_due && committed.is_none() => committed = Some(count),
        }
    };
    // A checkpoint that was begun is awaited, so that the final commit comes after it.
    if is_due && committed.is_none() {
        committed = Some(write.await);
    }
    (end, committed.unwrap_or(0))
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

/// Writes an execution that is taking long, as running, with its events so far.
struct Checkpoint<'a> {
    storage: &'a Storage,
    execution: &'a Execution,
    /// The session, when it is not durable yet.
    session: Option<&'a Session>,
    recorder: &'a SharedRecorder,
}

impl Checkpoint<'_> {
    /// Gives how many events are durable; none when the storage refused, which the final commit
    /// will find out for itself.
    async fn write(self) -> usize {
        let new_events = self.recorder.lock().events().to_vec();
        let count = new_events.len();
        let execution = self.execution.clone();
        let session = self.session.cloned();
        let commit = ExecutionCommit { execution, new_events, session };
        match self.storage.commit_execution(commit).await {
            Ok(()) => count,
            Err(error) => {
                tracing::warn!(execution_id = %self.execution.id, %error, "no checkpoint");
                0
            }
        }
    }
}

/// Writes into the execution, and as a system event, how it ended.
fn conclude(execution: &mut Execution, recorder: &SharedRecorder, end: End) -> Lost {
    let mut recorder = recorder.lock();
    // A guest may have swallowed the error that passing a limit was.
    let end = recorder.passed().map_or(end, |limit| Err(Failure::Output(limit)));
    let lost = match end {
        Ok(Outcome::Value) => {
            execution.status = ExecutionStatus::Ok;
            execution.result = recorder.value().cloned();
            Lost::No
        }
        Ok(Outcome::Threw) => {
            let (message, stack) = recorder.exception().unwrap_or(("the script failed", None));
            let (message, stack) = (message.to_owned(), stack.map(str::to_owned));
            execution.status = ExecutionStatus::Error;
            execution.error = Some(ExecutionError { message, stack, code: None });
            Lost::No
        }
        Err(failure) => {
            let (code, message) = failure.described();
            recorder.system(message.clone(), ConsoleLevel::Error);
            execution.status = stopped_status(code);
            execution.error = Some(ExecutionError { message, stack: None, code: Some(code) });
            Lost::Yes
        }
    };
    execution.ended_at = Some(now());
    execution.metrics.events = recorder.events().len() as u64;
    execution.metrics.output_bytes = recorder.output_bytes();
    lost
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
        | ExecutionErrorCode::HostStopped => ExecutionStatus::Error,
    }
}
