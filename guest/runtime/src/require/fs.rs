//! The `fs` module: the synchronous calls of Node's that the host grants, beneath the session's
//! worktree. The host resolves every path and checks every grant; this file only speaks.

use crate::abi::{self, Operation};
use crate::{raw, text};
use javy::quickjs::function::{Func, Opt};
use javy::quickjs::{
    Array, ArrayBuffer, Ctx, Exception, Function, Object, Result, TypedArray, Value,
};

/// A directory is made with the parents it lacks.
const FLAG_RECURSIVE: u32 = 1;

/// Makes the module object.
pub(super) fn module<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let module = Object::new(ctx.clone())?;
    set(&module, "readFileSync", Function::new(ctx.clone(), read_file)?)?;
    set(&module, "writeFileSync", Function::new(ctx.clone(), write_file)?)?;
    set(&module, "existsSync", Function::new(ctx.clone(), exists)?)?;
    set(&module, "readdirSync", Function::new(ctx.clone(), read_dir)?)?;
    set(&module, "statSync", Function::new(ctx.clone(), stat)?)?;
    set(&module, "mkdirSync", Function::new(ctx.clone(), make_dir)?)?;
    set(&module, "unlinkSync", Function::new(ctx.clone(), unlink)?)?;
    Ok(module)
}

fn set<'js>(module: &Object<'js>, name: &str, function: Function<'js>) -> Result<()> {
    module.set(name, function.with_name(name)?)
}

/// A path argument: a string without NUL, as Node asks.
struct Path(String);

impl<'js> javy::quickjs::FromJs<'js> for Path {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        match raw::string_bytes(&value) {
            Some(bytes) => Ok(Self(text::lossy(&bytes))),
            None => Err(Exception::throw_type(ctx, "The \"path\" argument must be of type string")),
        }
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
    abi::call_host(operation, flags, path.0.as_bytes(), data).map_err(|error| {
        let (code, reason) = error.split_once('\n').unwrap_or(("EIO", &error));
        let syscall = syscall(operation);
        let message = format!("{code}: {reason}, {syscall} '{}'", path.0);
        let made = Exception::from_message(ctx.clone(), &message).and_then(|exception| {
            let object = exception.as_object();
            object.set("code", code)?;
            object.set("syscall", syscall)?;
            object.set("path", path.0.as_str())?;
            Ok(exception)
        });
        match made {
            Ok(exception) => exception.throw(),
            Err(error) => error,
        }
    })
}

fn syscall(operation: Operation) -> &'static str {
    match operation {
        Operation::Require | Operation::ModuleResolve | Operation::ModuleSource => "require",
        Operation::FsRead | Operation::FsWrite => "open",
        Operation::FsExists => "access",
        Operation::FsReadDir => "scandir",
        Operation::FsStat => "stat",
        Operation::FsMakeDir => "mkdir",
        Operation::FsUnlink => "unlink",
    }
}

/// What `readFileSync` gives.
enum Encoding {
    Utf8,
    Bytes,
}

/// Reads the encoding argument: absent means text, `null` means bytes.
fn encoding<'js>(ctx: &Ctx<'js>, options: Option<Value<'js>>) -> Result<Encoding> {
    let Some(options) = options else { return Ok(Encoding::Utf8) };
    let encoding = match options.as_object() {
        Some(object) => object.get("encoding")?,
        None => options,
    };
    if encoding.is_undefined() {
        return Ok(Encoding::Utf8);
    }
    if encoding.is_null() {
        return Ok(Encoding::Bytes);
    }
    let name = raw::string_bytes(&encoding).map(|name| text::lossy(&name).to_ascii_lowercase());
    match name.as_deref() {
        Some("utf8" | "utf-8") => Ok(Encoding::Utf8),
        Some(_) | None => Err(Exception::throw_type(ctx, "The encoding must be 'utf8' or null")),
    }
}

