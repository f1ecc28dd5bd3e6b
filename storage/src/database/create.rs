//! Making a new database file so that no crash leaves a half-made one under its name.
//!
//! It is built under a name of its own beside the real one, closed, and then linked to the real
//! name, which fails if that is taken meanwhile. A crash leaves at most a file that the next
//! creation sweeps away.
//!
//! Invariant: the file's own name only ever stands for a complete database.

use super::fault;
use crate::error::StorageError;
use crate::record::encode;
use crate::tables::{FORMAT_KEY, FORMAT_VERSION, META, Noun, Tables};
use crate::tenant::Tenant;
use redb::Database;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use uuid::Uuid;

/// Creates the database unless there is a file of its name, whatever is in it.
pub(crate) fn if_absent(path: &Path) -> Result<(), StorageError> {
    match fs::symlink_metadata(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault::of_io(path, error)),
    }
    // If another process was faster, its file is the one that opening finds.
    publish_draft(path, |draft| build(draft, path)).map(drop)
}

/// Has a file be made under a name of its own, and gives it its own name once it is whole; says
/// whether that was free.
pub(crate) fn publish_draft(
    path: &Path,
    build: impl FnOnce(&Path) -> Result<(), StorageError>,
) -> Result<bool, StorageError> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(StorageError::MissingFolder { path: path.to_owned() });
    }
    let Some(name) = path.file_name() else {
        return Err(fault::of_io(path, io::ErrorKind::InvalidInput.into()));
    };
    let draft = folder.join(draft_name(name));
    let outcome = build(&draft).and_then(|()| {
        let published = publish(&draft, path);
        published
            .and_then(|published| sync(folder).map(|()| published))
            .map_err(|error| fault::of_io(path, error))
    });
    // Whatever the outcome, drafts have served, this one and those of crashes. One that cannot be
    // removed is no reason to fail: the next creation tries again.
    drop(sweep(folder, name));
    outcome
}

/// Writes the format and all tables into an empty database.
pub(crate) fn lay_out(database: &Database) -> Result<(), redb::Error> {
    let mut txn = database.begin_write()?;
    txn.set_two_phase_commit(true);
    txn.open_table(META)?.insert(FORMAT_KEY, FORMAT_VERSION)?;
    add_local(&mut Tables::open(&txn)?)?;
    txn.commit()?;
    Ok(())
}

/// Adds the tenant that is there from the beginning.
pub(crate) fn add_local(tables: &mut Tables<'_>) -> Result<(), redb::Error> {
    let local = Tenant::local();
    let record = encode(&Noun::Tenant(local.id), &local).expect("it is small");
    tables.tenants.insert(local.id.as_bytes(), record.as_slice())?;
    Ok(())
}

fn build(draft: &Path, path: &Path) -> Result<(), StorageError> {
    let database = Database::create(draft).map_err(|error| fault::of_opening(path, error))?;
    lay_out(&database).map_err(|error| fault::of_creating(path, error))?;
    database.close().map_err(|error| fault::of_opening(path, error))
}

/// Gives the draft its name. Another process may have been faster, and have taken the name or
/// swept this draft away: then nothing is published.
fn publish(draft: &Path, path: &Path) -> io::Result<bool> {
    match fs::hard_link(draft, path) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) =>
        {
            Ok(false)
        }
        outcome => outcome.map(|()| true),
    }
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes all drafts of this database.
fn sweep(folder: &Path, name: &OsStr) -> io::Result<()> {
    let (prefix, suffix) = draft_affixes(name);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.file_name();
        let found = found.as_encoded_bytes();
        if found.starts_with(prefix.as_encoded_bytes()) && found.ends_with(suffix.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    sync(folder)
}

fn draft_name(name: &OsStr) -> OsString {
    let (mut draft, suffix) = draft_affixes(name);
    draft.push(Uuid::now_v7().simple().to_string());
    draft.push(suffix);
    draft
}

/// What a draft's name begins and ends with: `.vm.redb.` and `.draft`.
fn draft_affixes(name: &OsStr) -> (OsString, &'static str) {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    (prefix, ".draft")
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
