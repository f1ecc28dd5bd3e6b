//! What operators are told.

use serde::{Deserialize, Serialize};

/// What a daemon holds and has done since it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Sessions and instances.
    pub sessions: SessionStats,
    /// What the database holds.
    pub storage: StorageStats,
    /// What was removed by retention and purges.
    pub removed: RemovedStats,
    /// Executions, and sessions being made, that have started or wait to start.
    pub executions_under_way: u64,
    /// Template modules compiled.
    pub template_modules_compiled: u64,
    /// Images made of what they left when they ran.
    pub template_images_made: u64,
}

/// Sessions and instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStats {
    /// Starting or ready.
    pub live: u64,
    /// Of which anything is in memory.
    pub held: u64,
    /// Instances there are.
    pub instances: u64,
    /// Instances made.
    pub instances_made: u64,
    /// Sessions that gave up what they had in memory.
    pub hibernations: u64,
}

/// What the database holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageStats {
    /// Templates.
    pub templates: u64,
    /// Sessions of any status.
    pub sessions: u64,
    /// Executions.
    pub executions: u64,
    /// Events.
    pub events: u64,
    /// Bytes of the executions' records.
    pub execution_bytes: u64,
    /// Bytes of the events' records.
    pub event_bytes: u64,
    /// Bytes of the sessions' heaps, compressed.
    pub heap_bytes: u64,
    /// Sessions of which something is left to remove in the background.
    pub unswept_sessions: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes that are free on its file system.
    pub free_bytes: u64,
    /// Durable commits made.
    pub commits: u64,
    /// Writes answered.
    pub writes: u64,
    /// Times that the file was opened again after a failure.
    pub reopens: u64,
}

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedStats {
    /// Executions.
    pub executions: u64,
    /// Events.
    pub events: u64,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMade {
    /// Its name.
    pub name: String,
    /// Its folder, on the daemon's machine.
    pub path: String,
    /// Bytes of its database.
    pub database_bytes: u64,
}

/// That the database was compacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Bytes of the file before.
    pub before_bytes: u64,
    /// Bytes of the file after.
    pub after_bytes: u64,
}
