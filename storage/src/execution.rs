//! An execution: one run of code in a session.
//!
//! ```text
//! commit ---> running ----> ok | error | timeout | cancelled
//!    |           |
//!    |           +--------> error HOST_STOPPED   (recovery at open)
//!    +--------------------> ok | error | timeout | cancelled
//! ```
//!
//! Invariant: an execution that has ended never changes again; the writer refuses it.
//! Its events are records of their own (`event.rs`).

use crate::event::ValuePayload;
use crate::id::{ExecutionId, SessionId, TenantId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One run of code in a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// Whose it is: its session's.
    #[serde(default = "TenantId::unnamed", skip_serializing_if = "TenantId::is_local")]
    pub tenant_id: TenantId,
    /// The session it ran in.
    pub session_id: SessionId,
    /// What was run.
    pub kind: ExecutionKind,
    /// The snippet of a `repl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The file of a `run_file` or `startup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What the script sees as `__ARGS__`.
    pub args: serde_json::Map<String, serde_json::Value>,
    /// What the script sees as `__ENV__`.
    pub env: BTreeMap<String, String>,
    /// Where it is in its life.
    pub status: ExecutionStatus,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ValuePayload>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ExecutionError>,
    /// What it used.
    pub metrics: Metrics,
}

/// What an [`Execution`] ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionKind {
    /// A snippet.
    Repl,
    /// A file of the worktree.
    RunFile,
    /// A startup file of the template.
    Startup,
}

/// Where an [`Execution`] is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionStatus {
    /// Not over.
    Running,
    /// Gave a value.
    Ok,
    /// Threw, or was stopped for a reason that its error says.
    Error,
    /// Spent its time or fuel.
    Timeout,
    /// Was cancelled by a client.
    Cancelled,
}

impl ExecutionStatus {
    /// Whether nothing of the execution may change any more.
    pub const fn is_over(self) -> bool {
        match self {
            Self::Running => false,
            Self::Ok | Self::Error | Self::Timeout | Self::Cancelled => true,
        }
    }
}

/// Why an [`Execution`] failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionError {
    /// One sentence, or what the script threw.
    pub message: String,
    /// Where, with the user's file and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// What stopped it, when it was not the script itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<ExecutionErrorCode>,
}

/// What stopped an [`Execution`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionErrorCode {
    /// It used up `cpu_ms`.
    FuelExhausted,
    /// It used up `wall_ms`.
    WallTimeExceeded,
    /// It passed `max_events` or `max_output_kb`.
    OutputLimitExceeded,
    /// Its instance trapped.
    GuestTrapped,
    /// A client cancelled it.
    Cancelled,
    /// The host ended while it ran.
    HostStopped,
    /// What it read of its workspace's keys had changed by its end.
    KvConflict,
    /// Its workspace's keys could not be read.
    KvUnavailable,
    /// Its workspace had no room for the keys that it wrote.
    KvQuotaExceeded,
}

/// What an [`Execution`] used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Fuel units.
    pub fuel_used: u64,
    /// Milliseconds from the first slice to the end.
    pub wall_ms: u64,
    /// The most linear memory its session held, in bytes.
    pub peak_memory_bytes: u64,
    /// Events it left.
    pub events: u64,
    /// Bytes of its events that count as output.
    pub output_bytes: u64,
    /// What its calls of the host came to; left out of JSON when it made none.
    #[serde(default, skip_serializing_if = "HostCalls::is_none")]
    pub host: HostCalls,
}

/// What an [`Execution`]'s calls of the host came to: files, modules, and whatever else it reaches
/// outside its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCalls {
    /// How many there were.
    pub calls: u64,
    /// Bytes that they gave to the script.
    pub bytes_in: u64,
    /// Bytes that the script gave them: names and what was written.
    pub bytes_out: u64,
    /// Microseconds that the script waited for them.
    pub time_us: u64,
}

impl HostCalls {
    fn is_none(&self) -> bool {
        self.calls == 0
    }
}
