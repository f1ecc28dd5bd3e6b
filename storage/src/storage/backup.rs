//! Copies of the whole store: made while it is in use, and put in the place of one that is lost.
//!
//! A backup is a database of one committed state, written anew: as small as it can be, and opened
//! like any other.
//!
//! Invariant: the copy's name only ever stands for a whole copy; nothing is written over.

use super::Storage;
use crate::database::create::publish_draft;
use crate::database::{Fault, Source, Verification, panic_text};
use crate::error::StorageError;
use crate::storage::StorageOptions;
use crate::tables::{CopyTable, FORMAT_KEY, FORMAT_VERSION, META, Snapshot};
use redb::{
    Builder, Database, Durability, Key, ReadOnlyTable, ReadTransaction, ReadableTable,
    TableDefinition, Value,
};
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Rows of one transaction of the copy: what it holds in memory at one time.
const ROWS_AT_ONCE: usize = 10_000;

/// Memory for cached pages of the copy, in bytes: it is written and not read.
const COPY_CACHE: usize = 16 << 20;

impl Storage {
    /// Writes a copy of the store, as it is at one moment, to a file that does not exist. Others
    /// read and write meanwhile. Gives the bytes of the copy.
    ///
    /// Blocks for as long as the copy takes: call it off the async workers.
    ///
    /// # Errors
    /// [`StorageError::Backup`] when the copy cannot be written, and the states of the store.
    pub fn backup(&self, target: &Path) -> Result<u64, StorageError> {
        let wrong = |problem: String| StorageError::Backup { path: target.to_owned(), problem };
        if std::fs::symlink_metadata(target).is_ok() {
            return Err(wrong("exists already".to_owned()));
        }
        let written = publish_draft(target, |draft| {
            let copy = Database::builder().set_cache_size(COPY_CACHE).create(draft);
            let copy = copy.map_err(|error| wrong(format!("cannot be written: {error}")))?;
            let txn = self.slot.snapshot()?;
            // Whose file an error is of cannot be told: one of the store's is met by others too.
            let copied = catch_unwind(AssertUnwindSafe(|| copy_into(&txn, &copy)));
            match copied {
                Ok(Ok(())) => {}
                Ok(Err(Fault::Engine(error))) => {
                    return Err(wrong(format!("cannot be written: {error}")));
                }
                Ok(Err(Fault::Refused(error))) => return Err(error),
                Err(panic) => {
                    return Err(wrong(format!("cannot be written: {}", panic_text(&*panic))));
                }
            }
            drop(txn);
            copy.close().map_err(|error| wrong(format!("cannot be written: {error}")))
        });
        match written {
            Ok(true) => {}
            Ok(false) => return Err(wrong("exists already".to_owned())),
            Err(StorageError::MissingFolder { .. }) => {
                return Err(wrong("has no folder to be in".to_owned()));
            }
            Err(error) => return Err(error),
        }
        Ok(std::fs::metadata(target).map_or(0, |file| file.len()))
    }
}

/// Puts a backup where a database is to be. Every page of it is verified before.
///
/// # Errors
/// [`StorageError::Backup`] when there is a file of the database's name already, the backup cannot
/// be read or the copy not be written; and what opening a database gives, for one that is none.
pub fn restore(backup: &Path, database: &Path) -> Result<(), StorageError> {
    let wrong = |problem: String| StorageError::Backup { path: backup.to_owned(), problem };
    let taken = || wrong(format!("is not restored: {} exists already", database.display()));
    if std::fs::symlink_metadata(database).is_ok() {
        return Err(taken());
    }
    let published = publish_draft(database, |draft| {
        let copied = copy_file(backup, draft);
        copied.map_err(|error| wrong(format!("cannot be copied: {error}")))?;
        let draft = draft.to_owned();
        // Under the backup's name, which is what an error is about.
        let opener = Box::new(move |builder: &Builder| builder.open(&draft));
        let source = Source::new(backup, StorageOptions::default(), opener);
        let database = source.open(Verification::Full)?;
        database.close().map_err(|error| wrong(format!("cannot be closed: {error}")))
    });
    if published? { Ok(()) } else { Err(taken()) }
}

/// Copies bytes alone: a backup may be read-only, and the database is not to be.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut copy = File::create_new(to)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    copy.sync_all()
}

/// Verifies the checksum of every page of a database that nobody has open.
///
/// # Errors
/// What opening a database gives.
pub fn verify(database: &Path) -> Result<(), StorageError> {
    let source = Source::of_file(database, StorageOptions::default());
    let opened = source.open(Verification::Full)?;
    opened.close().map_err(|error| StorageError::Damaged {
        path: database.to_owned(),
        detail: error.to_string(),
    })
}

fn copy_into(txn: &ReadTransaction, copy: &Database) -> Result<(), Fault> {
    Snapshot::open(txn)?.copy(&mut Copier { copy })?;
    // The format comes last: until then the copy is no database of ours.
    let mut txn = copy.begin_write()?;
    txn.set_two_phase_commit(true);
    txn.set_quick_repair(true);
    txn.open_table(META)?.insert(FORMAT_KEY, FORMAT_VERSION)?;
    txn.commit()?;
    Ok(())
}

struct Copier<'a> {
    copy: &'a Database,
}

impl CopyTable for Copier<'_> {
    fn copy<K: Key + 'static, V: Value + 'static>(
        &mut self,
        from: &ReadOnlyTable<K, V>,
        to: TableDefinition<'_, K, V>,
    ) -> Result<(), Fault> {
        let mut rows = from.iter()?;
        loop {
            let mut txn = self.copy.begin_write()?;
            txn.set_durability(Durability::None)
                .expect("checked by construction: the transaction has no savepoint");
            let mut copied = 0;
            let mut table = txn.open_table(to)?;
            for row in rows.by_ref().take(ROWS_AT_ONCE) {
                let (key, value) = row?;
                table.insert(key.value(), value.value())?;
                copied += 1;
            }
            drop(table);
            txn.commit()?;
            if copied < ROWS_AT_ONCE {
                return Ok(());
            }
        }
    }
}
