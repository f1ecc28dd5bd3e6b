//! Paths taken literally: no symbolic link is followed on the way, nor at the end, so that the text
//! of a path says where it leads.
//!
//! Invariant: every folder on the way is opened as a folder, beneath the handle of the one before it.
//! A link that is put in the place of one, at whatever moment, is refused.

use super::content::{CHUNK_BYTES, RegularFile};
use super::entries::{DirEntry, FileStat, listed};
use super::{FileError, FileKind, PathError, Worktree, WorktreePath};
use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, OpenOptions};
use std::io::Write;

/// A path without `..` or `.`, of which the text alone says what it is beneath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiteralPath(WorktreePath);

/// The folder that a path ends in, and the name there; none for the worktree itself.
struct Place<'a> {
    dir: Dir,
    name: Option<&'a str>,
}

impl LiteralPath {
    /// A path with its `..` resolved by its text.
    pub(crate) fn of(path: &WorktreePath) -> Result<Self, PathError> {
        let mut kept: Vec<&str> = Vec::new();
        for component in path.as_str().split('/').filter(|component| *component != ".") {
            if component == ".." {
                kept.pop().ok_or(PathError::ParentDir)?;
            } else {
                kept.push(component);
            }
        }
        let text = kept.join("/");
        WorktreePath::strict(if text.is_empty() { "." } else { &text }).map(Self)
    }

    /// Whether it is `prefix`, or beneath it.
    pub(crate) fn is_beneath(&self, prefix: &Self) -> bool {
        prefix.is_root()
            || self
                .text()
                .strip_prefix(prefix.text())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Its ancestors and itself, the outermost first, without the worktree.
    pub(crate) fn steps(&self) -> Vec<Self> {
        if self.is_root() {
            return Vec::new();
        }
        let text = self.text();
        let ends = text.match_indices('/').map(|(end, _)| end).chain([text.len()]);
        ends.map(|end| {
            let step = WorktreePath::strict(&text[..end]);
            Self(step.expect("checked by construction: the start of a strict path is one"))
        })
        .collect()
    }

    /// The path of a name in it; none when no path can be so long.
    pub(crate) fn join(&self, name: &str) -> Option<Self> {
        WorktreePath::strict(&format!("{}/{name}", self.text())).ok().map(Self)
    }

    /// As scripts know it, from the worktree's root.
    pub(crate) fn rooted(&self) -> String {
        if self.is_root() { "/".to_owned() } else { format!("/{}", self.text()) }
    }

    fn is_root(&self) -> bool {
        self.text() == "."
    }

    fn text(&self) -> &str {
        self.0.as_str()
    }

    fn name(&self) -> Option<&str> {
        if self.is_root() { None } else { self.text().rsplit('/').next() }
    }
}

impl Worktree {
    fn place<'a>(&self, path: &'a LiteralPath) -> Result<Place<'a>, FileError> {
        let mut dir = self.dir.try_clone()?;
        let above = path.text().rsplit_once('/').map_or("", |(above, _)| above);
        for component in above.split('/').filter(|component| !component.is_empty()) {
            dir = open_folder(&dir, component)?;
        }
        Ok(Place { dir, name: path.name() })
    }

    /// The folder that a path ends in, and the name there.
    pub(super) fn folder_and_name(&self, path: &LiteralPath) -> Result<(Dir, String), FileError> {
        let Place { dir, name } = self.place(path)?;
        Ok((dir, name.ok_or(FileError::IsADirectory)?.to_owned()))
    }

    pub(crate) fn read_literal(
        &self,
        path: &LiteralPath,
        max_bytes: u64,
    ) -> Result<Vec<u8>, FileError> {
        self.place(path)?.open(OpenOptions::new().read(true))?.read(max_bytes)
    }

    /// Writes `content` as the whole of a file, or behind what it holds.
    pub(crate) fn write_literal(
        &self,
        path: &LiteralPath,
        content: &[u8],
        appends: bool,
    ) -> Result<(), FileError> {
        let place = self.place(path)?;
        let mut options = OpenOptions::new();
        let options = if appends { options.append(true) } else { options.write(true) };
        let mut file = place.open(options.create(true))?.file;
        if !appends {
            file.set_len(0)?;
        }
        for chunk in content.chunks(CHUNK_BYTES) {
            file.write_all(chunk)?;
        }
        Ok(())
    }

    /// What lies at the path itself.
    pub(crate) fn stat_literal(&self, path: &LiteralPath) -> Result<FileStat, FileError> {
        let place = self.place(path)?;
        let metadata = match place.name {
            None => place.dir.dir_metadata()?,
            Some(name) => place.dir.symlink_metadata(name)?,
        };
        Ok(FileStat::new(&metadata))
    }

    pub(crate) fn read_dir_literal(
        &self,
        path: &LiteralPath,
        max_entries: usize,
    ) -> Result<Vec<DirEntry>, FileError> {
        let place = self.place(path)?;
        let dir = match place.name {
            None => place.dir,
            Some(name) => open_folder(&place.dir, name)?,
        };
        listed(dir.entries()?, max_entries)
    }

    pub(crate) fn make_dir_literal(&self, path: &LiteralPath) -> Result<(), FileError> {
        let place = self.place(path)?;
        Ok(place.dir.create_dir(place.name.ok_or(FileError::AlreadyExists)?)?)
    }

    pub(crate) fn unlink_literal(&self, path: &LiteralPath) -> Result<(), FileError> {
        let place = self.place(path)?;
        Ok(place.dir.remove_file(place.name.ok_or(FileError::IsADirectory)?)?)
    }

    pub(crate) fn remove_dir_literal(&self, path: &LiteralPath) -> Result<(), FileError> {
        let place = self.place(path)?;
        Ok(place.dir.remove_dir(place.name.ok_or(FileError::PermissionDenied)?)?)
    }

    pub(crate) fn rename_literal(
        &self,
        from: &LiteralPath,
        to: &LiteralPath,
    ) -> Result<(), FileError> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        match (from.name, to.name) {
            (Some(old), Some(new)) => Ok(from.dir.rename(old, &to.dir, new)?),
            _ => Err(FileError::PermissionDenied),
        }
    }
}

impl Place<'_> {
    /// Opens the regular file there.
    fn open(&self, options: &mut OpenOptions) -> Result<RegularFile, FileError> {
        let name = self.name.ok_or(FileError::IsADirectory)?;
        options.follow(FollowSymlinks::No);
        super::content::open_regular(&self.dir, name.as_ref(), options)
            .map_err(|error| self.link_or(name, error))
    }

    /// An error of opening a name, which for a link is that it is one.
    fn link_or(&self, name: &str, error: FileError) -> FileError {
        link_or(&self.dir, name, error)
    }
}

fn open_folder(dir: &Dir, name: &str) -> Result<Dir, FileError> {
    dir.open_dir_nofollow(name).map_err(|error| link_or(dir, name, error.into()))
}

pub(super) fn link_or(dir: &Dir, name: &str, error: FileError) -> FileError {
    match dir.symlink_metadata(name) {
        Ok(metadata) if metadata.is_symlink() => FileError::Link,
        Ok(_) | Err(_) => error,
    }
}

impl FileStat {
    /// Itself, unless it is of a link.
    pub(crate) fn not_of_a_link(self) -> Result<Self, FileError> {
        if self.kind == FileKind::Link { Err(FileError::Link) } else { Ok(self) }
    }
}
