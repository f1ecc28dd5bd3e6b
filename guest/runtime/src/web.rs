//! What scripts know of the web's platform and of Node's modules, beyond the language: URLs, events,
//! clones, random numbers, buffers. None of it reaches anything that a script without it does not.
//!
//! Each part is a script of its own, run when something of it is first touched, so that sessions which
//! use none of it are no larger. `web/lazy.js` has the globals; packages come from `js/`.
//!
//! Invariant: what these functions hand to scripts is made anew in each call; they keep nothing.

mod net;
mod url;

use crate::inspect::{Inspector, class_name};
use crate::raw::eval_flags::STRICT;
use crate::text::Text;
use crate::{abi, console, format, raw, state};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use javy::quickjs::{
    Array, Ctx, Exception, Function, Object, Persistent, Result, TypedArray, Value,
};
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384, Sha512};
use std::cell::OnceCell;
use std::ffi::CStr;

/// Modules of Node's that every session has.
pub(crate) const MODULES: [&str; 7] =
    ["assert", ASSERT_STRICT, "buffer", "events", "path", "url", "util"];
/// A part of `assert` under a name of its own.
const ASSERT_STRICT: &str = "assert/strict";

/// A part: its name, its file, and its script, which is strict, with a NUL behind it. No stack shows frames of files
/// beneath `/vm/` (see `patches/own-frames.patch`).
struct Part(&'static str, &'static CStr, &'static str);

/// A part that is a script of ours: a function of the natives and of what gives other parts.
macro_rules! own {
    ($name:literal, $file:literal, $path:literal) => {
        Part($name, $file, concat!(include_str!($path), "\0"))
    };
}

/// A part that is a package, which is `CommonJS`.
macro_rules! package {
    ($name:literal, $file:literal, $path:literal) => {
        Part(
            $name,
            $file,
            concat!(
                "(() => { const module = { exports: {} }, { exports } = module;\n",
                include_str!($path),
                "\nreturn module.exports })\0"
            ),
        )
    };
}

const PARTS: [Part; 19] = [
    own!("alike", c"/vm/alike.js", "web/alike.js"),
    own!("assert", c"/vm/assert.js", "web/assert.js"),
    own!("blob", c"/vm/blob.js", "web/blob.js"),
    own!("body", c"/vm/body.js", "web/body.js"),
    package!("buffer", c"/vm/buffer.js", "bundled/buffer.js"),
    own!("clone", c"/vm/clone.js", "web/clone.js"),
    own!("crypto", c"/vm/crypto.js", "web/crypto.js"),
    own!("encoding", c"/vm/encoding.js", "web/encoding.js"),
    package!("events", c"/vm/events.js", "bundled/events.js"),
    own!("exceptions", c"/vm/exceptions.js", "web/exceptions.js"),
    own!("fetch", c"/vm/fetch.js", "web/fetch.js"),
    own!("form", c"/vm/form.js", "web/form.js"),
    own!("headers", c"/vm/headers.js", "web/headers.js"),
    package!("path", c"/vm/path.js", "bundled/path.js"),
    own!("performance", c"/vm/performance.js", "web/performance.js"),
    package!("streams", c"/vm/streams.js", "bundled/streams.js"),
    own!("targets", c"/vm/targets.js", "web/targets.js"),
    own!("url", c"/vm/url.js", "web/url.js"),
    own!("util", c"/vm/util.js", "web/util.js"),
];

const LAZY: &[u8] = concat!(include_str!("web/lazy.js"), "\0").as_bytes();
const CONSOLE: &[u8] = concat!(include_str!("web/console.js"), "\0").as_bytes();

/// Random bytes that are drawn at a time: as many as the host gives, and the standard allows.
const MAX_RANDOM_BYTES: usize = 65_536;
/// Levels of a value that are shown at most: each takes native stack.
const MAX_SHOWN_DEPTH: f64 = 32.0;

/// Base64 as `atob` takes it: without padding, whatever the last bits are.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

thread_local! {
    /// Gives a part by its name.
    static USE: OnceCell<Persistent<Function<'static>>> = const { OnceCell::new() };
}

/// Puts the globals where they are made when they are touched, and completes `console`.
pub(crate) fn install(ctx: &Ctx<'_>) -> Result<()> {
    let native = natives(ctx)?;
    let lazy: Function = raw::run(raw::compile(ctx, c"/vm/lazy.js", LAZY, STRICT)?)?.get()?;
    let used: Function = lazy.call((native.clone(),))?;
    let used = Persistent::save(ctx, used);
    USE.with(|cell| cell.set(used)).ok().expect("the guest is initialised once");
    let make: Function = raw::run(raw::compile(ctx, c"/vm/console.js", CONSOLE, STRICT)?)?.get()?;
    let methods: Object = make.call((native,))?;
    let console: Object = ctx.globals().get("console")?;
    for name in methods.keys::<String>() {
        let name = name?;
        console.set(&name, methods.get::<_, Value>(&name)?)?;
    }
    Ok(())
}

/// One of [`MODULES`].
pub(crate) fn module<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Object<'js>> {
    if name == ASSERT_STRICT {
        return module(ctx, "assert")?.get("strict");
    }
    let used = USE.with(|cell| cell.get().cloned());
    used.expect("the guest was initialised").restore(ctx)?.call((name,))
}

