//! What can go wrong with a worktree and its files, and how the kernel's answers become that.
//!
//! Invariant: no message of a `FileError` names a place on the host, so that one can be shown to the
//! script or the client that caused it. Whoever shows it knows the path and adds it.
//!
//! Leaves to others: status codes, and the errors of a path that was never opened.

use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// Why a folder cannot be a worktree. These are for whoever chose the folder, and name it.
#[derive(Debug, thiserror::Error)]
pub enum WorktreeError {
    /// The path is relative.
    #[error("'{}' is not an absolute path", path.display())]
    NotAbsolute {
        /// As it was given.
        path: PathBuf,
    },
    /// It is not beneath any folder that the host keeps worktrees in.
    #[error("'{}' is outside the folders that this host keeps worktrees in", path.display())]
    OutsideRoots {
        /// As it was given.
        path: PathBuf,
    },
    /// There is nothing at the path.
    #[error("'{}' does not exist", path.display())]
    NotFound {
        /// As it was given.
        path: PathBuf,
    },
    /// The path, or one above it, is no directory.
    #[error("'{}' is not a directory", path.display())]
    NotADirectory {
        /// As it was given.
        path: PathBuf,
    },
    /// The kernel refused for another reason.
    #[error("'{}' cannot be opened: {source}", path.display())]
    Io {
        /// As it was given.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl WorktreeError {
    pub(super) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match Errno::from_io_error(&source) {
            Some(Errno::NOENT) => Self::NotFound { path },
            Some(Errno::NOTDIR) => Self::NotADirectory { path },
            Some(_) | None => Self::Io { path, source },
        }
    }
}

/// Why something cannot be done with a file of a worktree.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is nothing at the path.
    #[error("no such file or directory")]
    NotFound,
    /// The path leaves the worktree: by a `..`, or by a symbolic link that has one too many or is
    /// absolute. An absolute link is refused even when it leads back inside.
    #[error("the path leads outside the worktree")]
    Escapes,
    /// It is a FIFO, a socket or a device.
    #[error("not a regular file")]
    NotAFile,
    /// It is a directory, and a file is needed.
    #[error("illegal operation on a directory")]
    IsADirectory,
    /// It, or a part of the path before it, is not a directory.
    #[error("not a directory")]
    NotADirectory,
    /// There is something at the path already.
    #[error("file already exists")]
    AlreadyExists,
    /// The file has more bytes than the caller takes.
    #[error("file is larger than {limit} bytes")]
    TooLarge {
        /// Bytes that the caller takes.
        limit: u64,
    },
    /// The directory has more entries than the caller takes.
    #[error("directory has more than {limit} entries")]
    TooManyEntries {
        /// Entries that the caller takes.
        limit: usize,
    },
    /// The path goes through a symbolic link where none is followed.
    #[error("symbolic links are not followed where a capability names paths")]
    Link,
    /// The directory that is removed, or replaced, has entries.
    #[error("directory not empty")]
    NotEmpty,
    /// The worktree's files would have more bytes together than they may.
    #[error("the worktree's quota of {limit} bytes is exceeded")]
    Quota {
        /// Bytes that they may have.
        limit: u64,
    },
    /// The path goes through more symbolic links than the kernel follows, as in a loop.
    #[error("too many symbolic links encountered")]
    TooManyLinks,
    /// The path, or one name in it, is longer than the file system allows.
    #[error("name too long")]
    NameTooLong,
    /// The user that the host runs as may not do this.
    #[error("permission denied")]
    PermissionDenied,
    /// The device, or the share of it that the host may fill, is full.
    #[error("no space left on device")]
    NoSpace,
    /// The kernel refused for another reason.
    #[error("i/o error")]
    Io(#[source] io::Error),
}

impl FileError {
    /// The code that Node gives for the like.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "ENOENT",
            Self::Escapes | Self::PermissionDenied | Self::Link => "EACCES",
            Self::NotAFile => "EINVAL",
            Self::IsADirectory => "EISDIR",
            Self::NotADirectory => "ENOTDIR",
            Self::AlreadyExists => "EEXIST",
            Self::TooLarge { limit: _ } => "EFBIG",
            Self::TooManyEntries { limit: _ } => "EOVERFLOW",
            Self::NotEmpty => "ENOTEMPTY",
            Self::Quota { limit: _ } => "EDQUOT",
            Self::TooManyLinks => "ELOOP",
            Self::NameTooLong => "ENAMETOOLONG",
            Self::NoSpace => "ENOSPC",
            Self::Io(_) => "EIO",
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        let Some(errno) = Errno::from_io_error(&error) else {
            // cap-std makes its own error for a path that leaves (`errors::escape_attempt` in
            // cap-primitives, also where `openat2` says EXDEV). It has the kind of an EACCES but, not
            // coming from the kernel, no number, and is the only one of this kind that has none.
            return match error.kind() {
                io::ErrorKind::PermissionDenied => Self::Escapes,
                _ => Self::Io(error),
            };
        };
        match errno {
            Errno::NOENT => Self::NotFound,
            Errno::XDEV => Self::Escapes,
            // A socket, a FIFO that nobody reads, and a device that has no driver.
            Errno::NXIO | Errno::NODEV => Self::NotAFile,
            Errno::ISDIR => Self::IsADirectory,
            Errno::NOTDIR => Self::NotADirectory,
            Errno::EXIST => Self::AlreadyExists,
            Errno::NOTEMPTY => Self::NotEmpty,
            Errno::LOOP => Self::TooManyLinks,
            Errno::NAMETOOLONG => Self::NameTooLong,
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Self::PermissionDenied,
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace,
            _ => Self::Io(error),
        }
    }
}
