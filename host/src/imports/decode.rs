//! What the guest hands over, decoded: numbers and ranges of its memory become typed values, or a
//! [`Stop`].
//!
//! Invariant: nothing is read outside the memory, and no more is copied than is kept. These are
//! functions of bytes alone, which a fuzzer calls as the imports do.

use super::Stop;
use super::kv::MAX_DATA_BYTES as MAX_KV_DATA_BYTES;
use crate::capabilities::MAX_REQUEST_BYTES;
use crate::recorder::{
    MAX_EXCEPTION_BYTES, MAX_JSON_BYTES, MAX_PREVIEW_BYTES, OutputLimit, cut_short, parse_json,
};
use vm_guest::abi::{EventKind, Level, Operation, ValueType};
use vm_storage::{ConsoleLevel, EventPayload, ValuePayload};

/// Bytes of a name or path that a call may have: far more than any file system takes.
const MAX_NAME_BYTES: u32 = 64 << 10;

/// Bytes of a request: the largest body that can be granted, and its headers.
const MAX_FETCH_BYTES: u64 = MAX_REQUEST_BYTES + (1 << 20);

/// A range of the guest's memory, as the guest names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) address: u32,
    pub(crate) len: u32,
}

/// The arguments of `emit`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emitted {
    pub(crate) kind: u32,
    pub(crate) tag: u32,
    pub(crate) first: Span,
    pub(crate) second: Span,
}

/// A call of the host, decoded.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    /// A name or path; `None` when it is longer than any can be.
    pub(crate) name: Option<String>,
    /// What is written; empty for what writes nothing.
    pub(crate) data: Vec<u8>,
}

/// Decodes an event. `has_room` is asked before a text of a size that the script chose is copied.
pub(crate) fn event(
    memory: &[u8],
    emitted: Emitted,
    has_room: impl FnOnce(u64) -> Result<(), OutputLimit>,
) -> Result<EventPayload, Stop> {
    let Emitted { kind, tag, first, second } = emitted;
    Ok(match EventKind::try_from(kind)? {
        EventKind::Console => {
            let level = console_level(Level::try_from(tag)?);
            has_room(u64::from(first.len))?;
            EventPayload::Console { level, text: first.text(memory)? }
        }
        EventKind::Value => {
            let value_type = value_type(ValueType::try_from(tag)?);
            let json = match second.bytes(memory)? {
                json if json.len() > MAX_JSON_BYTES => None,
                json => parse_json(utf8(json)?),
            };
            let preview = first.start(memory, MAX_PREVIEW_BYTES)?;
            EventPayload::Value(ValuePayload { value_type, preview, json })
        }
        EventKind::Exception => {
            let message = first.start(memory, MAX_EXCEPTION_BYTES)?;
            let stack = second.start(memory, MAX_EXCEPTION_BYTES)?;
            EventPayload::Exception { message, stack: (!stack.is_empty()).then_some(stack) }
        }
    })
}

/// Decodes a call of the host.
pub(crate) fn call(memory: &[u8], operation: u32, name: Span, data: Span) -> Result<Call, Stop> {
    let operation = Operation::try_from(operation)?;
    let name = if name.len > MAX_NAME_BYTES { None } else { Some(name.text(memory)?) };
    let data = match operation {
        Operation::NetFetch if u64::from(data.len) > MAX_FETCH_BYTES => {
            return Ok(Call { operation, name: None, data: Vec::new() });
        }
        Operation::FsWrite
        | Operation::FsAppend
        | Operation::NetFetch
        | Operation::DbExec
        | Operation::DbQuery
        | Operation::DbRestore => data.bytes(memory)?.to_vec(),
        // What is longer is refused; how much longer it is does not matter.
        Operation::KvPut | Operation::KvList => {
            let data = data.bytes(memory)?;
            data.get(..=MAX_KV_DATA_BYTES).unwrap_or(data).to_vec()
        }
        // The others have none.
        _ => Vec::new(),
    };
    Ok(Call { operation, name, data })
}

impl Span {
    fn bytes(self, memory: &[u8]) -> Result<&[u8], Stop> {
        let (start, len) = (self.address as usize, self.len as usize);
        let end = start.checked_add(len).ok_or(Stop::OutOfBounds)?;
        memory.get(start..end).ok_or(Stop::OutOfBounds)
    }

    fn text(self, memory: &[u8]) -> Result<String, Stop> {
        utf8(self.bytes(memory)?).map(str::to_owned)
    }

    /// The start of a text, which says so when that is not all of it.
    fn start(self, memory: &[u8], max_bytes: usize) -> Result<String, Stop> {
        let bytes = self.bytes(memory)?;
        let Some(kept) = bytes.get(..max_bytes).filter(|_| bytes.len() > max_bytes) else {
            return utf8(bytes).map(str::to_owned);
        };
        // A character may have been cut in two; anything else that is not UTF-8 is refused.
        let text = match std::str::from_utf8(kept) {
            Ok(text) => text,
            Err(error) if error.error_len().is_none() => utf8(&kept[..error.valid_up_to()])?,
            Err(_) => return Err(Stop::NotUtf8),
        };
        Ok(cut_short(text.to_owned(), max_bytes))
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Stop> {
    std::str::from_utf8(bytes).map_err(|_| Stop::NotUtf8)
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