fn read_file<'js>(ctx: Ctx<'js>, path: Path, options: Opt<Value<'js>>) -> Result<Value<'js>> {
    let encoding = encoding(&ctx, options.0)?;
    let bytes = call(&ctx, Operation::FsRead, 0, &path, &[])?;
    match encoding {
        Encoding::Bytes => Ok(TypedArray::new(ctx, bytes)?.into_value()),
        Encoding::Utf8 => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(javy::quickjs::String::from_str(ctx, &text)?.into_value())
        }
    }
}

fn write_file<'js>(ctx: Ctx<'js>, path: Path, data: Value<'js>) -> Result<()> {
    let bytes = if let Some(bytes) = raw::string_bytes(&data) {
        text::lossy(&bytes).into_bytes()
    } else if let Some(array) = data.as_object().and_then(|data| data.as_typed_array::<u8>()) {
        array.as_bytes().unwrap_or_default().to_vec()
    } else if let Some(buffer) = data.into_object().and_then(ArrayBuffer::from_object) {
        buffer.as_bytes().unwrap_or_default().to_vec()
    } else {
        let message = "The \"data\" argument must be a string, a Uint8Array or an ArrayBuffer";
        return Err(Exception::throw_type(&ctx, message));
    };
    call(&ctx, Operation::FsWrite, 0, &path, &bytes).map(drop)
}

fn exists(ctx: Ctx<'_>, path: Value<'_>) -> bool {
    let Some(path) = raw::string_bytes(&path) else { return false };
    drop(ctx);
    let answer = abi::call_host(Operation::FsExists, 0, text::lossy(&path).as_bytes(), &[]);
    answer.is_ok_and(|answer| answer == [1])
}

fn read_dir<'js>(ctx: Ctx<'js>, path: Path) -> Result<Array<'js>> {
    let answer = call(&ctx, Operation::FsReadDir, 0, &path, &[])?;
    let names = Array::new(ctx)?;
    // The host puts a NUL behind each name, which no name can hold.
    for (index, name) in answer.split_inclusive(|byte| *byte == 0).enumerate() {
        let name = name.strip_suffix(&[0]).unwrap_or(name);
        names.set(index, String::from_utf8_lossy(name).into_owned())?;
    }
    Ok(names)
}

fn stat<'js>(ctx: Ctx<'js>, path: Path) -> Result<Object<'js>> {
    let answer = call(&ctx, Operation::FsStat, 0, &path, &[])?;
    // Three little-endian numbers: 1 for a file or 2 for a directory, bytes, milliseconds.
    let number = |index: usize| {
        let field = answer.get(index * 8..index * 8 + 8)?;
        Some(f64::from_le_bytes(field.try_into().ok()?))
    };
    let (Some(kind), Some(size), Some(modified)) = (number(0), number(1), number(2)) else {
        return Err(Exception::throw_message(&ctx, "the host's answer is malformed"));
    };
    let stats = Object::new(ctx.clone())?;
    stats.set("size", size)?;
    stats.set("mtimeMs", modified)?;
    let date: Function = ctx.eval("ms => new Date(ms)")?;
    stats.set("mtime", date.call::<_, Value>((modified,))?)?;
    for (name, yes) in [("isFile", kind == 1.0), ("isDirectory", kind == 2.0)] {
        stats.prop(name, javy::quickjs::object::Property::from(Func::from(move || yes)))?;
    }
    Ok(stats)
}

fn make_dir<'js>(ctx: Ctx<'js>, path: Path, options: Opt<Value<'js>>) -> Result<()> {
    let recursive = match options.0.as_ref().and_then(|options| options.as_object()) {
        Some(options) => options.get::<_, Option<bool>>("recursive")?.unwrap_or(false),
        None => false,
    };
    let flags = if recursive { FLAG_RECURSIVE } else { 0 };
    call(&ctx, Operation::FsMakeDir, flags, &path, &[]).map(drop)
}

fn unlink(ctx: Ctx<'_>, path: Path) -> Result<()> {
    call(&ctx, Operation::FsUnlink, 0, &path, &[]).map(drop)
}
