//! The one folder of a session that its scripts and its clients may name files in.
//!
//! Owns the handle of that folder and everything that is done with the files beneath it. Calls
//! block: run them where that is allowed.
//!
//! Invariant: a name is resolved beneath the handle and nowhere else, and what was opened is judged
//! by its own handle, never by its name. Nothing is checked before it is opened, so there is no
//! moment at which a hostile file can be swapped for what was checked.
//!
//! Leaves to others: who may read or write, how paths are reported, and hard links: a file that is
//! linked into the folder is a file of the folder.

mod content;
mod entries;
mod error;
mod literal;
mod path;
mod roots;
mod siblings;
#[cfg(test)]
mod tests;
mod usage;

pub(crate) use content::FileVersion;
pub(crate) use entries::{DirEntry, FileKind, FileStat, Parents};
pub use error::{FileError, WorktreeError};
pub(crate) use literal::LiteralPath;
pub(crate) use path::WorktreePath;
pub use path::{PathError, check_path};
pub(crate) use roots::Roots;
pub(crate) use siblings::{Opening, Siblings};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use vm_storage::WorktreeIdentity;

/// An open folder, and the files beneath it.
#[derive(Debug)]
pub(crate) struct Worktree {
    dir: Dir,
    /// The root as it was given, and what it was when it was opened. Only ever compared with and
    /// shown: nothing is opened by them again.
    given: PathBuf,
    canonical: PathBuf,
    identity: WorktreeIdentity,
}

/// The root of a worktree, as a process that is about to be made finds it.
pub(crate) struct WorkingDirectory {
    dir: Dir,
    canonical: PathBuf,
}

impl WorkingDirectory {
    /// Where it is: by the handle, which a forked process has too, where the system names handles.
    pub(crate) fn path(&self) -> PathBuf {
        if cfg!(target_os = "linux") {
            PathBuf::from(format!("/proc/self/fd/{}", self.dir.as_raw_fd()))
        } else {
            self.canonical.clone()
        }
    }
}

impl Worktree {
    /// Opens the directory at the absolute `path`, through symbolic links if there are any.
    pub(crate) fn open(path: &Path) -> Result<Self, WorktreeError> {
        if !path.is_absolute() {
            return Err(WorktreeError::NotAbsolute { path: path.to_owned() });
        }
        let refused = |source: io::Error| WorktreeError::from_io(path, source);
        let canonical = path.canonicalize().map_err(refused)?;
        // `O_DIRECTORY` is among the flags: whatever else lies there is refused, not opened.
        let dir = Dir::open_ambient_dir(&canonical, ambient_authority()).map_err(refused)?;
        Self::of_handle(dir, path, canonical)
    }

    /// The open directory `dir`, which was found at `given`.
    fn of_handle(dir: Dir, given: &Path, canonical: PathBuf) -> Result<Self, WorktreeError> {
        let metadata =
            dir.dir_metadata().map_err(|source| WorktreeError::from_io(given, source))?;
        let born = metadata.created().ok().map(cap_std::time::SystemTime::into_std);
        let born = born.and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
        let identity = WorktreeIdentity {
            inode: metadata.ino(),
            born_or_device: match born {
                Some(born) => u64::try_from(born.as_nanos()).unwrap_or(u64::MAX),
                None => metadata.dev(),
            },
        };
        Ok(Self { dir, given: given.to_owned(), canonical, identity })
    }

    /// The root without symbolic links, as it was when it was opened.
    #[cfg(test)]
    pub(crate) fn root(&self) -> &Path {
        &self.canonical
    }

    /// Which directory the root is, for telling later whether a path still leads here.
    pub(crate) fn identity(&self) -> WorktreeIdentity {
        self.identity
    }

    /// The root, for a program to work in: a path that leads to the handle, as long as what is given
    /// lives.
    pub(crate) fn working_directory(&self) -> io::Result<WorkingDirectory> {
        Ok(WorkingDirectory { dir: self.dir.try_clone()?, canonical: self.canonical.clone() })
    }

    /// A path as scripts give it: relative to the root, absolute and beneath the root's name, or
    /// absolute as modules know their own, with the worktree as `/`.
    ///
    /// A `..` stays in the path, since what it means depends on the links before it. Resolving it
    /// beneath the handle refuses the ones that leave.
    pub(crate) fn lenient(&self, path: &str) -> Result<WorktreePath, PathError> {
        let beneath = |root: &PathBuf| Path::new(path).strip_prefix(root).ok();
        let named = [&self.given, &self.canonical].into_iter().find_map(beneath);
        let inside = match named {
            Some(inside) => inside.to_str().expect("the end of a str at a separator is a str"),
            None => path.trim_start_matches('/'),
        };
        // The root itself is "." rather than an empty path.
        let is_root = inside.is_empty() && !path.is_empty();
        WorktreePath::relative(if is_root { "." } else { inside })
    }
}
