//! The host's side of the `fs` module: what a session may do with the files of its worktree.
//!
//! Invariant: nothing is done that no grant allows or that one denies, and no call of the file system
//! runs on an async worker. Paths and files are the worktree's concern.

use super::calls::{Called, Calls};
use crate::capabilities::FsConfig;
use crate::worktree::{
    DirEntry, FileError, FileKind, FileStat, LiteralPath, Parents, Worktree, WorktreePath,
};
use std::sync::{Arc, Mutex, PoisonError};
use vm_guest::abi::{Operation, make_dir_flags, read_dir_flags, stat_flags};

/// Entries of a folder that a script may list.
pub(crate) const MAX_DIR_ENTRIES: usize = 10_000;
/// Names of a worktree that are counted for its quota: more than a script's packages have. One with
/// more takes no writing under a quota.
const MAX_COUNTED_ENTRIES: usize = 200_000;

/// What a session may do with files.
#[derive(Clone)]
pub(crate) struct Files {
    worktree: Arc<Worktree>,
    grants: Arc<FileGrants>,
    /// Bytes of one file that is read: no more than the session's memory can hold.
    max_read_bytes: u64,
    /// Bytes that the worktree's files have together, once an execution had to know.
    used: Arc<Mutex<Option<u64>>>,
}

/// What a template's capabilities say of files.
#[derive(Debug, Default)]
pub(crate) struct FileGrants {
    granted: Vec<Granted>,
    denied: Vec<LiteralPath>,
    quota_bytes: Option<u64>,
}

/// What one capability allows.
#[derive(Debug)]
struct Granted {
    access: Access,
    /// The paths; all, without any.
    beneath: Option<Vec<LiteralPath>>,
}

/// Whether a session may change files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Access {
    Read,
    ReadWrite,
}

impl FileGrants {
    /// What these configs grant together; none of them grants reading, as the module alone does.
    pub(crate) fn of(configs: &[FsConfig]) -> Self {
        let literal = |paths: &[String]| -> Vec<LiteralPath> {
            let strict = paths.iter().filter_map(|path| WorktreePath::strict(path).ok());
            strict.filter_map(|path| LiteralPath::of(&path).ok()).collect()
        };
        if configs.is_empty() {
            let granted = vec![Granted { access: Access::Read, beneath: None }];
            return Self { granted, ..Self::default() };
        }
        let granted = |config: &FsConfig| Granted {
            access: if config.write { Access::ReadWrite } else { Access::Read },
            beneath: config.allow.as_deref().map(literal),
        };
        Self {
            granted: configs.iter().map(granted).collect(),
            denied: configs.iter().flat_map(|config| literal(&config.deny)).collect(),
            quota_bytes: configs.iter().filter_map(|config| config.quota_bytes).min(),
        }
    }

    /// Whether a path's text decides what may be done with it.
    fn names_paths(&self) -> bool {
        !self.denied.is_empty() || self.granted.iter().any(|granted| granted.beneath.is_some())
    }

    fn allow_anywhere(&self, access: Access) -> bool {
        self.granted.iter().any(|granted| granted.access >= access)
    }

    fn allow(&self, access: Access, path: &LiteralPath) -> bool {
        let denied = self.denied.iter().any(|prefix| path.is_beneath(prefix));
        let allowed = self.granted.iter().any(|granted| {
            let beneath = granted.beneath.as_ref();
            granted.access >= access
                && beneath.is_none_or(|some| some.iter().any(|prefix| path.is_beneath(prefix)))
        });
        allowed && !denied
    }

    /// Whether all that lies beneath a path may be moved: nothing of it is named by itself.
    fn allow_moving(&self, path: &LiteralPath) -> bool {
        self.allow(Access::ReadWrite, path)
            && !self.denied.iter().any(|prefix| prefix.is_beneath(path))
    }
}

/// One call, decoded.
struct Request<'a> {
    operation: Operation,
    flags: u32,
    path: &'a str,
    data: &'a [u8],
}

