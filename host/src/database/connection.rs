//! One connection: SQLite on one database, for the length of an execution.
//!
//! Invariant: SQLite is called with the files of the connection's own place, also when it is closed,
//! which rolls back what is open. Once nobody waits for it, a statement ends within a thousand of its
//! steps.

use super::disk::{Disk, OpenError};
use super::memory::{BLOCK_BYTES, MemoryFile};
use super::place::{MAIN, Place, Store, unpoisoned};
use super::statements::{Bounds, Wanted, run};
use super::wire::Asked;
use super::{Refused, guard, vfs};
use rusqlite::{Connection, OpenFlags};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Steps of a statement between two looks at whether somebody waits for it.
const STEPS: i32 = 1_000;
/// How long another connection's lock is waited for, and how often it is looked at.
const BUSY_LOOKS: i32 = 500;
const BUSY_WAIT: Duration = Duration::from_millis(10);

/// An open database.
pub(super) struct Open {
    /// As the script names it.
    dsn: String,
    place: Arc<Place>,
    /// None once it is closed.
    connection: Option<Connection>,
    memory: Option<Arc<Mutex<MemoryFile>>>,
}

/// Whether a connection may write a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    Allowed,
    Denied,
}

impl Open {
    /// Opens a database in memory.
    pub(super) fn memory(
        dsn: &str,
        file: &Arc<Mutex<MemoryFile>>,
        stopped: Arc<AtomicBool>,
    ) -> Result<Self, Refused> {
        let pages = unpoisoned(file).max_bytes() / BLOCK_BYTES;
        // Its journal need not outlive the connection, and nothing of it is on a disk.
        let settings = format!(
            "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA max_page_count = {pages}"
        );
        let place = Place::new(Store::Memory(Arc::clone(file)), stopped);
        let mut open = Self::connect(dsn, place, Writing::Allowed, &settings)?;
        open.memory = Some(Arc::clone(file));
        Ok(open)
    }

    /// Opens one that is a file.
    pub(super) fn disk(
        dsn: &str,
        disk: Disk,
        writing: Writing,
        stopped: Arc<AtomicBool>,
    ) -> Result<Self, Refused> {
        Self::connect(dsn, Place::new(Store::Disk(disk), stopped), writing, "")
    }

    fn connect(dsn: &str, place: Place, writing: Writing, settings: &str) -> Result<Self, Refused> {
        vfs::register().map_err(Refused::of_code)?;
        let place = Arc::new(place);
        let access = match writing {
            Writing::Allowed => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            Writing::Denied => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        let open = || -> rusqlite::Result<Connection> {
            let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut connection = Connection::open_with_flags_and_vfs(MAIN, flags, vfs::NAME)?;
            let (working, busy) = (Arc::clone(&place), Arc::clone(&place));
            connection.progress_handler(STEPS, Some(move || working.is_stopped()))?;
            connection.busy_handler(Some(move |looks| {
                std::thread::sleep(BUSY_WAIT);
                looks < BUSY_LOOKS && !busy.is_stopped()
            }))?;
            connection.execute_batch(settings)?;
            guard::guard(&mut connection)?;
            Ok(connection)
        };
        let connection = vfs::within(&place, open).map_err(|error| Refused::of_sqlite(&error))?;
        Ok(Self { dsn: dsn.to_owned(), place, connection: Some(connection), memory: None })
    }

    pub(super) fn is_of(&self, dsn: &str) -> bool {
        self.dsn == dsn
    }

    /// Runs what a script asks; gives what it is answered.
    pub(super) fn run(
        &self,
        asked: &Asked<'_>,
        wanted: Wanted,
        bounds: Bounds,
    ) -> Result<Vec<u8>, Refused> {
        let connection = self.connection.as_ref().expect("it is closed when it is dropped");
        vfs::within(&self.place, || {
            let mut answer = vec![0];
            let ran = run(connection, asked, wanted, bounds, &mut answer);
            // What a statement changed before it failed has to be kept too.
            let is_changed = self
                .memory
                .as_ref()
                .is_some_and(|file| unpoisoned(file).is_changed() || !connection.is_autocommit());
            answer[0] = u8::from(is_changed);
            match ran {
                Ok(()) => Ok(answer),
                Err(refused) => Err(refused.having_changed(is_changed)),
            }
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let connection = self.connection.take();
        vfs::within(&self.place, || drop(connection));
    }
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::File(error) => error.code(),
            OpenError::ForeignJournal => "EACCES",
            OpenError::Log => "ENOTSUP",
            OpenError::Io(_) => "EIO",
        };
        Self::new(code, error.to_string())
    }
}
