//! The host functions that the guest imports: WASI preview 1, granting nothing, and our own three.
//!
//! Invariant: every pointer, length, number and text that comes through here is checked before it
//! is used; a guest that sends nonsense is stopped with a [`Stop`], never believed.

mod files;
mod output;

pub(crate) use files::{Access, Files};
pub(crate) use output::{CurrentRecorder, OutputSink};

use crate::recorder::{OutputLimit, cut_exception, cut_preview, parse_json};
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
        let first = text(&mut caller, a, a_len)?;
        let second = text(&mut caller, b, b_len)?;
        let payload = payload(kind, tag, first, second)?;
        let recorder = caller.data().recorder().ok_or(Stop::NotRunning)?;
        Ok(recorder.lock().push(payload)?)
    };
    emit().map_err(wasmtime::Error::new)
}

fn payload(kind: u32, tag: u32, first: String, second: String) -> Result<EventPayload, Stop> {
    Ok(match EventKind::try_from(kind)? {
        EventKind::Console => {
            EventPayload::Console { level: console_level(Level::try_from(tag)?), text: first }
        }
        EventKind::Value => EventPayload::Value(ValuePayload {
            value_type: value_type(ValueType::try_from(tag)?),
            preview: cut_preview(first),
            json: parse_json(&second),
        }),
        EventKind::Exception => EventPayload::Exception {
            message: cut_exception(first),
            stack: (!second.is_empty()).then(|| cut_exception(second)),
        },
    })
}

/// Reads a text of the guest's memory.
fn text(caller: &mut Caller<'_, State>, address: u32, len: u32) -> Result<String, Stop> {
    String::from_utf8(bytes(caller, address, len)?).map_err(|_| Stop::NotUtf8)
}

fn bytes(caller: &mut Caller<'_, State>, address: u32, len: u32) -> Result<Vec<u8>, Stop> {
    let memory = caller.data().memory().ok_or(Stop::NotRunning)?;
    let (start, len) = (address as usize, len as usize);
    let end = start.checked_add(len).ok_or(Stop::OutOfBounds)?;
    memory.data(&caller).get(start..end).map(<[u8]>::to_vec).ok_or(Stop::OutOfBounds)
}

/// What `call` takes: operation, flags, and two ranges of memory.
type CallArgs = (u32, u32, u32, u32, u32, u32);

/// Answers the guest: the length of the answer kept for `take`, or -1 less the length of an
/// error's text.
async fn call(mut caller: Caller<'_, State>, args: CallArgs) -> wasmtime::Result<i64> {
    let (operation, flags, a, a_len, b, b_len) = args;
    let ranges = |caller: &mut Caller<'_, State>| -> Result<_, Stop> {
        let operation = Operation::try_from(operation)?;
        Ok((operation, text(caller, a, a_len)?, bytes(caller, b, b_len)?))
    };
    let (operation, name, data) = ranges(&mut caller).map_err(wasmtime::Error::new)?;
    let answer = match (operation, caller.data().files().cloned()) {
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
