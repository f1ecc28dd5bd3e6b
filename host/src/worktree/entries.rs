//! What is in a worktree: the names, kinds and sizes of its files, its folders, and taking away.
//!
//! Invariant: looking opens nothing but directories, so that it waits for no FIFO and wakes no
//! device. Links are followed while they stay inside, except the one that is taken away itself.
//!
//! Leaves to others: modes and owners.

use super::{FileError, Worktree, WorktreePath};
use cap_std::fs::{FileType, Metadata, MetadataExt, ReadDir};
use std::path::PathBuf;
pub(crate) use vm_guest::abi::FileKind;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirEntry {
    /// What is not UTF-8 in it is replaced by U+FFFD, so such a name cannot be opened.
    pub(crate) name: String,
    /// What it is itself: a link is not followed.
    pub(crate) kind: FileKind,
}

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FileStat {
    pub(crate) kind: FileKind,
    /// Bytes.
    pub(crate) size: u64,
    /// Milliseconds since 1970, with a fraction.
    pub(crate) modified_ms: f64,
}

/// What to do about the directories above one that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parents {
    /// Make the ones that are missing, and take a directory that exists for made.
    Create,
    /// They must be there, and the directory must not.
    Require,
}

impl Worktree {
    /// Whether `path` leads to something inside the worktree. Any failure is a no.
    pub(crate) fn exists(&self, path: &WorktreePath) -> bool {
        self.dir.metadata(path).is_ok()
    }

    /// The kind, size and time of what `path` leads to.
    pub(crate) fn stat(&self, path: &WorktreePath) -> Result<FileStat, FileError> {
        Ok(FileStat::new(&self.dir.metadata(path)?))
    }

    /// The same of the link itself, if it is one, and whether it is.
    pub(crate) fn stat_link(&self, path: &WorktreePath) -> Result<(FileStat, bool), FileError> {
        let metadata = self.dir.symlink_metadata(path)?;
        Ok((FileStat::new(&metadata), metadata.is_symlink()))
    }

    /// What the link at `path` says, if it leads to something inside the worktree.
    pub(crate) fn read_link(&self, path: &WorktreePath) -> Result<PathBuf, FileError> {
        self.dir.metadata(path)?;
        Ok(self.dir.read_link(path)?)
    }

    /// The path without links of what `path` leads to, relative to the root.
    pub(crate) fn canonical(&self, path: &WorktreePath) -> Result<PathBuf, FileError> {
        Ok(self.dir.canonicalize(path)?)
    }

    /// What is in the directory at `path`, sorted by name, if there are no more than `max_entries`.
    pub(crate) fn read_dir(
        &self,
        path: &WorktreePath,
        max_entries: usize,
    ) -> Result<Vec<DirEntry>, FileError> {
        listed(self.dir.read_dir(path)?, max_entries)
    }

    /// Makes a directory at `path`, and those above it as `parents` says. There are at most as many
    /// as the longest path has components.
    pub(crate) fn make_dir(&self, path: &WorktreePath, parents: Parents) -> Result<(), FileError> {
        match parents {
            Parents::Create => self.dir.create_dir_all(path)?,
            Parents::Require => self.dir.create_dir(path)?,
        }
        Ok(())
    }

    /// Gives what lies at `from` the path `to`, in the place of a file that is there. Links at either
    /// path are moved and replaced themselves.
    pub(crate) fn rename(&self, from: &WorktreePath, to: &WorktreePath) -> Result<(), FileError> {
        Ok(self.dir.rename(from, &self.dir, to)?)
    }

    /// Takes the empty directory at `path` out of its own.
    pub(crate) fn remove_dir(&self, path: &WorktreePath) -> Result<(), FileError> {
        Ok(self.dir.remove_dir(path)?)
    }

    /// Takes the file or the symbolic link at `path` out of its directory. Directories stay.
    pub(crate) fn unlink(&self, path: &WorktreePath) -> Result<(), FileError> {
        Ok(self.dir.remove_file(path)?)
    }
}

/// The entries of a directory, sorted by name.
pub(super) fn listed(entries: ReadDir, max_entries: usize) -> Result<Vec<DirEntry>, FileError> {
    let mut found = Vec::new();
    for entry in entries {
        if found.len() == max_entries {
            return Err(FileError::TooManyEntries { limit: max_entries });
        }
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push(DirEntry { name, kind: kind_of(entry.file_type()?) });
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn kind_of(kind: FileType) -> FileKind {
    if kind.is_file() {
        FileKind::File
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_symlink() {
        FileKind::Link
    } else {
        FileKind::Other
    }
}

impl FileStat {
    pub(super) fn new(metadata: &Metadata) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a double counts seconds to 2^53 exactly")]
        let modified_ms = metadata.mtime() as f64 * 1e3 + metadata.mtime_nsec() as f64 / 1e6;
        Self { kind: kind_of(metadata.file_type()), size: metadata.size(), modified_ms }
    }
}
