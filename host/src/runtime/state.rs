//! What the store of an instance holds beside it: WASI that grants nothing, the session's grants,
//! and the recorder of the execution that runs.
//!
//! Invariant: nothing of the host's is inherited: no environment, argument, stream or directory.

use super::SessionClock;
use crate::imports::{CurrentRecorder, Files, OutputSink};
use crate::limits::MemoryLimiter;
use crate::recorder::SharedRecorder;
use std::time::{Duration, SystemTime};
use wasmtime::Memory;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// Bytes of entropy that one call of WASI's may ask for.
const MAX_RANDOM_BYTES: u64 = 64 * 1024;

/// Bytes of memory that a guest may initialise: ours takes four MiB.
const MAX_IMAGE_BYTES: u64 = 64 << 20;
/// What a clock of WASI's tells apart.
const RESOLUTION: Duration = Duration::from_millis(1);

/// What a store holds beside its instances.
pub(crate) struct State {
    wasi: WasiP1Ctx,
    pub(super) limiter: MemoryLimiter,
    pub(super) recorder: CurrentRecorder,
    grants: Grants,
    memory: Option<Memory>,
    /// The answer of the last host call, until the guest takes it.
    answer: Vec<u8>,
}

/// What a session's template lets its scripts reach.
#[derive(Clone, Default)]
pub(crate) struct Grants {
    /// Native modules that may be required.
    pub(crate) modules: Vec<String>,
    /// The worktree's files; none without the `fs` module.
    pub(crate) files: Option<Files>,
}

impl State {
    pub(super) fn new(max_memory_bytes: u64, grants: Grants, clock: SessionClock) -> Self {
        let recorder = CurrentRecorder::default();
        let (stdout, stderr) = OutputSink::pair(&recorder);
        let wasi = WasiCtxBuilder::new()
            .stdout(stdout)
            .stderr(stderr)
            .wall_clock(CoarseClock)
            .monotonic_clock(clock)
            .max_random_size(MAX_RANDOM_BYTES)
            .build_p1();
        Self {
            wasi,
            limiter: MemoryLimiter::new(max_memory_bytes),
            recorder,
            grants,
            memory: None,
            answer: Vec::new(),
        }
    }

    /// A state under which the guest always initialises to the same memory.
    pub(crate) fn for_base_image() -> Self {
        let wasi = WasiCtxBuilder::new()
            .secure_random(Deterministic::new(vec![0]))
            .insecure_random(Deterministic::new(vec![0]))
            .insecure_random_seed(0)
            .wall_clock(StoppedClock)
            .monotonic_clock(StoppedClock)
            .build_p1();
        Self { wasi, ..Self::new(MAX_IMAGE_BYTES, Grants::default(), SessionClock::starting()) }
    }

    pub(crate) fn limiter(&mut self) -> &mut MemoryLimiter {
        &mut self.limiter
    }

    pub(crate) fn wasi(&mut self) -> &mut WasiP1Ctx {
        &mut self.wasi
    }

    pub(crate) fn recorder(&self) -> Option<SharedRecorder> {
        self.recorder.get()
    }

    pub(crate) fn memory(&self) -> Option<Memory> {
        self.memory
    }

    pub(crate) fn set_memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }

    pub(crate) fn has_module(&self, name: &str) -> bool {
        self.grants.modules.iter().any(|module| module == name)
    }

    pub(crate) fn files(&self) -> Option<&Files> {
        self.grants.files.as_ref()
    }

    pub(crate) fn set_answer(&mut self, answer: Vec<u8>) {
        self.answer = answer;
    }

    pub(crate) fn take_answer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }
}

/// A clock of whole milliseconds, too coarse to time the machine with: what is not there cannot
/// leak from the caches of others.
struct CoarseClock;

impl HostWallClock for CoarseClock {
    fn resolution(&self) -> Duration {
        RESOLUTION
    }

    fn now(&self) -> Duration {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        whole_milliseconds(since)
    }
}

impl HostMonotonicClock for SessionClock {
    fn resolution(&self) -> u64 {
        nanoseconds(RESOLUTION)
    }

    fn now(&self) -> u64 {
        nanoseconds(Duration::from_millis(self.now_ms()))
    }
}

fn whole_milliseconds(duration: Duration) -> Duration {
    Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A clock that stands still.
struct StoppedClock;

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}
