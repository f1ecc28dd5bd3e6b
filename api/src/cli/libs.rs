//! `vm-system libs …`: the folder of libraries that templates name.
//!
//! Packages come through the user's own `npm`, which checks what it fetches; one file of a package
//! becomes the library. Beside each library lies a record of where it came from and its SHA-256.
//!
//! Invariant: a library's file is whole or not there: it is written aside, synced and renamed.

mod package;

use super::local::{LocalError, absolute};
use super::progress::Progress;
use super::{Exit, Output, escape, printer, table};
use crate::libraries::{KNOWN, KnownLibrary};
use clap::{Args, Subcommand};
use package::{Package, PackageError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use vm_host::{LibraryError, LibraryFolder, LibraryName};

/// Where libraries lie unless a flag says otherwise.
pub(super) const DEFAULT_FOLDER: &str = ".vm-cache/libraries";

/// Bytes of a library: what it takes in each session's memory is a multiple of it.
const MAX_LIBRARY_BYTES: u64 = 16 << 20;

/// Bytes of a record.
const MAX_RECORD_BYTES: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum LibsCommand {
    /// List the libraries that are installed
    List {
        #[command(flatten)]
        folder: Folder,
    },
    /// Install a library: a package through your npm, or a file
    ///
    /// `libs add lodash@4.17.21` fetches a package and takes the file that its package.json offers
    /// to browsers, or the one that --entry names. `libs add mine-1.0.0 --file build/mine.js` takes
    /// a file. Either must be a plain script that defines a global.
    Add {
        /// PACKAGE, PACKAGE@VERSION or a folder with a package.json; with --file, NAME-VERSION
        package: String,
        /// A file to install instead of a package
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
        /// The file of the package to take
        #[arg(long, value_name = "PATH", conflicts_with = "file")]
        entry: Option<String>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Install the usual libraries: axios, dayjs, lodash, moment, ramda, zustand
    Download {
        /// Only these
        #[arg(value_name = "LIBRARY")]
        libraries: Vec<String>,
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Debug, Args)]
pub(super) struct Folder {
    /// The folder of libraries, as `serve` has it
    #[arg(long, value_name = "DIR", default_value = DEFAULT_FOLDER)]
    library_dir: PathBuf,
}

/// Why a library cannot be installed or listed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LibsError {
    #[error("'{text}' is not the name of a library: {reason}")]
    Name { text: String, reason: String },
    #[error("there is no usual library '{name}'; there are {}", known_names())]
    Unknown { name: String },
    #[error("cannot {what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is larger than {MAX_LIBRARY_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{what} is not UTF-8 text, so no JavaScript")]
    NotText { what: String },
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Folder(#[from] LibraryError),
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl LibsError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Name { .. }
            | Self::Unknown { .. }
            | Self::TooLarge { .. }
            | Self::NotText { .. } => Exit::Usage,
            Self::File { what, .. } if *what == "read" => Exit::Usage,
            Self::File { .. } | Self::Folder(_) => Exit::Failed,
            Self::Package(_) => Exit::Failure,
            Self::Local(error) => error.exit(),
        }
    }
}

fn known_names() -> String {
    KNOWN.iter().map(|known| known.package).collect::<Vec<_>>().join(", ")
}

/// What is kept beside a library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// SHA-256 of the library's file, in hexadecimal.
    sha256: String,
    /// Its size.
    bytes: u64,
    /// Where it came from.
    source: String,
    /// What npm says of the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    integrity: Option<String>,
}

