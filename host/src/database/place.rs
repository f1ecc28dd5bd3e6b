//! What the files are that SQLite opens for one connection: the database, its journal, and those without
//! a name, which are for what it sorts and puts aside.
//!
//! Invariant: a connection has one database; there is no name by which it could open another. What is
//! temporary is in memory, and bounded for the connection.

use super::disk::{Disk, Journal, Locked};
use super::memory::{MemoryFile, Scratch};
use rusqlite::ffi;
use std::os::raw::c_int;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What SQLite knows a result by.
pub(super) type Code = c_int;

/// How the database is named to SQLite.
pub(super) const MAIN: &str = "main";
/// How SQLite then names its journal.
const JOURNAL: &str = "main-journal";
/// How it names the log of a mode that we do not have.
const LOG: &str = "main-wal";

/// The files of one connection.
pub(super) struct Place {
    store: Store,
    /// Bytes of its temporary files.
    scratch: Arc<AtomicU64>,
    /// Set when nobody waits for the connection any more.
    stopped: Arc<AtomicBool>,
}

/// Where the database is.
pub(super) enum Store {
    /// In memory, shared with who keeps it when the connection is closed.
    Memory(Arc<Mutex<MemoryFile>>),
    Disk(Disk),
}

impl Place {
    pub(super) fn new(store: Store, stopped: Arc<AtomicBool>) -> Self {
        Self { store, scratch: Arc::default(), stopped }
    }

    /// Whether nobody waits for what the connection does.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Takes a file away: none but the journal.
    pub(super) fn delete(&self, name: &str) -> Result<(), Code> {
        match &self.store {
            Store::Disk(disk) if name == JOURNAL => disk.delete_journal(),
            Store::Disk(_) | Store::Memory(_) => Err(ffi::SQLITE_IOERR_DELETE),
        }
    }

    /// Whether a file is there.
    pub(super) fn has(&self, name: &str) -> Result<bool, Code> {
        match (&self.store, name) {
            (Store::Disk(disk), JOURNAL) => disk.has_journal(),
            (Store::Disk(disk), LOG) => Ok(disk.has_log()),
            (_, MAIN) => Ok(true),
            (Store::Disk(_) | Store::Memory(_), _) => Ok(false),
        }
    }
}

/// A file that SQLite opened.
pub(super) enum OpenFile {
    Memory(Arc<Mutex<MemoryFile>>),
    Scratch(Scratch),
    Disk(Locked),
    Journal(Journal),
}

impl OpenFile {
    /// Opens the file of a name; without one, a temporary file.
    pub(super) fn open(place: &Place, name: Option<&str>, flags: c_int) -> Result<Self, Code> {
        match (&place.store, name) {
            (_, None) => Ok(Self::Scratch(Scratch::new(Arc::clone(&place.scratch)))),
            (Store::Memory(file), Some(MAIN)) => Ok(Self::Memory(Arc::clone(file))),
            (Store::Disk(disk), Some(MAIN)) => disk.database().map(Self::Disk),
            (Store::Disk(disk), Some(JOURNAL)) => disk.journal(flags).map(Self::Journal),
            (Store::Memory(_) | Store::Disk(_), Some(_)) => Err(ffi::SQLITE_CANTOPEN),
        }
    }

    /// Reads what there is from an offset on; gives how many bytes that was.
    pub(super) fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, Code> {
        match self {
            Self::Memory(file) => Ok(unpoisoned(file).read(buffer, offset)),
            Self::Scratch(file) => Ok(file.read(buffer, offset)),
            Self::Disk(file) => file.read(buffer, offset),
            Self::Journal(file) => file.read(buffer, offset),
        }
    }

    pub(super) fn write(&mut self, buffer: &[u8], offset: u64) -> Result<(), Code> {
        match self {
            Self::Memory(file) => unpoisoned(file).write(buffer, offset),
            Self::Scratch(file) => file.write(buffer, offset),
            Self::Disk(file) => file.write(buffer, offset),
            Self::Journal(file) => file.write(buffer, offset),
        }
    }

    pub(super) fn truncate(&mut self, size: u64) -> Result<(), Code> {
        match self {
            Self::Memory(file) => unpoisoned(file).truncate(size),
            Self::Scratch(file) => {
                file.truncate(size);
                Ok(())
            }
            Self::Disk(file) => file.truncate(size),
            Self::Journal(file) => file.truncate(size),
        }
    }

    pub(super) fn sync(&mut self) -> Result<(), Code> {
        match self {
            Self::Memory(_) | Self::Scratch(_) => Ok(()),
            Self::Disk(file) => file.sync(),
            Self::Journal(file) => file.sync(),
        }
    }

    pub(super) fn size(&mut self) -> Result<u64, Code> {
        match self {
            Self::Memory(file) => Ok(unpoisoned(file).bytes().len() as u64),
            Self::Scratch(file) => Ok(file.size()),
            Self::Disk(file) => file.size(),
            Self::Journal(file) => file.size(),
        }
    }

    /// Takes a lock. Only the database's file is anybody else's too.
    pub(super) fn lock(&mut self, level: c_int) -> Result<(), Code> {
        match self {
            Self::Disk(file) => file.lock(level),
            Self::Memory(_) | Self::Scratch(_) | Self::Journal(_) => Ok(()),
        }
    }

    pub(super) fn unlock(&mut self, level: c_int) -> Result<(), Code> {
        match self {
            Self::Disk(file) => file.unlock(level),
            Self::Memory(_) | Self::Scratch(_) | Self::Journal(_) => Ok(()),
        }
    }

    /// Whether somebody writes the database, or is about to.
    pub(super) fn is_reserved(&mut self) -> Result<bool, Code> {
        match self {
            Self::Disk(file) => file.is_reserved(),
            Self::Memory(_) | Self::Scratch(_) | Self::Journal(_) => Ok(false),
        }
    }
}

/// A file in memory; a panic while it was written leaves what the next check of SQLite's finds.
pub(super) fn unpoisoned(file: &Mutex<MemoryFile>) -> std::sync::MutexGuard<'_, MemoryFile> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}
