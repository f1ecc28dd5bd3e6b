//! A database that is a file of the worktree, and its journal beside it.
//!
//! ```text
//!  begin ─▶ journal made, marked, written, synced ─▶ database written, synced ─▶ journal emptied, removed
//!              └─ the host dies: none was changed       └─ the host dies: the next to open plays it back
//! ```
//!
//! A journal is played back only if it is one of ours: SQLite would write what it says into the database,
//! and one that came with a worktree says what its author likes. Ours have a mark, an extended attribute
//! that names the journal's and the database's own inode and birth, so that no copy or other file has it.
//! Where the file system keeps no attributes, a journal that a killed host left is refused too.
//!
//! Invariant: a file is opened beneath its folder's handle, and no link is followed. What has content and
//! no mark is neither played back, written nor removed.

use super::place::Code;
use crate::worktree::{FileError, Opening, Siblings};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use rusqlite::ffi;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use std::fs::{File, Metadata};
use std::io;
use std::os::raw::c_int;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// What is behind the database's name in those of its journal and its log.
const JOURNAL: &str = "-journal";
const LOG: &str = "-wal";

/// Where a journal says whose it is.
const MARK: &str = "user.vm-system.journal";

/// Where SQLite's locks lie in a database's file, by its own numbers: no page does.
const PENDING_BYTE: i64 = 0x4000_0000;
const RESERVED_BYTE: i64 = PENDING_BYTE + 1;
const SHARED_FIRST: i64 = PENDING_BYTE + 2;
const SHARED_BYTES: i64 = 510;

/// Where the header of a database says how it is written and read, and the number for a log.
const MODES: std::ops::Range<usize> = 18..20;
const LOG_MODE: u8 = 2;

/// A database's file.
pub(super) struct Disk {
    siblings: Arc<Siblings>,
    /// Until SQLite opens it.
    database: Mutex<Option<File>>,
    identity: Identity,
    /// The journal that is open for writing, to be emptied before it is removed: what moved it away
    /// meanwhile has an empty file then.
    writing: Mutex<Option<File>>,
    max_bytes: u64,
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("a journal lies beside the database that this host did not leave there")]
    ForeignJournal,
    #[error("the database is in WAL mode, or has a log beside it, which is not supported")]
    Log,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Which file a file is, also after a crash; no copy has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    inode: u64,
    born: u128,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok();
        let born = born.and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
        Self { inode: metadata.ino(), born: born.map_or(0, |born| born.as_nanos()) }
    }

    /// What the mark of this journal says when it is the database's.
    fn mark_of(self, journal: Self) -> String {
        format!("{:x}.{:x} {:x}.{:x}", journal.inode, journal.born, self.inode, self.born)
    }
}

impl Disk {
    /// Opens the database.
    pub(super) fn open(
        siblings: Siblings,
        opening: Opening,
        max_bytes: u64,
    ) -> Result<Self, OpenError> {
        let database = siblings.open("", opening)?;
        let identity = Identity::of(&database.metadata()?);
        let disk = Self {
            siblings: Arc::new(siblings),
            identity,
            writing: Mutex::default(),
            max_bytes,
            database: Mutex::default(),
        };
        let mut header = [0; MODES.end];
        let read = database.read_at(&mut header, 0)?;
        if (read == MODES.end && header[MODES].contains(&LOG_MODE)) || disk.has_log() {
            return Err(OpenError::Log);
        }
        disk.has_journal().map_err(|_| OpenError::ForeignJournal)?;
        *locked(&disk.database) = Some(database);
        Ok(disk)
    }

    /// The database's file, which SQLite opens once in a connection.
    pub(super) fn database(&self) -> Result<Locked, Code> {
        let file = locked(&self.database).take().ok_or(ffi::SQLITE_CANTOPEN)?;
        Ok(Locked { file, level: ffi::SQLITE_LOCK_NONE, max_bytes: self.max_bytes })
    }

