//! The one open database, behind a lock so that it can be dropped and opened again.
//!
//! ```text
//!            +---- fail ----> Down ----+
//!            |                  ^      | reopen
//! open ---> Open <--------------|------+
//!            |                  +-- reopen fails
//!            +---- close ---> Closed <--- close --- Down
//! ```
//!
//! redb latches after any I/O error: reads fail from then on too, and only opening the file again
//! clears it. So the first error, whether a read or a write met it, takes the database down, and
//! the writer opens it again when it next has something to do.
//!
//! Invariant: only the writer's thread changes the state; readers hold it only for one read.
//! What opening checks is in `database/open.rs`, making a file in `database/create.rs`.

pub(crate) mod create;
mod fault;
mod open;
pub(crate) mod recover;

pub(crate) use fault::{Fault, panic_text};
pub(crate) use open::Source;

use crate::error::StorageError;
use crate::storage::StorageStats;
use crate::tables::Snapshot;
use redb::{Database, ReadableDatabase};
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
    Closed,
}

impl Slot {
    pub(crate) fn new(source: Source, database: Database) -> Self {
        Self {
            source,
            state: RwLock::new(State::Open(database)),
            suspect: AtomicBool::new(false),
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

    /// Lends the database for as long as `use_it` takes.
    pub(crate) fn with_open<T>(
        &self,
        use_it: impl FnOnce(&Database) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        match &*self.state() {
            State::Open(database) => use_it(database),
            State::Down { detail, .. } => Err(self.unavailable(detail.clone())),
            State::Closed => Err(self.closed()),
        }
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
        match self.source.open() {
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
            State::Down { .. } | State::Closed => Ok(()),
        }
    }

    /// Waits for the reads under way; gives the state before, so that it is dropped outside the lock.
    fn set(&self, state: State) -> State {
        std::mem::replace(&mut *self.state.write().unwrap_or_else(PoisonError::into_inner), state)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
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
