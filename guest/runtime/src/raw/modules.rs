//! Modules as QuickJS has them: the hooks by which it finds and loads one, and what is done with it.
//!
//! Invariant: as of [`super`].

use super::owned;
use javy::quickjs::{Array, Ctx, Error, Function, Object, Result, Value, qjs};
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

/// A module of the engine's. It stays until [`forget_module`] or a failure to load frees it, so one is
/// not kept across either.
#[derive(Clone, Copy)]
pub(crate) struct Module(ptr::NonNull<qjs::JSModuleDef>);

/// What finds and loads modules: each may throw.
pub(crate) struct Loader {
    /// The name that modules know what `specifier` names in `referrer` under.
    pub(crate) resolve: fn(ctx: &Ctx<'_>, referrer: &str, specifier: &str) -> Result<String>,
    /// The module of a name that was just resolved and is not known yet.
    pub(crate) load: for<'js> fn(&Ctx<'js>, name: &str, attributes: &Value<'js>) -> Result<Module>,
    /// What `import.meta` is in the module of a name.
    pub(crate) meta: for<'js> fn(&Ctx<'js>, name: &str) -> Result<Value<'js>>,
}

unsafe extern "C" {
    fn vm_find_module(ctx: *mut qjs::JSContext, name: *const c_char) -> *mut qjs::JSModuleDef;
    fn vm_evaluate_module(ctx: *mut qjs::JSContext, module: *mut qjs::JSModuleDef) -> qjs::JSValue;
    fn vm_free_unlinked_modules(ctx: *mut qjs::JSContext);
    fn vm_module_default(ctx: *mut qjs::JSContext, module: *mut qjs::JSModuleDef) -> qjs::JSValue;
    fn vm_forget_module(ctx: *mut qjs::JSContext, module: *mut qjs::JSModuleDef);
}

/// The one loader, which [`vm_import_meta`] has no other way to find.
static LOADER: OnceLock<&'static Loader> = OnceLock::new();

/// Has `import` find modules by `loader`.
pub(crate) fn set_loader(ctx: &Ctx<'_>, loader: &'static Loader) {
    LOADER.set(loader).ok().expect("the guest is initialised once");
    // SAFETY: the runtime outlives every call of the three, which are plain functions.
    unsafe {
        qjs::JS_SetModuleLoaderFunc2(
            qjs::JS_GetRuntime(ctx.as_raw().as_ptr()),
            Some(resolve_module),
            Some(load_module),
            None,
            ptr::null_mut(),
        );
    }
}

fn loader() -> &'static Loader {
    LOADER.get().expect("set before any module is loaded")
}

/// The text that QuickJS hands to a loader.
///
/// # Safety
/// `text` must end in NUL and live as long as what is given.
unsafe fn lossy_text<'a>(text: *const c_char) -> Cow<'a, str> {
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }.to_string_lossy()
}

