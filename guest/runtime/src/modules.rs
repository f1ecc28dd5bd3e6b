//! Modules of the worktree: `import` and `require`.
//!
//! ```text
//!  import ──▶ resolve ──▶ known? ──▶ load: source compiled, or a module made of what CommonJS,
//!                │                         JSON or the host gives
//!  require ──▶ resolve ──▶ cached? ──▶ compiled as a function and called
//!                └─ the host finds the file: a name is its path in the worktree
//! ```
//!
//! A file is loaded once in a session, by either; what runs itself is run anew. One whose format
//! nothing says is a module if it is none as a script: see [`by_syntax`].
//!
//! Invariant: names, formats and sources come from the host, which looks at nothing outside the
//! worktree.

mod meta;

use crate::abi::{self, Operation};
use crate::raw::{self, Loader, Module, PromiseState, eval_flags};
use crate::{require, state, text};
use javy::quickjs::{Array, Ctx, Error, Exception, Function, Object, Persistent, Result, Value};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

/// `CommonJS`, in terms of what [`install`] gives it.
const SOURCE: &[u8] = concat!(include_str!("modules.js"), "\0").as_bytes();
/// Its file: no stack shows frames of files beneath `/vm/` (see `patches/own-frames.patch`).
const NAME: &CStr = c"/vm/modules.js";
/// How the names of such files begin.
const OWN: &str = "/vm/";

/// The lexer that finds the names which a `CommonJS` module exports: the package cjs-module-lexer, a
/// script in the form of one itself.
const LEXER: &str = include_str!("bundled/cjs-lexer.js");
const LEXER_NAME: &CStr = c"/vm/cjs-lexer.js";

/// The code of what the host answers that is no TypeScript.
const SYNTAX_ERROR: &str = "SYNTAX_ERROR";

/// A module is asked for by `require`, not by `import`.
const FLAG_REQUIRE: u32 = 1;

/// What stands before and behind a `CommonJS` module. The lines before it are counted away.
const BEFORE: &[u8] = b"(function (exports, require, module, __filename, __dirname)\n{\n";
const BEHIND: &[u8] = b"\n})\0";
const FIRST_LINE: i32 = -1;

/// Frames that are looked through for the file of a caller.
const MAX_FRAMES: i32 = 64;

/// How a module is loaded, by the numbers the host knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    BySyntax,
    Module,
    CommonJs,
    Json,
    /// A native module; the host never says so.
    Native,
}

/// A module that the host found.
#[derive(Clone)]
struct Found {
    /// Its path in the worktree, and the specifier's query and fragment.
    name: String,
    path_len: usize,
    format: Format,
}

/// What a source is that nothing but itself says.
pub(crate) enum Syntax<T> {
    /// It compiled as what it is taken for first.
    Script(T),
    /// It compiled as a module.
    Module(Module),
}

/// What `modules.js` does of `CommonJS` modules, by name and path.
#[derive(Clone)]
struct CommonJs {
    /// Runs one, unless it was; gives its exports.
    exports_of: Persistent<Function<'static>>,
    /// The names it exports as far as its source says.
    names_of: Persistent<Function<'static>>,
}

thread_local! {
    /// What was resolved last: the engine loads it next if it does not know it.
    static FOUND: RefCell<Option<Found>> = const { RefCell::new(None) };
    /// Names that are longer than their path, and how long that is.
    static SUFFIXED: RefCell<BTreeMap<String, usize>> = const { RefCell::new(BTreeMap::new()) };
    /// Whether a file that nothing says it of is a module, for those that were loaded.
    static BY_SYNTAX: RefCell<BTreeMap<String, bool>> = const { RefCell::new(BTreeMap::new()) };
    /// `CommonJS` functions that were compiled to see what they are, and not called yet.
    static COMPILED: RefCell<BTreeMap<String, Persistent<Value<'static>>>> =
        const { RefCell::new(BTreeMap::new()) };
    static COMMON_JS: OnceCell<CommonJs> = const { OnceCell::new() };
    /// Calls of the engine that find or load a module, one in the other.
    static LOADING: Cell<u32> = const { Cell::new(0) };
    /// Whether `CommonJS` modules are strict whatever they say.
    static STRICT: Cell<bool> = const { Cell::new(false) };
}

