//! Opening a database that is there, and refusing one that is not as it should be.
//!
//! Invariant: what `Source::open` gives has had every page's checksum verified, has the format of
//! this version, and has every table. It never creates or empties anything.

use super::fault;
use crate::error::StorageError;
use crate::storage::StorageOptions;
use crate::tables::{FORMAT_KEY, FORMAT_VERSION, META, Snapshot};
use redb::{Builder, Database, DatabaseError, ReadableDatabase};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether opening verifies every page, whatever state the file was left in.
///
/// redb would otherwise trust a file that was closed in order: a flipped bit then becomes a wrong
/// record, a panic or an empty table. Measured with the file in the page cache: 23 ms for 13 MB,
/// 165 to 270 ms for 200,000 events (142 MB), 0.7 s for a million (570 MB), so some 1.3 ms a MB.
/// After a kill, redb by itself takes as long (21 ms, 156 to 315 ms, 0.9 s), or 4 to 35 ms with
/// `QUICK_REPAIR`; for a file closed in order it takes 1 to 3 ms.
const CHECK_INTEGRITY: bool = true;

type Opener = Box<dyn Fn(&Builder) -> Result<Database, DatabaseError> + Send + Sync>;

/// Where the database comes from, each time that it is opened.
pub(crate) struct Source {
    path: PathBuf,
    options: StorageOptions,
    opener: Opener,
}

impl Source {
    pub(crate) fn of_file(path: &Path, options: StorageOptions) -> Self {
        let file = path.to_owned();
        Self::new(path, options, Box::new(move |builder| builder.open(&file)))
    }

    /// A source of another making, for tests that stand in for the disk.
    pub(crate) fn new(path: &Path, options: StorageOptions, opener: Opener) -> Self {
        Self { path: path.to_owned(), options, opener }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn reopen_pause(&self) -> Duration {
        self.options.reopen_pause
    }

    /// Opens the database and checks it.
    pub(crate) fn open(&self) -> Result<Database, StorageError> {
        catch_unwind(AssertUnwindSafe(|| {
            let database = (self.opener)(&self.builder())
                .map_err(|error| fault::of_opening(&self.path, error))?;
            self.check_format(&database)?;
            Ok(database)
        }))
        .unwrap_or_else(|panic| Err(fault::of_panic(&self.path, &*panic)))
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        builder
            .set_cache_size(self.options.cache_bytes)
            .set_check_integrity_on_open(CHECK_INTEGRITY);
        builder
    }

    fn check_format(&self, database: &Database) -> Result<(), StorageError> {
        let found = read_format(database)
            .map_err(|error| fault::of_reading(&self.path, &error))?
            .ok_or_else(|| StorageError::Damaged {
            path: self.path.clone(),
            detail: "it does not say which format it has".to_owned(),
        })?;
        let (path, supported) = (self.path.clone(), FORMAT_VERSION);
        match found.cmp(&supported) {
            std::cmp::Ordering::Less => Err(StorageError::OlderFormat { path, found, supported }),
            std::cmp::Ordering::Greater => {
                Err(StorageError::NewerFormat { path, found, supported })
            }
            std::cmp::Ordering::Equal => self.check_tables(database),
        }
    }

    fn check_tables(&self, database: &Database) -> Result<(), StorageError> {
        let txn =
            database.begin_read().map_err(|error| fault::of_reading(&self.path, &error.into()))?;
        Snapshot::open(&txn).map_err(|error| fault::of_reading(&self.path, &error.into())).map(drop)
    }
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
