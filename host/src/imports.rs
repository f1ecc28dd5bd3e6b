//! The host functions that the guest imports: WASI preview 1, granting nothing, and our own three.
//!
//! Invariant: every pointer, length, number and text that comes through here is checked before it
//! is used; a guest that sends nonsense is stopped with a [`Stop`], never believed.

mod files;
mod output;

pub(crate) use files::{Access, Files};
pub(crate) use output::{CurrentRecorder, OutputSink};

use crate::recorder::{
    MAX_EXCEPTION_BYTES, MAX_JSON_BYTES, MAX_PREVIEW_BYTES, OutputLimit, cut_short, parse_json,
};
use crate::runtime::State;
use vm_guest::abi::{EventKind, HOST_MODULE, Level, Operation, UnknownNumber, ValueType};
use vm_storage::{ConsoleLevel, EventPayload, ValuePayload};
use wasmtime::{Caller, Linker};

/// Why a host function ended the execution that called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// The recorder would not take another event.
    #[error(transparent)]
    Output(#[from] OutputLimit),
    /// The guest named memory that it does not have.
    #[error("the guest named memory outside its bounds")]
    OutOfBounds,
    /// The guest gave a text that is not UTF-8.
    #[error("the guest gave a text that is not UTF-8")]
    NotUtf8,
    /// The guest gave a number that means nothing.
    #[error(transparent)]
    UnknownNumber(#[from] UnknownNumber),
    /// The guest asked for an answer of another length than it was told.
    #[error("the guest took an answer of the wrong length")]
    WrongLength,
    /// The guest called while no execution was running.
    #[error("the guest called while no execution was running")]
    NotRunning,
}

/// Adds WASI and our functions, by the names that the guest imports them under.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p1::add_to_linker_async(linker, State::wasi)?;
    linker.func_wrap(HOST_MODULE, "emit", emit)?;
    linker.func_wrap_async(HOST_MODULE, "call", |caller, args| Box::new(call(caller, args)))?;
    linker.func_wrap(HOST_MODULE, "take", take)?;
    Ok(())
}

fn emit(
    mut caller: Caller<'_, State>,
    kind: u32,
    tag: u32,
    a: u32,
    a_len: u32,
    b: u32,
    b_len: u32,
) -> wasmtime::Result<()> {
    let mut emit = || -> Result<(), Stop> {
        let kind = EventKind::try_from(kind)?;
        let recorder = caller.data().recorder().ok_or(Stop::NotRunning)?;
        // No more is copied than is kept: a script chooses how much there is.
        let (first, second) = match kind {
            EventKind::Console => {
                recorder.lock().check_room(u64::from(a_len))?;
                (text(&mut caller, a, a_len)?, String::new())
            }
            EventKind::Value => {
                let second = if b_len as usize > MAX_JSON_BYTES { 0 } else { b_len };
                (start(&mut caller, a, a_len, MAX_PREVIEW_BYTES)?, text(&mut caller, b, second)?)
            }
            EventKind::Exception => (
                start(&mut caller, a, a_len, MAX_EXCEPTION_BYTES)?,
                start(&mut caller, b, b_len, MAX_EXCEPTION_BYTES)?,
            ),
        };
        let payload = payload(kind, tag, first, second)?;
        Ok(recorder.lock().push(payload)?)
    };
    emit().map_err(wasmtime::Error::new)
}

fn payload(kind: EventKind, tag: u32, first: String, second: String) -> Result<EventPayload, Stop> {
    Ok(match kind {
        EventKind::Console => {
            EventPayload::Console { level: console_level(Level::try_from(tag)?), text: first }
        }
        EventKind::Value => EventPayload::Value(ValuePayload {
            value_type: value_type(ValueType::try_from(tag)?),
            preview: first,
            json: parse_json(&second),
        }),
        EventKind::Exception => EventPayload::Exception {
            message: first,
            stack: (!second.is_empty()).then_some(second),
        },
    })
}

/// Reads a text of the guest's memory.
fn text(caller: &mut Caller<'_, State>, address: u32, len: u32) -> Result<String, Stop> {
    String::from_utf8(bytes(caller, address, len)?).map_err(|_| Stop::NotUtf8)
}

/// Reads the start of a text of the guest's memory, and says so when that is not all of it.
fn start(
    caller: &mut Caller<'_, State>,
    address: u32,
    len: u32,
    max_bytes: usize,
) -> Result<String, Stop> {
    if len as usize <= max_bytes {
        return text(caller, address, len);
    }
    // All of it is the guest's to name, though not all is read.
    let end = (address as usize).checked_add(len as usize).ok_or(Stop::OutOfBounds)?;
    let memory = caller.data().memory().ok_or(Stop::NotRunning)?;
    if end > memory.data_size(&caller) {
        return Err(Stop::OutOfBounds);
    }
    let kept = u32::try_from(max_bytes).unwrap_or(u32::MAX);
    let mut bytes = bytes(caller, address, kept)?;
    // A character may have been cut in two; anything else that is not UTF-8 is refused.
    let valid = match std::str::from_utf8(&bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return Err(Stop::NotUtf8),
    };
    bytes.truncate(valid);
    String::from_utf8(bytes).map(|text| cut_short(text, max_bytes)).map_err(|_| Stop::NotUtf8)
}

