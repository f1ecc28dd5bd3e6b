//! A runtime without a session or a store, for the benchmarks alone (feature `bench`): what the
//! engine costs by itself.

use crate::engine::{Engine, EngineOptions, Metering};
use crate::heap::{Heap, PAGE};
use crate::recorder::SharedRecorder;
use crate::runtime::{Grants, Runtime, RuntimeOptions, Script, SessionClock};
use crate::scheduler::{Concurrency, Scheduler};
use crate::{HostError, PageTracking};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use vm_storage::{ExecutionId, Limits};

/// Bytes of linear memory that a runtime may have.
const MAX_MEMORY_BYTES: u64 = 256 << 20;

/// Sessions after which it is known which pages a first execution writes.
const FIRST_SESSIONS: usize = 8;

/// The engine, made once.
pub struct BareEngine {
    engine: Engine,
    scheduler: Scheduler,
}

/// One instance of the guest, and the heap it goes back to.
pub struct BareRuntime {
    runtime: Runtime,
    heap: Heap,
}

impl BareEngine {
    /// Compiles or loads the guest.
    ///
    /// # Errors
    /// When the machine cannot run it.
    pub fn new(cache_dir: Option<PathBuf>, tracking: PageTracking) -> Result<Self, HostError> {
        Self::metered_by(Metering::Fuel, cache_dir, tracking)
    }

    /// Compiles or loads the guest, to be run without a meter.
    ///
    /// # Errors
    /// When the machine cannot run it.
    pub fn unmetered(cache_dir: Option<PathBuf>) -> Result<Self, HostError> {
        Self::metered_by(Metering::Off, cache_dir, PageTracking::Kernel)
    }

    fn metered_by(
        metering: Metering,
        cache_dir: Option<PathBuf>,
        tracking: PageTracking,
    ) -> Result<Self, HostError> {
        let (max_resident, guest_dir) = (16, None);
        let options = EngineOptions { max_resident, cache_dir, guest_dir, tracking, metering };
        let engine = Engine::new(vm_guest::wasm(), &options)?;
        Ok(Self { engine, scheduler: Scheduler::new(Concurrency::default()) })
    }

    /// A fresh instance, as a new session gets it.
    ///
    /// # Errors
    /// When the pool is full.
    pub async fn runtime(&self) -> Result<BareRuntime, HostError> {
        let runtime =
            Runtime::new(&self.engine, self.engine.places.take().await, self.options()).await?;
        Ok(BareRuntime { runtime, heap: Heap::new(Arc::clone(&self.engine.guest.image)) })
    }

    /// Learns which pages a first execution writes, as from the first sessions of a process.
    ///
    /// # Panics
    /// When the pool is full.
    pub async fn learn(&self) {
        for _ in 0..FIRST_SESSIONS {
            let mut runtime = self.runtime().await.expect("the pool has room");
            self.transaction(&mut runtime, "1+1").await;
        }
    }

    /// Evaluates a script as a transaction, all but its commit; gives the pages it changed.
    ///
    /// # Panics
    /// When the script does not come to its end.
    pub async fn transaction(&self, bare: &mut BareRuntime, source: &str) -> usize {
        let BareRuntime { runtime, heap } = bare;
        let faults = {
            let work = pin!(evaluate(runtime, source));
            let mut slices = self.scheduler.slices(work).await;
            (&mut slices).await;
            slices.faults()
        };
        if faults > 0 {
            runtime.note_faults();
        }
        let changes = self.scheduler.run(runtime.changes(heap)).await;
        let pages = changes.pages.len();
        heap.apply(changes);
        pages
    }

    fn options(&self) -> RuntimeOptions {
        RuntimeOptions {
            guest: Arc::clone(&self.engine.guest),
            clock: SessionClock::starting(),
            max_memory_bytes: MAX_MEMORY_BYTES,
            grants: Grants::none(),
            realm_flags: 0,
        }
    }

    /// Drops the instance and restores another.
    ///
    /// # Panics
    /// When the pool is full.
    pub async fn roll_back(&self, bare: BareRuntime) -> BareRuntime {
        let BareRuntime { runtime, heap } = bare;
        runtime.discard();
        let place = self.engine.places.take().await;
        let restore = Runtime::restore(&self.engine, place, self.options(), &heap);
        let runtime = self.scheduler.run(restore).await;
        BareRuntime { runtime: runtime.expect("the pool has room"), heap }
    }
}

impl BareRuntime {
    /// Evaluates a script; gives the events it left.
    ///
    /// # Panics
    /// When the script does not come to its end.
    pub async fn evaluate(&mut self, source: &str) -> usize {
        evaluate(&mut self.runtime, source).await
    }

    /// Bytes of its memory, and of the pages kept to go back to.
    pub fn bytes(&self) -> (u64, usize) {
        (self.runtime.memory_bytes(), self.heap.pages().count() * PAGE)
    }
}

async fn evaluate(runtime: &mut Runtime, source: &str) -> usize {
    let recorder = SharedRecorder::new(ExecutionId::new(), &Limits::default(), None);
    runtime.begin(u64::MAX / 2, recorder.clone());
    let script = Script { name: "bench.js", source: source.as_bytes(), flags: 0 };
    let ended = runtime.evaluate(script).await;
    runtime.end(u64::MAX / 2);
    assert!(ended.is_ok(), "a benchmark's script ends: {ended:?}");
    recorder.lock().events().len()
}
