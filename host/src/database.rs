//! The databases of a session: SQLite on files of its worktree, and one in its own memory.
//!
//! ```text
//!  the session's heap            an execution
//!  dsn, pages of `:memory:` ──▶  opened by need ─▶ statements ─▶ kept: rolled back, what changed told
//!                       ▲                    └─ the execution ends: closed, rolled back     │
//!                       └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariant: a connection lives no longer than the execution that opened it. What a session has for good
//! is a file of its worktree, or in its heap, with which it is rolled back, stored and restored.
//!
//! Leaves to others: what a template grants (`capabilities`), where paths lead (`worktree`).

mod codes;
mod connection;
mod disk;
mod functions;
mod guard;
mod memory;
mod place;
mod statements;
mod vfs;
mod wire;

pub(crate) use guard::{MAX_SQL_BYTES, MAX_VALUE_BYTES};
pub(crate) use memory::MAX_SCRATCH_BYTES;
pub(crate) use wire::Asked;

use crate::capabilities::DatabaseConfig;
use crate::worktree::{LiteralPath, Opening, Worktree, WorktreePath};
use connection::{Open, Writing};
use disk::Disk;
use memory::MemoryFile;
use place::unpoisoned;
use statements::{Bounds, Wanted};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The name of the database that is in the session's memory.
pub(crate) const MEMORY: &str = ":memory:";

/// Bytes that it may have; less in a session whose memory is small.
pub(crate) const MAX_MEMORY_BYTES: u64 = 16 << 20;
/// The part of a session's memory that it may take: one in so many.
const MEMORY_SHARE: u64 = 4;

/// Ends of names that are those of a database's other files.
const RESERVED_ENDS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// Why a call failed: a code and a reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    code: &'static str,
    reason: String,
    changed: bool,
}

impl Refused {
    fn new(code: &'static str, reason: String) -> Self {
        Self { code, reason, changed: false }
    }

    /// The same, of a call that may have changed the database in memory before it failed.
    fn having_changed(self, changed: bool) -> Self {
        Self { changed, ..self }
    }

    /// As the guest is told: behind the code, a sign that its database has to be taken again.
    pub(crate) fn told(&self) -> String {
        format!("{}{}\n{}", self.code, if self.changed { "\t" } else { "" }, self.reason)
    }
}

