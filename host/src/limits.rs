//! What one execution and one session may use, and how the template's numbers become the engine's.
//!
//! Invariant: a limit is checked while the script runs, at the moment it is passed.

use vm_storage::Limits;
use wasmtime::ResourceLimiter;

/// Fuel that buys a millisecond of processor time: measured, about 9 million units on the machine of
/// ARCHITECTURE.md, and half or twice that of a few scripts. Fuel counts the turns of loops and the calls
/// of the guest (`guest/src/meter.rs`), so that the same script uses the same fuel every time on every
/// machine, and `cpu_ms` is a measure of work, not of a clock.
pub const FUEL_PER_CPU_MS: u64 = 9_000_000;

/// Bytes of a snippet, or of a file's arguments and environment together, written as JSON: half of
/// what a record of the store holds, the rest of which is for the result.
pub const MAX_INPUT_BYTES: usize = vm_storage::MAX_RECORD_BYTES / 2;

/// Fuel after which a running script lets the scheduler have its worker: some 220 microseconds. A quarter
/// of it costs a script a tenth of its speed, since each slice is a turn through the queues, and what runs
/// beside busy scripts waits hardly less: the system shares the cores among the slots' threads.
pub(crate) const FUEL_PER_SLICE: u64 = 2_000_000;

/// Fuel for what the guest does before a script runs: it initialises with some 30 million, and
/// begins a session with far fewer. A guest that takes more is stopped.
pub(crate) const SETUP_FUEL: u64 = 1_000_000_000;

/// Bytes of linear memory that every session has, whatever `mem_mb` says: the guest itself takes
/// four of them.
const MIN_MEMORY_BYTES: u64 = 8 << 20;

/// Bytes of linear memory that no template may pass, whatever `mem_mb` says: a 32-bit memory less
/// one page.
pub(crate) const MAX_MEMORY_BYTES: u64 = (4 << 30) - (64 << 10);

/// Entries of the guest's one table; it never grows.
const MAX_TABLE_ELEMENTS: usize = 20_000;

/// The largest limits there may be. An hour of processor or wall time and 4 GiB of memory are what
/// the engine can count; events and output are bounded by what one answer may hold.
pub const MAX: Limits = Limits {
    cpu_ms: 3_600_000,
    wall_ms: 3_600_000,
    mem_mb: 4_095,
    max_events: 1_000_000,
    max_output_kb: 65_536,
};

/// Lowers limits to a host's ceilings.
pub fn lower(limits: &mut Limits, ceilings: &Limits) {
    let Limits { cpu_ms, wall_ms, mem_mb, max_events, max_output_kb } = ceilings;
    limits.cpu_ms = limits.cpu_ms.min(*cpu_ms);
    limits.wall_ms = limits.wall_ms.min(*wall_ms);
    limits.mem_mb = limits.mem_mb.min(*mem_mb);
    limits.max_events = limits.max_events.min(*max_events);
    limits.max_output_kb = limits.max_output_kb.min(*max_output_kb);
}

/// The fuel of one execution.
pub(crate) fn fuel(limits: &Limits) -> u64 {
    limits.cpu_ms.saturating_mul(FUEL_PER_CPU_MS)
}

/// The linear memory of one session, in bytes.
pub(crate) fn memory_bytes(limits: &Limits) -> u64 {
    limits.mem_mb.saturating_mul(1 << 20).clamp(MIN_MEMORY_BYTES, MAX_MEMORY_BYTES)
}

/// Refuses growth past a session's memory. The guest sees the refusal as an allocation that
/// failed, which JavaScript sees as an `InternalError: out of memory` that it can catch.
pub(crate) struct MemoryLimiter {
    max_bytes: usize,
    /// Whether growth was ever refused: a trap after that is most likely the guest's way of saying
    /// that it cannot go on without memory.
    pub(crate) refused: bool,
}

impl MemoryLimiter {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX), refused: false }
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.refused |= desired > self.max_bytes;
        Ok(desired <= self.max_bytes)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }
}
