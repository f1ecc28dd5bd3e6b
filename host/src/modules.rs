//! Modules of a worktree: what a specifier names, how that file is loaded, and its source.
//!
//! The algorithm is Node's, by `oxc_resolver`, over the worktree's directory handle: the worktree is
//! its whole file system, with the root `/`. Of a package's `exports` the conditions are `import` or
//! `require`, and `default`: neither Node's own modules nor a browser's are promised.
//!
//! Invariant: nothing outside the worktree is looked at, whatever a specifier, a link or a
//! `package.json` says: a file is opened beneath the handle, and the resolver only guesses names.
//! Calls block, and are not made on an async worker.

use crate::typescript::{TypeScript, is_typescript};
use crate::worktree::{FileError, FileKind, Worktree, WorktreePath};
use oxc_resolver::{
    FileMetadata, FileSystem, ModuleType, Resolution, ResolveError, ResolveOptions, ResolverGeneric,
};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use vm_guest::abi::ModuleFormat;

/// Bytes of a `package.json` that is read.
const MAX_PACKAGE_BYTES: u64 = 1 << 20;

// The resolver recurses, and keeps a path, for every level of every path that it looks at, and for
// every link. So paths are bounded before it sees them, and it runs on a stack for the worst of them.

/// Bytes of a specifier, or of the path of a file that refers.
const MAX_PATH_BYTES: usize = 4096;
/// Levels of a path.
const MAX_LEVELS: usize = 128;
/// `*` in a target of a package's `exports`: each becomes what a specifier says.
const MAX_STARS: usize = 4;
/// Links that one resolution follows.
const MAX_LINKS: usize = 64;
/// Bytes of stack: twice what [`MAX_LINKS`] of [`MAX_LEVELS`] take at a KiB each.
const STACK_BYTES: usize = 16 << 20;
/// What a TypeScript file that imports a script by its name may mean: that, or what it is made of.
const ALIASES: [(&str, &str); 3] = [(".js", ".ts"), (".mjs", ".mts"), (".cjs", ".cts")];
/// What a `package.json` says about its modules.
const PACKAGE_FIELDS: [&str; 3] = ["main", "exports", "imports"];

/// The modules that a session may load.
#[derive(Clone, Debug)]
pub(crate) struct Modules {
    worktree: Arc<Worktree>,
    settings: vm_storage::Resolver,
    /// Whether files may be `ECMAScript` modules.
    esm: bool,
    /// Bytes of one source: no more than the session's memory can hold.
    max_source_bytes: u64,
    typescript: TypeScript,
}

/// How a module is asked for, which chooses among a package's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// By `import`, whose specifiers are those of URLs.
    Import,
    /// By `require`.
    Require,
}

/// A module that was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) format: ModuleFormat,
    /// Where it is, relative to the worktree, without links.
    pub(crate) path: String,
    /// The specifier's `?query` and `#fragment`: another one is another instance.
    pub(crate) suffix: String,
}

/// Why a specifier names no module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolutionError {
    #[error("it is empty")]
    Empty,
    #[error("it is too long, or has too many levels")]
    TooLong,
    #[error("it leads outside the worktree")]
    Outside,
    #[error("it has an encoded slash or backslash, or an encoding that is none")]
    Encoding,
    #[error("the scheme of its URL is not 'file:'")]
    Scheme,
    #[error("the template does not allow absolute imports")]
    Absolute,
    #[error("the template does not allow ECMAScript modules")]
    ModulesForbidden,
    #[error("there is no such module in the worktree")]
    NotFound,
    #[error("the package does not export it")]
    NotExported,
    #[error("it is no JavaScript or JSON")]
    UnknownFormat,
    #[error("{0}")]
    Other(String),
}

impl Modules {
    pub(crate) fn new(
        worktree: Arc<Worktree>,
        settings: &vm_storage::Settings,
        max_source_bytes: u64,
        typescript: TypeScript,
    ) -> Self {
        let (resolver, esm) = (settings.resolver.clone(), settings.runtime.esm);
        Self { worktree, settings: resolver, esm, max_source_bytes, typescript }
    }

