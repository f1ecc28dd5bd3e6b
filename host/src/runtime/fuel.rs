//! Fuel: what the calls of a guest may do, given to it in slices.
//!
//! The guest's code counts it down (`guest/src/meter.rs`), and calls `out_of_fuel` when a slice is used
//! up: the worker is given back, and the next slice is taken of what is left.
//!
//! Invariant: a guest does no more than its fuel and the overdraft of one loop; that was paid before the
//! next slice begins.

use super::State;
use crate::limits::FUEL_PER_SLICE;
use vm_guest::abi::{METER_MODULE, exports, meter_imports};
use wasmtime::{AsContextMut, Caller, Global, Instance, Linker, Store, Trap, Val};

/// What a metered instance counts with, and what is left of its fuel beyond the slice.
#[derive(Clone, Copy)]
pub(crate) struct Fuel {
    counter: Global,
    floor: Global,
    beyond: u64,
}

/// Adds what metered code imports.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap_async(METER_MODULE, meter_imports::OUT_OF_FUEL, |caller, (): ()| {
        Box::new(out_of_fuel(caller))
    })?;
    Ok(())
}

async fn out_of_fuel(mut caller: Caller<'_, State>) -> wasmtime::Result<()> {
    tokio::task::yield_now().await;
    // None was given to an instance whose counter is not known.
    let Some(metered) = caller.data().fuel else { return Err(Trap::OutOfFuel.into()) };
    // A guest that asks before its slice is used up loses the rest of it.
    let overdraft = count(metered.counter, &mut caller).min(0);
    match metered.beyond.saturating_add_signed(overdraft) {
        0 => Err(Trap::OutOfFuel.into()),
        left => {
            refuel(&mut caller, left);
            Ok(())
        }
    }
}

impl Fuel {
    /// Meters an instance, if its code is metered. No loop of its own is stopped that passes over each
    /// byte of `max_memory_bytes` once.
    pub(crate) fn attach(
        store: &mut Store<State>,
        instance: &Instance,
        max_memory_bytes: u64,
    ) -> wasmtime::Result<()> {
        let mut global = |name| instance.get_global(&mut *store, name);
        let (Some(counter), Some(floor)) = (global(exports::FUEL), global(exports::FUEL_FLOOR))
        else {
            return Ok(());
        };
        let overdraft = max_memory_bytes.saturating_mul(vm_guest::MAX_TURN_COST.into());
        let overdraft = i64::try_from(overdraft).unwrap_or(i64::MAX);
        floor.set(&mut *store, Val::I64(-overdraft))?;
        store.data_mut().fuel = Some(Fuel { counter, floor, beyond: 0 });
        Ok(())
    }
}

/// Gives the next calls this much fuel.
pub(crate) fn refuel(store: &mut impl AsContextMut<Data = State>, fuel: u64) {
    let mut store = store.as_context_mut();
    let Some(metered) = &mut store.data_mut().fuel else { return };
    let slice = fuel.min(FUEL_PER_SLICE);
    metered.beyond = fuel - slice;
    let counter = metered.counter;
    counter.set(store, Val::I64(slice.cast_signed())).expect("the counter is mutable");
}

/// What is left of the fuel that was given; none where nothing is metered.
pub(crate) fn left(store: &mut impl AsContextMut<Data = State>) -> Option<u64> {
    let metered = store.as_context_mut().data().fuel?;
    let in_slice = count(metered.counter, store);
    Some(metered.beyond.saturating_add_signed(in_slice))
}

/// Whether a loop passed the bound of its overdraft.
pub(super) fn is_overdrawn(store: &mut impl AsContextMut<Data = State>) -> bool {
    let metered = store.as_context_mut().data().fuel;
    metered.is_some_and(|fuel| count(fuel.counter, store) < count(fuel.floor, store))
}

fn count(global: Global, store: &mut impl AsContextMut<Data = State>) -> i64 {
    global.get(store.as_context_mut()).i64().expect("the meter's globals have 64 bits")
}
