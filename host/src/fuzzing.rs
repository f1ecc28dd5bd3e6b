//! What decodes a guest's bytes, for the fuzz targets alone (feature `fuzzing`).

use crate::database::Asked;
use crate::imports::decode::{self, Emitted, Span};
use crate::limits;
use crate::recorder::SharedRecorder;
use vm_storage::{ExecutionId, Limits};

/// Decodes an event as the import `emit` does, and records it. Gives what was recorded as JSON.
pub fn emit(memory: &[u8], numbers: [u32; 6]) -> Option<String> {
    let [kind, tag, a, a_len, b, b_len] = numbers;
    let (first, second) = (Span { address: a, len: a_len }, Span { address: b, len: b_len });
    let limits = Limits { max_output_kb: limits::MAX.max_output_kb, ..Limits::default() };
    let recorder = SharedRecorder::new(ExecutionId::new(), &limits, None);
    let has_room = |bytes| recorder.lock().check_room(bytes);
    let event = decode::event(memory, Emitted { kind, tag, first, second }, has_room).ok()?;
    recorder.lock().push(event).ok()?;
    serde_json::to_string(recorder.lock().events().first()?).ok()
}

/// Decodes a call as the import `call` does. Gives the bytes that it copied.
pub fn call(memory: &[u8], numbers: [u32; 5]) -> Option<usize> {
    let [operation, a, a_len, b, b_len] = numbers;
    let (name, data) = (Span { address: a, len: a_len }, Span { address: b, len: b_len });
    let call = decode::call(memory, operation, name, data).ok()?;
    Some(call.name.map_or(0, |name| name.len()) + call.data.len())
}

/// Decodes a statement for a database as the import `call` does. Gives the bytes of its SQL.
pub fn statement(data: &[u8]) -> Option<usize> {
    Asked::decode(data).ok().map(|asked| asked.sql().len())
}
