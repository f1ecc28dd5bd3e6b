//! What a script prints, on the streams of this process.

use serde::Serialize;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vm_host::Observer;
use vm_storage::{ConsoleLevel, Event, EventPayload, Execution, ExecutionError, ValueType};

/// An observer that prints output by level, as it happens.
pub(super) fn observer() -> Observer {
    Arc::new(output)
}

/// Prints an event that is output, by its level.
pub(super) fn output(event: &Event) {
    match &event.payload {
        EventPayload::Console { level, text } => match level {
            ConsoleLevel::Log | ConsoleLevel::Info | ConsoleLevel::Debug => stdout_line(text),
            ConsoleLevel::Warn | ConsoleLevel::Error => stderr_line(text),
        },
        EventPayload::Stdout { text } => quietly(io::stdout().write_all(text.as_bytes())),
        EventPayload::Stderr { text } => quietly(io::stderr().write_all(text.as_bytes())),
        // The command says these itself, when the execution is over.
        EventPayload::InputEcho { .. }
        | EventPayload::Value(_)
        | EventPayload::Exception { .. }
        | EventPayload::System { .. } => {}
    }
}

/// Prints a line on standard output.
pub(super) fn stdout_line(text: &str) {
    quietly(writeln!(io::stdout().lock(), "{text}"));
}

/// Prints a JSON document on standard output.
pub(super) fn json(answer: &impl Serialize) {
    stdout_line(&compact(answer));
}

/// A value as JSON in one line.
pub(super) fn compact(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("checked by their types: the shapes of `wire` are JSON")
}

/// Prints a line on standard error.
pub(super) fn stderr_line(text: &str) {
    quietly(writeln!(io::stderr().lock(), "{text}"));
}

/// Whether something that was printed could not be written.
static LOST: AtomicBool = AtomicBool::new(false);

/// A reader that went away is no reason to stop the script. A disk that is full is none either, but
/// the command must not end as if all had been written.
fn quietly(result: io::Result<()>) {
    if result.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) {
        LOST.store(true, Ordering::Relaxed);
    }
}

/// Writes out what is held back, and says whether all that was printed is written.
pub(super) fn is_written() -> bool {
    quietly(io::stdout().flush());
    !LOST.load(Ordering::Relaxed)
}

/// What a script threw, with its stack when it has one.
fn uncaught(error: &ExecutionError) -> String {
    format!("Uncaught {}", error.stack.as_deref().unwrap_or(&error.message))
}

/// Prints the value of an execution, unless it is undefined, and what it threw.
pub(super) fn outcome(execution: &Execution) {
    if let Some(value) = &execution.result
        && value.value_type != ValueType::Undefined
    {
        stdout_line(&value.preview);
    }
    if let Some(error) = &execution.error {
        match error.code {
            None => stderr_line(&uncaught(error)),
            Some(_) => stderr_line(&format!("vm-system: {}", error.message)),
        }
    }
}
