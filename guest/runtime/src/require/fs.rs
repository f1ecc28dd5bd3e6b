//! The `fs` module: the calls of Node's that the host grants, beneath the session's worktree. The host
//! resolves every path and checks every grant; this file only speaks. `fs.js` makes of the host's
//! functions those that scripts know.

use super::host_error;
use crate::abi::{self, Operation};
use crate::{raw, text};
use javy::quickjs::{Array, Ctx, Exception, Function, Object, Result, TypedArray, Value};

/// The functions, in terms of those that [`module`] gives them.
const SOURCE: &[u8] = concat!(include_str!("fs.js"), "\0").as_bytes();
/// Their file: no stack shows frames of files beneath `/vm/` (see `patches/own-frames.patch`).
const NAME: &std::ffi::CStr = c"/vm/fs.js";

/// A directory is made with the parents it lacks.
const FLAG_RECURSIVE: u32 = 1;
/// A listing has kinds.
const FLAG_KINDS: u32 = 1;

/// Makes the module object.
pub(super) fn module<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("read", Function::new(ctx.clone(), read)?)?;
    native.set("write", Function::new(ctx.clone(), write)?)?;
    native.set("exists", Function::new(ctx.clone(), exists)?)?;
    native.set("readDir", Function::new(ctx.clone(), read_dir)?)?;
    native.set("stat", Function::new(ctx.clone(), stat)?)?;
    native.set("mkdir", Function::new(ctx.clone(), make_dir)?)?;
    native.set("rename", Function::new(ctx.clone(), rename)?)?;
    native.set("realpath", Function::new(ctx.clone(), real_path)?)?;
    let changes = |operation| {
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, path: Path| {
            call(&ctx, operation, 0, &path, &[]).map(drop)
        })
    };
    native.set("unlink", changes(Operation::FsUnlink)?)?;
    native.set("rmdir", changes(Operation::FsRemoveDir)?)?;
    let make: Function = raw::run(raw::compile(ctx, NAME, SOURCE, 0)?)?.get()?;
    make.call((native,))
}

/// A path argument: a string without NUL, as Node asks.
struct Path(String);

impl<'js> javy::quickjs::FromJs<'js> for Path {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        text::of_script(ctx, &value, "The \"path\" argument must be of type string").map(Self)
    }
}

/// Calls the host and throws its errors as Node does: `code`, `syscall` and `path` beside the text.
fn call<'js>(
    ctx: &Ctx<'js>,
    operation: Operation,
    flags: u32,
    path: &Path,
    data: &[u8],
) -> Result<Vec<u8>> {
    abi::call_host(operation, flags, path.0.as_bytes(), data)
        .map_err(|error| host_error(ctx, &error, syscall(operation), &path.0))
}

fn syscall(operation: Operation) -> &'static str {
    match operation {
        Operation::FsRead | Operation::FsWrite | Operation::FsAppend => "open",
        Operation::FsExists => "access",
        Operation::FsReadDir => "scandir",
        Operation::FsStat => "stat",
        Operation::FsMakeDir => "mkdir",
        Operation::FsUnlink => "unlink",
        Operation::FsRename => "rename",
        Operation::FsRemoveDir => "rmdir",
        Operation::FsRealPath => "realpath",
        // None of the file system's.
        _ => "require",
    }
}

fn read<'js>(ctx: Ctx<'js>, path: Path, as_text: bool) -> Result<Value<'js>> {
    let bytes = call(&ctx, Operation::FsRead, 0, &path, &[])?;
    if !as_text {
        return Ok(TypedArray::new(ctx, bytes)?.into_value());
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(javy::quickjs::String::from_str(ctx, &text)?.into_value())
}

/// Writes a string, or the bytes of a `Uint8Array`.
fn write<'js>(ctx: Ctx<'js>, path: Path, data: Value<'js>, appends: bool) -> Result<()> {
    let bytes = match raw::string_bytes(&data) {
        Some(bytes) => text::lossy(&bytes).into_bytes(),
        None => TypedArray::<u8>::from_value(data)?.as_bytes().unwrap_or_default().to_vec(),
    };
    let operation = if appends { Operation::FsAppend } else { Operation::FsWrite };
    call(&ctx, operation, 0, &path, &bytes).map(drop)
}

fn exists(path: Path) -> bool {
    let answer = abi::call_host(Operation::FsExists, 0, path.0.as_bytes(), &[]);
    answer.is_ok_and(|answer| answer == [1])
}

/// The entries of a folder, each its kind and its name.
fn read_dir<'js>(ctx: Ctx<'js>, path: Path) -> Result<Array<'js>> {
    let answer = call(&ctx, Operation::FsReadDir, FLAG_KINDS, &path, &[])?;
    let entries = Array::new(ctx.clone())?;
    // The host puts a kind before each name and a NUL behind it, which no name can hold.
    let mut rest = answer.as_slice();
    while let Some((kind, named)) = rest.split_first() {
        let end = named.iter().position(|byte| *byte == 0).unwrap_or(named.len());
        let entry = Array::new(ctx.clone())?;
        entry.set(0, *kind)?;
        entry.set(1, String::from_utf8_lossy(&named[..end]).into_owned())?;
        entries.set(entries.len(), entry)?;
        rest = named.get(end + 1..).unwrap_or_default();
    }
    Ok(entries)
}

/// Three numbers: the kind, the bytes, the milliseconds of the last change.
fn stat<'js>(ctx: Ctx<'js>, path: Path, flags: u32) -> Result<Array<'js>> {
    let answer = call(&ctx, Operation::FsStat, flags, &path, &[])?;
    let numbers = Array::new(ctx)?;
    for (index, field) in answer.as_chunks::<8>().0.iter().enumerate() {
        numbers.set(index, f64::from_le_bytes(*field))?;
    }
    Ok(numbers)
}

fn make_dir(ctx: Ctx<'_>, path: Path, recursive: bool) -> Result<()> {
    let flags = if recursive { FLAG_RECURSIVE } else { 0 };
    call(&ctx, Operation::FsMakeDir, flags, &path, &[]).map(drop)
}

fn rename(ctx: Ctx<'_>, from: Path, to: Path) -> Result<()> {
    let named = [&from, &to].into_iter().find(|path| path.0.contains('\0'));
    if named.is_some() {
        return Err(Exception::throw_message(&ctx, "EINVAL: the path has a NUL character, rename"));
    }
    let both = Path(format!("{}\0{}", from.0, to.0));
    call(&ctx, Operation::FsRename, 0, &both, &[]).map(drop)
}

fn real_path<'js>(ctx: Ctx<'js>, path: Path) -> Result<Value<'js>> {
    let answer = call(&ctx, Operation::FsRealPath, 0, &path, &[])?;
    Ok(javy::quickjs::String::from_str(ctx, &String::from_utf8_lossy(&answer))?.into_value())
}