/// Puts `require` on the global object, and has `import` load modules.
pub(crate) fn install(ctx: &Ctx<'_>) -> Result<()> {
    static LOADER: Loader = Loader {
        resolve: |ctx, referrer, specifier| loading(|| resolve(ctx, referrer, specifier)),
        load: |ctx, name, attributes| loading(|| load(ctx, name, attributes)),
        meta: meta::meta,
    };
    raw::set_loader(ctx, &LOADER);
    let given = Object::new(ctx.clone())?;
    given.set("find", Function::new(ctx.clone(), find)?)?;
    given.set("isModule", Function::new(ctx.clone(), is_module)?)?;
    given.set("compile", Function::new(ctx.clone(), take_compiled)?)?;
    given.set("text", Function::new(ctx.clone(), source_text)?)?;
    given.set("parseJson", Function::new(ctx.clone(), parse_json)?)?;
    given.set("evaluate", Function::new(ctx.clone(), evaluate)?)?;
    given.set("native", Function::new(ctx.clone(), native)?)?;
    given.set("caller", Function::new(ctx.clone(), caller)?)?;
    let make: Function = raw::run(raw::compile(ctx, NAME, SOURCE, 0)?)?.get()?;
    let lexer = function(ctx, LEXER_NAME, format!("{LEXER}\0").as_bytes())?;
    given.set("lexer", raw::run(lexer)?)?;
    let made: Object = make.call((given,))?;
    ctx.globals().set("require", made.get::<_, Function>("require")?)?;
    let save = |name| made.get::<_, Function>(name).map(|made| Persistent::save(ctx, made));
    let common_js = CommonJs { exports_of: save("exportsOf")?, names_of: save("namesOf")? };
    COMMON_JS.with(|cell| cell.set(common_js)).ok().expect("the guest is initialised once");
    Ok(())
}

/// Has `CommonJS` modules be strict whatever they say.
pub(crate) fn set_strict() {
    STRICT.set(true);
}

/// A source by its syntax: what `script` makes of it, or else a module. When it is neither, the error
/// is the one that is further on: a module fails as a script at its first `import` or `export`.
pub(crate) fn by_syntax<'js, T>(
    ctx: &Ctx<'js>,
    name: &CStr,
    source: &[u8],
    script: impl FnOnce() -> Result<T>,
) -> Result<Syntax<T>> {
    let says = |word: &[u8]| source.windows(word.len()).any(|window| window == word);
    let error = match script() {
        Ok(script) => return Ok(Syntax::Script(script)),
        Err(error) if !says(b"import") && !says(b"export") => return Err(error),
        Err(_) => ctx.catch(),
    };
    match raw::compile_module(ctx, name, source) {
        Ok(module) => Ok(Syntax::Module(module)),
        Err(_) => {
            let own = ctx.catch();
            let file = name.to_string_lossy();
            let of_script = match (position(&error, &file), position(&own, &file)) {
                (Some(script), Some(module)) => script >= module,
                (_, None) => false,
                (None, Some(_)) => true,
            };
            Err(ctx.throw(if of_script { error } else { own }))
        }
    }
}

/// Where in a file a syntax error is.
fn position(error: &Value<'_>, file: &str) -> Option<(u32, u32)> {
    let error = error.as_object().filter(|_| error.is_error())?;
    let stack: String = error.get("stack").ok()?;
    let mut parts = stack.lines().next()?.rsplitn(3, ':');
    let column = parts.next()?.trim_end_matches(')').parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    parts.next()?.ends_with(file).then_some((line, column))
}

/// Finds or loads a module for the engine.
fn loading<T>(load: impl FnOnce() -> Result<T>) -> Result<T> {
    LOADING.set(LOADING.get() + 1);
    let loaded = load();
    LOADING.set(LOADING.get() - 1);
    loaded
}

/// Refuses a script that asks for a module while the engine loads one, as it may when it has code run
/// for the stack of an error: what it loads would be freed with what the engine gives up.
fn refuse_while_loading(ctx: &Ctx<'_>) -> Result<()> {
    if LOADING.get() == 0 {
        return Ok(());
    }
    Err(Exception::throw_message(ctx, "Invalid module: another one is being loaded"))
}

fn resolve(ctx: &Ctx<'_>, referrer: &str, specifier: &str) -> Result<String> {
    let found = match require::native_name(specifier) {
        Some(name) => {
            let name = format!("node:{name}");
            Found { path_len: name.len(), name, format: Format::Native }
        }
        None => ask(ctx, specifier, referrer, 0)?,
    };
    let name = found.name.clone();
    FOUND.set(Some(found));
    Ok(name)
}

