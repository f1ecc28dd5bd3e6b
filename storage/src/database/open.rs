//! Opening a database that is there, and refusing one that is not as it should be.
//!
//! Invariant: what `Source::open` gives has the format of this version and every table. It never
//! creates or empties anything.

use super::{fault, migrate};
use crate::error::StorageError;
use crate::storage::StorageOptions;
use crate::tables::{FORMAT_KEY, FORMAT_VERSION, META, Snapshot};
use redb::{Builder, Database, DatabaseError, ReadableDatabase};
use std::fmt;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much of a file is verified before it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// What redb does by itself: nothing for a file that was closed in order or settled, so that
    /// opening takes milliseconds however large it is; every page after a crash under load. A heap
    /// is verified when it is loaded, a record when it is read.
    #[default]
    Quick,
    /// The checksum of every page: 1.3 milliseconds a MB when the file is in the page cache.
    Full,
}

type Opener = Box<dyn Fn(&Builder) -> Result<Database, DatabaseError> + Send + Sync>;

/// Where the database comes from, each time that it is opened.
pub(crate) struct Source {
    path: PathBuf,
    options: StorageOptions,
    opener: Opener,
    /// Bytes that are free where the file grows.
    space: Space,
}

type Space = Box<dyn Fn() -> io::Result<u64> + Send + Sync>;

impl Source {
    pub(crate) fn of_file(path: &Path, options: StorageOptions) -> Self {
        let file = path.to_owned();
        let space = path.to_owned();
        Self {
            space: Box::new(move || free_bytes(&space)),
            ..Self::new(path, options, Box::new(move |builder| builder.open(&file)))
        }
    }

    /// A source of another making: a file of another name, or what stands in for a disk.
    pub(crate) fn new(path: &Path, options: StorageOptions, opener: Opener) -> Self {
        Self { path: path.to_owned(), options, opener, space: Box::new(|| Ok(u64::MAX)) }
    }

    /// The source with another idea of how much is free.
    #[cfg(test)]
    pub(crate) fn with_space(self, space: Space) -> Self {
        Self { space, ..self }
    }

    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        (self.space)()
    }

    /// Has the kernel forget what it holds of the file, so that what is read next is what the disk
    /// has. One that cannot be opened says so when it is opened in earnest.
    pub(crate) fn drop_cache(&self) {
        if let Ok(file) = File::open(&self.path) {
            let advised = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            if let Err(error) = advised {
                tracing::debug!(%error, "the cache of the database was not dropped");
            }
        }
    }

    pub(crate) fn options(&self) -> &StorageOptions {
        &self.options
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn reopen_pause(&self) -> Duration {
        self.options.reopen_pause
    }

    /// Opens the database, brings it to this version's format, and checks it.
    pub(crate) fn open(&self, verification: Verification) -> Result<Database, StorageError> {
        catch_unwind(AssertUnwindSafe(|| {
            let database = (self.opener)(&self.builder(verification))
                .map_err(|error| fault::of_opening(&self.path, error))?;
            self.check_format(&database)?;
            Ok(database)
        }))
        .unwrap_or_else(|panic| Err(fault::of_panic(&self.path, &*panic)))
    }

    fn builder(&self, verification: Verification) -> Builder {
        let mut builder = Builder::new();
        builder
            .set_cache_size(self.options.cache_bytes)
            .set_check_integrity_on_open(verification == Verification::Full);
        builder
    }

    fn check_format(&self, database: &Database) -> Result<(), StorageError> {
        let found = read_format(database)
            .map_err(|error| fault::of_creating(&self.path, error))?
            .ok_or_else(|| StorageError::Damaged {
            path: self.path.clone(),
            detail: "it does not say which format it has".to_owned(),
        })?;
        let (path, supported) = (self.path.clone(), FORMAT_VERSION);
        if found > supported {
            return Err(StorageError::NewerFormat { path, found, supported });
        }
        if found < supported {
            migrate::migrate(&self.path, database, found)?;
        }
        self.check_tables(database)
    }

    fn check_tables(&self, database: &Database) -> Result<(), StorageError> {
        let txn =
            database.begin_read().map_err(|error| fault::of_creating(&self.path, error.into()))?;
        Snapshot::open(&txn).map_err(|error| fault::of_creating(&self.path, error.into())).map(drop)
    }
}

/// What a process like this one may still write on the file's file system.
fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The format that the file says it has.
fn read_format(database: &Database) -> Result<Option<u64>, redb::Error> {
    let meta = database.begin_read()?.open_table(META)?;
    Ok(meta.get(FORMAT_KEY)?.map(|format| format.value()))
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("path", &self.path).finish_non_exhaustive()
    }
}
