//! The folders that worktrees may lie in.
//!
//! Invariant: with roots, a worktree is opened beneath the handle of one of them, so that no link
//! leads out of it, not even one that is swapped while it is opened.

use super::{Worktree, WorktreeError};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// The folders that worktrees may lie in.
#[derive(Debug)]
pub(crate) struct Roots {
    /// None where they may lie anywhere.
    folders: Option<Vec<Root>>,
}

#[derive(Debug)]
struct Root {
    dir: Dir,
    given: PathBuf,
    canonical: PathBuf,
}

impl Roots {
    /// Opens the folders, each by an absolute path or one relative to the current folder. Without any,
    /// worktrees may lie anywhere.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self, WorktreeError> {
        if paths.is_empty() {
            return Ok(Self { folders: None });
        }
        let folders = paths.iter().map(|path| Root::open(path)).collect::<Result<_, _>>()?;
        Ok(Self { folders: Some(folders) })
    }

    /// Opens those of the folders that are there. Without any, there are no worktrees.
    pub(crate) fn beneath(paths: &[String]) -> Self {
        let open = |path: &String| match Root::open(path.as_ref()) {
            Ok(root) => Some(root),
            Err(error) => {
                tracing::warn!(%error, "a folder for worktrees cannot be opened");
                None
            }
        };
        Self { folders: Some(paths.iter().filter_map(open).collect()) }
    }

    /// Opens the worktree at an absolute path, if it lies where one may.
    pub(crate) fn worktree(&self, path: &Path) -> Result<Worktree, WorktreeError> {
        let Some(folders) = self.folders.as_ref().filter(|_| path.is_absolute()) else {
            return Worktree::open(path);
        };
        let outside = || WorktreeError::OutsideRoots { path: path.to_owned() };
        let (root, inside) =
            folders.iter().find_map(|root| root.inside(path)).ok_or_else(outside)?;
        // The root itself has no name beneath itself.
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        let refused = |source: io::Error| match Errno::from_io_error(&source) {
            // Only an attempt to leave, which cap-std refuses itself, has no number.
            None if source.kind() == io::ErrorKind::PermissionDenied => outside(),
            Some(Errno::XDEV) => outside(),
            Some(_) | None => WorktreeError::from_io(path, source),
        };
        let dir = root.dir.open_dir(inside).map_err(refused)?;
        let canonical = root.canonical.join(root.dir.canonicalize(inside).map_err(refused)?);
        Worktree::of_handle(dir, path, canonical)
    }
}

impl Root {
    fn open(path: &Path) -> Result<Self, WorktreeError> {
        let refused = |source: io::Error| WorktreeError::from_io(path, source);
        let given = std::path::absolute(path).map_err(refused)?;
        let canonical = path.canonicalize().map_err(refused)?;
        let dir = Dir::open_ambient_dir(&canonical, ambient_authority()).map_err(refused)?;
        Ok(Self { dir, given, canonical })
    }

    fn inside<'a>(&self, path: &'a Path) -> Option<(&Self, &'a Path)> {
        let inside = path.strip_prefix(&self.canonical).or_else(|_| path.strip_prefix(&self.given));
        inside.ok().map(|inside| (self, inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_worktree_lies_beneath_a_root_however_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["root/project", "root-beside", "outside"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        symlink(path("outside"), path("root/leaves")).unwrap();
        symlink("project", path("root/stays")).unwrap();
        let roots = Roots::open(&[path("root")]).unwrap();
        for good in ["root", "root/project", "root/stays", "root/project/."] {
            roots.worktree(&path(good)).unwrap();
        }
        for bad in
            ["outside", "root-beside", "root/leaves", "root/../outside", "root/project/../.."]
        {
            let refused = roots.worktree(&path(bad)).unwrap_err();
            assert!(matches!(refused, WorktreeError::OutsideRoots { .. }), "{bad}: {refused}");
        }
        let refused = roots.worktree(&path("root/missing")).unwrap_err();
        assert!(matches!(refused, WorktreeError::NotFound { .. }), "{refused}");
    }
}
