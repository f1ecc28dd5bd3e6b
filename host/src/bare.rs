//! A runtime without a session or a store, for the benchmarks alone (feature `bench`): what the
//! engine costs by itself.

use crate::HostError;
use crate::engine::{Engine, EngineOptions};
use crate::recorder::SharedRecorder;
use crate::runtime::{Console, Grants, Runtime, RuntimeOptions, Script};
use std::path::PathBuf;
use vm_storage::{ExecutionId, Limits};

/// The engine, made once.
pub struct BareEngine(Engine);

/// One instance of the guest.
pub struct BareRuntime(Runtime);

impl BareEngine {
    /// Compiles or loads the guest.
    ///
    /// # Errors
    /// When the machine cannot run it.
    pub fn new(cache_dir: Option<PathBuf>) -> Result<Self, HostError> {
        Engine::new(&EngineOptions { max_sessions: 16, cache_dir }).map(Self)
    }

    /// A fresh instance, as a new session gets it.
    ///
    /// # Errors
    /// When the pool is full.
    pub async fn runtime(&self) -> Result<BareRuntime, HostError> {
        let options = RuntimeOptions {
            max_memory_bytes: 128 << 20,
            grants: Grants::default(),
            console: Console::Present,
        };
        Runtime::new(&self.0, options).await.map(BareRuntime)
    }
}

impl BareRuntime {
    /// Evaluates a script; gives the events it left.
    ///
    /// # Panics
    /// When the script does not come to its end.
    pub async fn evaluate(&mut self, source: &str) -> usize {
        let recorder = SharedRecorder::new(ExecutionId::new(), &Limits::default(), None);
        self.0.begin(u64::MAX / 2, recorder.clone());
        let script = Script { name: "bench.js", source: source.as_bytes(), flags: 0 };
        let ended = self.0.evaluate(script).await;
        self.0.end(u64::MAX / 2);
        assert!(ended.is_ok(), "a benchmark's script ends: {ended:?}");
        recorder.lock().events().len()
    }
}
