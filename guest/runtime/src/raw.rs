//! The QuickJS calls that rquickjs has no safe form for, each wrapped so that the rest of the
//! guest is safe code.
//!
//! Invariant: every function here takes and returns rquickjs values, whose reference counts are
//! balanced when it returns. It decides nothing; what the calls are for stands in their callers.
#![expect(unsafe_code, reason = "raw QuickJS calls are what this file is for")]

mod modules;

pub(crate) use modules::{
    Loader, Module, compile_module, find_module, free_unlinked_modules, set_loader,
    synthetic_module,
};

use javy::quickjs::{Ctx, Error, Result, Value, qjs};
use std::ffi::CStr;
use std::ptr;

/// Script flags that [`compile`] passes on to QuickJS.
pub(crate) mod eval_flags {
    use javy::quickjs::qjs;
    /// Strict mode whatever the script's directives say.
    pub(crate) const STRICT: i32 = qjs::JS_EVAL_FLAG_STRICT as i32;
    /// `await` at the top level; running such a script gives a promise of `{value}`.
    pub(crate) const ASYNC: i32 = qjs::JS_EVAL_FLAG_ASYNC as i32;
    /// What the script declares takes the place of what earlier ones declared: a flag of
    /// `patches/redeclarations.patch`.
    pub(crate) const REDECLARE: i32 = 1 << 8;
}

/// Takes ownership of a value that QuickJS returned, an exception becoming an error.
///
/// # Safety
/// `raw` must be a value of `ctx` whose reference the caller owns.
unsafe fn owned<'js>(ctx: &Ctx<'js>, raw: qjs::JSValue) -> Result<Value<'js>> {
    // SAFETY: the caller hands its reference over, as `from_raw` asks.
    let value = unsafe { Value::from_raw(ctx.clone(), raw) };
    if value.is_exception() { Err(Error::Exception) } else { Ok(value) }
}

/// Compiles `source`, a text with a NUL behind it, as a global script without running it.
pub(crate) fn compile<'js>(
    ctx: &Ctx<'js>,
    name: &CStr,
    source: &[u8],
    flags: i32,
) -> Result<Value<'js>> {
    compile_at(ctx, name, source, 1, flags)
}

/// The same of a text that begins on another line of its file, which must not be 0.
pub(crate) fn compile_at<'js>(
    ctx: &Ctx<'js>,
    name: &CStr,
    source: &[u8],
    line: i32,
    flags: i32,
) -> Result<Value<'js>> {
    let flags = flags | (qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_COMPILE_ONLY) as i32;
    assert_eq!(source.last(), Some(&0), "a source has a NUL behind it");
    let mut options = qjs::JSEvalOptions {
        version: qjs::JS_EVAL_OPTIONS_VERSION as i32,
        eval_flags: flags,
        filename: name.as_ptr(),
        line_num: line,
    };
    let len = (source.len() - 1) as qjs::size_t;
    // SAFETY: both texts end in NUL and outlive the call; QuickJS copies what it keeps.
    unsafe {
        let raw = ctx.as_raw().as_ptr();
        owned(ctx, qjs::JS_Eval2(raw, source.as_ptr().cast(), len, &raw mut options))
    }
}

/// Runs what [`compile`] or [`read_bytecode`] gave.
pub(crate) fn run<'js>(function: Value<'js>) -> Result<Value<'js>> {
    let ctx = function.ctx().clone();
    let raw = function.as_raw();
    // SAFETY: JS_EvalFunction consumes one reference, which JS_DupValue makes; `function` keeps
    // and frees its own.
    unsafe {
        let duplicate = qjs::JS_DupValue(ctx.as_raw().as_ptr(), raw);
        owned(&ctx, qjs::JS_EvalFunction(ctx.as_raw().as_ptr(), duplicate))
    }
}

/// Serialises a compiled script, with its source and debug information, so that stacks and
/// `Function.prototype.toString` say what they would have said.
pub(crate) fn write_bytecode(function: &Value<'_>) -> Result<Vec<u8>> {
    let ctx = function.ctx().as_raw().as_ptr();
    let mut len: qjs::size_t = 0;
    // SAFETY: the buffer QuickJS returns holds `len` bytes and is ours to free.
    unsafe {
        let flags = qjs::JS_WRITE_OBJ_BYTECODE as i32;
        let buffer = qjs::JS_WriteObject(ctx, &raw mut len, function.as_raw(), flags);
        if buffer.is_null() {
            return Err(Error::Exception);
        }
        let bytes = std::slice::from_raw_parts(buffer, len as usize).to_vec();
        qjs::js_free(ctx, buffer.cast());
        Ok(bytes)
    }
}

