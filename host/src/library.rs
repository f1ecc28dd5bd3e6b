//! The folder of libraries that sessions can be created with.
//!
//! Owns what a library is called and where its source is: `name-version.js`, directly in the folder.
//!
//! Invariant: a library is only opened by a `LibraryName`, which cannot name anything but a file of
//! the folder, and under the rules of a worktree's files.
//!
//! Leaves to others: fetching libraries, and running them. The folder is opened anew for each call,
//! so that one that is made, filled or replaced while the host runs is seen.

#[cfg(test)]
mod tests;

use crate::artifacts::Source;
use crate::worktree::{FileError, FileKind, FileVersion, Worktree, WorktreeError, WorktreePath};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Bytes of a name: it is a file's name with `.js` behind it, of which a file system takes 255, and
/// this is more than any package and version in use has.
const MAX_NAME_BYTES: usize = 128;

/// Entries of the folder that are looked through for libraries.
const MAX_FOLDER_ENTRIES: usize = 10_000;

/// What follows the name of a library in the name of its file.
const EXTENSION: &str = ".js";

/// The folder of libraries; one that does not exist has none.
#[derive(Debug)]
pub struct LibraryFolder {
    path: PathBuf,
    /// Sources that were read, for as long as their files are not changed.
    known: Mutex<HashMap<LibraryName, (FileVersion, Source)>>,
}

/// Sources that are kept; more of them are forgotten together.
const MAX_KNOWN: usize = 64;
/// Bytes of a source that is kept.
const MAX_KNOWN_BYTES: u64 = 1 << 20;

/// The name of a library: a package, `-`, and a version, as in `lodash-4.17.21` or
/// `@scope__package-1.0.0`.
///
/// The package is of `a-z`, `0-9`, `.`, `_` and `-`, with or without a scope of the same and `__`
/// before it. The version begins with a digit and is of ASCII letters, digits, `.`, `_`, `+` and
/// `-`. There is no `..`, and there are at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LibraryName(String);

/// Why a library cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The name is none that a library can have.
    #[error(transparent)]
    InvalidName(#[from] LibraryNameError),
    /// The folder has no such library.
    #[error("library {name} is not installed")]
    NotInstalled {
        /// The library.
        name: String,
    },
    /// The library's file cannot be read.
    #[error("library {name} cannot be read: {source}")]
    File {
        /// The library.
        name: String,
        /// What is wrong with the file.
        source: FileError,
    },
    /// The folder is there and cannot be used. Where it is, only the source says.
    #[error("the library folder cannot be used")]
    Folder(#[source] WorktreeError),
    /// The folder cannot be listed.
    #[error("the library folder cannot be listed: {0}")]
    List(#[source] FileError),
}

/// Why something is not the name of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LibraryNameError {
    /// It is too long.
    #[error("a library name has at most {limit} bytes")]
    TooLong {
        /// Bytes that are allowed.
        limit: usize,
    },
    /// It does not have the parts of a name.
    #[error(
        "a library name is a package, '-' and a version that begins with a digit, \
         like lodash-4.17.21 or @scope__package-1.0.0"
    )]
    Shape,
    /// It has a character that no library's name has.
    #[error(
        "a library name has no {0:?}: a package is of a-z, 0-9, '.', '_' and '-', \
         a version also of A-Z and '+'"
    )]
    Character(char),
    /// It has two dots in a row.
    #[error("a library name has no '..'")]
    DotDot,
}

impl LibraryFolder {
    /// The folder at `path`, which is not looked at before there is something to read in it.
    pub fn open(path: &Path) -> Self {
        Self { path: path.to_owned(), known: Mutex::default() }
    }

