//! The guest's border: what the host calls, and what the guest calls of the host.
//!
//! Invariant: buffers that cross it are byte ranges of linear memory, made by [`vm_alloc`] and
//! owned by the guest from the call that hands them over. The host trusts nothing that comes out
//! of here; `vm-guest` on its side of the border documents the same functions and numbers.
#![expect(unsafe_code, reason = "exports, imports and raw buffers are what this file is for")]

use crate::{evaluate, session};
use std::alloc::Layout;

/// Levels of a console event, by the numbers the host knows them under.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Level {
    Log = 0,
    Warn = 1,
    Error = 2,
    Info = 3,
    Debug = 4,
}

/// Kinds of events.
#[repr(u32)]
enum Event {
    Console = 1,
    Value = 2,
    Exception = 3,
}

/// Functions of the host that a script reaches through its modules.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Operation {
    /// Whether the template has the module named.
    Require = 0,
    FsRead = 1,
    FsWrite = 2,
    FsExists = 3,
    FsReadDir = 4,
    FsStat = 5,
    FsMakeDir = 6,
    FsUnlink = 7,
    /// Finds a module of the worktree: a referrer's name, a NUL, a specifier.
    ModuleResolve = 8,
    /// Reads the source of a module that was found.
    ModuleSource = 9,
    FsAppend = 10,
    /// Two paths with a NUL between them.
    FsRename = 11,
    FsRemoveDir = 12,
    FsRealPath = 13,
    /// A program and its arguments with NULs between them.
    ExecRun = 14,
    /// Takes the next answer of what is pending: see `pending.rs`.
    Answer = 15,
    /// Begins a request: a method, a blank and a URL; data is the head's length, the head, the body.
    NetFetch = 16,
    /// Begins to read more of a response's body.
    NetRead = 17,
    /// Ends a body, or what is pending.
    NetClose = 18,
    /// The environment that the template grants, as JSON.
    Env = 19,
    /// Statements, in the database named.
    DbExec = 30,
    DbQuery = 31,
    /// Opens it anew.
    DbOpen = 32,
    DbClose = 33,
    /// Gives pages of the database in memory, and takes those that changed.
    DbRestore = 34,
    DbKeep = 35,
    KvGet = 20,
    /// The version that is expected, eight bytes little-endian, and the value.
    KvPut = 21,
    KvDelete = 22,
    /// How many at most, four bytes little-endian, and the key before them.
    KvList = 23,
}

#[link(wasm_import_module = "vm")]
unsafe extern "C" {
    /// Records an event: its kind, its level or value type, and two texts in UTF-8.
    fn emit(kind: u32, tag: u32, a: *const u8, a_len: usize, b: *const u8, b_len: usize);
    /// Calls the host; gives the length of its answer, or -1 - length of an error's text.
    fn call(
        operation: u32,
        flags: u32,
        a: *const u8,
        a_len: usize,
        b: *const u8,
        b_len: usize,
    ) -> i64;
    /// Waits until the host has an answer to give, or for so many milliseconds; gives how many
    /// answers there are.
    #[link_name = "wait"]
    fn wait_for_host(milliseconds: u64) -> u32;
    /// Copies the answer of the last call into a buffer of the length it said.
    fn take(buffer: *mut u8, len: usize);
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    /// Fills a buffer with random bytes; gives an error number, or 0.
    fn random_get(buffer: *mut u8, len: usize) -> i32;
    /// Writes the nanoseconds that a clock shows; gives an error number, or 0.
    fn clock_time_get(clock: i32, precision: u64, time: *mut u64) -> i32;
}

/// WASI's number of the clock that never goes back.
const MONOTONIC: i32 = 1;

/// Milliseconds of the session's clock.
pub(crate) fn monotonic_ms() -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: the host writes one number where there is one.
    let error = unsafe { clock_time_get(MONOTONIC, 0, &raw mut nanoseconds) };
    if error != 0 {
        core::arch::wasm32::unreachable();
    }
    nanoseconds / 1_000_000
}

/// Gives the processor up for so many milliseconds, or until the host has answers; gives how many.
pub(crate) fn wait(milliseconds: u64) -> u32 {
    // SAFETY: it takes and gives numbers.
    unsafe { wait_for_host(milliseconds) }
}

