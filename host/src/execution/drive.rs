//! Drives an execution's work to its end, or to what ends it: its deadline, a cancel, a close.
//!
//! Invariant: when [`drive`] has returned, no commit of the execution is under way.

use super::End;
use crate::recorder::SharedRecorder;
use crate::runtime::Failure;
use crate::scheduler::Slices;
use std::pin::{Pin, pin};
use std::time::Duration;
use vm_guest::abi::Outcome;
use vm_storage::{Execution, ExecutionCommit, Session, Storage};

/// An execution that takes longer than this is committed as running, so that a host which dies
/// leaves a trace of it.
const CHECKPOINT_AFTER: Duration = Duration::from_millis(50);

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
    checkpoint: Checkpoint<'_>,
) -> (Result<(Outcome, u64), Failure>, usize) {
    let mut wall = pin!(tokio::time::sleep(deadline));
    let mut due = pin!(tokio::time::sleep(CHECKPOINT_AFTER));
    let mut write = pin!(checkpoint.write());
    let mut is_due = false;
    let mut committed = None;
    let end = loop {
        tokio::select! {
            biased;
            end = &mut work => break end,
            () = &mut wall => break Err(Failure::WallTime),
            failure = &mut stopped => break Err(failure),
            () = &mut due, if !is_due => is_due = true,
            count = &mut write, if is_due && committed.is_none() => committed = Some(count),
        }
    };
    // A checkpoint that was begun is awaited, so that the final commit comes after it.
    if is_due && committed.is_none() {
        committed = Some(write.await);
    }
    (end.map(|outcome| (outcome, work.faults())), committed.unwrap_or(0))
}

/// Writes an execution that is taking long, as running, with its events so far.
pub(super) struct Checkpoint<'a> {
    pub(super) storage: &'a Storage,
    pub(super) execution: &'a Execution,
    /// The session, when it is not durable yet.
    pub(super) session: Option<&'a Session>,
    pub(super) recorder: &'a SharedRecorder,
}

impl Checkpoint<'_> {
    /// Gives how many events are durable; none when the storage refused, which the final commit
    /// will find out for itself.
    async fn write(self) -> usize {
        let new_events = self.recorder.lock().events().to_vec();
        let count = new_events.len();
        let execution = self.execution.clone();
        let session = self.session.cloned();
        let commit = ExecutionCommit { execution, new_events, session, heap: None, kv: None };
        match self.storage.commit_execution(commit).await {
            Ok(_) => count,
            Err(error) => {
                tracing::warn!(execution_id = %self.execution.id, %error, "no checkpoint");
                0
            }
        }
    }
}
