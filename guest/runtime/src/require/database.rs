//! The `database` module: SQLite in the host. `database.js` makes of the host's functions those that
//! scripts know.
//!
//! What the host has open ends with the execution. The pages of `:memory:` are kept here, in the
//! session's heap, and given to the host when a later execution asks for them:
//!
//! ```text
//!  open ──▶ statements ──▶ keep: the pages that changed ──▶ (the execution ends)
//!             ▲                                                    │
//!             └──── restore: all pages, when the host has none ◀───┘
//! ```
//!
//! Invariant: between executions the pages here are what the last one left.

use super::host_error;
use crate::abi::{self, Operation};
use crate::text::Text;
use crate::{raw, reserve, text};
use javy::quickjs::object::Property;
use javy::quickjs::{
    Array, Atom, BigInt, Ctx, Exception, Function, IntoJs, Object, Result, TypedArray, Value,
};
use std::cell::RefCell;

/// The functions, in terms of those that [`module`] gives them.
const SOURCE: &[u8] = concat!(include_str!("database.js"), "\0").as_bytes();
/// Their file: no stack shows frames of files beneath `/vm/` (see `patches/own-frames.patch`).
const NAME: &std::ffi::CStr = c"/vm/database.js";

/// The first part of what the heap has.
const FLAG_FIRST: u32 = 1;
/// The host lacks what the heap has.
const NO_HEAP: &str = "ENODATA\n";
/// Bytes of a page, of the heap's and of the database's.
const PAGE_BYTES: usize = 4096;
/// Pages that are allocated together.
const CHUNK_PAGES: usize = 64;
/// Pages that are given to the host in one call.
const PART_PAGES: usize = 256;
/// The largest integer that a number tells from its neighbours.
const MAX_SAFE: i64 = (1 << 53) - 1;

/// A page, where a page of the heap is: one that changes makes no other one change.
#[repr(align(4096))]
#[derive(Clone)]
struct Page([u8; PAGE_BYTES]);

/// The database in memory, as it is kept between executions.
struct Kept {
    chunks: Vec<Vec<Page>>,
    bytes: usize,
    /// Whether the host's differs.
    stale: bool,
}

thread_local! {
    static KEPT: RefCell<Kept> =
        const { RefCell::new(Kept { chunks: Vec::new(), bytes: 0, stale: false }) };
}

/// Makes the module object.
pub(super) fn module<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("open", Function::new(ctx.clone(), open)?)?;
    native.set("close", Function::new(ctx.clone(), close)?)?;
    native.set("exec", Function::new(ctx.clone(), exec)?)?;
    native.set("query", Function::new(ctx.clone(), query)?)?;
    let make: Function = raw::run(raw::compile(ctx, NAME, SOURCE, 0)?)?.get()?;
    make.call((native,))
}

fn open(ctx: Ctx<'_>, dsn: Text) -> Result<()> {
    begin_anew(&ctx, Operation::DbOpen, "open", &dsn.0)
}

fn close(ctx: Ctx<'_>, dsn: Text) -> Result<()> {
    begin_anew(&ctx, Operation::DbClose, "close", &dsn.0)
}

/// Forgets the database in memory, and has the host do so.
fn begin_anew(ctx: &Ctx<'_>, operation: Operation, syscall: &str, dsn: &str) -> Result<()> {
    forget();
    let answer = abi::call_host(operation, 0, dsn.as_bytes(), &[]);
    answer.map(drop).map_err(|error| host_error(ctx, &error, syscall, dsn))
}

fn forget() {
    KEPT.set(Kept { chunks: Vec::new(), bytes: 0, stale: false });
}

/// Runs statements; gives how much they changed.
fn exec<'js>(
    ctx: Ctx<'js>,
    dsn: Text,
    sql: Text,
    names: Option<Vec<Text>>,
    values: Vec<Value<'js>>,
) -> Result<Object<'js>> {
    let answer = call(&ctx, Operation::DbExec, &dsn.0, &asked(&sql.0, names, values)?)?;
    let mut reader = Reader { ctx: &ctx, rest: &answer };
    let changes = i64::from_le_bytes(reader.take()?);
    let row = i64::from_le_bytes(reader.take()?);
    let told = Object::new(ctx.clone())?;
    told.set("changes", integer(&ctx, changes)?)?;
    told.set("lastInsertRowid", integer(&ctx, row)?)?;
    Ok(told)
}

