//! Timers: what a script asked for later, and the turns in which it comes.
//!
//! ```text
//!  turn: what the host answered ──▶ due timers, in order ──▶ immediates that were there ──▶ next turn
//!                                        nothing was there: wait for the next timer, or for an answer
//! ```
//!
//! Jobs are run after each callback, by [`crate::evaluate`], which also says when a script is over:
//! when no timer is left that keeps it, or when it failed.
//!
//! Invariant: between executions there is no timer, so that a session which rests needs no clock.

use crate::{abi, pending, raw};
use javy::quickjs::function::Rest;
use javy::quickjs::{Ctx, Function, Object, Persistent, Result, Value};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

/// The functions of the realm, in terms of those that [`install`] gives them.
const SOURCE: &[u8] = concat!(include_str!("timers.js"), "\0").as_bytes();
/// Their file: no stack shows frames of files beneath `/vm/` (see `patches/own-frames.patch`).
const NAME: &std::ffi::CStr = c"/vm/timers.js";

/// What is called, and with what.
#[derive(Clone)]
pub(crate) struct Callback {
    function: Persistent<Function<'static>>,
    args: Vec<Persistent<Value<'static>>>,
}

/// When a callback comes.
#[derive(Clone, Copy)]
enum When {
    /// At this time of the guest's, among those of one time in this order; if it repeats, then again
    /// after as many milliseconds.
    Due { at: u64, order: u64, after: u64, repeats: bool },
    /// At the end of the turn.
    Immediately,
}

struct Timer {
    callback: Callback,
    when: When,
    /// Whether the execution waits for it.
    keeps: bool,
}

#[derive(Default)]
struct Timers {
    /// By the numbers that scripts know them under, which are given in order.
    all: BTreeMap<u32, Timer>,
    /// Those that are due at some time, by that and then by when they were asked for.
    due: BTreeMap<(u64, u64), u32>,
    immediates: VecDeque<u32>,
    /// What is left of the turn.
    turn: VecDeque<u32>,
    last_id: u32,
    /// Timers started, which tells those apart that are due at one time.
    started: u64,
    /// How late it is at least: a clock that stands still is not waited for.
    reached: u64,
}

thread_local! {
    static TIMERS: RefCell<Timers> = RefCell::default();
    /// Whether this execution asked for any. Most do not, and to look only here spares them a page of
    /// memory written.
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// Puts the functions on the global object.
pub(crate) fn install<'js>(ctx: &Ctx<'js>) -> Result<()> {
    let native = Object::new(ctx.clone())?;
    native.set("start", Function::new(ctx.clone(), start)?)?;
    native.set("immediate", Function::new(ctx.clone(), immediate)?)?;
    native.set("stop", Function::new(ctx.clone(), |id| with(|timers| timers.stop(id)))?)?;
    native.set("restart", Function::new(ctx.clone(), |id| with(|timers| timers.restart(id)))?)?;
    native.set("isKept", Function::new(ctx.clone(), |id| with(|timers| timers.is_kept(id)))?)?;
    let keep = |id, keeps| with(|timers| timers.keep(id, keeps));
    native.set("keep", Function::new(ctx.clone(), keep)?)?;
    let make: Function = raw::run(raw::compile(ctx, NAME, SOURCE, 0)?)?.get()?;
    let made: Object = make.call((native,))?;
    for name in made.keys::<String>() {
        let name = name?;
        let function: Value = made.get(&name)?;
        ctx.globals().set(name, function)?;
    }
    Ok(())
}

/// The next callback, once it is time for it; `None` when there is none to wait for.
pub(crate) fn next() -> Option<Callback> {
    while ASKED.get() || pending::is_any() {
        if let Some(answered) = pending::next() {
            return Some(answered);
        }
        match with(|timers| timers.step(pending::is_any())) {
            Step::Call(callback) => return Some(callback),
            Step::Wait { milliseconds, until } => match abi::wait(milliseconds) {
                0 => with(|timers| timers.reached = until.unwrap_or(timers.reached)),
                answers => pending::arrived(answers),
            },
            Step::End => return None,
        }
    }
    None
}

/// Forgets all that are left.
pub(crate) fn clear() {
    if !ASKED.get() {
        return;
    }
    ASKED.set(false);
    // A callback may be the last to hold an object, but runs nothing when it goes.
    let left = TIMERS.take();
    TIMERS.with_borrow_mut(|timers| timers.last_id = left.last_id);
}

