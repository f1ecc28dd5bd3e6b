//! The realm of a session: how it is made, and what each session and each file run sets in it.

use crate::primordials::Primordials;
use crate::state::{self, State};
use crate::{abi, console, modules, raw, reserve, timers, web};
use fastrand::Rng;
use javy::quickjs::{Ctx, Function, Object, Result, Value};
use javy::{BytecodeStripping, Config, Runtime};
use std::cell::{Cell, RefCell};

/// Bytes of JavaScript values, beyond those that outlived the last collection by half, at which
/// cycles are collected. Small enough that a session's leaks stay small, large enough that small
/// executions never pay for a walk of the heap.
const GC_THRESHOLD: usize = 1024 * 1024;
/// Bytes of the 3 MiB shadow stack that JavaScript may use before a `RangeError`: some 7,000 calls
/// of a small function. The rest is for what runs without asking: regular expressions, the
/// inspector, the allocator. The host's native stack must hold what the same recursion takes there,
/// which in the parser is 13 times as much.
const MAX_STACK: usize = 2 * 1024 * 1024;

/// The template has no console.
const FLAG_NO_CONSOLE: u32 = 1;
/// `CommonJS` modules are strict; scripts are told with each.
const FLAG_STRICT: u32 = 2;
/// The template grants an environment.
const FLAG_ENVIRONMENT: u32 = 4;

/// Makes the runtime and its globals, and captures the primordials. Reads no clock that a script
/// could tell, and seeds nothing: the host does that in every session.
pub(crate) fn initialize() {
    let mut config = Config::default();
    config
        .gc_threshold(GC_THRESHOLD)
        .max_stack_size(MAX_STACK)
        .weak_ref(true)
        .text_encoding(true)
        .bytecode_stripping(BytecodeStripping::None);
    let runtime = Runtime::new(config).expect("the engine starts in a fresh memory");
    let primordials = runtime.context().with(|ctx| {
        raw::track_rejections(&ctx, state::track_rejection);
        Primordials::capture(&ctx)
            .and_then(|primordials| globals(&ctx).map(|()| primordials))
            .expect("the realm is fresh")
    });
    runtime.context().with(|ctx| raw::set_memory_error(&ctx).expect("the realm is fresh"));
    state::install(State { runtime, primordials });
    reserve::end();
    reserve::fill_holes();
}

fn globals(ctx: &Ctx<'_>) -> Result<()> {
    console::install(ctx)?;
    modules::install(ctx)?;
    timers::install(ctx)?;
    web::install(ctx)?;
    let math: Object = ctx.globals().get("Math")?;
    let random = Function::new(ctx.clone(), random)?;
    math.set("random", random.with_name("random")?.with_length(0)?)?;
    let process = Object::new(ctx.clone())?;
    process.set("env", Object::new(ctx.clone())?)?;
    ctx.globals().set("process", process)?;
    ctx.globals().set("__ARGS__", Object::new(ctx.clone())?)?;
    ctx.globals().set("__ENV__", Object::new(ctx.clone())?)
}

thread_local! {
    static RANDOM: RefCell<Option<Rng>> = const { RefCell::new(None) };
    /// How often the memory came to an instance since the environment was first asked for, from 1.
    static LIVES: Cell<u32> = const { Cell::new(0) };
}

/// `Math.random`, which asks the host for a seed when it is first called. So a heap that never drew
/// a number has none of its own, and serves as the image of many sessions.
fn random() -> f64 {
    RANDOM.with_borrow_mut(|random| {
        random.get_or_insert_with(|| Rng::with_seed(abi::entropy())).f64()
    })
}

/// Has `Math.random` ask for another seed, so that a memory which was restored does not repeat what
/// it drew before, and the environment be asked for again. Writes nothing if neither was asked for.
pub(crate) fn forget_entropy() {
    if LIVES.get() > 0 {
        LIVES.set(LIVES.get() + 1);
    }
    if RANDOM.with_borrow(Option::is_some) {
        RANDOM.take();
    }
}

/// Applies what the template says of the realm.
pub(crate) fn configure(flags: u32) {
    if flags & FLAG_STRICT != 0 {
        modules::set_strict();
    }
    if flags & FLAG_ENVIRONMENT != 0 {
        state::with(|state| {
            state.runtime.context().with(|ctx| {
                environment(&ctx).expect("the realm is fresh");
            });
        });
    }
    if flags & FLAG_NO_CONSOLE != 0 {
        state::with(|state| {
            state.runtime.context().with(|ctx| {
                console::remove(&ctx).expect("a property that was set can be removed");
            });
        });
    }
}

/// Makes `process.env` and `__ENV__` what the host grants, once a script looks at one of them: a startup
/// that does not look is the same whatever is granted.
fn environment(ctx: &Ctx<'_>) -> Result<()> {
    let source = concat!(include_str!("environment.js"), "\0").as_bytes();
    let install: Function =
        raw::run(raw::compile(ctx, c"/vm/environment.js", source, 0)?)?.get()?;
    let ask = Function::new(ctx.clone(), || {
        LIVES.set(LIVES.get().max(1));
        let answer = abi::call_host(abi::Operation::Env, 0, &[], &[]);
        String::from_utf8_lossy(&answer.unwrap_or_default()).into_owned()
    })?;
    let lives = Function::new(ctx.clone(), || LIVES.get())?;
    install.call((ask, lives))
}

/// Sets `__ARGS__`, `__ENV__` and `process.env` from JSON texts. A script that made them
/// read-only keeps its own.
pub(crate) fn inputs(args: &[u8], env: &[u8]) {
    state::with(|state| {
        state.runtime.context().with(|ctx| {
            if set_inputs(&ctx, state, args, env).is_err() {
                ctx.catch();
            }
        });
    });
}

fn set_inputs(ctx: &Ctx<'_>, state: &State, args: &[u8], env: &[u8]) -> Result<()> {
    let parse = |json: &[u8]| -> Result<Value<'_>> {
        let parse = state.primordials.json_parse.restore(ctx);
        let parse = parse.ok_or(javy::quickjs::Error::Unknown)?;
        parse.call((String::from_utf8_lossy(json).into_owned(),))
    };
    let globals = ctx.globals();
    globals.set("__ARGS__", parse(args)?)?;
    globals.set("__ENV__", parse(env)?)?;
    let process: Value = globals.get("process")?;
    let process = match process.into_object() {
        Some(process) => process,
        None => Object::new(ctx.clone())?,
    };
    process.set("env", parse(env)?)?;
    globals.set("process", process)
}
