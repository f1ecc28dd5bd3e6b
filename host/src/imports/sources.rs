//! WASI's clocks and random bytes: what makes one run of a script differ from another.
//!
//! They take the place of `wasmtime-wasi`'s own, because here it is known that a guest was given
//! them, and because a session that never asks then needs no context of WASI's.
//!
//! Invariant: clocks tell whole milliseconds, too coarse to time the machine with: what is not there
//! cannot leak from the caches of others.

use super::{Stop, Unrepeatable};
use crate::runtime::{Clock, Entropy, State};
use std::time::{Duration, SystemTime};
use wasmtime::{Caller, Linker};

/// Name of the module that a guest imports WASI from.
const WASI_MODULE: &str = "wasi_snapshot_preview1";
/// Bytes of entropy that one call may ask for.
const MAX_RANDOM_BYTES: u32 = 64 * 1024;
/// What a clock tells apart.
const RESOLUTION: Duration = Duration::from_millis(1);

/// WASI's numbers of clocks.
mod clock {
    pub(super) const REALTIME: i32 = 0;
    pub(super) const MONOTONIC: i32 = 1;
}

/// WASI's numbers of errors.
mod errno {
    pub(super) const SUCCESS: i32 = 0;
    pub(super) const BADF: i32 = 8;
    pub(super) const INVAL: i32 = 28;
}

/// Puts them in the place of those that are there.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap(WASI_MODULE, "clock_res_get", clock_res_get)?;
    linker.func_wrap(WASI_MODULE, "clock_time_get", clock_time_get)?;
    linker.func_wrap(WASI_MODULE, "random_get", random_get)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn clock_res_get(caller: Caller<'_, State>, id: i32, address: u32) -> wasmtime::Result<i32> {
    match id {
        clock::REALTIME | clock::MONOTONIC => write(caller, address, &nanoseconds(RESOLUTION)),
        _ => Ok(unknown_clock(id)),
    }
}

fn clock_time_get(
    mut caller: Caller<'_, State>,
    id: i32,
    _precision: u64,
    address: u32,
) -> wasmtime::Result<i32> {
    let shown = match (id, caller.data().clock()) {
        (clock::REALTIME | clock::MONOTONIC, Clock::Stopped) => Duration::ZERO,
        (clock::REALTIME, Clock::Runs(_)) => {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            whole_milliseconds(since.unwrap_or_default())
        }
        (clock::MONOTONIC, Clock::Runs(clock)) => Duration::from_millis(clock.now_ms()),
        _ => return Ok(unknown_clock(id)),
    };
    if caller.data().clock() != Clock::Stopped {
        caller.data_mut().note_unrepeatable(Unrepeatable::Clock);
    }
    write(caller, address, &nanoseconds(shown))
}

fn random_get(mut caller: Caller<'_, State>, address: u32, len: u32) -> wasmtime::Result<i32> {
    if len > MAX_RANDOM_BYTES {
        return Ok(errno::INVAL);
    }
    let mut bytes = vec![0; len as usize];
    match caller.data().entropy() {
        Entropy::Zeros => {}
        Entropy::Machine => getrandom::fill(&mut bytes)
            .map_err(|error| wasmtime::Error::msg(format!("no entropy: {error}")))?,
    }
    caller.data_mut().note_unrepeatable(Unrepeatable::Entropy);
    write(caller, address, &bytes)
}

fn write(mut caller: Caller<'_, State>, address: u32, bytes: &[u8]) -> wasmtime::Result<i32> {
    let memory = caller.data().memory().ok_or_else(|| wasmtime::Error::new(Stop::NotRunning))?;
    let written = memory.write(&mut caller, address as usize, bytes);
    written.map_err(|_| wasmtime::Error::new(Stop::OutOfBounds))?;
    Ok(errno::SUCCESS)
}

/// A clock of the process or of a thread, or none of WASI's.
fn unknown_clock(id: i32) -> i32 {
    if matches!(id, 2 | 3) { errno::BADF } else { errno::INVAL }
}

fn whole_milliseconds(duration: Duration) -> Duration {
    Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000)
}

fn nanoseconds(duration: Duration) -> [u8; 8] {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).to_le_bytes()
}