    /// The source of a library, if it is no longer than `max_bytes`. One whose file is as it was is not
    /// read again.
    pub(crate) fn read(&self, name: &LibraryName, max_bytes: u64) -> Result<Source, LibraryError> {
        let not_installed = || LibraryError::NotInstalled { name: name.0.clone() };
        let folder = self.handle()?.ok_or_else(not_installed)?;
        let known = self.known().get(name).cloned();
        let known = known.filter(|(_, source)| source.bytes <= max_bytes);
        let version = known.as_ref().map(|(version, _)| *version);
        let read_at = i64::try_from(unix_seconds()).unwrap_or(i64::MAX);
        match (folder.read_unless(&name.file(), max_bytes, version), known) {
            (Ok(None), Some((_, source))) => Ok(source),
            (Ok(read), _) => {
                let (text, version) = read.expect("checked above: only what is known is not read");
                let source = Source::from(text);
                if source.bytes <= MAX_KNOWN_BYTES && version.tells_changes_at(read_at) {
                    let mut known = self.known();
                    if known.len() >= MAX_KNOWN {
                        known.clear();
                    }
                    known.insert(name.clone(), (version, source.clone()));
                }
                Ok(source)
            }
            (Err(FileError::NotFound), _) => Err(not_installed()),
            (Err(source), _) => Err(LibraryError::File { name: name.0.clone(), source }),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<LibraryName, (FileVersion, Source)>> {
        // Held for one call of the map's, or two.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The libraries that are there, sorted. Other files, and links that leave the folder, are not.
    pub fn list(&self) -> Result<Vec<LibraryName>, LibraryError> {
        let Some(folder) = self.handle()? else {
            return Ok(Vec::new());
        };
        let entries = folder
            .read_dir(&WorktreePath::root(), MAX_FOLDER_ENTRIES)
            .map_err(LibraryError::List)?;
        let is_file = |name: &LibraryName| {
            folder.stat(&name.file()).is_ok_and(|stat| stat.kind == FileKind::File)
        };
        let mut names: Vec<LibraryName> = entries
            .iter()
            .filter_map(|entry| LibraryName::parse(entry.name.strip_suffix(EXTENSION)?).ok())
            .filter(is_file)
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn handle(&self) -> Result<Option<Worktree>, LibraryError> {
        let opened = std::path::absolute(&self.path)
            .map_err(|source| WorktreeError::Io { path: self.path.clone(), source })
            .and_then(|path| Worktree::open(&path));
        match opened {
            Ok(folder) => Ok(Some(folder)),
            Err(WorktreeError::NotFound { path: _ }) => Ok(None),
            Err(error) => Err(LibraryError::Folder(error)),
        }
    }
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

impl LibraryName {
    /// Takes `name` for a library's, or says with `LibraryError::InvalidName` why it is none.
    pub fn parse(name: &str) -> Result<Self, LibraryError> {
        check(name)?;
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The package, before the version.
    pub fn package(&self) -> &str {
        self.parts().0
    }

    /// The version.
    pub fn version(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        let unscoped = self.0.find("__").map_or(0, |at| at + 2);
        let unscoped = if self.0.starts_with('@') { unscoped } else { 0 };
        let (package, version) = split_version(&self.0[unscoped..])
            .expect("checked by `check`: a name has a package and a version");
        (&self.0[..unscoped + package.len()], version)
    }

    fn file(&self) -> WorktreePath {
        WorktreePath::strict(&format!("{}{EXTENSION}", self.0))
            .expect("a library's name is short and has neither '/' nor '..'")
    }
}

impl fmt::Display for LibraryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn check(name: &str) -> Result<(), LibraryNameError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(LibraryNameError::TooLong { limit: MAX_NAME_BYTES });
    }
    if name.contains("..") {
        return Err(LibraryNameError::DotDot);
    }
    let unscoped = match name.strip_prefix('@') {
        Some(rest) => {
            let (scope, package) = rest.split_once("__").ok_or(LibraryNameError::Shape)?;
            if scope.is_empty() {
                return Err(LibraryNameError::Shape);
            }
            check_characters(scope, in_package)?;
            package
        }
        None => name,
    };
    let (package, version) = split_version(unscoped).ok_or(LibraryNameError::Shape)?;
    check_characters(package, in_package)?;
    check_characters(version, in_version)
}

/// Splits at the first `-` that has a package before it and a digit behind it. A version may hold
/// all that a package may, so if any split gives a name, this one does.
fn split_version(name: &str) -> Option<(&str, &str)> {
    name.match_indices('-').map(|(at, _)| (&name[..at], &name[at + 1..])).find(
        |(package, version)| {
            !package.is_empty() && version.starts_with(|first: char| first.is_ascii_digit())
        },
    )
}

fn check_characters(part: &str, allowed: fn(char) -> bool) -> Result<(), LibraryNameError> {
    match part.chars().find(|character| !allowed(*character)) {
        Some(character) => Err(LibraryNameError::Character(character)),
        None => Ok(()),
    }
}

fn in_package(character: char) -> bool {
    matches!(character, 'a'..='z' | '0'..='9' | '.' | '_' | '-')
}

fn in_version(character: char) -> bool {
    in_package(character) || matches!(character, 'A'..='Z' | '+')
}