    /// Opens the journal, to play it back or to write it.
    pub(super) fn journal(&self, flags: c_int) -> Result<Journal, Code> {
        let opening = match flags {
            flags if flags & ffi::SQLITE_OPEN_READONLY != 0 => Opening::Read,
            flags if flags & ffi::SQLITE_OPEN_CREATE != 0 => Opening::Create,
            _ => Opening::ReadWrite,
        };
        let opened = self.siblings.open(JOURNAL, opening);
        let file = opened.map_err(|_| ffi::SQLITE_CANTOPEN)?;
        let refused = |_: io::Error| ffi::SQLITE_CANTOPEN;
        if is_hot(&file).map_err(refused)? {
            if !self.is_ours(&file).map_err(refused)? {
                return Err(ffi::SQLITE_CANTOPEN);
            }
        } else if opening != Opening::Read {
            self.mark(&file).map_err(refused)?;
        }
        if opening != Opening::Read {
            *locked(&self.writing) = Some(file.try_clone().map_err(refused)?);
        }
        let siblings = Arc::clone(&self.siblings);
        Ok(Journal { file, siblings, is_named: false, max_bytes: self.max_bytes })
    }

    /// Empties the journal, then takes it out of its folder.
    pub(super) fn delete_journal(&self) -> Result<(), Code> {
        let refused = |_: io::Error| ffi::SQLITE_IOERR_DELETE;
        match locked(&self.writing).take() {
            Some(journal) => journal.set_len(0).map_err(refused)?,
            None => drop(self.has_journal().map_err(|_| ffi::SQLITE_IOERR_DELETE)?),
        }
        match self.siblings.remove(JOURNAL) {
            Ok(()) => self.siblings.sync_folder().map_err(refused),
            Err(FileError::NotFound) => Err(ffi::SQLITE_IOERR_DELETE_NOENT),
            Err(_) => Err(ffi::SQLITE_IOERR_DELETE),
        }
    }

    /// Whether there is a journal; an error when it is not ours.
    pub(super) fn has_journal(&self) -> Result<bool, Code> {
        let refused = |_: io::Error| ffi::SQLITE_IOERR_ACCESS;
        match self.siblings.open(JOURNAL, Opening::Read) {
            Ok(file) => {
                let is_foreign =
                    is_hot(&file).map_err(refused)? && !self.is_ours(&file).map_err(refused)?;
                if is_foreign { Err(ffi::SQLITE_IOERR_ACCESS) } else { Ok(true) }
            }
            Err(FileError::NotFound) => Ok(false),
            Err(_) => Err(ffi::SQLITE_IOERR_ACCESS),
        }
    }

    /// Whether there is a log with content.
    pub(super) fn has_log(&self) -> bool {
        match self.siblings.open(LOG, Opening::Read) {
            Ok(file) => file.metadata().map_or(true, |metadata| metadata.len() > 0),
            Err(error) => !matches!(error, FileError::NotFound),
        }
    }

    fn is_ours(&self, journal: &File) -> io::Result<bool> {
        let expected = self.identity.mark_of(Identity::of(&journal.metadata()?));
        let mut mark = [0; 256];
        match fgetxattr(journal, MARK, &mut mark[..]) {
            Ok(len) => Ok(mark.get(..len) == Some(expected.as_bytes())),
            // None, a longer one, or a file system that has none.
            Err(_) => Ok(false),
        }
    }

    fn mark(&self, journal: &File) -> io::Result<()> {
        let mark = self.identity.mark_of(Identity::of(&journal.metadata()?));
        match fsetxattr(journal, MARK, mark.as_bytes(), XattrFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOTSUP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether SQLite would play a journal back: one that begins with a zero is over.
fn is_hot(journal: &File) -> io::Result<bool> {
    let mut first = [0];
    Ok(journal.read_at(&mut first, 0)? > 0 && first != [0])
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(file: &File, buffer: &mut [u8], offset: u64) -> Result<usize, Code> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(ffi::SQLITE_IOERR_READ),
        }
    }
    Ok(done)
}

fn write(file: &File, buffer: &[u8], offset: u64, max_bytes: u64) -> Result<(), Code> {
    let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= max_bytes);
    end.ok_or(ffi::SQLITE_FULL)?;
    file.write_all_at(buffer, offset).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ffi::SQLITE_FULL,
        _ => ffi::SQLITE_IOERR_WRITE,
    })
}

/// The journal's file.
pub(super) struct Journal {
    file: File,
    siblings: Arc<Siblings>,
    /// Whether the disk knows its name.
    is_named: bool,
    max_bytes: u64,
}

impl Journal {
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Code> {
        read(&self.file, buffer, offset)
    }

    /// Writes, to twice what the database may have: pages have numbers and sums beside them.
    pub(super) fn write(&self, buffer: &[u8], offset: u64) -> Result<(), Code> {
        write(&self.file, buffer, offset, self.max_bytes.saturating_mul(2))
    }

    pub(super) fn truncate(&self, size: u64) -> Result<(), Code> {
        self.file.set_len(size).map_err(|_| ffi::SQLITE_IOERR_TRUNCATE)
    }

