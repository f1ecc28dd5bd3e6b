//! What an execution's calls of the host came to, and how much they may.
//!
//! Invariant: fuel does not count what the host does for a script, so every call counts here, and from
//! the first past a limit none is made.

use super::Called;
use super::database::is_of_databases;
use super::decode::Call;
use crate::recorder::cut_short;
use std::time::Duration;
use vm_guest::abi::Operation;
use vm_storage::HostCalls;

/// Calls of one execution: at some 50 us of processor time each, 5 s.
pub(crate) const MAX_CALLS: u64 = 100_000;
/// Calls of one execution from which it may make no statement of a database: a loop that loads a table
/// row by row makes as many as there are rows, and each is short.
pub(crate) const MAX_STATEMENTS: u64 = 1_000_000;
/// Bytes that the calls of one execution may bring in, and as many that they may bring out.
pub(crate) const MAX_BYTES: u64 = 4 << 30;

/// Bytes of a name that an event shows.
const MAX_SHOWN_BYTES: usize = 256;

/// What the calls of the execution that runs came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    used: HostCalls,
    time: Duration,
}

impl Account {
    /// What was used so far.
    pub(crate) fn used(&self) -> HostCalls {
        let time_us = u64::try_from(self.time.as_micros()).unwrap_or(u64::MAX);
        HostCalls { time_us, ..self.used }
    }

    /// Counts a call that is about to be made, unless it may not be.
    pub(super) fn enter(&mut self, call: &Call) -> Result<(), String> {
        let HostCalls { calls, bytes_in, bytes_out, time_us: _ } = self.used;
        let most = match call.operation {
            // What keeps the rest is no call that a script makes.
            Operation::DbKeep => u64::MAX,
            operation if is_of_databases(operation) => MAX_STATEMENTS,
            _ => MAX_CALLS,
        };
        let limit = if calls >= most {
            format!("{most} calls of the host")
        } else if bytes_in.max(bytes_out.saturating_add(call.data.len() as u64)) > MAX_BYTES {
            format!("{} MiB through calls of the host", MAX_BYTES >> 20)
        } else {
            let name = call.name.as_ref().map_or(0, String::len);
            self.used.calls += 1;
            self.used.bytes_out += (name + call.data.len()) as u64;
            return Ok(());
        };
        Err(format!("EDQUOT\nthe execution's limit of {limit} is reached"))
    }

    /// Counts time that was spent waiting for what is answered later.
    pub(super) fn waited(&mut self, time: Duration) {
        self.time += time;
    }

    /// Counts what it came to.
    pub(super) fn leave(&mut self, answer: &Called, time: Duration) {
        self.used.bytes_in += answer.as_ref().map_or_else(String::len, Vec::len) as u64;
        self.time += time;
    }
}

/// A call in a sentence, for the event that tells of it.
pub(super) fn told(what: &str, sent: usize, answer: &Called) -> String {
    let outcome = match answer {
        Ok(bytes) => format!("{sent} bytes out, {} in", bytes.len()),
        Err(error) => error.lines().next().unwrap_or_default().to_owned(),
    };
    format!("host call: {what}: {outcome}")
}

/// What a call is about.
pub(super) fn named(operation: Operation, name: &str) -> String {
    let what = match operation {
        Operation::Require => "require",
        Operation::FsRead => "fs read",
        Operation::FsWrite => "fs write",
        Operation::FsAppend => "fs append",
        Operation::FsExists => "fs exists",
        Operation::FsReadDir => "fs readdir",
        Operation::FsStat => "fs stat",
        Operation::FsMakeDir => "fs mkdir",
        Operation::FsUnlink => "fs unlink",
        Operation::FsRename => "fs rename",
        Operation::FsRemoveDir => "fs rmdir",
        Operation::FsRealPath => "fs realpath",
        Operation::ModuleResolve => "module resolve",
        Operation::ModuleSource => "module load",
        Operation::ExecRun => "exec run",
        Operation::NetFetch => "fetch",
        Operation::NetRead => "fetch read",
        Operation::NetClose => "fetch close",
        Operation::Env => "env",
        Operation::Answer => "answer",
        Operation::KvGet => "kv get",
        Operation::KvPut => "kv put",
        Operation::KvDelete => "kv delete",
        Operation::KvList => "kv list",
        Operation::DbExec => "database exec",
        Operation::DbQuery => "database query",
        Operation::DbOpen => "database open",
        Operation::DbClose => "database close",
        Operation::DbRestore => "database restore",
        Operation::DbKeep => "database keep",
    };
    // What follows a path may be a secret.
    let name = match operation {
        Operation::NetFetch => name.split(['?', '#']).next().unwrap_or_default(),
        _ => name,
    };
    let name = name.replace('\0', " ");
    let name = if name.len() > MAX_SHOWN_BYTES { cut_short(name, MAX_SHOWN_BYTES) } else { name };
    format!("{what} '{name}'")
}