impl Callback {
    pub(crate) fn new<'js>(function: Function<'js>, args: Vec<Value<'js>>) -> Self {
        let ctx = function.ctx().clone();
        let args = args.into_iter().map(|arg| Persistent::save(&ctx, arg)).collect();
        Self { function: Persistent::save(&ctx, function), args }
    }

    /// Calls it.
    pub(crate) fn call(self, ctx: &Ctx<'_>) -> Result<()> {
        let args = self.args.into_iter().map(|arg| arg.restore(ctx)).collect::<Result<Vec<_>>>()?;
        self.function.restore(ctx)?.call::<_, Value>((Rest(args),)).map(drop)
    }
}

fn with<R>(f: impl FnOnce(&mut Timers) -> R) -> R {
    TIMERS.with_borrow_mut(f)
}

fn start<'js>(function: Function<'js>, after: f64, repeats: bool, args: Vec<Value<'js>>) -> u32 {
    let callback = Callback::new(function, args);
    // An interval of nothing would leave no turn to anything else that waits for time.
    let after = if repeats { after.max(1.0) } else { after } as u64;
    with(|timers| {
        let id = timers.add(callback, When::Due { at: 0, order: 0, after, repeats });
        timers.restart(id);
        id
    })
}

fn immediate<'js>(function: Function<'js>, args: Vec<Value<'js>>) -> u32 {
    let callback = Callback::new(function, args);
    with(|timers| {
        let id = timers.add(callback, When::Immediately);
        timers.immediates.push_back(id);
        id
    })
}

/// What comes next.
enum Step {
    Call(Callback),
    /// For the next timer, which is due then, or for an answer.
    Wait {
        milliseconds: u64,
        until: Option<u64>,
    },
    End,
}

impl Timers {
    /// Milliseconds of the session's clock, or what was waited for.
    fn now(&self) -> u64 {
        abi::monotonic_ms().max(self.reached)
    }

    fn add(&mut self, callback: Callback, when: When) -> u32 {
        ASKED.set(true);
        self.last_id = self.last_id.wrapping_add(1).max(1);
        let id = self.last_id;
        self.all.insert(id, Timer { callback, when, keeps: true });
        id
    }

    fn stop(&mut self, id: f64) {
        // A number that is none of ours is no error; it ends as one that no timer has.
        let Some(timer) = self.all.remove(&(id as u32)) else { return };
        if let When::Due { at, order, .. } = timer.when {
            self.due.remove(&(at, order));
        }
    }

    /// Has its time begin now.
    fn restart(&mut self, id: u32) {
        let now = self.now();
        let Some(timer) = self.all.get_mut(&id) else { return };
        let When::Due { at, order, after, .. } = &mut timer.when else { return };
        if self.due.remove(&(*at, *order)).is_none() {
            self.turn.retain(|next| *next != id);
        }
        self.started += 1;
        (*at, *order) = (now + *after, self.started);
        self.due.insert((*at, *order), id);
    }

    fn keep(&mut self, id: u32, keeps: bool) {
        if let Some(timer) = self.all.get_mut(&id) {
            timer.keeps = keeps;
        }
    }

    fn is_kept(&self, id: u32) -> bool {
        self.all.get(&id).is_some_and(|timer| timer.keeps)
    }

    /// What comes next; `awaits` says that the execution waits for an answer too.
    fn step(&mut self, awaits: bool) -> Step {
        while let Some(id) = self.turn.pop_front() {
            if let Some(callback) = self.take(id) {
                return Step::Call(callback);
            }
        }
        if !awaits && !self.all.values().any(|timer| timer.keeps) {
            return Step::End;
        }
        let now = self.now();
        let later = self.due.split_off(&(now + 1, 0));
        self.turn.extend(std::mem::replace(&mut self.due, later).into_values());
        self.turn.append(&mut self.immediates);
        if !self.turn.is_empty() {
            return self.step(awaits);
        }
        match self.due.first_key_value() {
            Some(((at, _), _)) => Step::Wait { milliseconds: at - now, until: Some(*at) },
            None if awaits => Step::Wait { milliseconds: u64::MAX, until: None },
            None => Step::End,
        }
    }

    /// What is called for a timer whose turn it is, unless it was stopped.
    fn take(&mut self, id: u32) -> Option<Callback> {
        let timer = self.all.get(&id)?;
        if let When::Due { repeats: true, .. } = timer.when {
            let callback = timer.callback.clone();
            self.restart(id);
            return Some(callback);
        }
        self.all.remove(&id).map(|timer| timer.callback)
    }
}