    /// What `specifier` names in the file `referrer`. What is no file of the worktree, such as a
    /// snippet, refers from its root.
    pub(crate) fn resolve(
        &self,
        asking: Asking,
        referrer: &str,
        specifier: &str,
    ) -> Result<Resolved, ResolutionError> {
        let (specifier, suffix) = match asking {
            Asking::Import => from_url(specifier)?,
            Asking::Require => (Cow::Borrowed(specifier), ""),
        };
        let resolved = self.look_up(asking, referrer, &specifier)?;
        let path = resolved.path().strip_prefix("/").ok().and_then(Path::to_str);
        let path = path.ok_or(ResolutionError::NotFound)?.to_owned();
        let format = self.format(resolved.module_type(), &path)?;
        if format == ModuleFormat::Module && !self.esm {
            return Err(ResolutionError::ModulesForbidden);
        }
        Ok(Resolved { format, path, suffix: suffix.to_owned() })
    }

    /// How the file at `path` runs when it is named itself, not imported.
    pub(crate) fn entry_format(&self, path: &WorktreePath) -> ModuleFormat {
        let path = path.to_string();
        match Path::new(&path).extension().and_then(OsStr::to_str) {
            Some("mjs" | "mts") if self.esm => return ModuleFormat::Module,
            Some(_) if self.esm && self.is_script(&path) => {}
            Some(_) | None => return ModuleFormat::CommonJs,
        }
        let found = self.look_up(Asking::Import, "", &format!("./{path}"));
        match found.ok().and_then(|found| found.module_type()) {
            Some(ModuleType::Module) => ModuleFormat::Module,
            Some(ModuleType::CommonJs) => ModuleFormat::CommonJs,
            Some(ModuleType::Json | ModuleType::Wasm | ModuleType::Addon) | None => {
                ModuleFormat::BySyntax
            }
        }
    }

    /// What strips the types of those that have some.
    pub(crate) fn typescript(&self) -> &TypeScript {
        &self.typescript
    }

    /// The source of a module that was found, with its types.
    pub(crate) fn source(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let path = WorktreePath::strict(path).map_err(|_| FileError::NotFound)?;
        self.worktree.read(&path, self.max_source_bytes)
    }

    fn look_up(
        &self,
        asking: Asking,
        referrer: &str,
        specifier: &str,
    ) -> Result<Resolution, ResolutionError> {
        let folder = referrer.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.check(folder, specifier)?;
        let folder = Path::new("/").join(folder);
        let resolver = self.resolver(asking, is_typescript(referrer));
        let found = stacker::grow(STACK_BYTES, || resolver.resolve(folder, specifier))?;
        // To the resolver these end a path. Here they are characters of a name, and one that it found
        // without them is another.
        if found.query().is_some() || found.fragment().is_some() {
            return Err(ResolutionError::NotFound);
        }
        Ok(found)
    }

    fn check(&self, folder: &str, specifier: &str) -> Result<(), ResolutionError> {
        let levels = parts(folder).count() + parts(specifier).count();
        let bytes = folder.len().max(specifier.len());
        if levels > MAX_LEVELS || bytes > MAX_PATH_BYTES {
            return Err(ResolutionError::TooLong);
        }
        let is_relative = matches!(specifier.split('/').next(), Some("." | ".."));
        if specifier.starts_with('/') && !self.settings.allow_absolute_repo_imports {
            return Err(ResolutionError::Absolute);
        }
        let mut depth = if is_relative { parts(folder).count() } else { 0 };
        for part in parts(specifier) {
            depth = match part {
                ".." => depth.checked_sub(1).ok_or(ResolutionError::Outside)?,
                _ => depth + 1,
            };
        }
        Ok(())
    }

