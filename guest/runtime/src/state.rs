//! What the guest keeps between calls: the JavaScript runtime, the primordials it captured before
//! any user code ran, and the promises rejected without a handler.
//!
//! Invariant: everything here lives in linear memory, so that copying the memory copies the
//! session. A module instance has one thread, which is why thread locals are plain statics.

use crate::primordials::Primordials;
use javy::Runtime;
use javy::quickjs::{Ctx, Persistent, Value};
use std::cell::{OnceCell, RefCell};

/// The runtime and what was taken from it at the start.
pub(crate) struct State {
    pub(crate) runtime: Runtime,
    pub(crate) primordials: Primordials,
}

thread_local! {
    static STATE: OnceCell<State> = const { OnceCell::new() };
    static REJECTIONS: RefCell<Vec<Rejection>> = const { RefCell::new(Vec::new()) };
}

/// A promise that was rejected while nothing handled it.
struct Rejection {
    identity: u32,
    reason: Persistent<Value<'static>>,
}

/// Keeps `state` for the life of the instance. Called once, by initialisation.
pub(crate) fn install(state: State) {
    STATE.with(|cell| assert!(cell.set(state).is_ok(), "the guest is initialised once"));
}

/// Runs `f` on the state.
pub(crate) fn with<R>(f: impl FnOnce(&State) -> R) -> R {
    STATE.with(|cell| f(cell.get().expect("the host initialises the guest before any other call")))
}

/// Keeps count of the promises rejected without a handler; see [`crate::raw::track_rejections`].
pub(crate) fn track_rejection(promise: Value<'_>, reason: Value<'_>, handled: bool) {
    let identity = crate::raw::identity(&promise);
    REJECTIONS.with_borrow_mut(|open| {
        if handled {
            open.retain(|rejection| rejection.identity != identity);
        } else {
            let reason = Persistent::save(reason.ctx(), reason.clone());
            open.push(Rejection { identity, reason });
        }
    });
}

/// Forgets `promise`, because its rejection is being reported another way.
pub(crate) fn forget_rejection(promise: &Value<'_>) {
    let identity = crate::raw::identity(promise);
    REJECTIONS.with_borrow_mut(|open| open.retain(|rejection| rejection.identity != identity));
}

/// Whether a promise is rejected that nothing handled.
pub(crate) fn has_rejection() -> bool {
    REJECTIONS.with_borrow(|open| !open.is_empty())
}

/// Takes the reason of the first promise still rejected without a handler, and forgets the rest.
pub(crate) fn take_rejection<'js>(ctx: &Ctx<'js>) -> Option<Value<'js>> {
    let first = REJECTIONS.with_borrow_mut(|open| open.drain(..).next())?;
    first.reason.restore(ctx).ok()
}
