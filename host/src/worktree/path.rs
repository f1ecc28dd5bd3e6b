//! Paths of files in a worktree, before any file is looked at.
//!
//! Invariant: a `WorktreePath` is relative, has no NUL, no `.` but the root's and no empty component,
//! and is at most `MAX_PATH_BYTES` long. One made by `strict` has no `..` either.
//!
//! Leaves to the worktree what a path means: symbolic links, `..`, and whether anything is there. A
//! `\` or a `%2e` is a character of a name like any other.

use std::fmt;
use std::path::Path;

/// Bytes of a path as it is given: the kernel's `PATH_MAX`, so that nothing longer could be opened.
pub(super) const MAX_PATH_BYTES: usize = 4096;

/// A relative path of a file in a worktree; the root is `.`.
///
/// A slash at the end is not kept: it names the same file as the path without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorktreePath(String);

/// Why a path cannot name a file of a worktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing at all.
    #[error("the path is empty")]
    Empty,
    /// It begins with a slash where only a relative path will do.
    #[error("the path is absolute; give it relative to the worktree")]
    Absolute,
    /// It has a `..` where none is allowed.
    #[error("the path has a '..' component")]
    ParentDir,
    /// It has a NUL.
    #[error("the path has a NUL character")]
    Nul,
    /// It is longer than any path that could be opened.
    #[error("the path is longer than {limit} bytes")]
    TooLong {
        /// Bytes that are allowed.
        limit: usize,
    },
}

impl WorktreePath {
    /// The worktree itself.
    pub(crate) fn root() -> Self {
        Self(".".to_owned())
    }

    /// A path as clients give it: relative, and without any `..`.
    pub(crate) fn strict(path: &str) -> Result<Self, PathError> {
        let path = Self::relative(path)?;
        if path.0.split('/').any(|component| component == "..") {
            return Err(PathError::ParentDir);
        }
        Ok(path)
    }

    /// A relative path, with any `..` left in it.
    pub(super) fn relative(path: &str) -> Result<Self, PathError> {
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong { limit: MAX_PATH_BYTES });
        }
        if path.contains('\0') {
            return Err(PathError::Nul);
        }
        if path.starts_with('/') {
            return Err(PathError::Absolute);
        }
        let mut normal = String::with_capacity(path.len());
        for component in path.split('/').filter(|component| !matches!(*component, "" | ".")) {
            if !normal.is_empty() {
                normal.push('/');
            }
            normal.push_str(component);
        }
        if normal.is_empty() {
            normal.push('.');
        }
        Ok(Self(normal))
    }

    /// The path as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a path as clients give it, before there is a worktree to look it up in: relative, without
/// `..` or NUL, and no longer than any that could be opened.
pub fn check_path(path: &str) -> Result<(), PathError> {
    WorktreePath::strict(path).map(drop)
}

impl AsRef<Path> for WorktreePath {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for WorktreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl PathError {
    /// The code that Node gives for the like.
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "ENOENT",
            Self::Absolute | Self::ParentDir => "EACCES",
            Self::Nul => "EINVAL",
            Self::TooLong { limit: _ } => "ENAMETOOLONG",
        }
    }
}
