//! Waiting: a guest with nothing to do until later gives its processor slot back.
//!
//! Invariant: what waits holds no worker and no slot, and is dropped with the call that waits, so that
//! a deadline, a cancel or a close ends it at once.

use crate::runtime::{Clock, State};
use std::time::Duration;
use vm_guest::abi::HOST_MODULE;
use wasmtime::{Caller, Linker};

/// Adds `wait`, by the name that the guest imports it under.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker
        .func_wrap_async(HOST_MODULE, "wait", |caller, (milliseconds,): (u64,)| {
            Box::new(wait(caller, milliseconds))
        })
        .map(drop)
}

/// Waits for so many milliseconds, or until there is an answer that the guest does not have; gives how
/// many there are: none, since every call is answered before it returns. Where clocks stand still, no
/// time passes either: what is due later is due next.
async fn wait(caller: Caller<'_, State>, milliseconds: u64) -> u32 {
    match caller.data().clock() {
        Clock::Stopped => tokio::task::yield_now().await,
        Clock::Runs(_) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
    }
    0
}