/// Why a call failed: a code and a reason.
type Refused = (&'static str, String);

impl Files {
    pub(crate) fn new(worktree: Arc<Worktree>, configs: &[FsConfig], max_read_bytes: u64) -> Self {
        let grants = Arc::new(FileGrants::of(configs));
        Self { worktree, grants, max_read_bytes, used: Arc::default() }
    }

    /// Forgets what an execution before found out.
    pub(crate) fn begin(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
        calls
            .make(move || {
                let request = Request { operation, flags, path: &path, data: &data };
                self.blocking(&request).map_err(|(code, reason)| format!("{code}\n{reason}"))
            })
            .await
    }

    fn blocking(&self, request: &Request<'_>) -> Result<Vec<u8>, Refused> {
        let access = access(request.operation);
        if !self.grants.allow_anywhere(access) {
            return Err(denied(access));
        }
        let paths: Result<Vec<_>, _> = match request.operation {
            Operation::FsRename => {
                request.path.splitn(2, '\0').map(|path| self.path(path)).collect()
            }
            _ => self.path(request.path).map(|path| vec![path]),
        };
        let answer = match paths {
            Err(_) if request.operation == Operation::FsExists => return Ok(vec![0]),
            Err(refused) => return Err(refused),
            Ok(paths) if self.grants.names_paths() => self.literal(request, access, &paths)?,
            Ok(paths) => self.anywhere(request, &paths),
        };
        answer.map_err(|error: FileError| (error.code(), error.to_string()))
    }

    fn path(&self, path: &str) -> Result<WorktreePath, Refused> {
        self.worktree.lenient(path).map_err(|error| (error.code(), error.to_string()))
    }

    /// Where every path may be used; links are followed inside the worktree.
    fn anywhere(
        &self,
        request: &Request<'_>,
        paths: &[WorktreePath],
    ) -> Result<Vec<u8>, FileError> {
        let [path, others @ ..] = paths else { return Err(FileError::NotFound) };
        let worktree = &self.worktree;
        let done = |()| Vec::new();
        match request.operation {
            Operation::FsRead => worktree.read(path, self.max_read_bytes),
            Operation::FsWrite | Operation::FsAppend => {
                let appends = request.operation == Operation::FsAppend;
                let old = || worktree.stat(path).map_or(0, |stat| stat.size);
                self.within_quota(request.data, appends, old, || {
                    if appends {
                        worktree.append(path, request.data)
                    } else {
                        worktree.write(path, request.data)
                    }
                })
            }
            Operation::FsExists => Ok(vec![u8::from(worktree.exists(path))]),
            Operation::FsReadDir => {
                let entries = worktree.read_dir(path, MAX_DIR_ENTRIES)?;
                Ok(listing(entries, request.flags))
            }
            Operation::FsStat if request.flags & stat_flags::LINK != 0 => {
                worktree.stat_link(path).map(|(stat, _)| described(stat))
            }
            Operation::FsStat => worktree.stat(path).map(described),
            Operation::FsMakeDir => {
                let recursive = request.flags & make_dir_flags::RECURSIVE != 0;
                let parents = if recursive { Parents::Create } else { Parents::Require };
                worktree.make_dir(path, parents).map(done)
            }
            Operation::FsUnlink => self.freeing(|| worktree.unlink(path)).map(done),
            Operation::FsRemoveDir => worktree.remove_dir(path).map(done),
            Operation::FsRename => {
                let to = others.first().ok_or(FileError::NotFound)?;
                self.freeing(|| worktree.rename(path, to)).map(done)
            }
            Operation::FsRealPath => {
                let path = worktree.canonical(path)?;
                Ok(format!("/{}", path.display()).into_bytes())
            }
            // None of the files'.
            _ => Err(FileError::NotFound),
        }
    }

    /// Where the text of a path decides; no link is followed.
    fn literal(
        &self,
        request: &Request<'_>,
        access: Access,
        paths: &[WorktreePath],
    ) -> Result<Result<Vec<u8>, FileError>, Refused> {
        let literal = |path: &WorktreePath| {
            LiteralPath::of(path).map_err(|error| (error.code(), error.to_string()))
        };
        let paths: Vec<_> = paths.iter().map(literal).collect::<Result<_, _>>()?;
        let moves = request.operation == Operation::FsRename;
        let may = |path: &LiteralPath| {
            if moves { self.grants.allow_moving(path) } else { self.grants.allow(access, path) }
        };
        if !paths.iter().all(may) {
            return match request.operation {
                Operation::FsExists => Ok(Ok(vec![0])),
                _ => Err(denied(access)),
            };
        }
        Ok(self.literally(request, &paths))
    }

    fn literally(
        &self,
        request: &Request<'_>,
        paths: &[LiteralPath],
    ) -> Result<Vec<u8>, FileError> {
        let [path, others @ ..] = paths else { return Err(FileError::NotFound) };
        let worktree = &self.worktree;
        let done = |()| Vec::new();
        match request.operation {
            Operation::FsRead => worktree.read_literal(path, self.max_read_bytes),
            Operation::FsWrite | Operation::FsAppend => {
                let appends = request.operation == Operation::FsAppend;
                let old = || worktree.stat_literal(path).map_or(0, |stat| stat.size);
                self.within_quota(request.data, appends, old, || {
                    worktree.write_literal(path, request.data, appends)
                })
            }
            Operation::FsExists => {
                let found = worktree.stat_literal(path).and_then(FileStat::not_of_a_link);
                Ok(vec![u8::from(found.is_ok())])
            }
            Operation::FsReadDir => {
                let mut entries = worktree.read_dir_literal(path, MAX_DIR_ENTRIES)?;
                entries.retain(|entry| self.may_see(path, entry));
                Ok(listing(entries, request.flags))
            }
            Operation::FsStat if request.flags & stat_flags::LINK != 0 => {
                worktree.stat_literal(path).map(described)
            }
            Operation::FsStat => {
                worktree.stat_literal(path).and_then(FileStat::not_of_a_link).map(described)
            }
            Operation::FsMakeDir if request.flags & make_dir_flags::RECURSIVE != 0 => {
                self.make_steps(path).map(done)
            }
            Operation::FsMakeDir => worktree.make_dir_literal(path).map(done),
            Operation::FsUnlink => self.freeing(|| worktree.unlink_literal(path)).map(done),
            Operation::FsRemoveDir => worktree.remove_dir_literal(path).map(done),
            Operation::FsRename => {
                let to = others.first().ok_or(FileError::NotFound)?;
                self.freeing(|| worktree.rename_literal(path, to)).map(done)
            }
            Operation::FsRealPath => {
                worktree.stat_literal(path).and_then(FileStat::not_of_a_link)?;
                Ok(path.rooted().into_bytes())
            }
            // None of the files'.
            _ => Err(FileError::NotFound),
        }
    }

    /// Whether a folder's listing shows an entry: not one that may not be read.
    fn may_see(&self, folder: &LiteralPath, entry: &DirEntry) -> bool {
        folder.join(&entry.name).is_some_and(|path| self.grants.allow(Access::Read, &path))
    }

    /// Makes the folders of a path that are missing, as far as they may be made.
    fn make_steps(&self, path: &LiteralPath) -> Result<(), FileError> {
        for step in path.steps() {
            if !self.grants.allow(Access::ReadWrite, &step) {
                continue;
            }
            match self.worktree.make_dir_literal(&step) {
                Ok(()) => {}
                Err(FileError::AlreadyExists) => {
                    let kind = self.worktree.stat_literal(&step)?.not_of_a_link()?.kind;
                    if kind != FileKind::Directory {
                        return Err(FileError::AlreadyExists);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes, if the worktree's quota has room for it.
    fn within_quota(
        &self,
        content: &[u8],
        appends: bool,
        old_bytes: impl FnOnce() -> u64,
        write: impl FnOnce() -> Result<(), FileError>,
    ) -> Result<Vec<u8>, FileError> {
        let Some(limit) = self.grants.quota_bytes else { return write().map(|()| Vec::new()) };
        // Held while it writes: a session's calls may overlap.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match *used {
            Some(bytes) => bytes,
            None => self.worktree.usage(MAX_COUNTED_ENTRIES)?,
        };
        let replaced = if appends { 0 } else { old_bytes() };
        let after = before.saturating_sub(replaced).saturating_add(content.len() as u64);
        // What does not grow is let through, so that a full worktree can be made smaller.
        if after > limit && after > before {
            *used = Some(before);
            return Err(FileError::Quota { limit });
        }
        // A write that fails may have written a part.
        *used = None;
        write()?;
        *used = Some(after);
        Ok(Vec::new())
    }

    /// Does what leaves the files with fewer bytes, to be counted again.
    fn freeing(&self, change: impl FnOnce() -> Result<(), FileError>) -> Result<(), FileError> {
        self.begin();
        change()
    }
}

fn denied(access: Access) -> Refused {
    let what = match access {
        Access::Read => "reading",
        Access::ReadWrite => "writing",
    };
    ("EACCES", format!("permission denied: the template does not grant {what} this"))
}

/// What an operation has to be allowed.
fn access(operation: Operation) -> Access {
    match operation {
        Operation::FsRead
        | Operation::FsExists
        | Operation::FsReadDir
        | Operation::FsStat
        | Operation::FsRealPath => Access::Read,
        _ => Access::ReadWrite,
    }
}

/// Names with a NUL behind each, which no name can hold, and with a flag its kind before.
fn listing(entries: Vec<DirEntry>, flags: u32) -> Vec<u8> {
    let mut answer = Vec::new();
    for entry in entries {
        if flags & read_dir_flags::KINDS != 0 {
            answer.push(entry.kind as u8);
        }
        answer.extend_from_slice(entry.name.as_bytes());
        answer.push(0);
    }
    answer
}

fn described(stat: FileStat) -> Vec<u8> {
    let kind = f64::from(stat.kind as u32);
    [kind, approximate(stat.size), stat.modified_ms].map(f64::to_le_bytes).concat()
}

/// A size as JavaScript counts: exact up to 2^53, larger than any file system's files.
#[expect(clippy::cast_precision_loss, reason = "as it says")]
fn approximate(size: u64) -> f64 {
    size as f64
}
