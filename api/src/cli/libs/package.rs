//! A package as `npm pack` gives it: an archive in a temporary folder.
//!
//! Invariant: nothing of the archive is written anywhere, and no more of it is unpacked than a limit
//! allows; npm runs no script of it.

use flate2::read::GzDecoder;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Bytes of an archive, unpacked.
const MAX_UNPACKED_BYTES: u64 = 512 << 20;

/// Bytes of a package.json.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// A package that was fetched.
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// What npm says the archive's hash is.
    pub(super) integrity: Option<String>,
    manifest: Manifest,
    archive: PathBuf,
    _folder: TempDir,
}

/// Why a package, or a script of it, cannot be had.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum PackageError {
    #[error("'{0}' is not a package: one is like lodash@4.17.21")]
    Spec(String),
    #[error("cannot run npm: {0}\ninstall Node.js, which brings it, or give a file with --file")]
    NoNpm(io::Error),
    #[error("npm cannot fetch '{spec}': {reason}")]
    Npm { spec: String, reason: String },
    #[error("cannot make a temporary folder: {0}")]
    Folder(io::Error),
    #[error("the archive of '{spec}' cannot be read: {source}")]
    Archive { spec: String, source: io::Error },
    #[error("the package has no {0}")]
    NoFile(String),
    #[error("{path} of the package is larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    #[error("the package.json of '{spec}' is not one: {reason}")]
    Manifest { spec: String, reason: String },
}

/// What of a package.json matters here. The fields that name a file for browsers come first.
#[derive(Deserialize)]
struct Manifest {
    name: String,
    version: String,
    unpkg: Option<String>,
    jsdelivr: Option<String>,
    /// A file, or a table of replacements.
    browser: Option<serde_json::Value>,
    main: Option<String>,
}

/// What `npm pack --json` says of an archive.
#[derive(Deserialize)]
struct Packed {
    filename: String,
    integrity: Option<String>,
}

impl Package {
    /// Has npm fetch a package: its name with or without a version, or a folder.
    pub(super) fn fetch(spec: &str) -> Result<Self, PackageError> {
        if spec.is_empty() || spec.starts_with('-') || spec.contains(char::is_control) {
            return Err(PackageError::Spec(spec.to_owned()));
        }
        let folder = tempfile::Builder::new().prefix("vm-system-").tempdir();
        let folder = folder.map_err(PackageError::Folder)?;
        let output = Command::new("npm")
            .args(["pack", "--json", "--ignore-scripts", "--pack-destination"])
            .arg(folder.path())
            .arg(spec)
            .stdin(Stdio::null())
            .output()
            .map_err(PackageError::NoNpm)?;
        let failed = |reason: &str| PackageError::Npm {
            spec: spec.to_owned(),
            reason: reason.trim().to_owned(),
        };
        if !output.status.success() {
            return Err(failed(&String::from_utf8_lossy(&output.stderr)));
        }
        let packed: Vec<Packed> = serde_json::from_slice(&output.stdout)
            .map_err(|error| failed(&format!("its answer is not understood: {error}")))?;
        let packed = packed.into_iter().next().ok_or_else(|| failed("it fetched nothing"))?;
        let filename = Path::new(&packed.filename).file_name();
        let archive = folder.path().join(filename.ok_or_else(|| failed("it named no file"))?);
        let manifest = file_of(&archive, "package.json", MAX_MANIFEST_BYTES)
            .map_err(|source| PackageError::Archive { spec: spec.to_owned(), source })??;
        let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|error| {
            PackageError::Manifest { spec: spec.to_owned(), reason: error.to_string() }
        })?;
        Ok(Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            integrity: packed.integrity,
            manifest,
            archive,
            _folder: folder,
        })
    }

    /// What templates call it: a scope's slash is written `__`.
    pub(super) fn library_name(&self) -> String {
        format!("{}-{}", self.name.replace('/', "__"), self.version)
    }

    /// A script of the package: the named one, or the one that it offers to browsers. Gives its path
    /// and what it holds.
    pub(super) fn script(
        &self,
        entry: Option<&str>,
        max_bytes: u64,
    ) -> Result<(String, Vec<u8>), PackageError> {
        let Manifest { unpkg, jsdelivr, browser, main, .. } = &self.manifest;
        let browser = browser.as_ref().and_then(serde_json::Value::as_str);
        let offered = unpkg.as_deref().or(jsdelivr.as_deref()).or(browser).or(main.as_deref());
        let named = entry.or(offered).unwrap_or("index.js").trim_start_matches("./");
        // As Node finds a `main` that leaves its extension out.
        let candidates = [named.to_owned(), format!("{named}.js"), format!("{named}/index.js")];
        for path in candidates {
            let content = file_of(&self.archive, &path, max_bytes)
                .map_err(|source| PackageError::Archive { spec: self.name.clone(), source })?;
            match content {
                Err(PackageError::NoFile(_)) => {}
                content => return Ok((path, content?)),
            }
        }
        Err(PackageError::NoFile(named.to_owned()))
    }
}

/// A regular file of an archive, whose files all lie in one folder.
fn file_of(
    archive: &Path,
    path: &str,
    max_bytes: u64,
) -> io::Result<Result<Vec<u8>, PackageError>> {
    let unpacked = GzDecoder::new(File::open(archive)?).take(MAX_UNPACKED_BYTES);
    let mut archive = tar::Archive::new(unpacked);
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path()?.into_owned();
        let inside: PathBuf = name.components().skip(1).collect();
        if inside != Path::new(path) || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > max_bytes {
            return Ok(Err(PackageError::TooLarge { path: path.to_owned(), limit: max_bytes }));
        }
        let mut content = Vec::new();
        entry.take(max_bytes).read_to_end(&mut content)?;
        return Ok(Ok(content));
    }
    Ok(Err(PackageError::NoFile(path.to_owned())))
}
