//! How many bytes a worktree's files have together.
//!
//! Invariant: it ends, however many files there are: past a limit the answer is that there are too
//! many. Links are not followed; a file with two names counts twice.

use super::{FileError, FileKind, Worktree, WorktreePath};

impl Worktree {
    /// The bytes of all regular files, if there are no more than `max_entries` names.
    pub(crate) fn usage(&self, max_entries: usize) -> Result<u64, FileError> {
        let (mut bytes, mut left) = (0_u64, max_entries);
        let mut folders = vec![WorktreePath::root()];
        while let Some(folder) = folders.pop() {
            let too_many = |_| FileError::TooManyEntries { limit: max_entries };
            let entries = match self.read_dir(&folder, left) {
                Ok(entries) => entries,
                Err(FileError::TooManyEntries { limit }) => return Err(too_many(limit)),
                // Another process may have taken it away, or lets nobody in: then nobody writes there.
                Err(_) => continue,
            };
            left -= entries.len();
            for entry in entries {
                let Ok(path) = WorktreePath::strict(&format!("{folder}/{}", entry.name)) else {
                    continue;
                };
                match entry.kind {
                    FileKind::File => {
                        let size = self.stat_link(&path).map_or(0, |(stat, _)| stat.size);
                        bytes = bytes.saturating_add(size);
                    }
                    FileKind::Directory => folders.push(path),
                    FileKind::Link | FileKind::Other => {}
                }
            }
        }
        Ok(bytes)
    }
}
