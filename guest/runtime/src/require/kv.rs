//! The `kv` module: keys and values of the session's workspace, which the host keeps. `kv.js` makes of
//! the host's functions those that scripts know.
//!
//! Invariant: a value comes back as what it was: the first of its bytes says whether the others are
//! JSON or bytes of the script's.

use super::host_error;
use crate::abi::{self, Operation};
use crate::{raw, text};
use javy::quickjs::{Array, Ctx, Exception, FromJs, Function, Object, Result, TypedArray, Value};

/// The functions, in terms of those that [`module`] gives them.
const SOURCE: &[u8] = concat!(include_str!("kv.js"), "\0").as_bytes();
/// Their file: no stack shows frames of files beneath `/vm/` (see `patches/own-frames.patch`).
const NAME: &std::ffi::CStr = c"/vm/kv.js";

/// The value is JSON.
const JSON: u8 = 0;
/// The value is bytes.
const BYTES: u8 = 1;

/// Makes the module object.
pub(super) fn module<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("get", Function::new(ctx.clone(), get)?)?;
    native.set("put", Function::new(ctx.clone(), put)?)?;
    native.set("delete", Function::new(ctx.clone(), delete)?)?;
    native.set("list", Function::new(ctx.clone(), list)?)?;
    let make: Function = raw::run(raw::compile(ctx, NAME, SOURCE, 0)?)?.get()?;
    make.call((native,))
}

/// A key argument: a string that is one in UTF-8 too, so that no two of them become the same key.
struct Key(String);

impl<'js> FromJs<'js> for Key {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        let key = raw::string_bytes(&value).and_then(|bytes| String::from_utf8(bytes).ok());
        let wrong = "A key must be a string without lone surrogates";
        key.map(Self).ok_or_else(|| Exception::throw_type(ctx, wrong))
    }
}

fn get<'js>(ctx: Ctx<'js>, key: Key) -> Result<Option<Object<'js>>> {
    let answer = call(&ctx, "get", Operation::KvGet, 0, &key, &[])?;
    if answer.is_empty() { Ok(None) } else { found(&ctx, &answer).map(Some) }
}

/// Writes JSON, or the bytes of a `Uint8Array`; gives whether the version was the one expected.
fn put<'js>(ctx: Ctx<'js>, key: Key, data: Value<'js>, flags: u32, version: f64) -> Result<bool> {
    let (kind, bytes) = match raw::string_bytes(&data) {
        Some(bytes) => (JSON, text::lossy(&bytes).into_bytes()),
        None => {
            (BYTES, TypedArray::<u8>::from_value(data)?.as_bytes().unwrap_or_default().to_vec())
        }
    };
    // A whole number of at most 53 bits: `kv.js` checks it.
    let version = (version as i64).to_le_bytes();
    let data = [&version[..], &[kind], &bytes].concat();
    Ok(call(&ctx, "put", Operation::KvPut, flags, &key, &data)? == [1])
}

fn delete(ctx: Ctx<'_>, key: Key) -> Result<bool> {
    Ok(call(&ctx, "delete", Operation::KvDelete, 0, &key, &[])? == [1])
}

/// The keys that begin with a prefix, at most so many, after one of them if it is not empty.
fn list<'js>(ctx: Ctx<'js>, prefix: Key, limit: f64, after: Key) -> Result<Array<'js>> {
    // What no list may have is refused by the host.
    let limit = (limit as u32).to_le_bytes();
    let data = [&limit[..], after.0.as_bytes()].concat();
    let answer = call(&ctx, "list", Operation::KvList, 0, &prefix, &data)?;
    let listed = Array::new(ctx.clone())?;
    let mut rest = answer.as_slice();
    while !rest.is_empty() {
        let row = split_row(rest).ok_or_else(|| malformed(&ctx))?;
        let (key, answer, after) = row;
        let entry = found(&ctx, answer)?;
        entry.set("key", &*String::from_utf8_lossy(key))?;
        listed.set(listed.len(), entry)?;
        rest = after;
    }
    Ok(listed)
}

/// The key and the rest of the first row of a list, and what is behind it.
fn split_row(rows: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key_len, rows) = rows.split_first_chunk::<4>()?;
    let (answer_len, rows) = rows.split_first_chunk::<4>()?;
    let (key, rows) = rows.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
    let (answer, rows) = rows.split_at_checked(u32::from_le_bytes(*answer_len) as usize)?;
    Some((key, answer, rows))
}

/// A version and a value, as the host gives them.
fn found<'js>(ctx: &Ctx<'js>, answer: &[u8]) -> Result<Object<'js>> {
    let (version, value) = answer.split_first_chunk::<8>().ok_or_else(|| malformed(ctx))?;
    let (kind, bytes) = value.split_first().ok_or_else(|| malformed(ctx))?;
    let object = Object::new(ctx.clone())?;
    if *kind == BYTES {
        object.set("data", TypedArray::new(ctx.clone(), bytes)?)?;
    } else {
        object.set("data", &*String::from_utf8_lossy(bytes))?;
    }
    object.set("version", i64::from_le_bytes(*version) as f64)?;
    Ok(object)
}

fn malformed(ctx: &Ctx<'_>) -> javy::quickjs::Error {
    Exception::throw_message(ctx, "the host's answer is malformed")
}

/// Calls the host; its errors are thrown.
fn call(
    ctx: &Ctx<'_>,
    name: &str,
    operation: Operation,
    flags: u32,
    key: &Key,
    data: &[u8],
) -> Result<Vec<u8>> {
    abi::call_host(operation, flags, key.0.as_bytes(), data)
        .map_err(|error| host_error(ctx, &error, name, &key.0))
}
