//! How long executions and events are kept.
//!
//! Invariant: what is removed is the oldest there is, and nothing of an execution that runs or of a
//! heap that is needed goes with it.

use std::time::Duration;

/// How long executions and events are kept; the default keeps all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Executions, each with its events.
    pub executions: Bounds,
    /// Events alone; their executions stay.
    pub events: Bounds,
}

/// What may be kept at most; what passes any of these goes, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// How old, since its execution started.
    pub max_age: Option<Duration>,
    /// How many, in all sessions together.
    pub max_count: Option<u64>,
    /// How many bytes of records, in all sessions together.
    pub max_bytes: Option<u64>,
}

impl Bounds {
    /// Whether there is none.
    pub fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }
}
