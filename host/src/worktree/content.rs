//! The bytes of a worktree's files.
//!
//! Invariant: only regular files are read or written. They are opened in a way that waits for nobody
//! and changes nothing, and the handle then says what was opened: a FIFO or a device that was put
//! where a file was is neither waited for nor truncated.
//!
//! Leaves to others: how many bytes are too many to read or to write.

use super::{FileError, Worktree, WorktreePath};
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use std::io::{Read, Write};
use std::path::Path;

/// Bytes that one call of the kernel moves: enough that the calls do not count, and little enough
/// that a file that grows while it is read is noticed soon after its limit.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// Seconds that changes may lie apart and look alike: more than any file system's clock is coarse.
const TICK_S: i64 = 2;

/// A regular file, and its length when it was opened.
pub(super) struct RegularFile {
    pub(super) file: File,
    pub(super) bytes: u64,
}

/// What tells one content of a file from another: which file it is, its length, and when its content
/// and its description were last changed. Nobody can set the last, but two changes within a tick of
/// the clock look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileVersion {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileVersion {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a change at a time, in seconds since 1970, or after it would be seen.
    pub(crate) fn tells_changes_at(&self, unix_s: i64) -> bool {
        unix_s > self.changed.0.saturating_add(TICK_S)
    }
}

impl Worktree {
    /// The whole content of the file at `path`, if it is no longer than `max_bytes`.
    pub(crate) fn read(&self, path: &WorktreePath, max_bytes: u64) -> Result<Vec<u8>, FileError> {
        self.open_regular(path, OpenOptions::new().read(true))?.read(max_bytes)
    }

    /// The same, unless it is the file that a caller knows, and unchanged since.
    pub(crate) fn read_unless(
        &self,
        path: &WorktreePath,
        max_bytes: u64,
        known: Option<FileVersion>,
    ) -> Result<Option<(Vec<u8>, FileVersion)>, FileError> {
        let opened = self.open_regular(path, OpenOptions::new().read(true))?;
        let version = FileVersion::of(&opened.file.metadata()?);
        if known == Some(version) {
            return Ok(None);
        }
        Ok(Some((opened.read(max_bytes)?, version)))
    }

    /// Makes `content` the whole content of the file at `path`, which is created if need be.
    pub(crate) fn write(&self, path: &WorktreePath, content: &[u8]) -> Result<(), FileError> {
        let opened = self.open_regular(path, OpenOptions::new().write(true).create(true))?;
        let mut file = opened.file;
        file.set_len(0)?;
        for chunk in content.chunks(CHUNK_BYTES) {
            file.write_all(chunk)?;
        }
        Ok(())
    }

    /// Puts `content` behind what the file at `path` holds, which is created if need be.
    pub(crate) fn append(&self, path: &WorktreePath, content: &[u8]) -> Result<(), FileError> {
        let opened = self.open_regular(path, OpenOptions::new().append(true).create(true))?;
        let mut file = opened.file;
        for chunk in content.chunks(CHUNK_BYTES) {
            file.write_all(chunk)?;
        }
        Ok(())
    }

    /// Opens the regular file at `path`. `options` must not have it truncated.
    pub(super) fn open_regular(
        &self,
        path: &WorktreePath,
        options: &mut OpenOptions,
    ) -> Result<RegularFile, FileError> {
        open_regular(&self.dir, path.as_ref(), options)
    }
}

/// Opens the regular file at `path` beneath `dir`.
pub(super) fn open_regular(
    dir: &Dir,
    path: &Path,
    options: &mut OpenOptions,
) -> Result<RegularFile, FileError> {
    // O_CLOEXEC is always set by cap-std.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = dir.open_with(path, options.custom_flags(flags.bits().cast_signed()))?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(FileError::IsADirectory);
    }
    if !metadata.is_file() {
        return Err(FileError::NotAFile);
    }
    Ok(RegularFile { file, bytes: metadata.len() })
}

impl RegularFile {
    /// The whole content, if it is no longer than `max_bytes` even while it is being read.
    pub(super) fn read(self, max_bytes: u64) -> Result<Vec<u8>, FileError> {
        let too_large = FileError::TooLarge { limit: max_bytes };
        if self.bytes > max_bytes {
            return Err(too_large);
        }
        let mut content = Vec::new();
        loop {
            let before = content.len() as u64;
            // One byte beyond the limit tells a file that fills it from a longer one.
            let room = (max_bytes - before).saturating_add(1);
            (&self.file).take(room.min(CHUNK_BYTES as u64)).read_to_end(&mut content)?;
            let now = content.len() as u64;
            if now > max_bytes {
                return Err(too_large);
            }
            if now == before {
                return Ok(content);
            }
        }
    }
}