/// Random bits of the host's. A host that has none to give has no session go on.
pub(crate) fn entropy() -> u64 {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Fills a buffer with random bytes of the host's.
pub(crate) fn fill_random(buffer: &mut [u8]) {
    // SAFETY: the host writes no more than the bytes that are there.
    let error = unsafe { random_get(buffer.as_mut_ptr(), buffer.len()) };
    if error != 0 {
        core::arch::wasm32::unreachable();
    }
}

fn emit_event(event: Event, tag: u32, a: &[u8], b: &[u8]) {
    // SAFETY: the host reads the two ranges during the call and keeps no pointer.
    unsafe { emit(event as u32, tag, a.as_ptr(), a.len(), b.as_ptr(), b.len()) }
}

/// Emits what a console call printed.
pub(crate) fn emit_console(level: Level, text: &str) {
    emit_event(Event::Console, level as u32, text.as_bytes(), &[]);
}

/// Emits the value of an execution; `json` is empty when it has none.
pub(crate) fn emit_value(value_type: u32, preview: &str, json: &str) {
    emit_event(Event::Value, value_type, preview.as_bytes(), json.as_bytes());
}

/// Emits the exception that ended an execution; `stack` is empty when it has none.
pub(crate) fn emit_exception(message: &str, stack: &str) {
    emit_event(Event::Exception, 0, message.as_bytes(), stack.as_bytes());
}

/// What the host said to a call: bytes, or an error as `CODE\nmessage`.
pub(crate) fn call_host(
    operation: Operation,
    flags: u32,
    a: &[u8],
    b: &[u8],
) -> Result<Vec<u8>, String> {
    // SAFETY: the host reads the two ranges during the call and keeps no pointer.
    let len = unsafe { call(operation as u32, flags, a.as_ptr(), a.len(), b.as_ptr(), b.len()) };
    let failed = len < 0;
    let len = if failed { -1 - len } else { len };
    let len = usize::try_from(len).map_err(|_| "EIO\nthe host's answer is too long".to_owned())?;
    let mut answer = Vec::new();
    if answer.try_reserve_exact(len).is_err() {
        return Err("ENOMEM\nnot enough memory for the host's answer".to_owned());
    }
    // SAFETY: the host writes exactly `len` bytes, which the vector has room for.
    unsafe {
        take(answer.as_mut_ptr(), len);
        answer.set_len(len);
    }
    if failed { Err(crate::text::lossy(&answer)) } else { Ok(answer) }
}

/// A buffer that the host filled, freed when it is dropped.
struct Buffer(Box<[u8]>);

impl Buffer {
    /// # Safety
    /// `pointer` and `len` must be of one `vm_alloc` that was not handed over before.
    unsafe fn take(pointer: *mut u8, len: usize) -> Self {
        if len == 0 {
            return Self(Box::default());
        }
        // SAFETY: `vm_alloc` allocated `len` bytes with the layout that a boxed slice frees.
        Self(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(pointer, len)) })
    }
}

/// Allocates `len` bytes for the host to fill; 0 when memory is short.
#[unsafe(no_mangle)]
extern "C" fn vm_alloc(len: usize) -> *mut u8 {
    // Every execution begins with a buffer for what it runs.
    crate::reserve::begin();
    match Layout::array::<u8>(len) {
        // SAFETY: the layout is not empty.
        Ok(layout) if len > 0 => unsafe { std::alloc::alloc(layout) },
        Ok(_) | Err(_) => std::ptr::null_mut(),
    }
}

/// Frees a buffer that was handed to the host.
#[unsafe(no_mangle)]
extern "C" fn vm_free(pointer: *mut u8, len: usize) {
    // SAFETY: the host frees each buffer once, with the length it was told.
    drop(unsafe { Buffer::take(pointer, len) });
}

unsafe extern "C" {
    /// Runs libc's constructors. The linker makes it; because it is called here, it does not wrap
    /// every export in a call of it, as it would for a command.
    fn __wasm_call_ctors();
}

/// Makes the JavaScript runtime. Called once, before anything else, when the base image is made.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: this is the first call into a fresh memory.
    unsafe { __wasm_call_ctors() };
    session::initialize();
}

/// Applies what the template says of the realm. Called at most once, before the first script.
#[unsafe(no_mangle)]
extern "C" fn vm_configure(flags: u32) {
    session::configure(flags);
}

/// Has a memory that was restored draw fresh entropy when it needs some.
#[unsafe(no_mangle)]
extern "C" fn vm_forget_entropy() {
    session::forget_entropy();
}

/// Sets `__ARGS__` and `__ENV__` from two JSON texts that stand one behind the other.
#[unsafe(no_mangle)]
extern "C" fn vm_inputs(pointer: *mut u8, args_len: usize, env_len: usize) {
    // SAFETY: the host made the buffer for this call.
    let buffer = unsafe { Buffer::take(pointer, args_len + env_len) };
    let (args, env) = buffer.0.split_at(args_len);
    session::inputs(args, env);
}

/// Evaluates a script: a name and a source, each with a NUL behind it. Gives an
/// [`evaluate::Outcome`].
#[unsafe(no_mangle)]
extern "C" fn vm_evaluate(pointer: *mut u8, name_len: usize, source_len: usize, flags: u32) -> u32 {
    // SAFETY: the host made the buffer for this call.
    let buffer = unsafe { Buffer::take(pointer, name_len + source_len + 2) };
    let (name, source) = buffer.0.split_at(name_len + 1);
    evaluate::start_source(name, source, flags);
    drop(buffer);
    vm_drain(flags)
}

/// Compiles a script, given as to [`vm_evaluate`]; gives the address and length of its compiled
/// form (address in the upper half), or 0 after emitting the exception.
#[unsafe(no_mangle)]
extern "C" fn vm_compile(pointer: *mut u8, name_len: usize, source_len: usize, flags: u32) -> u64 {
    // SAFETY: the host made the buffer for this call.
    let buffer = unsafe { Buffer::take(pointer, name_len + source_len + 2) };
    let (name, source) = buffer.0.split_at(name_len + 1);
    let Some(compiled) = evaluate::compile_source(name, source, flags) else { return 0 };
    let compiled = Box::leak(compiled.into_boxed_slice());
    ((compiled.as_ptr() as u64) << 32) | compiled.len() as u64
}

/// Starts a compiled script; [`vm_drain`] tells how it ended.
#[unsafe(no_mangle)]
extern "C" fn vm_run(pointer: *mut u8, len: usize) {
    // SAFETY: the template module made the buffer for this call.
    let buffer = unsafe { Buffer::take(pointer, len) };
    evaluate::start_compiled(&buffer.0);
}

/// Runs the jobs that are pending, then reports how the script started last ended. Gives an
/// [`evaluate::Outcome`].
#[unsafe(no_mangle)]
extern "C" fn vm_drain(flags: u32) -> u32 {
    let outcome = evaluate::drain(flags) as u32;
    crate::require::database::keep();
    crate::reserve::end();
    outcome
}
