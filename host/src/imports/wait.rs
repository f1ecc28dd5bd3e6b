//! Waiting: a guest with nothing to do until later gives its processor slot back.
//!
//! Invariant: what waits holds no worker and no slot, and is dropped with the call that waits, so that
//! a deadline, a cancel or a close ends it at once.

use crate::runtime::{Clock, State};
use std::time::{Duration, Instant};
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

/// Waits for so many milliseconds, or until there are answers that the guest did not ask for yet; gives
/// how many there are. Where clocks stand still, no time passes: what is due later is due next.
async fn wait(mut caller: Caller<'_, State>, milliseconds: u64) -> u32 {
    let time = match caller.data().clock() {
        Clock::Stopped if milliseconds < u64::MAX => Duration::ZERO,
        Clock::Stopped | Clock::Runs(_) => Duration::from_millis(milliseconds),
    };
    let since = Instant::now();
    let Some(later) = caller.data_mut().later() else {
        if time.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(time).await;
        }
        return 0;
    };
    let answers = later.wait((milliseconds < u64::MAX).then_some(time)).await;
    caller.data_mut().account().waited(since.elapsed());
    u32::try_from(answers).expect("checked by its bound: few are under way")
}
