//! The one open database, behind a lock so that it can be dropped and opened again.
//!
//! ```text
//!            +---- fail ----> Down ----+
//!            |                  ^      | reopen
//! open ---> Open <--------------|------+
//!            |                  +-- reopen fails
//!            +--- compact --> Compacting ---> Open
//!            +---- close ---> Closed <--- close --- Down
//! ```
//!
//! redb latches after any I/O error: reads fail from then on too, and only opening the file again
//! clears it. So the first error, whether a read or a write met it, takes the database down, and
//! the writer opens it again when it next has something to do. What was not synced may be in the
//! kernel's cache and nowhere else, and a later sync would not say so: the cache is dropped first,
//! and every page verified.
//!
//! A disk that is nearly full takes no writes, so that redb never meets its end; reads go on.
//!
//! Invariant: only the writer's thread changes the state; readers hold it only for one read.
//! What opening checks is in `database/open.rs`, making a file in `database/create.rs`.

pub(crate) mod create;
mod fault;
pub(crate) mod migrate;
mod open;
pub(crate) mod recover;

pub(crate) use fault::{Fault, panic_text};
pub(crate) use open::Source;
pub use open::Verification;

use crate::error::StorageError;
use crate::storage::StorageStats;
use crate::tables::Snapshot;
use redb::{CompactionError, Database, ReadTransaction, ReadableDatabase};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

/// The database and the file it comes from.
#[derive(Debug)]
pub(crate) struct Slot {
    source: Source,
    state: RwLock<State>,
    /// A read met an I/O error, so the database is latched: the writer is to open it again.
    suspect: AtomicBool,
    /// The bytes that a write wanted to find free and did not; 0 when the last one did.
    short_of: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) requests: AtomicU64,
    reopens: AtomicU64,
}

#[derive(Debug)]
enum State {
    Open(Database),
    Down {
        detail: String,
        /// Not to be tried again before, so that a file that stays bad is not read all the time.
        retry_at: Instant,
    },
    /// Nobody may use it until it is compacted.
    Compacting,
    Closed,
}

/// Whether the store takes writes, and why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageStatus {
    /// It takes them.
    Ready,
    /// The file system is nearly full. Reads go on.
    NoSpace {
        /// Bytes that are free.
        free_bytes: u64,
        /// Bytes that must be.
        needed_bytes: u64,
    },
    /// The file failed and could not be opened again yet.
    Failed {
        /// What failed; for the log, not for clients.
        detail: String,
    },
    /// The file is being compacted.
    Compacting,
    /// The store was shut down.
    Closed,
}

/// What is said of a store while it is compacted.
const COMPACTING: &str = "the database is being compacted";

impl Slot {
    pub(crate) fn new(source: Source, database: Database) -> Self {
        Self {
            source,
            state: RwLock::new(State::Open(database)),
            suspect: AtomicBool::new(false),
            short_of: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            reopens: AtomicU64::new(0),
        }
    }