/// The path of a module, and the query and fragment that its name has besides.
fn parts(name: &str) -> (&str, &str) {
    let path_len = SUFFIXED.with_borrow(|names| names.get(name).copied());
    path_len.and_then(|len| name.split_at_checked(len)).unwrap_or((name, ""))
}

/// Asks the host what a specifier names.
fn ask(ctx: &Ctx<'_>, specifier: &str, referrer: &str, flags: u32) -> Result<Found> {
    let question = format!("{}\0{specifier}", parts(referrer).0);
    let answer = host(ctx, Operation::ModuleResolve, flags, &question)?;
    let malformed = || Exception::throw_message(ctx, "the host's answer is malformed");
    let (format, names) = answer.split_first().ok_or_else(malformed)?;
    let format = match format {
        0 => Format::BySyntax,
        1 => Format::Module,
        2 => Format::CommonJs,
        3 => Format::Json,
        _ => return Err(malformed()),
    };
    let names = String::from_utf8_lossy(names);
    let (path, suffix) = names.split_once('\0').ok_or_else(malformed)?;
    let (name, path_len) = (format!("{path}{suffix}"), path.len());
    if !suffix.is_empty() {
        SUFFIXED.with_borrow_mut(|names| names.insert(name.clone(), path_len));
    }
    Ok(Found { name, path_len, format })
}

/// Calls the host and throws its errors, with their code.
fn host(ctx: &Ctx<'_>, operation: Operation, flags: u32, name: &str) -> Result<Vec<u8>> {
    abi::call_host(operation, flags, name.as_bytes(), &[]).map_err(|error| {
        let (code, message) = error.split_once('\n').unwrap_or(("EIO", &error));
        match code {
            SYNTAX_ERROR => throw_syntax(ctx, message),
            _ => throw_coded(ctx, code, message),
        }
    })
}

/// Throws the error of a source that the host found to be none: a sentence, and behind a newline where
/// in that source, which its stack begins with.
fn throw_syntax(ctx: &Ctx<'_>, told: &str) -> Error {
    let (message, frame) = told.split_once('\n').unwrap_or((told, ""));
    let error = Exception::throw_syntax(ctx, message);
    let thrown = ctx.catch();
    let Some(object) = thrown.as_object().filter(|_| thrown.is_error()) else { return error };
    let frames = raw::own_data(&thrown, "stack").and_then(|stack| raw::string_bytes(&stack));
    let stack = format!("{frame}\n{}", text::lossy(&frames.unwrap_or_default()));
    match object.set("stack", stack) {
        Ok(()) => ctx.throw(thrown),
        Err(error) => error,
    }
}

fn throw_coded(ctx: &Ctx<'_>, code: &str, message: &str) -> Error {
    let made = Exception::from_message(ctx.clone(), message)
        .and_then(|exception| exception.as_object().set("code", code).map(|()| exception));
    match made {
        Ok(exception) => exception.throw(),
        Err(error) => error,
    }
}

/// The source of a file, with a NUL behind it.
fn source(ctx: &Ctx<'_>, path: &str) -> Result<Vec<u8>> {
    let mut source = host(ctx, Operation::ModuleSource, 0, path)?;
    source.push(0);
    Ok(source)
}

fn c_name(ctx: &Ctx<'_>, name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| Exception::throw_message(ctx, "a name has a NUL character"))
}

fn load<'js>(ctx: &Ctx<'js>, name: &str, attributes: &Value<'js>) -> Result<Module> {
    let found = FOUND.take().filter(|found| found.name == name);
    let found = found.ok_or_else(|| Exception::throw_message(ctx, "a module was not resolved"))?;
    check_attributes(ctx, attributes, &found)?;
    let c_name = c_name(ctx, name)?;
    let path = &found.name[..found.path_len];
    match found.format {
        Format::Native => {
            let module = require::native(ctx, name.strip_prefix("node:").unwrap_or(name))?;
            let names: Vec<String> = module.keys().collect::<Result<_>>()?;
            let values =
                names.iter().map(|name| module.get(name.as_str())).collect::<Result<_>>()?;
            synthetic(ctx, &c_name, module.into_value(), names, values)
        }
        Format::Json => {
            let parsed = raw::parse_json(ctx, &c_name, &source(ctx, path)?)?;
            synthetic(ctx, &c_name, parsed, Vec::new(), Vec::new())
        }
        Format::Module => raw::compile_module(ctx, &c_name, &source(ctx, path)?),
        Format::CommonJs => common_js(ctx, &c_name, &found),
        Format::BySyntax => match known_by_syntax(ctx, name, path)? {
            Syntax::Module(module) => Ok(module),
            Syntax::Script(()) => common_js(ctx, &c_name, &found),
        },
    }
}

