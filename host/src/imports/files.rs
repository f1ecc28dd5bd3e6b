//! The host's side of the `fs` module: what a session may do with the files of its worktree.
//!
//! Invariant: nothing is written without a write grant, and no call of the file system runs on an
//! async worker. Paths and files are the worktree's concern.

use super::calls::{Called, Calls};
use crate::worktree::{FileError, FileKind, Parents, Worktree};
use std::sync::Arc;
use vm_guest::abi::{Operation, make_dir_flags};

/// Entries of a folder that a script may list.
const MAX_DIR_ENTRIES: usize = 10_000;

/// What a session may do with files.
#[derive(Clone)]
pub(crate) struct Files {
    worktree: Arc<Worktree>,
    access: Access,
    /// Bytes of one file that is read: no more than the session's memory can hold.
    max_read_bytes: u64,
}

/// Whether a session may change files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

impl Files {
    pub(crate) fn new(worktree: Arc<Worktree>, access: Access, max_read_bytes: u64) -> Self {
        Self { worktree, access, max_read_bytes }
    }

    /// Carries out one operation; an error is a code and a reason with a newline between them.
    pub(super) async fn call(
        self,
        calls: &Calls,
        operation: Operation,
        flags: u32,
        path: String,
        data: Vec<u8>,
    ) -> Called {
        calls.make(move || self.blocking(operation, flags, &path, &data)).await
    }

    fn blocking(
        &self,
        operation: Operation,
        flags: u32,
        path: &str,
        data: &[u8],
    ) -> Result<Vec<u8>, String> {
        if self.access == Access::Read && changes_files(operation) {
            return Err("EACCES\npermission denied: the template does not grant writing".to_owned());
        }
        let path = match self.worktree.lenient(path) {
            Ok(path) => path,
            Err(_) if operation == Operation::FsExists => return Ok(vec![0]),
            Err(error) => return Err(format!("{}\n{error}", error.code())),
        };
        let answer = match operation {
            Operation::Require | Operation::ModuleResolve | Operation::ModuleSource => {
                return Err("EINVAL\nnot an operation on files".to_owned());
            }
            Operation::FsRead => self.worktree.read(&path, self.max_read_bytes),
            Operation::FsWrite => self.worktree.write(&path, data).map(|()| Vec::new()),
            Operation::FsExists => Ok(vec![u8::from(self.worktree.exists(&path))]),
            Operation::FsReadDir => self.worktree.read_dir(&path, MAX_DIR_ENTRIES).map(names),
            Operation::FsStat => self.worktree.stat(&path).map(|stat| {
                let kind = match stat.kind {
                    FileKind::File => 1.0,
                    FileKind::Directory => 2.0,
                    FileKind::Other => 0.0,
                };
                [kind, approximate(stat.size), stat.modified_ms].map(f64::to_le_bytes).concat()
            }),
            Operation::FsMakeDir => {
                let recursive = flags & make_dir_flags::RECURSIVE != 0;
                let parents = if recursive { Parents::Create } else { Parents::Require };
                self.worktree.make_dir(&path, parents).map(|()| Vec::new())
            }
            Operation::FsUnlink => self.worktree.unlink(&path).map(|()| Vec::new()),
        };
        answer.map_err(|error: FileError| format!("{}\n{error}", error.code()))
    }
}

/// Whether an operation changes what is outside the guest's memory.
pub(super) fn changes_files(operation: Operation) -> bool {
    match operation {
        Operation::FsWrite | Operation::FsMakeDir | Operation::FsUnlink => true,
        Operation::Require
        | Operation::FsRead
        | Operation::FsExists
        | Operation::FsReadDir
        | Operation::FsStat
        | Operation::ModuleResolve
        | Operation::ModuleSource => false,
    }
}

/// Names with a NUL behind each, which no name can hold.
fn names(names: Vec<String>) -> Vec<u8> {
    let mut answer = Vec::new();
    for name in names {
        answer.extend_from_slice(name.as_bytes());
        answer.push(0);
    }
    answer
}

/// A size as JavaScript counts: exact up to 2^53, larger than any file system's files.
#[expect(clippy::cast_precision_loss, reason = "as it says")]
fn approximate(size: u64) -> f64 {
    size as f64
}