/// Reads what [`write_bytecode`] wrote in a guest of the same build. The bytes are trusted: the
/// host keeps them by content and never takes any from outside.
pub(crate) fn read_bytecode<'js>(ctx: &Ctx<'js>, bytes: &[u8]) -> Result<Value<'js>> {
    // SAFETY: QuickJS reads within the given length and copies what it keeps.
    unsafe {
        let raw = qjs::JS_ReadObject(
            ctx.as_raw().as_ptr(),
            bytes.as_ptr(),
            bytes.len() as qjs::size_t,
            qjs::JS_READ_OBJ_BYTECODE as i32,
        );
        owned(ctx, raw)
    }
}

/// The text of a string value, in QuickJS's UTF-8 with lone surrogates as three bytes each.
pub(crate) fn string_bytes(value: &Value<'_>) -> Option<Vec<u8>> {
    if !value.is_string() {
        return None;
    }
    let ctx = value.ctx().as_raw().as_ptr();
    let mut len: qjs::size_t = 0;
    // SAFETY: the C string holds `len` bytes and is freed after the copy.
    unsafe {
        let text = qjs::JS_ToCStringLen2(ctx, &raw mut len, value.as_raw(), false);
        if text.is_null() {
            return None;
        }
        let bytes = std::slice::from_raw_parts(text.cast::<u8>(), len as usize).to_vec();
        qjs::JS_FreeCString(ctx, text);
        Some(bytes)
    }
}

/// `ToString` of a value. Runs user code when the value is an object.
pub(crate) fn to_js_string<'js>(value: &Value<'js>) -> Result<Value<'js>> {
    let ctx = value.ctx();
    // SAFETY: the argument is borrowed, the result owned.
    unsafe { owned(ctx, qjs::JS_ToString(ctx.as_raw().as_ptr(), value.as_raw())) }
}

/// The engine's class number of an object, 0 for what is none.
pub(crate) fn class_id(value: &Value<'_>) -> u32 {
    // SAFETY: only looks at the tag and the object's header.
    unsafe { qjs::JS_GetClassID(value.as_raw()) }
}

/// The prototype of an object that is no proxy, so that no user code runs.
pub(crate) fn prototype<'js>(object: &Value<'js>) -> Option<Value<'js>> {
    if !object.is_object() || object.is_proxy() {
        return None;
    }
    let ctx = object.ctx();
    // SAFETY: the argument is borrowed, the result owned.
    unsafe { owned(ctx, qjs::JS_GetPrototype(ctx.as_raw().as_ptr(), object.as_raw())) }
        .ok()
        .filter(Value::is_object)
}

/// The target of a proxy; `None` for a revoked one.
pub(crate) fn proxy_target<'js>(proxy: &Value<'js>) -> Option<Value<'js>> {
    let ctx = proxy.ctx();
    // SAFETY: the argument is borrowed, the result owned.
    let target =
        unsafe { owned(ctx, qjs::JS_GetProxyTarget(ctx.as_raw().as_ptr(), proxy.as_raw())) };
    match target {
        Ok(target) => Some(target).filter(Value::is_object),
        Err(_) => {
            ctx.catch();
            None
        }
    }
}

/// The address of an object, its identity while it lives.
pub(crate) fn identity(object: &Value<'_>) -> u32 {
    // With NaN boxing on a 32-bit target the low word of an object value is its pointer.
    (object.as_raw() & 0xffff_ffff) as u32
}

/// What an own property holds.
pub(crate) enum Property<'js> {
    /// A value.
    Data(Value<'js>),
    /// A getter, a setter, or both.
    Accessor {
        /// Whether there is a getter.
        get: bool,
        /// Whether there is a setter.
        set: bool,
    },
}

/// The own property `key` (a string or symbol) of an object that is no proxy, without running a
/// getter.
pub(crate) fn own_property<'js>(object: &Value<'js>, key: &Value<'js>) -> Option<Property<'js>> {
    let ctx = object.ctx().as_raw().as_ptr();
    // SAFETY: the atom's reference is freed after its one use.
    unsafe {
        let atom = qjs::JS_ValueToAtom(ctx, key.as_raw());
        let property = own_property_by_atom(object, atom);
        qjs::JS_FreeAtom(ctx, atom);
        property
    }
}