fn natives<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("load", Function::new(ctx.clone(), load)?)?;
    native.set("now", Function::new(ctx.clone(), || abi::monotonic_ms() as f64)?)?;
    native.set("random", Function::new(ctx.clone(), random)?)?;
    native.set("digest", Function::new(ctx.clone(), digest)?)?;
    native.set("inspect", Function::new(ctx.clone(), inspect)?)?;
    native.set("format", Function::new(ctx.clone(), format_values)?)?;
    native.set("indent", Function::new(ctx.clone(), console::indent)?)?;
    native.set("classOf", Function::new(ctx.clone(), |value: Value<'js>| class_name(&value))?)?;
    let base64 = Object::new(ctx.clone())?;
    base64.set("encode", Function::new(ctx.clone(), encode_base64)?)?;
    base64.set("decode", Function::new(ctx.clone(), |text: Text| decode_base64(&text.0))?)?;
    native.set("base64", base64)?;
    native.set("net", net::natives(ctx)?)?;
    native.set("url", url::natives(ctx)?)?;
    Ok(native)
}

/// The function that a part's script is.
fn load<'js>(ctx: Ctx<'js>, name: String) -> Result<Value<'js>> {
    let part = PARTS.iter().find(|Part(known, ..)| *known == name);
    let Some(Part(_, file, source)) = part else {
        return Err(Exception::throw_message(&ctx, "there is no such part"));
    };
    raw::run(raw::compile(&ctx, file, source.as_bytes(), STRICT)?)
}

fn random(ctx: Ctx<'_>, len: usize) -> Result<TypedArray<'_, u8>> {
    // A script may have changed what the length was read with after it was checked.
    if len > MAX_RANDOM_BYTES {
        return Err(Exception::throw_range(&ctx, "too many random bytes at a time"));
    }
    let mut bytes = vec![0; len];
    abi::fill_random(&mut bytes);
    TypedArray::new(ctx, bytes)
}

fn digest<'js>(
    ctx: Ctx<'js>,
    name: String,
    data: TypedArray<'js, u8>,
) -> Result<TypedArray<'js, u8>> {
    let data = data.as_bytes().unwrap_or_default();
    let digest = match name.as_str() {
        "SHA-1" => Sha1::digest(data).to_vec(),
        "SHA-256" => Sha256::digest(data).to_vec(),
        "SHA-384" => Sha384::digest(data).to_vec(),
        _ => Sha512::digest(data).to_vec(),
    };
    TypedArray::new(ctx, digest)
}

/// Shows a value to so many levels; a depth that is no number is none that is shown.
fn inspect<'js>(ctx: Ctx<'js>, value: Value<'js>, depth: f64) -> String {
    let depth = depth.clamp(0.0, MAX_SHOWN_DEPTH) as usize;
    state::with(|state| Inspector::new(&ctx, &state.primordials).with_depth(depth).value(&value))
}

fn format_values<'js>(ctx: Ctx<'js>, values: Array<'js>) -> Result<String> {
    let values = values.iter::<Value>().collect::<Result<Vec<_>>>()?;
    Ok(format::console_text(&ctx, &values))
}

/// Base64 of a string whose characters are bytes; none when one is not.
fn encode_base64(text: Text) -> Option<String> {
    let bytes: Option<Vec<u8>> = text.0.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    Some(base64::engine::general_purpose::STANDARD.encode(bytes?))
}

/// The bytes of base64 as characters, as the forgiving decoder of the Infra standard gives them.
fn decode_base64(text: &str) -> Option<String> {
    let is_space = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ');
    let mut bytes: Vec<u8> = text.bytes().filter(|byte| !is_space(byte)).collect();
    if bytes.len() % 4 == 0 {
        for _ in 0..2 {
            if bytes.last() == Some(&b'=') {
                bytes.pop();
            }
        }
    }
    let decoded = FORGIVING.decode(&bytes).ok()?;
    Some(decoded.into_iter().map(char::from).collect())
}