/// Only `type: "json"` is known, and true of JSON alone.
fn check_attributes(ctx: &Ctx<'_>, attributes: &Value<'_>, found: &Found) -> Result<()> {
    let Some(attributes) = attributes.as_object() else { return Ok(()) };
    for key in attributes.keys::<String>() {
        let key = key?;
        let value: String = attributes.get(&key)?;
        if key != "type" || value != "json" {
            let message = format!("the import attribute {key}: '{value}' is not supported");
            return Err(Exception::throw_type(ctx, &message));
        }
        if found.format != Format::Json {
            let message = format!("'{}' is not of the type 'json'", found.name);
            return Err(Exception::throw_type(ctx, &message));
        }
    }
    Ok(())
}

/// A module of values that are there.
fn synthetic<'js>(
    ctx: &Ctx<'js>,
    name: &CStr,
    default: Value<'js>,
    mut names: Vec<String>,
    mut values: Vec<Value<'js>>,
) -> Result<Module> {
    names.push("default".to_owned());
    values.push(default);
    let saved: Vec<_> = values.into_iter().map(|value| Persistent::save(ctx, value)).collect();
    let provide = Function::new(ctx.clone(), move |ctx: Ctx<'js>| -> Result<Array<'js>> {
        let array = Array::new(ctx.clone())?;
        for (index, value) in saved.iter().enumerate() {
            array.set(index, value.clone().restore(&ctx)?)?;
        }
        Ok(array)
    })?;
    raw::synthetic_module(ctx, name, &names, provide)
}

/// The module that a `CommonJS` one is to those that import it: it runs when it is evaluated.
fn common_js<'js>(ctx: &Ctx<'js>, name: &CStr, found: &Found) -> Result<Module> {
    let made = COMMON_JS.with(|cell| cell.get().cloned()).ok_or(Error::Unknown)?;
    let path = found.name[..found.path_len].to_owned();
    let mut names: Vec<String> =
        made.names_of.restore(ctx)?.call((found.name.as_str(), path.as_str()))?;
    names.retain(|name| !name.contains('\0'));
    let (module, exported) = (found.name.clone(), names.clone());
    let provide = Function::new(ctx.clone(), move |ctx: Ctx<'js>| -> Result<Array<'js>> {
        let exports_of = made.exports_of.clone().restore(&ctx)?;
        let exports: Value = exports_of.call((module.as_str(), path.as_str()))?;
        let array = Array::new(ctx)?;
        for (index, name) in exported.iter().enumerate() {
            let value = match (name.as_str(), exports.as_object()) {
                ("default" | "module.exports", _) => exports.clone(),
                (name, Some(exports)) => exports.get(name)?,
                (_, None) => continue,
            };
            array.set(index, value)?;
        }
        Ok(array)
    })?;
    raw::synthetic_module(ctx, name, &names, provide)
}

/// A file by its syntax. That of a script is kept, compiled, until it is called.
fn known_by_syntax(ctx: &Ctx<'_>, name: &str, path: &str) -> Result<Syntax<()>> {
    if BY_SYNTAX.with_borrow(|known| known.get(name) == Some(&false)) {
        return Ok(Syntax::Script(()));
    }
    let source = source(ctx, path)?;
    let c_name = c_name(ctx, name)?;
    let syntax = by_syntax(ctx, &c_name, &source, || function(ctx, &c_name, &source))?;
    let is_module = matches!(syntax, Syntax::Module(_));
    BY_SYNTAX.with_borrow_mut(|known| known.insert(name.to_owned(), is_module));
    Ok(match syntax {
        Syntax::Module(module) => Syntax::Module(module),
        Syntax::Script(function) => {
            let function = Persistent::save(ctx, function);
            COMPILED.with_borrow_mut(|compiled| compiled.insert(name.to_owned(), function));
            Syntax::Script(())
        }
    })
}