/// Runs a statement; gives its rows, as objects.
fn query<'js>(
    ctx: Ctx<'js>,
    dsn: Text,
    sql: Text,
    names: Option<Vec<Text>>,
    values: Vec<Value<'js>>,
) -> Result<Array<'js>> {
    let answer = call(&ctx, Operation::DbQuery, &dsn.0, &asked(&sql.0, names, values)?)?;
    let mut reader = Reader { ctx: &ctx, rest: &answer };
    let count = reader.len()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(Atom::from_str(ctx.clone(), &String::from_utf8_lossy(reader.bytes()?))?);
    }
    let rows = Array::new(ctx.clone())?;
    let mut index = 0;
    while !columns.is_empty() && !reader.rest.is_empty() {
        let row = Object::new(ctx.clone())?;
        for column in &columns {
            let value = reader.value()?;
            // Defined, not set: no name is special, and no setter of the script's is called.
            row.prop(column.clone(), Property::from(value).writable().enumerable().configurable())?;
        }
        rows.set(index, row)?;
        index += 1;
    }
    Ok(rows)
}

/// A statement as the host takes it: see `host/src/database/wire.rs`.
fn asked(sql: &str, names: Option<Vec<Text>>, values: Vec<Value<'_>>) -> Result<Vec<u8>> {
    let mut asked = number(KEPT.with_borrow(|kept| kept.bytes)).to_vec();
    put_bytes(sql.as_bytes(), &mut asked);
    asked.extend_from_slice(&number(values.len()));
    asked.push(u8::from(names.is_some()));
    let names = names.unwrap_or_default();
    for (index, value) in values.into_iter().enumerate() {
        if let Some(name) = names.get(index) {
            put_bytes(name.0.as_bytes(), &mut asked);
        }
        put_value(value, &mut asked)?;
    }
    Ok(asked)
}

fn put_value(value: Value<'_>, asked: &mut Vec<u8>) -> Result<()> {
    if value.is_null() {
        asked.push(0);
    } else if let Some(number) = value.as_number() {
        put_number(number, asked);
    } else if let Some(bytes) = raw::string_bytes(&value) {
        asked.push(3);
        put_bytes(text::lossy(&bytes).as_bytes(), asked);
    } else if value.is_big_int() {
        asked.push(1);
        asked.extend_from_slice(&value.get::<BigInt>()?.to_i64()?.to_le_bytes());
    } else {
        asked.push(4);
        put_bytes(TypedArray::<u8>::from_value(value)?.as_bytes().unwrap_or_default(), asked);
    }
    Ok(())
}

/// An integer, if it is one that a number tells from its neighbours.
#[expect(clippy::cast_possible_truncation, reason = "checked before: it has no fraction and fits")]
#[expect(clippy::cast_precision_loss, reason = "as it says")]
fn put_number(number: f64, asked: &mut Vec<u8>) {
    if number.fract() == 0.0 && number.abs() <= MAX_SAFE as f64 {
        asked.push(1);
        asked.extend_from_slice(&(number as i64).to_le_bytes());
    } else {
        asked.push(2);
        asked.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_bytes(bytes: &[u8], asked: &mut Vec<u8>) {
    asked.extend_from_slice(&number(bytes.len()));
    asked.extend_from_slice(bytes);
}

/// A length in a memory of 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "usize has 32 bits here")]
fn number(number: usize) -> [u8; 4] {
    (number as u32).to_le_bytes()
}

/// An integer as JavaScript has it: a bigint where a number would be another one.
fn integer<'js>(ctx: &Ctx<'js>, integer: i64) -> Result<Value<'js>> {
    if let Ok(small) = i32::try_from(integer) {
        return Ok(Value::new_int(ctx.clone(), small));
    }
    if (-MAX_SAFE..=MAX_SAFE).contains(&integer) {
        #[expect(clippy::cast_precision_loss, reason = "checked above")]
        return Ok(Value::new_float(ctx.clone(), integer as f64));
    }
    BigInt::from_i64(ctx.clone(), integer)?.into_js(ctx)
}

/// Calls the host, after giving it what the heap has of `:memory:` if it needs that; gives the answer
/// behind its first byte.
fn call(ctx: &Ctx<'_>, operation: Operation, dsn: &str, asked: &[u8]) -> Result<Vec<u8>> {
    let syscall = if matches!(operation, Operation::DbExec) { "exec" } else { "query" };
    let ask = || abi::call_host(operation, 0, dsn.as_bytes(), asked);
    let mut answer = ask();
    if answer.as_ref().is_err_and(|error| error.starts_with(NO_HEAP)) {
        answer = restore(dsn).and_then(|()| ask());
    }
    match answer {
        Ok(mut answer) if !answer.is_empty() => {
            if answer.remove(0) != 0 {
                KEPT.with_borrow_mut(|kept| kept.stale = true);
            }
            Ok(answer)
        }
        Ok(_) => Err(Exception::throw_message(ctx, "the host's answer is malformed")),
        Err(error) => {
            // A code with this behind it: the statement changed something before it failed.
            let changed = error.replacen("\t\n", "\n", 1);
            if changed.len() != error.len() {
                KEPT.with_borrow_mut(|kept| kept.stale = true);
            }
            Err(host_error(ctx, &changed, syscall, dsn))
        }
    }
}