    fn format(
        &self,
        declared: Option<ModuleType>,
        path: &str,
    ) -> Result<ModuleFormat, ResolutionError> {
        match declared {
            Some(ModuleType::Module) => Ok(ModuleFormat::Module),
            Some(ModuleType::CommonJs) => Ok(ModuleFormat::CommonJs),
            Some(ModuleType::Json) => Ok(ModuleFormat::Json),
            None if !self.esm => Ok(ModuleFormat::CommonJs),
            None if self.is_script(path) => Ok(ModuleFormat::BySyntax),
            Some(ModuleType::Wasm | ModuleType::Addon) | None => {
                Err(ResolutionError::UnknownFormat)
            }
        }
    }

    /// Whether a file's name ends like a script's: in `.js` or `.ts`, or in what the template adds.
    fn is_script(&self, path: &str) -> bool {
        let known = self.settings.extensions.iter().map(String::as_str);
        known.chain([".js", ".ts"]).any(|extension| path.ends_with(extension))
    }

    /// Made for one call: it keeps what it saw of the files, which may change between two.
    fn resolver(&self, asking: Asking, has_aliases: bool) -> ResolverGeneric<WorktreeFiles> {
        let condition = match asking {
            Asking::Import => "import",
            Asking::Require => "require",
        };
        let alias =
            |(from, to): (&str, &str)| (from.to_owned(), vec![from.to_owned(), to.to_owned()]);
        let aliases = ALIASES.into_iter().filter(|_| has_aliases).map(alias).collect();
        let roots = self.settings.roots.iter().map(|root| Path::new("/").join(root));
        ResolverGeneric::new_with_file_system(
            WorktreeFiles { worktree: Arc::clone(&self.worktree), links: AtomicUsize::new(0) },
            ResolveOptions {
                cwd: Some("/".into()),
                condition_names: vec![condition.to_owned(), "default".to_owned()],
                extensions: self.settings.extensions.clone(),
                extension_alias: aliases,
                module_type: true,
                node_path: false,
                roots: roots.collect(),
                ..ResolveOptions::default()
            },
        )
    }
}

impl ResolutionError {
    /// The code that Node gives for the like.
    pub(crate) fn code(&self, asking: Asking) -> &'static str {
        match (self, asking) {
            (Self::NotFound, Asking::Import) => "ERR_MODULE_NOT_FOUND",
            (Self::NotFound, Asking::Require) => "MODULE_NOT_FOUND",
            (Self::NotExported, _) => "ERR_PACKAGE_PATH_NOT_EXPORTED",
            (Self::Empty | Self::TooLong | Self::Outside | Self::Encoding | Self::Absolute, _) => {
                "ERR_INVALID_MODULE_SPECIFIER"
            }
            (Self::Scheme, _) => "ERR_UNSUPPORTED_ESM_URL_SCHEME",
            (Self::ModulesForbidden, _) => "ERR_MODULES_FORBIDDEN",
            (Self::UnknownFormat, _) => "ERR_UNKNOWN_MODULE_FORMAT",
            (Self::Other(_), _) => "ERR_INVALID_PACKAGE_CONFIG",
        }
    }
}

impl From<ResolveError> for ResolutionError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NotFound(_) => Self::NotFound,
            ResolveError::Specifier(_) => Self::Empty,
            ResolveError::PackagePathNotExported { .. } => Self::NotExported,
            error => Self::Other(error.to_string()),
        }
    }
}

