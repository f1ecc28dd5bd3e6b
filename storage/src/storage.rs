//! The handle that the rest of the program holds: opening, counters, shutting down.
//!
//! Invariant: clones share one writer and one file; the file is closed, and its lock released,
//! when the last clone is gone or [`Storage::shutdown`] has returned.
//! Reads are in `storage/read.rs`, those of heaps in `storage/load.rs`,
//! those of workspaces' keys in `storage/kv.rs`, writes in `storage/write.rs`,
//! copies of the whole in `storage/backup.rs`.

pub(crate) mod backup;
mod kv;
mod load;
pub(crate) mod read;
pub(crate) mod write;

use crate::database::{Slot, Source, StorageStatus, Verification, create, recover};
use crate::error::StorageError;
use crate::writer::{self, Queue};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The store. Cheap to clone; each clone is the same store.
#[derive(Clone, Debug)]
pub struct Storage {
    slot: Arc<Slot>,
    queue: Queue,
}

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageOptions {
    /// Memory for cached pages, in bytes.
    ///
    /// redb takes 1 GiB unless told. What is read again soon is the records of live sessions and
    /// the events of the last executions: some tens of megabytes hold a thousand of each, and the
    /// operating system's page cache stands behind them.
    pub cache_bytes: usize,
    /// How long a file that failed, and could not be opened again, is left alone before the next
    /// request tries again. A try may read the whole file; the default is a quarter of a second.
    pub reopen_pause: Duration,
    /// How much of the file is verified when it is opened at start. After an I/O error
    /// all of it is.
    pub verification: Verification,
    /// How long the writer waits for more before it records what lets the file open fast after a
    /// crash; the default is 25 milliseconds.
    pub settle_after: Duration,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 * 1024 * 1024,
            reopen_pause: Duration::from_millis(250),
            verification: Verification::Quick,
            settle_after: writer::SETTLE_AFTER,
        }
    }
}

/// What opening had to put right, because the process before did not end in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Executions that were running and are now `error`, `HOST_STOPPED`.
    pub executions_stopped: u64,
    /// Sessions that were starting and are now crashed.
    pub sessions_crashed: u64,
}

/// Counters of the writer since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageStats {
    /// Durable commits made.
    pub commits: u64,
    /// Writes answered, with whatever answer.
    pub requests: u64,
    /// Times that the file was opened again after a failure.
    pub reopens: u64,
}

impl Storage {
    /// Opens the database at `path`, or creates it, and puts right what a crash left.
    ///
    /// Blocks meanwhile, for as long as [`StorageOptions::verification`] says: call it before
    /// serving, off the async workers.
    ///
    /// # Errors
    /// [`StorageError::Damaged`], `NewerFormat`, `OlderFormat`, `OpenElsewhere`, `MissingFolder`
    /// or `NotWritable`: the file is left as it was.
    pub fn open(path: &Path, options: StorageOptions) -> Result<(Self, Recovery), StorageError> {
        create::if_absent(path)?;
        Self::open_source(Source::of_file(path, options))
    }

    pub(crate) fn open_source(source: Source) -> Result<(Self, Recovery), StorageError> {
        let database = source.open(source.options().verification)?;
        let recovery = recover::stop_what_ran(&source, &database)?;
        let slot = Arc::new(Slot::new(source, database));
        let queue = writer::start(&slot)?;
        Ok((Self { slot, queue }, recovery))
    }

    /// The counters so far.
    pub fn stats(&self) -> StorageStats {
        self.slot.stats()
    }

    /// Whether it takes writes now, and if not, why. One that does not is tried again meanwhile.
    pub fn status(&self) -> StorageStatus {
        let status = self.slot.status();
        if !matches!(status, StorageStatus::Ready | StorageStatus::Closed) {
            self.queue.wake();
        }
        status
    }

    /// Moves what the file holds together, and gives what is free back to the file system. Reads
    /// that come meanwhile are refused with [`StorageError::Unavailable`], writes wait: call it when
    /// there are few. Gives whether that gained anything.
    ///
    /// # Errors
    /// `Unavailable` while a backup is made, and the states of the store.
    pub async fn compact(&self) -> Result<bool, StorageError> {
        self.queue.compact(&self.slot).await
    }

    /// Finishes the writes that were asked for before, then closes the file.
    ///
    /// Other clones are of no use afterwards: they answer [`StorageError::Closed`]. When this has
    /// returned, the file may be opened again at once.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when closing failed. The lock is released all the same, and
    /// every write answered `Ok` is in the file.
    pub async fn shutdown(self) -> Result<(), StorageError> {
        self.queue.stop(&self.slot).await
    }
}