/// What a script does with its database.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    /// Opens one anew.
    Open,
    Close,
    /// Runs statements.
    Execute(Asked<'a>),
    Query(Asked<'a>),
    /// Gives a part of what the session's heap has of `:memory:`, the first anew.
    Restore {
        is_first: bool,
        part: &'a [u8],
    },
    /// Asks what was changed in it.
    Keep,
}

/// What a session may do with databases, and the one that it has open.
#[derive(Clone)]
pub(crate) struct Databases {
    worktree: Arc<Worktree>,
    grants: Arc<[DatabaseConfig]>,
    max_memory_bytes: usize,
    held: Arc<Mutex<Held>>,
}

/// What an execution has open.
#[derive(Default)]
struct Held {
    /// Whether it used any.
    used: bool,
    /// Set when it ends: what it left under way stops.
    stopped: Arc<AtomicBool>,
    open: Option<Open>,
    memory: Option<Arc<Mutex<MemoryFile>>>,
}

/// A call that an execution waits for: one that is dropped before it is over stops.
pub(crate) struct Waiting {
    stopped: Arc<AtomicBool>,
    over: bool,
}

impl Waiting {
    /// Says that the call came back.
    pub(crate) fn over(mut self) {
        self.over = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }
}

/// What an execution has open, and the database in memory.
type Taken = (Option<Open>, Option<Arc<Mutex<MemoryFile>>>);

impl Databases {
    pub(crate) fn new(
        worktree: Arc<Worktree>,
        grants: Vec<DatabaseConfig>,
        session_bytes: u64,
    ) -> Self {
        let bytes = MAX_MEMORY_BYTES.min(session_bytes / MEMORY_SHARE);
        let max_memory_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self { worktree, grants: grants.into(), max_memory_bytes, held: Arc::default() }
    }

    /// Closes what the execution before has open. What is open in its transactions is rolled back.
    pub(crate) fn end_execution(&self) {
        let mut held = self.held();
        if !held.used {
            return;
        }
        let before = std::mem::take(&mut *held);
        drop(held);
        before.stopped.store(true, Ordering::Relaxed);
        // A rollback writes the file.
        match (before.open, tokio::runtime::Handle::try_current()) {
            (Some(open), Ok(tokio)) => drop(tokio.spawn_blocking(|| drop(open))),
            (open, _) => drop(open),
        }
    }

    /// Begins a call, before it has a thread.
    pub(crate) fn wait(&self) -> Waiting {
        let mut held = self.held();
        held.used = true;
        Waiting { stopped: Arc::clone(&held.stopped), over: false }
    }

    /// Carries out one call; blocks.
    pub(crate) fn call(
        &self,
        stopped: &Arc<AtomicBool>,
        dsn: &str,
        request: &Request<'_>,
    ) -> Result<Vec<u8>, Refused> {
        let (mut open, mut memory) = self.take(stopped)?;
        let answer = self.carry_out(stopped, dsn, request, &mut open, &mut memory);
        let mut held = self.held();
        // The execution may have ended meanwhile: then it is closed here.
        if Arc::ptr_eq(&held.stopped, stopped) && !stopped.load(Ordering::Relaxed) {
            (held.open, held.memory) = (open.take(), memory);
        }
        drop(held);
        answer
    }

    fn carry_out(
        &self,
        stopped: &Arc<AtomicBool>,
        dsn: &str,
        request: &Request<'_>,
        open: &mut Option<Open>,
        memory: &mut Option<Arc<Mutex<MemoryFile>>>,
    ) -> Result<Vec<u8>, Refused> {
        let (asked, wanted) = match request {
            Request::Execute(asked) => (asked, Wanted::Changes),
            Request::Query(asked) => (asked, Wanted::Rows),
            Request::Open => {
                (*open, *memory) = (None, None);
                *open = Some(self.open(dsn, 0, stopped, memory)?);
                return Ok(Vec::new());
            }
            Request::Close => {
                (*open, *memory) = (None, None);
                return Ok(Vec::new());
            }
            Request::Restore { is_first, part } => {
                if *is_first {
                    *open = None;
                    *memory = Some(self.empty());
                }
                let memory = memory.as_ref().ok_or_else(|| no_heap("none was begun"))?;
                unpoisoned(memory).restore(part).map_err(Refused::of_code)?;
                return Ok(Vec::new());
            }
            Request::Keep => {
                *open = None;
                let memory = memory.as_ref().ok_or_else(|| no_heap("none is open"))?;
                return Ok(unpoisoned(memory).take_changes());
            }
        };
        if !open.as_ref().is_some_and(|open| open.is_of(dsn)) {
            *open = None;
            *open = Some(self.open(dsn, asked.heap_bytes(), stopped, memory)?);
        }
        let open = open.as_ref().expect("opened above");
        open.run(asked, wanted, self.bounds())
    }

    fn open(
        &self,
        dsn: &str,
        heap_bytes: usize,
        stopped: &Arc<AtomicBool>,
        memory: &mut Option<Arc<Mutex<MemoryFile>>>,
    ) -> Result<Open, Refused> {
        if dsn != MEMORY {
            return self.open_file(dsn, Arc::clone(stopped));
        }
        let known = memory.as_ref().map_or(0, |file| unpoisoned(file).bytes().len());
        if known != heap_bytes {
            return Err(no_heap("it has to be given"));
        }
        let file = memory.get_or_insert_with(|| self.empty());
        Open::memory(dsn, file, Arc::clone(stopped))
    }

    fn open_file(&self, dsn: &str, stopped: Arc<AtomicBool>) -> Result<Open, Refused> {
        let is_uri = dsn.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("file:"));
        if is_uri || dsn.is_empty() {
            return Err(Refused::new("EINVAL", "a database is a path, or :memory:".to_owned()));
        }
        if RESERVED_ENDS.iter().any(|end| dsn.ends_with(end)) {
            let reason = "files of this name belong to another database".to_owned();
            return Err(Refused::new("EINVAL", reason));
        }
        let path = self.worktree.lenient(dsn).and_then(|path| LiteralPath::of(&path));
        let path = path.map_err(|error| Refused::new(error.code(), error.to_string()))?;
        let granting: Vec<_> = self.grants.iter().filter(|config| config.has_file(&path)).collect();
        if granting.is_empty() {
            let reason = "permission denied: the template does not grant this file".to_owned();
            return Err(Refused::new("EACCES", reason));
        }
        let (opening, writing) = if granting.iter().any(|config| config.write) {
            (Opening::Create, Writing::Allowed)
        } else {
            (Opening::Read, Writing::Denied)
        };
        let siblings = self.worktree.siblings(&path).map_err(disk::OpenError::File)?;
        let max_bytes = self.grants.iter().map(|config| config.max_file_bytes).min();
        let disk = Disk::open(siblings, opening, max_bytes.unwrap_or_default())?;
        Open::disk(dsn, disk, writing, stopped)
    }

    fn empty(&self) -> Arc<Mutex<MemoryFile>> {
        Arc::new(Mutex::new(MemoryFile::new(self.max_memory_bytes)))
    }

    /// The least of what the configs say.
    fn bounds(&self) -> Bounds {
        let none = DatabaseConfig::default();
        let least = |of: fn(&DatabaseConfig) -> u64| {
            self.grants.iter().map(of).min().unwrap_or_else(|| of(&none))
        };
        Bounds {
            rows: least(|config| config.max_rows),
            bytes: least(|config| config.max_result_bytes),
        }
    }

    /// What the execution of a call has open, if it still goes on.
    fn take(&self, stopped: &Arc<AtomicBool>) -> Result<Taken, Refused> {
        let mut held = self.held();
        if stopped.load(Ordering::Relaxed) || !Arc::ptr_eq(&held.stopped, stopped) {
            return Err(Refused::new("ECANCELED", "the execution is over".to_owned()));
        }
        Ok((held.open.take(), held.memory.take()))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// What tells the call to stop.
    pub(crate) fn stopped(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopped)
    }
}

/// That the guest has to give what its heap has of `:memory:`: see [`Request::Restore`].
fn no_heap(reason: &str) -> Refused {
    Refused::new("ENODATA", format!("the database in memory is not there: {reason}"))
}

/// The paths of a config, as far as they are paths.
pub(crate) fn literal_paths(paths: &[String]) -> impl Iterator<Item = LiteralPath> {
    let strict = paths.iter().filter_map(|path| WorktreePath::strict(path).ok());
    strict.filter_map(|path| LiteralPath::of(&path).ok())
}