unsafe extern "C" fn resolve_module(
    ctx: *mut qjs::JSContext,
    referrer: *const c_char,
    specifier: *const c_char,
    _opaque: *mut c_void,
) -> *mut c_char {
    let Some(raw) = ptr::NonNull::new(ctx) else { return ptr::null_mut() };
    // SAFETY: QuickJS calls with a live context and texts that end in NUL, and frees the answer.
    unsafe {
        let ctx = Ctx::from_raw(raw);
        let (referrer, specifier) = (lossy_text(referrer), lossy_text(specifier));
        match (loader().resolve)(&ctx, &referrer, &specifier) {
            Ok(name) => qjs::js_strndup(raw.as_ptr(), name.as_ptr().cast(), name.len() as _),
            Err(_) => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn load_module(
    ctx: *mut qjs::JSContext,
    name: *const c_char,
    _opaque: *mut c_void,
    attributes: qjs::JSValue,
) -> *mut qjs::JSModuleDef {
    let Some(raw) = ptr::NonNull::new(ctx) else { return ptr::null_mut() };
    // SAFETY: QuickJS calls with a live context, a text that ends in NUL and a borrowed value, which
    // is duplicated.
    unsafe {
        let ctx = Ctx::from_raw(raw);
        let attributes = Value::from_raw(ctx.clone(), qjs::JS_DupValue(raw.as_ptr(), attributes));
        match (loader().load)(&ctx, &lossy_text(name), &attributes) {
            Ok(module) => module.0.as_ptr(),
            Err(_) => ptr::null_mut(),
        }
    }
}

/// Called by `patches/modules.patch`.
#[unsafe(no_mangle)]
unsafe extern "C" fn vm_import_meta(ctx: *mut qjs::JSContext, name: *const c_char) -> qjs::JSValue {
    let Some(raw) = ptr::NonNull::new(ctx) else { return qjs::JS_EXCEPTION };
    // SAFETY: QuickJS calls with a live context and a text that ends in NUL, and owns the answer.
    unsafe {
        let ctx = Ctx::from_raw(raw);
        match (loader().meta)(&ctx, &lossy_text(name)) {
            Ok(meta) => qjs::JS_DupValue(raw.as_ptr(), meta.as_raw()),
            Err(_) => qjs::JS_EXCEPTION,
        }
    }
}

/// Compiles `source`, a text with a NUL behind it, as a module, and loads what it imports.
pub(crate) fn compile_module(ctx: &Ctx<'_>, name: &CStr, source: &[u8]) -> Result<Module> {
    let flags = (qjs::JS_EVAL_TYPE_MODULE | qjs::JS_EVAL_FLAG_COMPILE_ONLY) as i32;
    assert_eq!(source.last(), Some(&0), "a source has a NUL behind it");
    let len = (source.len() - 1) as qjs::size_t;
    let raw = ctx.as_raw().as_ptr();
    // SAFETY: both texts end in NUL and outlive the call; QuickJS copies what it keeps. The value is a
    // module's when it is no exception, and the engine's list of modules keeps that.
    unsafe {
        let value = qjs::JS_Eval(raw, source.as_ptr().cast(), len, name.as_ptr(), flags);
        if qjs::JS_IsException(value) {
            return Err(Error::Exception);
        }
        let module = qjs::JS_VALUE_GET_PTR(value).cast();
        qjs::JS_FreeValue(raw, value);
        ptr::NonNull::new(module).map(Module).ok_or(Error::Unknown)
    }
}

/// The module of a name that was loaded.
pub(crate) fn find_module(ctx: &Ctx<'_>, name: &CStr) -> Option<Module> {
    // SAFETY: the name ends in NUL.
    ptr::NonNull::new(unsafe { vm_find_module(ctx.as_raw().as_ptr(), name.as_ptr()) }).map(Module)
}

/// Frees what is left of modules that could not be loaded. Not while one is being loaded.
pub(crate) fn free_unlinked_modules(ctx: &Ctx<'_>) {
    // SAFETY: nobody holds a module that is not linked, as [`Module`] says.
    unsafe { vm_free_unlinked_modules(ctx.as_raw().as_ptr()) }
}

/// A function that gives the values of a module's exports, in their order.
const PROVIDER: &str = "values";
/// The names of the exports, in the same order.
const NAMES: &str = "names";

/// A module that no source makes: its exports are what `provide` gives when it is evaluated, an array
/// in the order of `names`.
pub(crate) fn synthetic_module<'js>(
    ctx: &Ctx<'js>,
    name: &CStr,
    names: &[String],
    provide: Function<'js>,
) -> Result<Module> {
    let private = Object::new(ctx.clone())?;
    private.set(PROVIDER, provide)?;
    private.set(NAMES, names.to_vec())?;
    let raw = ctx.as_raw().as_ptr();
    // SAFETY: the texts end in NUL; the module owns the private value's reference.
    unsafe {
        let module = qjs::JS_NewCModule(raw, name.as_ptr(), Some(provide_exports));
        let module = ptr::NonNull::new(module).ok_or(Error::Exception)?;
        let value = qjs::JS_DupValue(raw, private.as_raw());
        qjs::JS_SetModulePrivateValue(raw, module.as_ptr(), value);
        for name in names {
            let name = CString::new(name.as_str()).map_err(|_| Error::Unknown)?;
            if qjs::JS_AddModuleExport(raw, module.as_ptr(), name.as_ptr()) != 0 {
                return Err(Error::Exception);
            }
        }
        Ok(Module(module))
    }
}

unsafe extern "C" fn provide_exports(
    ctx: *mut qjs::JSContext,
    module: *mut qjs::JSModuleDef,
) -> c_int {
    let Some(raw) = ptr::NonNull::new(ctx) else { return -1 };
    // SAFETY: QuickJS calls with a live context and a module that `synthetic_module` made.
    let provided = unsafe {
        let ctx = Ctx::from_raw(raw);
        let private = Value::from_raw(ctx, qjs::JS_GetModulePrivateValue(raw.as_ptr(), module));
        set_exports(&private, module)
    };
    if provided.is_ok() { 0 } else { -1 }
}

/// # Safety
/// `module` must be the one that the private value is of.
unsafe fn set_exports(private: &Value<'_>, module: *mut qjs::JSModuleDef) -> Result<()> {
    let raw = private.ctx().as_raw().as_ptr();
    let private = private.as_object().ok_or(Error::Unknown)?;
    let names: Vec<String> = private.get(NAMES)?;
    let provide: Function<'_> = private.get(PROVIDER)?;
    let values: Array<'_> = provide.call(())?;
    for (index, name) in names.into_iter().enumerate() {
        let value: Value<'_> = values.get(index)?;
        let name = CString::new(name).map_err(|_| Error::Unknown)?;
        // SAFETY: the name ends in NUL; the module takes the reference.
        unsafe {
            let value = qjs::JS_DupValue(raw, value.as_raw());
            qjs::JS_SetModuleExport(raw, module, name.as_ptr(), value);
        }
    }
    Ok(())
}

impl Module {
    /// Runs it, unless it was; gives the promise of that.
    pub(crate) fn evaluate<'js>(self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        // SAFETY: the module is there, as its type says.
        unsafe { owned(ctx, vm_evaluate_module(ctx.as_raw().as_ptr(), self.0.as_ptr())) }
    }

    /// What it exports as `default`; undefined if it has none, or none yet.
    pub(crate) fn default_export<'js>(self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        // SAFETY: the module is there, as its type says.
        unsafe { owned(ctx, vm_module_default(ctx.as_raw().as_ptr(), self.0.as_ptr())) }
    }

    /// Its namespace object.
    pub(crate) fn namespace<'js>(self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        // SAFETY: the module is there, as its type says.
        unsafe { owned(ctx, qjs::JS_GetModuleNamespace(ctx.as_raw().as_ptr(), self.0.as_ptr())) }
    }

    /// Frees it, unless something may refer to it.
    pub(crate) fn forget(self, ctx: &Ctx<'_>) {
        // SAFETY: the module is there, as its type says; whoever holds it gives it up.
        unsafe { vm_forget_module(ctx.as_raw().as_ptr(), self.0.as_ptr()) }
    }
}
