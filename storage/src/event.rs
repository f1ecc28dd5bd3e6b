//! An event: one thing that an execution was seen to do.
//!
//! Invariant: the events of an execution are numbered from 1 without gaps; the writer refuses
//! others. Their text was chosen by a hostile script and is any valid UTF-8 at all. How much of it
//! there may be is for the recorder to bound.

use crate::id::ExecutionId;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

/// One thing that an execution was seen to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The execution it belongs to.
    pub execution_id: ExecutionId,
    /// Its number in the execution, from 1.
    pub seq: u64,
    /// When it was seen.
    pub ts: Timestamp,
    /// What was seen.
    #[serde(flatten)]
    pub payload: EventPayload,
}

/// What an [`Event`] says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
pub enum EventPayload {
    /// The snippet, or the path, that was run.
    InputEcho {
        /// The snippet or path.
        text: String,
    },
    /// A call of the console.
    Console {
        /// Which of its functions.
        level: ConsoleLevel,
        /// Its arguments as a console shows them.
        text: String,
    },
    /// What the execution gave.
    Value(ValuePayload),
    /// What the execution threw.
    Exception {
        /// Such as `ReferenceError: x is not defined`.
        message: String,
        /// Where, with the user's file and line.
        #[serde(skip_serializing_if = "Option::is_none")]
        stack: Option<String>,
    },
    /// Something that the host says.
    System {
        /// One sentence.
        message: String,
        /// How grave it is.
        level: ConsoleLevel,
    },
    /// Bytes written to standard output, as text.
    Stdout {
        /// The text.
        text: String,
    },
    /// Bytes written to standard error, as text.
    Stderr {
        /// The text.
        text: String,
    },
}

impl EventPayload {
    /// Its type, as it is written.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::InputEcho { .. } => "input_echo",
            Self::Console { .. } => "console",
            Self::Value(_) => "value",
            Self::Exception { .. } => "exception",
            Self::System { .. } => "system",
            Self::Stdout { .. } => "stdout",
            Self::Stderr { .. } => "stderr",
        }
    }

    /// The bytes that count against `max_output_kb`: those of every text in it, and of a value's
    /// JSON as it would be written. The echo of the input, and the host's own words, count 0.
    pub fn output_bytes(&self) -> u64 {
        let bytes = match self {
            Self::InputEcho { .. } | Self::System { .. } => 0,
            Self::Console { text, .. } | Self::Stdout { text } | Self::Stderr { text } => {
                text.len()
            }
            Self::Value(value) => value.preview.len() + value.json.as_ref().map_or(0, json_bytes),
            Self::Exception { message, stack } => {
                message.len() + stack.as_ref().map_or(0, String::len)
            }
        };
        bytes as u64
    }
}

/// Counts the bytes of a JSON text without building it.
fn json_bytes(json: &serde_json::Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, json)
        .expect("checked by construction: a JSON value has string keys, and counting cannot fail");
    count.0
}

/// Which function of the console was called, or how grave a word of the host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleLevel {
    /// `console.log`.
    Log,
    /// `console.warn`.
    Warn,
    /// `console.error`.
    Error,
    /// `console.info`.
    Info,
    /// `console.debug`.
    Debug,
}

/// A JavaScript value as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValuePayload {
    /// What JavaScript calls it.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// How a REPL shows it.
    pub preview: String,
    /// Its JSON, where it has one; `Some(Null)` is JavaScript's `null`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
}

/// Reads a member that is there as `Some`, even when it is `null`.
fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}

/// What JavaScript calls a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the JavaScript name and nothing else")]
pub enum ValueType {
    Number,
    String,
    Boolean,
    Bigint,
    Undefined,
    Null,
    Symbol,
    Function,
    Array,
    Object,
    Date,
    Error,
    Map,
    Set,
    Promise,
}