/// Compiles a `CommonJS` module: a script whose value is the function that it is.
fn function<'js>(ctx: &Ctx<'js>, name: &CStr, source: &[u8]) -> Result<Value<'js>> {
    let source = source.strip_suffix(&[0]).unwrap_or(source);
    let source = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source);
    // A first line that only a shell reads.
    let comment: &[u8] = if source.starts_with(b"#!") { b"//" } else { b"" };
    let wrapped = [BEFORE, comment, source, BEHIND].concat();
    let flags = if STRICT.get() { eval_flags::STRICT } else { 0 };
    raw::compile_at(ctx, name, &wrapped, FIRST_LINE, flags)
}

fn find<'js>(ctx: Ctx<'js>, specifier: String, referrer: String) -> Result<Object<'js>> {
    let found = ask(&ctx, &specifier, &referrer, FLAG_REQUIRE)?;
    let object = Object::new(ctx)?;
    object.set("path", &found.name[..found.path_len])?;
    object.set("format", found.format as u32)?;
    object.set("name", found.name)?;
    Ok(object)
}

fn is_module(ctx: Ctx<'_>, name: String, path: String) -> Result<bool> {
    let known = BY_SYNTAX.with_borrow(|known| known.get(&name).copied());
    if let Some(is_module) = known {
        return Ok(is_module);
    }
    refuse_while_loading(&ctx)?;
    let syntax = known_by_syntax(&ctx, &name, &path);
    let syntax = syntax.inspect_err(|_| raw::free_unlinked_modules(&ctx))?;
    Ok(matches!(syntax, Syntax::Module(_)))
}

/// The function that a `CommonJS` module is.
fn take_compiled<'js>(ctx: Ctx<'js>, name: String, path: String) -> Result<Value<'js>> {
    let compiled = COMPILED.with_borrow_mut(|compiled| compiled.remove(&name));
    let script = match compiled {
        Some(script) => script.restore(&ctx)?,
        None => function(&ctx, &*c_name(&ctx, &name)?, &source(&ctx, &path)?)?,
    };
    raw::run(script)
}

/// The source of a file, as a script would read it.
fn source_text(ctx: Ctx<'_>, path: String) -> Result<String> {
    let source = host(&ctx, Operation::ModuleSource, 0, &path)?;
    Ok(String::from_utf8_lossy(&source).into_owned())
}

fn parse_json<'js>(ctx: Ctx<'js>, name: String, path: String) -> Result<Value<'js>> {
    raw::parse_json(&ctx, &*c_name(&ctx, &name)?, &source(&ctx, &path)?)
}

/// The namespace of a module that is required: one that need not wait.
fn evaluate<'js>(ctx: Ctx<'js>, name: String, path: String) -> Result<Value<'js>> {
    refuse_while_loading(&ctx)?;
    let c_name = c_name(&ctx, &name)?;
    let module = match raw::find_module(&ctx, &c_name) {
        Some(module) => module,
        None => raw::compile_module(&ctx, &c_name, &source(&ctx, &path)?)
            .inspect_err(|_| raw::free_unlinked_modules(&ctx))?,
    };
    let promise = module.evaluate(&ctx)?;
    match raw::promise_state(&promise) {
        Some(PromiseState::Fulfilled(_)) => module.namespace(&ctx),
        Some(PromiseState::Rejected(reason)) => {
            state::forget_rejection(&promise);
            Err(ctx.throw(reason))
        }
        Some(PromiseState::Pending) | None => {
            let message =
                format!("cannot require '{name}', which awaits at its top level; import it");
            Err(throw_coded(&ctx, "ERR_REQUIRE_ASYNC_MODULE", &message))
        }
    }
}

/// A native module; undefined for what is the name of none.
fn native<'js>(ctx: Ctx<'js>, specifier: String) -> Result<Value<'js>> {
    match require::native_name(&specifier) {
        Some(name) => require::native(&ctx, name).map(Object::into_value),
        None => Ok(Value::new_undefined(ctx)),
    }
}

/// The file whose code is running.
fn caller(ctx: Ctx<'_>) -> String {
    (0..MAX_FRAMES)
        .filter_map(|level| raw::script_name(&ctx, level))
        .find(|name| !name.starts_with(OWN))
        .unwrap_or_default()
}
