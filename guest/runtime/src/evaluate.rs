//! One execution: a script is compiled and started, the jobs it left are run, and its outcome is
//! reported as one event.
//!
//! ```text
//!  source ──compile──▶ bytecode ──start──▶ completion ──drain──▶ value | exception event
//!                       ▲    │                                jobs, timers
//!                       └────┴─ kept by the host for the template's next session
//! ```
//!
//! It is over when nothing is pending any more, or as soon as something failed that nothing handled.
//!
//! Invariant: between [`drain`] and the next start there is no completion, job, timer or pending call.

use crate::inspect::{self, error_text};
use crate::modules::{self, Syntax};
use crate::raw::{self, Module, PromiseState, eval_flags};
use crate::{abi, json, pending, repl, reserve, state, text, timers};
use javy::quickjs::{Ctx, Persistent, Result, Value};
use std::cell::RefCell;
use std::ffi::CStr;

/// The script is strict whatever it says.
const FLAG_STRICT: u32 = 1;
/// No event tells the value, as for startup files and libraries.
const FLAG_QUIET: u32 = 2;

/// The script is a line of a REPL: see [`compile`].
const FLAG_REPL: u32 = 4;

/// It is an `ECMAScript` module, and its value is its default export.
const FLAG_MODULE: u32 = 8;
/// It is one if that is what its syntax says.
const FLAG_BY_SYNTAX: u32 = 16;

/// First byte of a compiled script that may await at its top level.
const COMPILED_ASYNC: u8 = 1;
/// First byte of any other compiled script.
const COMPILED_PLAIN: u8 = 0;
/// First byte of a module: its name and its source follow, each with a NUL behind it. Bytecode would
/// have lost what it imports.
const COMPILED_MODULE: u8 = 2;

/// How an execution ended, by the numbers the host knows.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Outcome {
    /// It gave a value.
    Value = 0,
    /// It threw, or rejected a promise that nothing handled.
    Threw = 1,
}