/// The own data property called `name` of an object that is no proxy.
pub(crate) fn own_data<'js>(object: &Value<'js>, name: &str) -> Option<Value<'js>> {
    let ctx = object.ctx().as_raw().as_ptr();
    // SAFETY: the name is read within its length; the atom's reference is freed after its one use.
    let property = unsafe {
        let atom = qjs::JS_NewAtomLen(ctx, name.as_ptr().cast(), name.len() as qjs::size_t);
        let property = own_property_by_atom(object, atom);
        qjs::JS_FreeAtom(ctx, atom);
        property
    };
    match property {
        Some(Property::Data(value)) => Some(value),
        Some(Property::Accessor { .. }) | None => None,
    }
}

/// The own property at index `index` of an object that is no proxy.
pub(crate) fn own_element<'js>(object: &Value<'js>, index: u32) -> Option<Property<'js>> {
    let ctx = object.ctx().as_raw().as_ptr();
    // SAFETY: the atom's reference is freed after its one use.
    unsafe {
        let atom = qjs::JS_NewAtomUInt32(ctx, index);
        let property = own_property_by_atom(object, atom);
        qjs::JS_FreeAtom(ctx, atom);
        property
    }
}

/// # Safety
/// `atom` must be an atom of the object's runtime, or the null atom.
unsafe fn own_property_by_atom<'js>(
    object: &Value<'js>,
    atom: qjs::JSAtom,
) -> Option<Property<'js>> {
    let ctx = object.ctx();
    if atom == qjs::JS_ATOM_NULL {
        ctx.catch();
        return None;
    }
    let undefined = qjs::JS_UNDEFINED;
    let mut found = qjs::JSPropertyDescriptor {
        flags: 0,
        value: undefined,
        getter: undefined,
        setter: undefined,
    };
    // SAFETY: on 1 QuickJS has filled the descriptor with references that are ours; each becomes
    // one value, which frees it.
    unsafe {
        let raw_ctx = ctx.as_raw().as_ptr();
        let status = qjs::JS_GetOwnProperty(raw_ctx, &raw mut found, object.as_raw(), atom);
        if status < 0 {
            ctx.catch();
        }
        if status != 1 {
            return None;
        }
        let value = Value::from_raw(ctx.clone(), found.value);
        let getter = Value::from_raw(ctx.clone(), found.getter);
        let setter = Value::from_raw(ctx.clone(), found.setter);
        let (get, set) = (getter.is_object(), setter.is_object());
        Some(if get || set { Property::Accessor { get, set } } else { Property::Data(value) })
    }
}

/// The first `limit` own enumerable keys of an object that is no proxy, strings and symbols, and
/// how many there are in all.
pub(crate) fn own_keys<'js>(object: &Value<'js>, limit: usize) -> (Vec<Value<'js>>, usize) {
    let ctx = object.ctx();
    let raw_ctx = ctx.as_raw().as_ptr();
    let mut table: *mut qjs::JSPropertyEnum = ptr::null_mut();
    let mut len = 0_u32;
    let flags = (qjs::JS_GPN_STRING_MASK | qjs::JS_GPN_SYMBOL_MASK | qjs::JS_GPN_ENUM_ONLY) as i32;
    // SAFETY: on success the table holds `len` entries, whose atoms are freed with it after the
    // values made of them have their own references.
    unsafe {
        let raw = object.as_raw();
        if qjs::JS_GetOwnPropertyNames(raw_ctx, &raw mut table, &raw mut len, raw, flags) != 0 {
            ctx.catch();
            return (Vec::new(), 0);
        }
        let total = len as usize;
        let entries = if total == 0 { &[][..] } else { std::slice::from_raw_parts(table, total) };
        let keys = entries
            .iter()
            .take(limit)
            .filter_map(|entry| owned(ctx, qjs::JS_AtomToValue(raw_ctx, entry.atom)).ok())
            .collect();
        qjs::JS_FreePropertyEnum(raw_ctx, table, len);
        (keys, total)
    }
}

/// A promise's state.
pub(crate) enum PromiseState<'js> {
    /// Not settled yet.
    Pending,
    /// Settled with a value.
    Fulfilled(Value<'js>),
    /// Settled with a reason.
    Rejected(Value<'js>),
}

/// The state of a promise, `None` for what is no promise.
pub(crate) fn promise_state<'js>(value: &Value<'js>) -> Option<PromiseState<'js>> {
    if !value.is_promise() {
        return None;
    }
    let ctx = value.ctx();
    let raw_ctx = ctx.as_raw().as_ptr();
    // SAFETY: the argument is borrowed, the result owned.
    unsafe {
        let result =
            || Value::from_raw(ctx.clone(), qjs::JS_PromiseResult(raw_ctx, value.as_raw()));
        match qjs::JS_PromiseState(raw_ctx, value.as_raw()) {
            qjs::JSPromiseStateEnum_JS_PROMISE_FULFILLED => Some(PromiseState::Fulfilled(result())),
            qjs::JSPromiseStateEnum_JS_PROMISE_REJECTED => Some(PromiseState::Rejected(result())),
            _ => Some(PromiseState::Pending),
        }
    }
}