/// A library that is installed, as it is listed.
#[derive(Debug, Serialize)]
struct Installed {
    name: String,
    /// `ok`, `changed` since it was installed, or `no record` of an installation.
    state: &'static str,
    bytes: u64,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

impl LibsCommand {
    pub(super) fn run(self, output: Output) -> Result<Exit, LibsError> {
        match self {
            Self::List { folder } => list(&folder.library_dir, output)?,
            Self::Add { package, file: Some(file), entry: _, folder } => {
                let name = library_name(&package)?;
                let source = read(&file)?;
                let origin = format!("file {}", absolute(&file)?);
                let installed = install(&folder.library_dir, &name, &source, origin, None)?;
                show(&installed, output);
            }
            Self::Add { package, file: None, entry, folder } => {
                show(&add_package(&folder.library_dir, &package, entry.as_deref())?, output);
            }
            Self::Download { libraries, folder } => {
                for known in chosen(&libraries)? {
                    let package = format!("{}@{}", known.package, known.version);
                    show(&add_package(&folder.library_dir, &package, None)?, output);
                }
            }
        }
        Ok(Exit::Success)
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static KnownLibrary>, LibsError> {
    if names.is_empty() {
        return Ok(KNOWN.iter().collect());
    }
    let known = |name: &String| {
        let known = KNOWN.iter().find(|known| known.package == name || known.name() == *name);
        known.ok_or_else(|| LibsError::Unknown { name: name.clone() })
    };
    names.iter().map(known).collect()
}

/// Fetches a package and installs one file of it.
fn add_package(folder: &Path, spec: &str, entry: Option<&str>) -> Result<Installed, LibsError> {
    let progress = Progress::start(format!("npm fetches {}", escape::line(spec)));
    let package = Package::fetch(spec)?;
    let name = library_name(&package.library_name())?;
    let known = KNOWN.iter().find(|known| known.package == package.name);
    let entry = entry.or(known.map(|known| known.entry));
    let (path, mut source) = package.script(entry, MAX_LIBRARY_BYTES)?;
    drop(progress);
    if let Some(known) = known {
        source.extend_from_slice(known.epilogue.as_bytes());
    }
    let origin = format!("npm {}@{} {path}", package.name, package.version);
    install(folder, &name, &source, origin, package.integrity)
}

fn library_name(text: &str) -> Result<LibraryName, LibsError> {
    LibraryName::parse(text)
        .map_err(|error| LibsError::Name { text: text.to_owned(), reason: error.to_string() })
}

fn read(path: &Path) -> Result<Vec<u8>, LibsError> {
    read_at_most(path, MAX_LIBRARY_BYTES)
}

fn read_at_most(path: &Path, max: u64) -> Result<Vec<u8>, LibsError> {
    let refused = |source| LibsError::File { what: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(refused)?;
    file.take(max + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() as u64 > max {
        return Err(LibsError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Writes a library and then its record.
fn install(
    folder: &Path,
    name: &LibraryName,
    source: &[u8],
    origin: String,
    integrity: Option<String>,
) -> Result<Installed, LibsError> {
    if std::str::from_utf8(source).is_err() {
        return Err(LibsError::NotText { what: origin });
    }
    let refused = |source| LibsError::File { what: "write", path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(refused)?;
    let (bytes, sha256) = (source.len() as u64, sha256(source));
    let record = Record { sha256: sha256.clone(), bytes, source: origin.clone(), integrity };
    write_whole(folder, &format!("{name}.js"), source).map_err(refused)?;
    write_whole(folder, &format!("{name}.json"), printer::compact(&record).as_bytes())
        .map_err(refused)?;
    Ok(Installed { name: name.to_string(), state: "ok", bytes, sha256, source: Some(origin) })
}

fn write_whole(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    // Temporary files are made for their owner alone; the daemon may be another user.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(folder.join(name))?;
    Ok(())
}

fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").expect("writing to a text cannot fail");
    }
    hex
}

fn show(installed: &Installed, output: Output) {
    match output {
        Output::Json => printer::json(installed),
        Output::Text => {
            let Installed { name, bytes, sha256, source, .. } = installed;
            let source = escape::line(source.as_deref().unwrap_or_default());
            let text = format!("Installed {name}: {bytes} bytes, sha256 {sha256}, from {source}");
            printer::stdout_line(&text);
        }
    }
}

fn list(folder: &Path, output: Output) -> Result<(), LibsError> {
    let names = LibraryFolder::open(folder).list()?;
    let installed: Vec<_> =
        names.iter().map(|name| described(folder, name)).collect::<Result<_, _>>()?;
    match output {
        Output::Json => printer::json(&installed),
        Output::Text => {
            let row = |library: &Installed| {
                let Installed { name, state, bytes, sha256, source } = library;
                let source = source.clone().unwrap_or_default();
                [name.clone(), (*state).to_owned(), bytes.to_string(), sha256.clone(), source]
            };
            let none = "No libraries; `vm-system libs download` installs the usual ones";
            let header = ["Name", "State", "Bytes", "SHA-256", "Source"];
            table::print(header, installed.iter().map(row).collect(), none);
        }
    }
    Ok(())
}

fn described(folder: &Path, name: &LibraryName) -> Result<Installed, LibsError> {
    let source = read(&folder.join(format!("{name}.js")))?;
    let sha256 = sha256(&source);
    let record = read_at_most(&folder.join(format!("{name}.json")), MAX_RECORD_BYTES).ok();
    let record: Option<Record> = record.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let state = match &record {
        Some(record) if record.sha256 == sha256 => "ok",
        Some(_) => "changed",
        None => "no record",
    };
    let (name, bytes) = (name.to_string(), source.len() as u64);
    Ok(Installed { name, state, bytes, sha256, source: record.map(|record| record.source) })
}