/// What a script that was started has come to.
enum Completion {
    /// The value of its last expression.
    Value(Persistent<Value<'static>>),
    /// A promise of an object that holds that value, for a script that may await.
    Promise(Persistent<Value<'static>>),
    /// A module, and the promise of its end.
    Module(Module, Persistent<Value<'static>>),
    /// What it threw.
    Threw(Persistent<Value<'static>>),
}

thread_local! {
    static COMPLETION: RefCell<Option<Completion>> = const { RefCell::new(None) };
}

/// A script compiled, not yet run.
struct Compiled<'js> {
    function: Value<'js>,
    awaits: bool,
}

/// Compiles and starts a script.
pub(crate) fn start_source(name: &[u8], source: &[u8], flags: u32) {
    in_context(|ctx| {
        let c_name = CStr::from_bytes_until_nul(name).unwrap_or_default();
        let script = || compile(ctx, name, source, flags);
        let started = if flags & FLAG_MODULE != 0 {
            raw::compile_module(ctx, c_name, source).map(Syntax::Module)
        } else if flags & FLAG_BY_SYNTAX != 0 {
            modules::by_syntax(ctx, c_name, source, script)
        } else {
            script().map(Syntax::Script)
        };
        match started {
            Ok(Syntax::Module(module)) => start_module(ctx, module),
            Ok(Syntax::Script(script)) => start(ctx, Ok(script)),
            Err(error) => {
                let thrown = ctx.catch();
                raw::free_unlinked_modules(ctx);
                ctx.throw(thrown);
                start(ctx, Err(error));
            }
        }
    });
}

/// Starts what [`compile_source`] gave.
pub(crate) fn start_compiled(compiled: &[u8]) {
    if let Some((&COMPILED_MODULE, module)) = compiled.split_first()
        && let Some(end) = module.iter().position(|byte| *byte == 0)
    {
        let (name, source) = module.split_at(end + 1);
        return start_source(name, source, FLAG_MODULE);
    }
    in_context(|ctx| {
        let (awaits, bytecode) = match compiled.split_first() {
            Some((mode, bytecode)) => (*mode == COMPILED_ASYNC, bytecode),
            None => (false, compiled),
        };
        let script =
            raw::read_bytecode(ctx, bytecode).map(|function| Compiled { function, awaits });
        start(ctx, script);
    });
}

/// Compiles a script for [`start_compiled`]; on an error emits the exception.
pub(crate) fn compile_source(name: &[u8], source: &[u8], flags: u32) -> Option<Vec<u8>> {
    if flags & FLAG_MODULE != 0 {
        return Some([&[COMPILED_MODULE], name, source].concat());
    }
    in_context(|ctx| {
        let compiled = compile(ctx, name, source, flags).and_then(|script| {
            let mode = if script.awaits { COMPILED_ASYNC } else { COMPILED_PLAIN };
            let mut bytes = vec![mode];
            bytes.extend(raw::write_bytecode(&script.function)?);
            Ok(bytes)
        });
        if compiled.is_err() {
            emit_exception(&ctx.catch());
        }
        compiled.ok()
    })
}

/// Runs all pending jobs and reports what the script came to.
pub(crate) fn drain(flags: u32) -> Outcome {
    let failed_job = run_turns();
    let Some(completion) = COMPLETION.take() else { return Outcome::Value };
    let module = match &completion {
        // What a startup leaves may be imported later.
        Completion::Module(module, _) if flags & FLAG_QUIET == 0 => Some(*module),
        Completion::Module(..) => None,
        Completion::Value(_) | Completion::Promise(_) | Completion::Threw(_) => None,
    };
    let report: std::result::Result<Option<Report>, Thrown> = in_context(|ctx| {
        let settled = settle(ctx, completion)?;
        if flags & FLAG_QUIET != 0 {
            return Ok(None);
        }
        Ok(Some(Report::of(ctx, &settled)))
    });
    // Showing the value may have run a `toJSON`, which may have queued jobs of its own.
    let failed_job = failed_job.or(run_jobs());
    timers::clear();
    pending::clear();
    in_context(|ctx| {
        if let Some(module) = module {
            module.forget(ctx);
        }
        let unhandled = state::take_rejection(ctx);
        let failed_job = failed_job.and_then(|error| error.restore(ctx).ok());
        let (thrown, report) = match report {
            Err(thrown) => (thrown.restore(ctx).ok(), None),
            Ok(report) => (failed_job.or(unhandled), report),
        };
        if let Some(thrown) = thrown {
            emit_exception(&thrown);
            return Outcome::Threw;
        }
        if let Some(report) = report {
            abi::emit_value(report.value_type, &report.preview, &report.json);
        }
        Outcome::Value
    })
}

fn in_context<R>(f: impl FnOnce(&Ctx<'_>) -> R) -> R {
    state::with(|state| state.runtime.context().with(|ctx| f(&ctx)))
}

/// Runs jobs and timers until none is pending or something failed; gives what one of them threw.
fn run_turns() -> Option<Persistent<Value<'static>>> {
    let mut failed = run_jobs();
    let threw = || COMPLETION.with_borrow(|done| matches!(done, Some(Completion::Threw(_))));
    while failed.is_none()
        && !threw()
        && !state::has_rejection()
        && let Some(callback) = timers::next()
    {
        failed = in_context(|ctx| {
            let called = callback.call(ctx);
            called.err().map(|_| Persistent::save(ctx, ctx.catch()))
        });
        failed = failed.or(run_jobs());
    }
    failed
}

/// Runs jobs until none is pending; gives what the first failing one threw.
fn run_jobs() -> Option<Persistent<Value<'static>>> {
    let mut failed = None;
    state::with(|state| {
        while state.runtime.has_pending_jobs() {
            if state.runtime.resolve_pending_jobs().is_err() {
                let thrown = in_context(|ctx| Persistent::save(ctx, ctx.catch()));
                failed.get_or_insert(thrown);
            }
        }
    });
    failed
}

/// Compiles a script. A line of a REPL that is an object literal alone is one, as in Node, unless
/// that is not its syntax: then it is the block it looks like.
fn compile<'js>(ctx: &Ctx<'js>, name: &[u8], source: &[u8], flags: u32) -> Result<Compiled<'js>> {
    let name = CStr::from_bytes_until_nul(name).unwrap_or_default();
    let strict = if flags & FLAG_STRICT == 0 { 0 } else { eval_flags::STRICT };
    if flags & FLAG_REPL == 0 {
        return compile_text(ctx, name, source, strict);
    }
    let flags = strict | eval_flags::REDECLARE;
    let text = source.strip_suffix(&[0]).unwrap_or_default();
    if text.trim_ascii_start().starts_with(b"{") && !text.trim_ascii_end().ends_with(b";") {
        let object = [b"(", text, b"\n)\0"].concat();
        match compile_text(ctx, name, &object, flags) {
            Ok(object) => return Ok(object),
            Err(_) => drop(ctx.catch()),
        }
    }
    let imports = std::str::from_utf8(text).ok().and_then(repl::with_imports_replaced);
    match imports {
        Some(replaced) => compile_text(ctx, name, (replaced + "\0").as_bytes(), flags),
        None => compile_text(ctx, name, source, flags),
    }
}

