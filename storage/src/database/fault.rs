//! What redb's errors and panics mean to us.
//!
//! Invariant: nothing here decides what to do about a failure, only what it is called.
//! redb's enums are non-exhaustive, which is why matches on them end in a catch-all.

use crate::error::StorageError;
use redb::DatabaseError;
use std::any::Any;
use std::io;
use std::path::Path;

/// Why something done inside a transaction did not work out.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It cannot be done as asked, and nothing was written for it.
    Refused(StorageError),
    /// redb failed, and the transaction with it.
    Engine(redb::Error),
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Refused(error)
    }
}

macro_rules! engine_faults {
    ($($error:ty),+) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Engine(error.into())
            }
        }
    )+};
}

engine_faults!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError);

/// A failure to open the file.
pub(crate) fn of_opening(path: &Path, error: DatabaseError) -> StorageError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StorageError::OpenElsewhere { path }
        }
        DatabaseError::Storage(redb::StorageError::Io(error)) => of_io(&path, error),
        // Also a redb file format that this redb does not read: no version of ours wrote one.
        error => StorageError::Damaged { path, detail: error.to_string() },
    }
}

/// A failure to write a new file, or to put right what one that was opened holds.
pub(crate) fn of_creating(path: &Path, error: redb::Error) -> StorageError {
    match error {
        redb::Error::Io(error) => of_io(path, error),
        error @ (redb::Error::Backend(_)
        | redb::Error::PreviousIo
        | redb::Error::DatabaseClosed
        | redb::Error::LockPoisoned(_)) => of_io(path, io::Error::other(error)),
        error => StorageError::Damaged { path: path.to_owned(), detail: error.to_string() },
    }
}

/// What the operating system said about the file.
pub(crate) fn of_io(path: &Path, error: io::Error) -> StorageError {
    let path = path.to_owned();
    match error.kind() {
        // redb's names for a wrong or missing magic number, and for a file that is too short.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            StorageError::Damaged { path, detail: error.to_string() }
        }
        _ => StorageError::NotWritable { path, source: error },
    }
}

/// A failure inside a read.
pub(crate) fn of_reading(path: &Path, error: &redb::Error) -> StorageError {
    let (path, detail) = (path.to_owned(), error.to_string());
    match error {
        redb::Error::Io(_)
        | redb::Error::Backend(_)
        | redb::Error::PreviousIo
        | redb::Error::DatabaseClosed
        | redb::Error::LockPoisoned(_) => StorageError::Unavailable { path, detail },
        _ => StorageError::Damaged { path, detail },
    }
}

/// A panic of redb: it trusts what it reads more than a damaged file deserves.
pub(crate) fn of_panic(path: &Path, panic: &(dyn Any + Send)) -> StorageError {
    StorageError::Damaged { path: path.to_owned(), detail: panic_text(panic).to_owned() }
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