    /// Has the disk hold it, with its mark and its name, which is before the database is written.
    pub(super) fn sync(&mut self) -> Result<(), Code> {
        self.file.sync_all().map_err(|_| ffi::SQLITE_IOERR_FSYNC)?;
        if !self.is_named {
            self.siblings.sync_folder().map_err(|_| ffi::SQLITE_IOERR_DIR_FSYNC)?;
            self.is_named = true;
        }
        Ok(())
    }

    pub(super) fn size(&self) -> Result<u64, Code> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|_| ffi::SQLITE_IOERR_FSTAT)
    }
}

/// The database's file, with the lock that the connection has on it. The locks are SQLite's own, and
/// belong to the open file: those of two connections in one process exclude each other, and those of
/// another program's SQLite.
pub(super) struct Locked {
    file: File,
    level: c_int,
    max_bytes: u64,
}

impl Locked {
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Code> {
        read(&self.file, buffer, offset)
    }

    pub(super) fn write(&self, buffer: &[u8], offset: u64) -> Result<(), Code> {
        write(&self.file, buffer, offset, self.max_bytes)
    }

    pub(super) fn truncate(&self, size: u64) -> Result<(), Code> {
        self.file.set_len(size).map_err(|_| ffi::SQLITE_IOERR_TRUNCATE)
    }

    pub(super) fn sync(&self) -> Result<(), Code> {
        self.file.sync_all().map_err(|_| ffi::SQLITE_IOERR_FSYNC)
    }

    pub(super) fn size(&self) -> Result<u64, Code> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|_| ffi::SQLITE_IOERR_FSTAT)
    }

    /// Takes a lock, as SQLite's own VFS for Unix does: who reads holds the shared bytes; who will write,
    /// the reserved one; who waits for the readers to leave, the pending one, so that no others come.
    pub(super) fn lock(&mut self, level: c_int) -> Result<(), Code> {
        if self.level >= level {
            return Ok(());
        }
        match level {
            ffi::SQLITE_LOCK_SHARED => {
                self.set(libc::F_RDLCK, PENDING_BYTE, 1)?;
                let shared = self.set(libc::F_RDLCK, SHARED_FIRST, SHARED_BYTES);
                self.set(libc::F_UNLCK, PENDING_BYTE, 1)?;
                shared?;
            }
            ffi::SQLITE_LOCK_RESERVED => self.set(libc::F_WRLCK, RESERVED_BYTE, 1)?,
            _ => {
                if self.level < ffi::SQLITE_LOCK_PENDING {
                    self.set(libc::F_WRLCK, PENDING_BYTE, 1)?;
                    self.level = ffi::SQLITE_LOCK_PENDING;
                }
                if level == ffi::SQLITE_LOCK_EXCLUSIVE {
                    self.set(libc::F_WRLCK, SHARED_FIRST, SHARED_BYTES)?;
                }
            }
        }
        self.level = level;
        Ok(())
    }

    pub(super) fn unlock(&mut self, level: c_int) -> Result<(), Code> {
        if self.level <= level {
            return Ok(());
        }
        if level == ffi::SQLITE_LOCK_SHARED {
            self.set(libc::F_RDLCK, SHARED_FIRST, SHARED_BYTES)?;
            self.set(libc::F_UNLCK, PENDING_BYTE, 2)?;
        } else {
            self.set(libc::F_UNLCK, 0, 0)?;
        }
        self.level = level;
        Ok(())
    }

    pub(super) fn is_reserved(&self) -> Result<bool, Code> {
        if self.level >= ffi::SQLITE_LOCK_RESERVED {
            return Ok(true);
        }
        let mut found = range(libc::F_WRLCK, RESERVED_BYTE, 1);
        fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut found))
            .map_err(|_| ffi::SQLITE_IOERR_CHECKRESERVEDLOCK)?;
        Ok(c_int::from(found.l_type) != libc::F_UNLCK)
    }

    /// Locks bytes of the file, or unlocks them; never waits.
    fn set(&self, kind: c_int, start: i64, len: i64) -> Result<(), Code> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range(kind, start, len))) {
            Ok(_) => Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES) => Err(ffi::SQLITE_BUSY),
            Err(_) => Err(ffi::SQLITE_IOERR_LOCK),
        }
    }
}

fn range(kind: c_int, start: i64, len: i64) -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(kind)
            .expect("checked by the kernel's headers: they are 0 to 2"),
        l_whence: 0,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}