/// Gives the host all pages that the heap has.
fn restore(dsn: &str) -> std::result::Result<(), String> {
    KEPT.with_borrow(|kept| {
        let mut part = Vec::new();
        let mut left = kept.bytes;
        let mut flags = FLAG_FIRST;
        let mut pages = kept.chunks.iter().flatten().peekable();
        while let Some(page) = pages.next() {
            let len = left.min(PAGE_BYTES);
            if part.is_empty() && part.try_reserve_exact(PART_PAGES * PAGE_BYTES).is_err() {
                return Err("ENOMEM\nnot enough memory to open the database".to_owned());
            }
            part.extend_from_slice(&page.0[..len]);
            left -= len;
            if part.len() == PART_PAGES * PAGE_BYTES || pages.peek().is_none() {
                abi::call_host(Operation::DbRestore, flags, dsn.as_bytes(), &part)?;
                flags = 0;
                part.clear();
            }
        }
        Ok(())
    })
}

/// Takes from the host what the execution changed in `:memory:`. A session whose memory has no room for
/// it cannot go on: the guest traps, and the host goes back to what was before.
pub(crate) fn keep() {
    if !KEPT.with_borrow(|kept| kept.stale) {
        return;
    }
    let lent = reserve::lent();
    let kept = abi::call_host(Operation::DbKeep, 0, b":memory:", &[])
        .ok()
        .and_then(|told| KEPT.with_borrow_mut(|kept| kept.apply(&told)));
    // The arena is no place for what stays.
    if kept.is_none() || reserve::lent() > lent {
        core::arch::wasm32::unreachable()
    }
}

impl Kept {
    /// Applies what the host told: the length, then pages behind their numbers. `None` when there is no
    /// room, or it makes no sense.
    fn apply(&mut self, told: &[u8]) -> Option<()> {
        let (bytes, mut rest) = told.split_first_chunk::<4>()?;
        let bytes = u32::from_le_bytes(*bytes) as usize;
        self.resize(bytes.div_ceil(PAGE_BYTES))?;
        self.bytes = bytes;
        while let Some((index, behind)) = rest.split_first_chunk::<4>() {
            let index = u32::from_le_bytes(*index) as usize;
            let len = bytes.checked_sub(index.checked_mul(PAGE_BYTES)?)?.min(PAGE_BYTES);
            let (content, behind) = behind.split_at_checked(len)?;
            let page = self.chunks.get_mut(index / CHUNK_PAGES)?.get_mut(index % CHUNK_PAGES)?;
            page.0[..len].copy_from_slice(content);
            rest = behind;
        }
        self.stale = false;
        Some(())
    }

    fn resize(&mut self, pages: usize) -> Option<()> {
        let chunks = pages.div_ceil(CHUNK_PAGES);
        self.chunks.truncate(chunks);
        for index in 0..chunks {
            let wanted = (pages - index * CHUNK_PAGES).min(CHUNK_PAGES);
            if index == self.chunks.len() {
                self.chunks.push(Vec::new());
            }
            let chunk = &mut self.chunks[index];
            chunk.try_reserve_exact(wanted.saturating_sub(chunk.len())).ok()?;
            chunk.resize(wanted, Page([0; PAGE_BYTES]));
        }
        Some(())
    }
}

/// An answer that is being read.
struct Reader<'a, 'js> {
    ctx: &'a Ctx<'js>,
    rest: &'a [u8],
}

impl<'a, 'js> Reader<'a, 'js> {
    fn malformed(&self) -> javy::quickjs::Error {
        Exception::throw_message(self.ctx, "the host's answer is malformed")
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(*taken)
    }

    fn len(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.take()?) as usize)
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.len()?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }

    fn value(&mut self) -> Result<Value<'js>> {
        let ctx = self.ctx.clone();
        match self.take::<1>()?[0] {
            0 => Ok(Value::new_null(ctx)),
            1 => integer(&ctx, i64::from_le_bytes(self.take()?)),
            2 => Ok(Value::new_float(ctx, f64::from_le_bytes(self.take()?))),
            3 => {
                let text = String::from_utf8_lossy(self.bytes()?);
                Ok(javy::quickjs::String::from_str(ctx, &text)?.into_value())
            }
            4 => Ok(TypedArray::new_copy(ctx, self.bytes()?)?.into_value()),
            _ => Err(self.malformed()),
        }
    }
}