/// Compiles a text. One that says `await` is taken for one that awaits at its top level; when that
/// is not its syntax after all, as in `var await`, it is compiled as the plain script it is.
fn compile_text<'js>(
    ctx: &Ctx<'js>,
    name: &CStr,
    source: &[u8],
    flags: i32,
) -> Result<Compiled<'js>> {
    let plain = |ctx: &Ctx<'js>| {
        let function = raw::compile(ctx, name, source, flags)?;
        Ok(Compiled { function, awaits: false })
    };
    if !source.windows(5).any(|window| window == b"await") {
        return plain(ctx);
    }
    match raw::compile(ctx, name, source, flags | eval_flags::ASYNC) {
        Ok(function) => Ok(Compiled { function, awaits: true }),
        Err(error) => {
            let thrown = ctx.catch();
            plain(ctx).map_err(|_| {
                ctx.catch();
                drop(error);
                ctx.throw(thrown)
            })
        }
    }
}

fn start<'js>(ctx: &Ctx<'js>, script: Result<Compiled<'js>>) {
    let awaits = script.as_ref().is_ok_and(|script| script.awaits);
    let completion = match script.and_then(|script| raw::run(script.function)) {
        Ok(value) if awaits => Completion::Promise(Persistent::save(ctx, value)),
        Ok(value) => Completion::Value(Persistent::save(ctx, value)),
        Err(_) => Completion::Threw(Persistent::save(ctx, ctx.catch())),
    };
    COMPLETION.set(Some(completion));
}

fn start_module(ctx: &Ctx<'_>, module: Module) {
    let completion = match module.evaluate(ctx) {
        Ok(promise) => Completion::Module(module, Persistent::save(ctx, promise)),
        Err(_) => Completion::Threw(Persistent::save(ctx, ctx.catch())),
    };
    COMPLETION.set(Some(completion));
}

type Thrown = Persistent<Value<'static>>;

/// The value a script came to once no job is pending, or what it threw.
fn settle<'js>(ctx: &Ctx<'js>, completion: Completion) -> std::result::Result<Value<'js>, Thrown> {
    let restore = |value: Persistent<Value<'static>>| {
        value.restore(ctx).unwrap_or_else(|_| Value::new_undefined(ctx.clone()))
    };
    let value = match completion {
        Completion::Value(value) => restore(value),
        Completion::Threw(thrown) => return Err(thrown),
        Completion::Module(module, promise) => {
            let promise = restore(promise);
            if settled(&promise)?.is_none() {
                return Ok(promise);
            }
            module.default_export(ctx).map_err(|_| Persistent::save(ctx, ctx.catch()))?
        }
        Completion::Promise(promise) => {
            let promise = restore(promise);
            match settled(&promise)? {
                // The object holds what the last expression gave, so that a promise stays one.
                Some(holder) => raw::own_data(&holder, "value")
                    .unwrap_or_else(|| Value::new_undefined(ctx.clone())),
                // The job that would have gone on could not be queued.
                None if reserve::ran_out() => {
                    return Err(Persistent::save(ctx, raw::memory_error(ctx)));
                }
                None => return Ok(promise),
            }
        }
    };
    match raw::promise_state(&value) {
        Some(_) => Ok(settled(&value)?.unwrap_or(value)),
        None => Ok(value),
    }
}

/// What a promise settled to, `None` while it is pending.
fn settled<'js>(promise: &Value<'js>) -> std::result::Result<Option<Value<'js>>, Thrown> {
    match raw::promise_state(promise) {
        Some(PromiseState::Fulfilled(value)) => Ok(Some(value)),
        Some(PromiseState::Rejected(reason)) => {
            state::forget_rejection(promise);
            Err(Persistent::save(promise.ctx(), reason))
        }
        Some(PromiseState::Pending) | None => Ok(None),
    }
}

/// What a value event says.
struct Report {
    value_type: u32,
    preview: String,
    json: String,
}

impl Report {
    fn of<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Self {
        let preview = state::with(|state| inspect::inspect(ctx, &state.primordials, value));
        let json = json::bounded_json(value).unwrap_or_default();
        Self { value_type: value_type(value), preview, json }
    }
}

/// The number the host knows a value's type under: the order of its `ValueType`.
fn value_type(value: &Value<'_>) -> u32 {
    if value.is_number() {
        0
    } else if value.is_string() {
        1
    } else if value.is_bool() {
        2
    } else if value.is_big_int() {
        3
    } else if value.is_undefined() {
        4
    } else if value.is_null() {
        5
    } else if value.is_symbol() {
        6
    } else if value.is_function() {
        7
    } else {
        inspect::object_type(value)
    }
}

fn emit_exception(thrown: &Value<'_>) {
    if thrown.is_error() {
        let error = error_text(thrown);
        let stack = if error.frames.is_empty() {
            String::new()
        } else {
            format!("{}\n{}", error.header, error.frames)
        };
        abi::emit_exception(&error.header, &stack);
        return;
    }
    let message = match raw::string_bytes(thrown) {
        Some(bytes) => text::lossy(&bytes),
        None => state::with(|state| inspect::inspect(thrown.ctx(), &state.primordials, thrown)),
    };
    abi::emit_exception(&message, "");
}