fn bytes(caller: &mut Caller<'_, State>, address: u32, len: u32) -> Result<Vec<u8>, Stop> {
    let memory = caller.data().memory().ok_or(Stop::NotRunning)?;
    let (start, len) = (address as usize, len as usize);
    let end = start.checked_add(len).ok_or(Stop::OutOfBounds)?;
    memory.data(&caller).get(start..end).map(<[u8]>::to_vec).ok_or(Stop::OutOfBounds)
}

/// Bytes of a name or path that a call may have: far more than any file system takes.
const MAX_NAME_BYTES: u32 = 64 << 10;

/// What `call` takes: operation, flags, and two ranges of memory.
type CallArgs = (u32, u32, u32, u32, u32, u32);

/// Answers the guest: the length of the answer kept for `take`, or -1 less the length of an
/// error's text.
async fn call(mut caller: Caller<'_, State>, args: CallArgs) -> wasmtime::Result<i64> {
    let (operation, flags, a, a_len, b, b_len) = args;
    let is_long = a_len > MAX_NAME_BYTES;
    let ranges = |caller: &mut Caller<'_, State>| -> Result<_, Stop> {
        let operation = Operation::try_from(operation)?;
        let name = if is_long { String::new() } else { text(caller, a, a_len)? };
        let data = match operation {
            Operation::FsWrite => bytes(caller, b, b_len)?,
            Operation::Require
            | Operation::FsRead
            | Operation::FsExists
            | Operation::FsReadDir
            | Operation::FsStat
            | Operation::FsMakeDir
            | Operation::FsUnlink => Vec::new(),
        };
        Ok((operation, name, data))
    };
    let (operation, name, data) = ranges(&mut caller).map_err(wasmtime::Error::new)?;
    let answer = match (operation, caller.data().files().cloned()) {
        _ if is_long => Err("ENAMETOOLONG\nname too long".to_owned()),
        (Operation::Require, _) if caller.data().has_module(&name) => Ok(Vec::new()),
        (Operation::Require, _) => Err("MODULE_NOT_ALLOWED\nthe template lacks it".to_owned()),
        // Files are not reached through a module that the template lacks, even by a guest that
        // makes the call without asking for the module first.
        (_, None) => Err("EACCES\npermission denied".to_owned()),
        (operation, Some(files)) => files.call(operation, flags, name, data).await,
    };
    let failed = answer.is_err();
    let answer = answer.unwrap_or_else(String::into_bytes);
    let len = i64::try_from(answer.len()).expect("checked by its source: it is in memory");
    caller.data_mut().set_answer(answer);
    Ok(if failed { -1 - len } else { len })
}

fn take(mut caller: Caller<'_, State>, address: u32, len: u32) -> wasmtime::Result<()> {
    let mut take = || -> Result<(), Stop> {
        let answer = caller.data_mut().take_answer();
        if answer.len() != len as usize {
            return Err(Stop::WrongLength);
        }
        let memory = caller.data().memory().ok_or(Stop::NotRunning)?;
        memory.write(&mut caller, address as usize, &answer).map_err(|_| Stop::OutOfBounds)
    };
    take().map_err(wasmtime::Error::new)
}

fn console_level(level: Level) -> ConsoleLevel {
    match level {
        Level::Log => ConsoleLevel::Log,
        Level::Warn => ConsoleLevel::Warn,
        Level::Error => ConsoleLevel::Error,
        Level::Info => ConsoleLevel::Info,
        Level::Debug => ConsoleLevel::Debug,
    }
}

fn value_type(value: ValueType) -> vm_storage::ValueType {
    use vm_storage::ValueType as Stored;
    match value {
        ValueType::Number => Stored::Number,
        ValueType::String => Stored::String,
        ValueType::Boolean => Stored::Boolean,
        ValueType::Bigint => Stored::Bigint,
        ValueType::Undefined => Stored::Undefined,
        ValueType::Null => Stored::Null,
        ValueType::Symbol => Stored::Symbol,
        ValueType::Function => Stored::Function,
        ValueType::Array => Stored::Array,
        ValueType::Object => Stored::Object,
        ValueType::Date => Stored::Date,
        ValueType::Error => Stored::Error,
        ValueType::Map => Stored::Map,
        ValueType::Set => Stored::Set,
        ValueType::Promise => Stored::Promise,
    }
}