/// Is called when a promise is rejected without a handler (`handled` false), and when such a one
/// gets a handler after all (`handled` true).
pub(crate) type RejectionTracker = fn(promise: Value<'_>, reason: Value<'_>, handled: bool);

/// Tells `tracker` of every promise rejected without a handler from now on.
pub(crate) fn track_rejections(ctx: &Ctx<'_>, tracker: RejectionTracker) {
    unsafe extern "C" fn trampoline(
        ctx: *mut qjs::JSContext,
        promise: qjs::JSValue,
        reason: qjs::JSValue,
        handled: bool,
        opaque: *mut std::ffi::c_void,
    ) {
        let Some(ctx) = ptr::NonNull::new(ctx) else { return };
        // SAFETY: QuickJS calls with a live context and borrowed values, which are duplicated;
        // the opaque pointer is the function that was registered.
        unsafe {
            let tracker: RejectionTracker = std::mem::transmute(opaque);
            let ctx = Ctx::from_raw(ctx);
            let raw = ctx.as_raw().as_ptr();
            let promise = Value::from_raw(ctx.clone(), qjs::JS_DupValue(raw, promise));
            let reason = Value::from_raw(ctx.clone(), qjs::JS_DupValue(raw, reason));
            tracker(promise, reason, handled);
        }
    }
    // SAFETY: the runtime outlives every call of the tracker, which is a plain function.
    unsafe {
        let runtime = qjs::JS_GetRuntime(ctx.as_raw().as_ptr());
        qjs::JS_SetHostPromiseRejectionTracker(runtime, Some(trampoline), tracker as *mut _);
    }
}

/// Collects garbage in cycles now.
pub(crate) fn collect_cycles(ctx: &Ctx<'_>) {
    // SAFETY: no raw value is held across it.
    unsafe { qjs::JS_RunGC(qjs::JS_GetRuntime(ctx.as_raw().as_ptr())) }
}

unsafe extern "C" {
    fn vm_set_memory_error(error: qjs::JSValue);
}

/// The error of a memory that ran out.
pub(crate) fn memory_error<'js>(ctx: &Ctx<'js>) -> Value<'js> {
    // SAFETY: it throws in a live context.
    unsafe { qjs::JS_ThrowOutOfMemory(ctx.as_raw().as_ptr()) };
    ctx.catch()
}

/// Makes the error that is thrown when there is no memory to make one.
pub(crate) fn set_memory_error(ctx: &Ctx<'_>) -> Result<()> {
    const ERROR: &str =
        "Object.freeze(Object.assign(new InternalError('out of memory'), { stack: '' }))";
    let error: Value = ctx.eval(ERROR)?;
    // SAFETY: the engine keeps a reference of its own, for as long as it lives.
    unsafe { vm_set_memory_error(qjs::JS_DupValue(ctx.as_raw().as_ptr(), error.as_raw())) };
    Ok(())
}

/// The file of the code that is running, as many frames up; none where that is not JavaScript's.
pub(crate) fn script_name(ctx: &Ctx<'_>, level: i32) -> Option<String> {
    let raw = ctx.as_raw().as_ptr();
    // SAFETY: the atom's reference is freed after its one use.
    unsafe {
        let atom = qjs::JS_GetScriptOrModuleName(raw, level);
        if atom == qjs::JS_ATOM_NULL {
            return None;
        }
        let name = owned(ctx, qjs::JS_AtomToValue(raw, atom));
        qjs::JS_FreeAtom(raw, atom);
        string_bytes(&name.ok()?).map(|bytes| crate::text::lossy(&bytes))
    }
}

/// Parses JSON, a text with a NUL behind it; errors name the file.
pub(crate) fn parse_json<'js>(ctx: &Ctx<'js>, name: &CStr, source: &[u8]) -> Result<Value<'js>> {
    assert_eq!(source.last(), Some(&0), "a source has a NUL behind it");
    let len = (source.len() - 1) as qjs::size_t;
    // SAFETY: both texts end in NUL and outlive the call.
    unsafe {
        let raw = ctx.as_raw().as_ptr();
        owned(ctx, qjs::JS_ParseJSON(raw, source.as_ptr().cast(), len, name.as_ptr()))
    }
}
