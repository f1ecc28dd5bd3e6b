//! The executions that run, one a session, for readers who ask before anything is written.
//!
//! Invariant: an execution is here from before its first instruction until after its last commit
//! was answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vm_storage::{Execution, ExecutionId, SessionId};

/// The executions that run. Its size is bounded by the sessions that are live.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<SessionId, Arc<Execution>>>>);

/// Keeps an execution among those that run while it lives.
pub(crate) struct Entry {
    running: Running,
    session: SessionId,
}

impl Running {
    /// Adds the one execution that runs in its session.
    pub(crate) fn enter(&self, execution: &Execution) -> Entry {
        let session = execution.session_id;
        self.lock().insert(session, Arc::new(execution.clone()));
        Entry { running: self.clone(), session }
    }

    /// The execution that runs in a session.
    pub(crate) fn of(&self, session: SessionId) -> Option<Arc<Execution>> {
        self.lock().get(&session).cloned()
    }

    /// The execution of this id. It looks at all that run: some thousands at most.
    pub(crate) fn find(&self, id: ExecutionId) -> Option<Arc<Execution>> {
        self.lock().values().find(|execution| execution.id == id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Execution>>> {
        // Every critical section is one call of the map's.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.lock().remove(&self.session);
    }
}
