//! What the process holds of one session.
//!
//! ```text
//!   loaded ──worktree──▶ loaded, worktree ──restored──▶ awake: heap and runtime
//!      ▲                                                  │  ▲
//!      └─────────────────── hibernate ────────────────────┤  │ restored
//!                                                         ▼  │
//!                                   awake, no runtime: a timeout, cancel, trap or passed limit
//!                                   dropped it, or another session wanted its place
//! ```
//!
//! Invariant: the heap is the state of the session's last committed execution, and a runtime that
//! is there goes on from it.

use crate::engine::Guest;
use crate::error::HostError;
use crate::grants::runtime_options;
use crate::heap::Heap;
use crate::host::Host;
use crate::runtime::{Grants, Runtime, RuntimeOptions};
use crate::startup::blocking;
use crate::worktree::Worktree;
use std::sync::Arc;
use vm_storage::{Session, StorageError};

/// What one session's executions work on, one at a time.
pub(crate) struct Slot {
    pub(crate) session: Session,
    worktree: Option<Arc<Worktree>>,
    pub(crate) awake: Option<Awake>,
}

/// A session's state, in memory.
pub(crate) struct Awake {
    /// What its runtimes are made with, one after the other.
    options: RuntimeOptions,
    /// The state of its last committed execution.
    pub(crate) heap: Heap,
    pub(crate) runtime: Option<Runtime>,
}

impl Slot {
    /// A session of which nothing is held but its record.
    pub(crate) fn of(session: Session) -> Self {
        Self { session, worktree: None, awake: None }
    }

    /// A session that is being made, in the guest that new sessions run.
    pub(crate) fn starting(session: Session, worktree: Worktree, host: &Host) -> Self {
        let worktree = Arc::new(worktree);
        let guest = Arc::clone(&host.engine().guest);
        let heap = Heap::new(Arc::clone(&guest.image));
        let options = runtime_options(&session, &worktree, host.grantable(), guest);
        let awake = Some(Awake { options, heap, runtime: None });
        Self { session, worktree: Some(worktree), awake }
    }

    /// Has a session that is being made, and has no runtime yet, begin with a template's image.
    pub(crate) fn begin_with(&mut self, guest: &Arc<Guest>) {
        self.session.engine = Some(guest.binding.clone());
        let awake = self.awake();
        awake.heap = Heap::new(Arc::clone(&guest.image));
        awake.options.guest = Arc::clone(guest);
    }

    /// What its scripts are given from outside their memory.
    pub(crate) fn grants(&mut self) -> Grants {
        self.awake().options.grants.clone()
    }

    /// The worktree, opened again if need be.
    ///
    /// # Errors
    /// [`HostError::WorktreeUnavailable`] when its path does not lead to the directory that it led
    /// to when the session was made.
    pub(crate) async fn worktree(&mut self, host: &Host) -> Result<Arc<Worktree>, HostError> {
        if let Some(worktree) = &self.worktree {
            return Ok(Arc::clone(worktree));
        }
        let session = self.session.id;
        let unavailable = |reason| HostError::WorktreeUnavailable { session, reason };
        let worktree = match host.worktree(self.session.worktree_path.clone()).await {
            Err(HostError::Worktree(error)) => return Err(unavailable(error.to_string())),
            opened => opened?,
        };
        if self.session.worktree.is_some_and(|identity| identity != worktree.identity()) {
            return Err(unavailable("its path leads to another directory".to_owned()));
        }
        let worktree = Arc::new(worktree);
        self.worktree = Some(Arc::clone(&worktree));
        Ok(worktree)
    }

    /// Has the session be awake with a runtime, restored from its committed heap if need be.
    pub(crate) async fn restored(&mut self, host: &Host) -> Result<(), HostError> {
        if self.awake.is_none() {
            self.awake = Some(self.wake(host).await?);
        }
        let Awake { options, heap, runtime } = self.awake();
        if runtime.is_none() {
            let place = host.place().await;
            let restored = Runtime::restore(host.engine(), place, options.clone(), heap).await?;
            *runtime = Some(restored);
        }
        Ok(())
    }

    /// The state that the store has.
    async fn wake(&mut self, host: &Host) -> Result<Awake, HostError> {
        let worktree = self.worktree(host).await?;
        let (session, binding) = (self.session.id, self.session.engine.as_ref());
        let engine = host.engine();
        let guest = async {
            let Some(binding) = binding else { return Ok(Arc::clone(&engine.guest)) };
            let guest = engine.guest_of(binding).await?;
            if guest.binding.image == binding.image {
                return Ok(guest);
            }
            let image = host.artifacts().stored_image(engine, &guest, &binding.image).await?;
            Ok(Arc::clone(&image.guest))
        };
        let guest =
            guest.await.map_err(|source| HostError::GuestUnavailable { session, source })?;
        let mut options = runtime_options(&self.session, &worktree, host.grantable(), guest);
        let (image, max_bytes) = (Arc::clone(&options.guest.image), options.max_memory_bytes);
        let storage = host.storage().clone();
        let loaded = blocking(move || {
            let Some(stored) = storage.heap(session)? else {
                return Ok((Heap::new(image), 0));
            };
            let clock_ms = stored.memory.clock_ms;
            let heap = Heap::load(&image, stored, max_bytes).map_err(|error| {
                StorageError::DamagedHeap { session, detail: error.to_string() }
            })?;
            Ok::<_, HostError>((heap, clock_ms))
        });
        let (heap, clock_ms) = loaded.await??;
        options.clock.go_on_from(clock_ms);
        Ok(Awake { options, heap, runtime: None })
    }

    /// The state of a session that was restored.
    pub(crate) fn awake(&mut self) -> &mut Awake {
        self.awake.as_mut().expect("checked by its caller: it was restored, or is starting")
    }

    /// The runtime of a session that was restored.
    pub(crate) fn runtime(&mut self) -> &mut Runtime {
        self.awake().runtime.as_mut().expect("checked by its caller: it was restored")
    }

    /// Whether it has a runtime.
    pub(crate) fn has_runtime(&self) -> bool {
        self.awake.as_ref().is_some_and(|awake| awake.runtime.is_some())
    }

    /// Drops the runtime, and with it whatever was not committed; the next execution restores it.
    pub(crate) fn drop_runtime(&mut self) {
        if let Some(runtime) = self.awake.as_mut().and_then(|awake| awake.runtime.take()) {
            runtime.discard();
        }
    }

    /// Drops all the state that is in memory.
    pub(crate) fn clear(&mut self) {
        self.drop_runtime();
        self.awake = None;
        self.worktree = None;
    }
}

impl Awake {
    /// What the session's clock shows.
    pub(crate) fn clock_ms(&self) -> u64 {
        self.options.clock.now_ms()
    }

    /// Makes what the runtime changed the state to go back to, which is not committed yet.
    pub(crate) async fn adopt(&mut self) {
        if let Some(runtime) = &mut self.runtime {
            let changes = runtime.changes(&self.heap).await;
            self.heap.apply(changes);
        }
    }
}
