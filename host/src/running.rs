//! The executions that are on their way, one a session, for readers who ask before anything is
//! written and for those who want one to end.
//!
//! Invariant: an execution is here from before it waits for its start until after its last commit
//! was answered, or the next of its session is; who waits for its end finds the session free then.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vm_storage::{Execution, ExecutionId, SessionId};

/// The executions on their way. Its size is bounded by the sessions that are live.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<SessionId, Arc<RunningExecution>>>>);

/// One of them.
pub(crate) struct RunningExecution {
    /// As it was when it began.
    pub(crate) execution: Execution,
    cancel: CancellationToken,
    over: CancellationToken,
    /// How many of its events are durable.
    durable: watch::Sender<usize>,
}

/// Keeps an execution among those on their way while it lives.
pub(crate) struct Entry {
    running: Running,
    execution: Arc<RunningExecution>,
}

impl RunningExecution {
    /// Asks for it to end, and waits until it has left.
    pub(crate) async fn cancel(&self) {
        self.cancel.cancel();
        self.over.cancelled().await;
    }

    /// Says how many of its events are durable, and when there are more. It is closed when the execution
    /// has left, and all of them are.
    pub(crate) fn durable(&self) -> watch::Receiver<usize> {
        self.durable.subscribe()
    }

    /// Waits until it has left.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }
}

impl Running {
    /// Adds the one execution of its session.
    pub(crate) fn enter(&self, execution: &Execution) -> Entry {
        let session = execution.session_id;
        let execution = Arc::new(RunningExecution {
            execution: execution.clone(),
            cancel: CancellationToken::new(),
            over: CancellationToken::new(),
            durable: watch::Sender::new(0),
        });
        self.lock().insert(session, Arc::clone(&execution));
        Entry { running: self.clone(), execution }
    }

    /// The execution of a session.
    pub(crate) fn of(&self, session: SessionId) -> Option<Arc<RunningExecution>> {
        self.lock().get(&session).cloned()
    }

    /// The execution of this id. It looks at all there are: some thousands at most.
    pub(crate) fn find(&self, id: ExecutionId) -> Option<Arc<RunningExecution>> {
        self.lock().values().find(|running| running.execution.id == id).cloned()
    }

    /// The ids of all of them.
    pub(crate) fn ids(&self) -> HashSet<ExecutionId> {
        self.lock().values().map(|running| running.execution.id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<RunningExecution>>> {
        // Every critical section is one call of the map's.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Tells readers how many of its events are durable.
    pub(crate) fn note_durable(&self, events: usize) {
        self.execution.durable.send_replace(events);
    }

    /// Waits until somebody asks for the execution to end.
    pub(crate) async fn cancelled(&self) {
        self.execution.cancel.cancelled().await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Execution { id, session_id, .. } = self.execution.execution;
        let mut running = self.running.lock();
        // The next of its session may be there already.
        if running.get(&session_id).is_some_and(|running| running.execution.id == id) {
            running.remove(&session_id);
        }
        drop(running);
        self.execution.over.cancel();
    }
}