    /// Reads one committed state.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Snapshot) -> Result<T, Fault>,
    ) -> Result<T, StorageError> {
        self.with_open(|database| {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let txn = database.begin_read()?;
                read(&Snapshot::open(&txn)?)
            }));
            match outcome {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(Fault::Refused(error))) => Err(error),
                Ok(Err(Fault::Engine(error))) => {
                    let error = fault::of_reading(self.source.path(), &error);
                    if matches!(error, StorageError::Unavailable { .. }) {
                        self.suspect.store(true, Ordering::Release);
                    }
                    Err(error)
                }
                Err(panic) => Err(fault::of_panic(self.source.path(), &*panic)),
            }
        })
    }

    /// One committed state, to be read for as long as one likes: it keeps nobody from anything but
    /// compacting, and what it had is not used again before it is gone.
    pub(crate) fn snapshot(&self) -> Result<ReadTransaction, StorageError> {
        self.with_open(|database| {
            let path = self.source.path();
            database.begin_read().map_err(|error| fault::of_reading(path, &error.into()))
        })
    }

    /// Lends the database for as long as `use_it` takes.
    pub(crate) fn with_open<T>(
        &self,
        use_it: impl FnOnce(&Database) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        match &*self.state() {
            State::Open(database) => use_it(database),
            State::Down { detail, .. } => Err(self.unavailable(detail.clone())),
            State::Compacting => Err(self.unavailable(COMPACTING.to_owned())),
            State::Closed => Err(self.closed()),
        }
    }

    /// Refuses to write what the file system has no room for.
    pub(crate) fn check_space(&self, needed: u64) -> Result<(), String> {
        // Where nobody can say, the write itself will.
        let free = self.source.free_bytes().unwrap_or(u64::MAX);
        if free >= needed {
            self.short_of.store(0, Ordering::Relaxed);
            return Ok(());
        }
        if self.short_of.swap(needed, Ordering::Relaxed) == 0 {
            let path = self.source.path().display();
            tracing::error!(%path, free, needed, "the disk is full: nothing is written");
        }
        Err(format!("the disk is full: {free} bytes are free and {needed} needed"))
    }

    /// Whether the file system has so much room.
    pub(crate) fn has_space(&self, needed: u64) -> bool {
        self.source.free_bytes().unwrap_or(u64::MAX) >= needed
    }

    /// Whether it takes writes, as far as that is known without writing.
    pub(crate) fn status(&self) -> StorageStatus {
        match &*self.state() {
            State::Open(_) if self.suspect.load(Ordering::Acquire) => {
                StorageStatus::Failed { detail: "a read failed".to_owned() }
            }
            State::Open(_) => {
                let needed_bytes = self.short_of.load(Ordering::Relaxed);
                let free_bytes = self.source.free_bytes().unwrap_or(u64::MAX);
                if free_bytes < needed_bytes {
                    StorageStatus::NoSpace { free_bytes, needed_bytes }
                } else {
                    StorageStatus::Ready
                }
            }
            State::Down { detail, .. } => StorageStatus::Failed { detail: detail.clone() },
            State::Compacting => StorageStatus::Compacting,
            State::Closed => StorageStatus::Closed,
        }
    }

    /// Compacts the file once the reads under way are over; those that come meanwhile are refused.
    /// Gives whether that gained anything.
    pub(crate) fn compact(&self) -> Result<bool, StorageError> {
        let mut database = match self.set(State::Compacting) {
            State::Open(database) => database,
            other => {
                drop(self.set(other));
                return Err(self.unavailable("it is not open".to_owned()));
            }
        };
        let compact = catch_unwind(AssertUnwindSafe(|| {
            let compacted = database.compact();
            (database, compacted)
        }));
        let failed = match compact {
            Ok((database, Ok(compacted))) => {
                drop(self.set(State::Open(database)));
                return Ok(compacted);
            }
            Ok((database, Err(CompactionError::TransactionInProgress))) => {
                drop(self.set(State::Open(database)));
                return Err(self.unavailable("a backup is being made".to_owned()));
            }
            Ok((database, Err(error))) => {
                drop(database);
                error.to_string()
            }
            Err(panic) => panic_text(&*panic).to_owned(),
        };
        self.take_down(&failed);
        drop(self.reopen());
        Err(self.unavailable(failed))
    }

    /// Whether the writer is to call [`Slot::reopen`] before it goes on.
    pub(crate) fn wants_reopening(&self) -> bool {
        self.suspect.load(Ordering::Acquire) || matches!(&*self.state(), State::Down { .. })
    }

    /// Drops the database after a failure; everyone gets `Unavailable` until it is open again.
    pub(crate) fn take_down(&self, detail: &str) {
        tracing::error!(path = %self.source.path().display(), detail, "the database failed");
        self.go_down(detail.to_owned(), Instant::now());
        self.suspect.store(false, Ordering::Release);
    }

    /// Opens the file again, checking it as at start, but closing no sessions: they live on here.
    /// Otherwise says why not.
    pub(crate) fn reopen(&self) -> Result<(), String> {
        if self.suspect.swap(false, Ordering::AcqRel) {
            self.take_down("a read failed");
        }
        if let State::Down { detail, retry_at } = &*self.state()
            && Instant::now() < *retry_at
        {
            return Err(detail.clone());
        }
        self.source.drop_cache();
        match self.source.open(Verification::Full) {
            Ok(database) => {
                drop(self.set(State::Open(database)));
                self.reopens.fetch_add(1, Ordering::Relaxed);
                tracing::info!(path = %self.source.path().display(), "the database is open again");
                Ok(())
            }
            Err(error) => {
                let detail = error.to_string();
                tracing::error!(detail, "the database cannot be opened again");
                self.go_down(detail.clone(), Instant::now() + self.source.reopen_pause());
                Err(detail)
            }
        }
    }

    fn go_down(&self, detail: String, retry_at: Instant) {
        drop(self.set(State::Down { detail, retry_at }));
    }

    /// Closes the file and releases its lock, for good.
    pub(crate) fn close(&self) -> Result<(), StorageError> {
        match self.set(State::Closed) {
            State::Open(database) => {
                database.close().map_err(|error| self.unavailable(error.to_string()))
            }
            State::Down { .. } | State::Compacting | State::Closed => Ok(()),
        }
    }

    /// Waits for the reads under way; gives the state before, so that it is dropped outside the lock.
    fn set(&self, state: State) -> State {
        std::mem::replace(&mut *self.state.write().unwrap_or_else(PoisonError::into_inner), state)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn stats(&self) -> StorageStats {
        StorageStats {
            commits: self.commits.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            reopens: self.reopens.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn unavailable(&self, detail: String) -> StorageError {
        StorageError::Unavailable { path: self.source.path().to_owned(), detail }
    }

    pub(crate) fn closed(&self) -> StorageError {
        StorageError::Closed { path: self.source.path().to_owned() }
    }
}
