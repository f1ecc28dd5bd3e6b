//! What the host answers later: calls that were begun, and the two functions of each that are told how
//! it ended.
//!
//! ```text
//!  begin ──▶ ticket ──▶ the host works, the script goes on ──▶ waiting, or a turn's start: it is done
//!                │                                                        │
//!                └── forget (what comes is dropped)            resolve(bytes) | reject(text)
//! ```
//!
//! Invariant: between executions nothing is pending; the host has ended what was.

use crate::abi::{self, Operation};
use crate::state;
use crate::timers::Callback;
use javy::quickjs::{Ctx, Function, Persistent, Result, TypedArray, Value};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// How a call's end is told: with the host's bytes, or with an error's text.
struct Ends {
    resolve: Persistent<Function<'static>>,
    reject: Persistent<Function<'static>>,
}

thread_local! {
    static OPEN: RefCell<BTreeMap<u32, Ends>> = const { RefCell::new(BTreeMap::new()) };
    /// Whether this execution began any: to look only here spares others a page of memory written.
    static BEGUN: Cell<bool> = const { Cell::new(false) };
    /// Answers that the host has and the guest did not ask for yet.
    static READY: Cell<u32> = const { Cell::new(0) };
}

/// Whether anything is waited for.
pub(crate) fn is_any() -> bool {
    BEGUN.get() && OPEN.with_borrow(|open| !open.is_empty())
}

/// Begins a call that is answered later, and gives its ticket; or the error's text.
pub(crate) fn begin<'js>(
    operation: Operation,
    name: &[u8],
    data: &[u8],
    resolve: Function<'js>,
    reject: Function<'js>,
) -> std::result::Result<u32, String> {
    let answer = abi::call_host(operation, 0, name, data)?;
    let ticket = <[u8; 4]>::try_from(answer).map_err(|_| "EIO\nthe host's answer is malformed")?;
    let ticket = u32::from_le_bytes(ticket);
    let ctx = resolve.ctx().clone();
    let ends =
        Ends { resolve: Persistent::save(&ctx, resolve), reject: Persistent::save(&ctx, reject) };
    BEGUN.set(true);
    OPEN.with_borrow_mut(|open| open.insert(ticket, ends));
    Ok(ticket)
}

/// Has nobody told how a call ends.
pub(crate) fn forget(ticket: u32) {
    OPEN.with_borrow_mut(|open| open.remove(&ticket));
}

/// Notes that the host has so many answers.
pub(crate) fn arrived(answers: u32) {
    if answers > 0 {
        READY.set(answers);
    }
}

/// What is called for the next call that is done, if one is.
pub(crate) fn next() -> Option<Callback> {
    while is_any() {
        if READY.get() == 0 {
            READY.set(abi::wait(0));
        }
        READY.set(READY.get().checked_sub(1)?);
        let Some((ticket, answer)) = take() else { continue };
        let Some(ends) = OPEN.with_borrow_mut(|open| open.remove(&ticket)) else { continue };
        let told = state::with(|state| {
            state.runtime.context().with(|ctx| callback(&ctx, ends, answer).ok())
        });
        if told.is_some() {
            return told;
        }
    }
    None
}

/// Forgets all that is pending.
pub(crate) fn clear() {
    if BEGUN.take() {
        OPEN.take();
        READY.set(0);
    }
}

type Answer = std::result::Result<Vec<u8>, String>;

/// The next answer: a ticket, whether it is an error, and the rest.
fn take() -> Option<(u32, Answer)> {
    let bytes = abi::call_host(Operation::Answer, 0, &[], &[]).ok()?;
    let (ticket, rest) = bytes.split_first_chunk::<4>()?;
    let (failed, rest) = rest.split_first()?;
    let answer = match failed {
        0 => Ok(rest.to_vec()),
        _ => Err(String::from_utf8_lossy(rest).into_owned()),
    };
    Some((u32::from_le_bytes(*ticket), answer))
}

fn callback(ctx: &Ctx<'_>, ends: Ends, answer: Answer) -> Result<Callback> {
    Ok(match answer {
        Ok(bytes) => {
            let bytes: Value = TypedArray::new(ctx.clone(), bytes)?.into_value();
            Callback::new(ends.resolve.restore(ctx)?, vec![bytes])
        }
        Err(error) => {
            let text = javy::quickjs::String::from_str(ctx.clone(), &error)?.into_value();
            Callback::new(ends.reject.restore(ctx)?, vec![text])
        }
    })
}
