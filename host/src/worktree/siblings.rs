//! A file of a worktree and those beside it whose names begin with its own, as a database and its
//! journal are.
//!
//! Invariant: the folder is a handle that was opened without following a link; names are looked up in it
//! and nowhere else, and what is opened is a regular file and no link.

use super::content::open_regular;
use super::literal::link_or;
use super::{FileError, LiteralPath, Worktree};
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, OpenOptions};
use std::fs::File;
use std::io;

/// A folder, and a name in it.
#[derive(Debug)]
pub(crate) struct Siblings {
    dir: Dir,
    name: String,
}

/// How one of them is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Read,
    ReadWrite,
    /// Made if it is not there.
    Create,
}

impl Worktree {
    /// The file at a path, and those beside it.
    pub(crate) fn siblings(&self, path: &LiteralPath) -> Result<Siblings, FileError> {
        let (dir, name) = self.folder_and_name(path)?;
        Ok(Siblings { dir, name })
    }
}

impl Siblings {
    /// Opens the file whose name has `suffix` behind it.
    pub(crate) fn open(&self, suffix: &str, opening: Opening) -> Result<File, FileError> {
        let name = format!("{}{suffix}", self.name);
        let mut options = OpenOptions::new();
        options.read(true).write(opening != Opening::Read).create(opening == Opening::Create);
        options.follow(FollowSymlinks::No);
        let opened = open_regular(&self.dir, name.as_ref(), &mut options)
            .map_err(|error| link_or(&self.dir, &name, error))?;
        Ok(opened.file.into_std())
    }

    /// Takes one out of the folder.
    pub(crate) fn remove(&self, suffix: &str) -> Result<(), FileError> {
        Ok(self.dir.remove_file(format!("{}{suffix}", self.name))?)
    }

    /// Has the disk know the folder's names.
    pub(crate) fn sync_folder(&self) -> io::Result<()> {
        self.dir.open(".")?.into_std().sync_all()
    }
}