/// The path that an import's specifier names, decoded, and its query and fragment, which are not.
fn from_url(specifier: &str) -> Result<(Cow<'_, str>, &str), ResolutionError> {
    let url = match specifier.split_once(':') {
        Some(("file", rest)) => rest
            .strip_prefix("//")
            .filter(|path| path.starts_with('/'))
            .ok_or(ResolutionError::Scheme)?,
        Some((scheme, _)) if is_scheme(scheme) => return Err(ResolutionError::Scheme),
        Some(_) | None => specifier,
    };
    // One at the start names an import of the package itself.
    let end = url.char_indices().skip(1).find(|(_, c)| matches!(c, '?' | '#'));
    let (path, suffix) = url.split_at(end.map_or(url.len(), |(at, _)| at));
    if !path.contains('%') {
        return Ok((Cow::Borrowed(path), suffix));
    }
    let lower = path.to_ascii_lowercase();
    if ["%2f", "%5c", "%00"].iter().any(|encoded| lower.contains(encoded)) {
        return Err(ResolutionError::Encoding);
    }
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8();
    Ok((decoded.map_err(|_| ResolutionError::Encoding)?, suffix))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}

/// The worktree as the resolver's file system.
struct WorktreeFiles {
    worktree: Arc<Worktree>,
    /// Links read so far.
    links: AtomicUsize,
}

impl WorktreeFiles {
    fn path(path: &Path) -> io::Result<WorktreePath> {
        let relative = path.strip_prefix("/").ok().and_then(Path::to_str);
        let relative = relative.map(|path| if path.is_empty() { "." } else { path });
        relative
            .and_then(|path| WorktreePath::strict(path).ok())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl FileSystem for WorktreeFiles {
    fn new() -> Self {
        unreachable!("a resolver is made with the worktree it is for")
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let read = self.worktree.read(&Self::path(path)?, MAX_PACKAGE_BYTES);
        let bytes = read.map_err(|error| match error {
            FileError::NotFound => io::ErrorKind::NotFound.into(),
            error => io::Error::other(error.to_string()),
        })?;
        // The resolver's own parser recurses as deep as the file says.
        let package: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut fields = PACKAGE_FIELDS.iter().filter_map(|field| package.get(field));
        if !fields.all(has_short_paths) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a path in it is too long"));
        }
        Ok(bytes)
    }

    fn read_to_string(&self, path: &Path) -> io::Result<String> {
        String::from_utf8(self.read(path)?).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        let stat = self.worktree.stat(&Self::path(path)?).map_err(|_| io::ErrorKind::NotFound)?;
        Ok(metadata(stat.kind, false))
    }

    fn symlink_metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        let path = Self::path(path)?;
        let (stat, is_link) =
            self.worktree.stat_link(&path).map_err(|_| io::ErrorKind::NotFound)?;
        Ok(metadata(stat.kind, is_link))
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf, ResolveError> {
        let read = || {
            let target = self.worktree.read_link(&Self::path(path).ok()?).ok()?;
            let is_first = self.links.fetch_add(1, Ordering::Relaxed) < MAX_LINKS;
            let is_short = target.components().count() <= MAX_LEVELS;
            (is_first && is_short && target.is_relative()).then_some(target)
        };
        read().ok_or_else(|| ResolveError::PathNotSupported(path.to_owned()))
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        let canonical = self.worktree.canonical(&Self::path(path)?);
        let canonical = canonical.map_err(|_| io::ErrorKind::NotFound)?;
        Ok(Path::new("/").join(canonical))
    }
}

/// Whether a part of a `package.json` has no path that is too long to look at.
fn has_short_paths(value: &serde_json::Value) -> bool {
    let is_short = |text: &str| {
        let count = |of| text.bytes().filter(|byte| *byte == of).count();
        count(b'/') <= MAX_LEVELS && count(b'*') <= MAX_STARS && text.len() <= MAX_PATH_BYTES
    };
    match value {
        serde_json::Value::String(text) => is_short(text),
        serde_json::Value::Array(values) => values.iter().all(has_short_paths),
        serde_json::Value::Object(fields) => {
            fields.iter().all(|(key, value)| is_short(key) && has_short_paths(value))
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => true,
    }
}

fn metadata(kind: FileKind, is_link: bool) -> FileMetadata {
    FileMetadata::new(kind == FileKind::File, kind == FileKind::Directory, is_link)
}
