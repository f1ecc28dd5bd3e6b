//! Drives an execution's work to its end, or to what ends it: its deadline, a cancel, a close; and has
//! what it leaves meanwhile be durable soon after.
//!
//! ```text
//!  begun ──40 ms──▶ committed as running, with its events ──40 ms, if there are more──▶ again …
//! ```
//!
//! Invariant: when [`drive`] has returned, no commit of the execution is under way.

use super::End;
use crate::recorder::SharedRecorder;
use crate::running::Entry;
use crate::runtime::Failure;
use crate::scheduler::Slices;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::time::Duration;
use vm_guest::abi::Outcome;
use vm_storage::{Execution, ExecutionCommit, Session, Storage, StorageError};

/// An execution that takes longer than this is committed as running, so that a host which dies leaves a
/// trace of it, and readers its events; again so long after the last commit, when there are more.
const CHECKPOINT_AFTER: Duration = Duration::from_millis(40);

/// Runs the work until it ends, its deadline passes or it is stopped. Gives how it ended, with the
/// page faults that threads had meanwhile, and how many of its events are durable already.
///
/// The script runs here, on an async worker: it gives the worker back after every slice of fuel,
/// some 60 microseconds, so that no thread is held for long. The work is polled first, so that one
/// which ends at once never sets a timer.
pub(super) async fn drive<F: Future<Output = End>>(
    mut work: Slices<'_, F>,
    deadline: Duration,
    mut stopped: Pin<&mut impl Future<Output = Failure>>,
    mut checkpoints: Checkpoints<'_>,
) -> (Result<(Outcome, u64), Failure>, usize) {
    let mut wall = pin!(tokio::time::sleep(deadline));
    let end = {
        let keep_up = pin!(checkpoints.keep_up());
        tokio::select! {
            biased;
            end = &mut work => end,
            () = &mut wall => Err(Failure::WallTime),
            failure = &mut stopped => Err(failure),
            never = keep_up => match never {},
        }
    };
    let committed = checkpoints.settled().await;
    (end.map(|outcome| (outcome, work.faults())), committed)
}

/// Commits an execution that is taking long, as running, with its events so far.
pub(super) struct Checkpoints<'a> {
    storage: &'a Storage,
    running: &'a Entry,
    execution: &'a Execution,
    /// The session, when it is not durable yet.
    session: Option<&'a Session>,
    recorder: &'a SharedRecorder,
    /// Events that are durable; none before the first commit.
    committed: Option<usize>,
    /// The commit under way, and the events that are durable with it.
    under_way: Option<(Commit<'a>, usize)>,
    /// One failed: nobody knows whether it is there.
    failed: bool,
}

type Commit<'a> = Pin<Box<dyn Future<Output = Result<u64, StorageError>> + Send + 'a>>;

impl<'a> Checkpoints<'a> {
    pub(super) fn new(
        storage: &'a Storage,
        running: &'a Entry,
        execution: &'a Execution,
        session: Option<&'a Session>,
        recorder: &'a SharedRecorder,
    ) -> Self {
        let (committed, under_way, failed) = (None, None, false);
        Self { storage, running, execution, session, recorder, committed, under_way, failed }
    }

    /// Commits what there is, again and again. It may be dropped where it waits.
    async fn keep_up(&mut self) -> Infallible {
        loop {
            tokio::time::sleep(CHECKPOINT_AFTER).await;
            self.begin();
            self.try_end().await;
        }
    }

    /// Begins to commit what is not durable yet, if there is anything.
    fn begin(&mut self) {
        let recorder = self.recorder.lock();
        let events = recorder.events().len();
        if self.failed || self.committed == Some(events) {
            return;
        }
        let new_events = recorder.events()[self.committed()..].to_vec();
        drop(recorder);
        let session = self.session.filter(|_| self.committed.is_none()).cloned();
        let execution = self.execution.clone();
        let commit = ExecutionCommit { execution, new_events, session, heap: None, kv: None };
        self.under_way = Some((Box::pin(self.storage.commit_execution(commit)), events));
    }

    /// Waits for the commit under way.
    async fn end(&mut self) -> Result<(), StorageError> {
        let Some((commit, events)) = &mut self.under_way else { return Ok(()) };
        let (stored, events) = (commit.await, *events);
        self.under_way = None;
        self.failed = stored.is_err();
        stored?;
        self.committed = Some(events);
        self.running.note_durable(events);
        Ok(())
    }

    /// Commits what there is.
    pub(super) async fn write(&mut self) -> Result<(), StorageError> {
        self.begin();
        self.end().await
    }

    /// The same; where it fails, the last commit of the execution will find out for itself.
    async fn try_end(&mut self) {
        if let Err(error) = self.end().await {
            tracing::warn!(execution_id = %self.execution.id, %error, "no checkpoint");
        }
    }

    /// Waits until nothing is under way; gives how many events are durable.
    async fn settled(&mut self) -> usize {
        self.try_end().await;
        self.committed()
    }

    /// How many events are durable, as far as it is known.
    pub(super) fn committed(&self) -> usize {
        self.committed.unwrap_or(0)
    }
}
