//! Backups: folders with a copy of the database, of the guests that its sessions run, and of the
//! template modules, on whose images some of them begin.
//!
//! ```text
//! BACKUPS/NAME/vm-system.redb      the database, as it was at one moment
//! BACKUPS/NAME/guests/HASH.wasm
//! BACKUPS/NAME/modules/….wasm
//! ```
//!
//! Invariant: a folder of a backup's own name is whole; one that is being made, or was when the
//! process ended, has a name that begins with a dot.

use crate::error::HostError;
use crate::host::Host;
use crate::startup::blocking;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use vm_storage::StorageError;

const DATABASE: &str = "vm-system.redb";
const GUESTS: &str = "guests";
const MODULES: &str = "modules";

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupMade {
    /// Its folder.
    pub path: PathBuf,
    /// Bytes of its database.
    pub database_bytes: u64,
}

impl Host {
    /// Makes a backup of the store and of the guests of its sessions, while both are in use. `name`
    /// is that of a folder and nothing else; checking that is the caller's part.
    ///
    /// # Errors
    /// `BackupExists`, `Backup` when it cannot be written, and the states of the store.
    pub async fn backup(&self, name: &str) -> Result<BackupMade, HostError> {
        self.refuse_when_stopping()?;
        let no_folder = || HostError::Backup("there is no folder for backups".to_owned());
        let folder = self.backup_dir().ok_or_else(no_folder)?;
        let (storage, guests) = (self.storage().clone(), self.guest_dir());
        let modules = self.module_dir();
        let name = name.to_owned();
        // One at a time: each holds on to what the store had when it began.
        let _turn = self.backup_turn().await;
        // No image is removed that the copy of the database needs.
        let _held = self.artifacts().hold().await;
        blocking(move || {
            let (path, draft) = (folder.join(&name), folder.join(format!(".{name}.draft")));
            if fs::symlink_metadata(&path).is_ok() {
                return Err(HostError::BackupExists { name });
            }
            let made = prepare(&draft).map_err(HostError::backup).and_then(|()| {
                let database_bytes = storage.backup(&draft.join(DATABASE)).map_err(of_storage)?;
                copy_wasm(guests.as_deref(), &draft.join(GUESTS)).map_err(HostError::backup)?;
                copy_wasm(modules.as_deref(), &draft.join(MODULES)).map_err(HostError::backup)?;
                publish(&folder, &draft, &path).map_err(HostError::backup)?;
                Ok(BackupMade { path, database_bytes })
            });
            if made.is_err() {
                // What is left of it is swept by the next backup of its name.
                drop(fs::remove_dir_all(&draft));
            }
            made
        })
        .await?
    }
}

/// Puts a backup in the place of a database that is not there, and its guests and modules beside it.
///
/// # Errors
/// `Backup` when it cannot be read or its copy not be written, and what opening a database gives.
pub fn restore_backup(
    backup: &Path,
    database: &Path,
    guest_dir: &Path,
    module_dir: &Path,
) -> Result<(), HostError> {
    // The database comes last: with it there, the rest is.
    copy_wasm(Some(&backup.join(GUESTS)), guest_dir).map_err(HostError::backup)?;
    copy_wasm(Some(&backup.join(MODULES)), module_dir).map_err(HostError::backup)?;
    vm_storage::restore(&backup.join(DATABASE), database).map_err(of_storage)
}

fn of_storage(error: StorageError) -> HostError {
    match error {
        StorageError::Backup { .. } => HostError::Backup(error.to_string()),
        error => error.into(),
    }
}

fn prepare(draft: &Path) -> io::Result<()> {
    match fs::remove_dir_all(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::create_dir_all(draft)
}

fn copy_wasm(from: Option<&Path>, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let entries = match from.map(fs::read_dir) {
        Some(Ok(entries)) => entries,
        Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Some(Err(error)) => return Err(error),
        None => return Ok(()),
    };
    for entry in entries {
        let path = entry?.path();
        if let Some(name) = path.file_name()
            && path.extension().is_some_and(|extension| extension == "wasm")
        {
            let copy = to.join(name);
            fs::copy(&path, &copy)?;
            File::open(copy)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

/// Gives the draft its name, for good.
fn publish(folder: &Path, draft: &Path, path: &Path) -> io::Result<()> {
    File::open(draft)?.sync_all()?;
    fs::rename(draft, path)?;
    File::open(folder)?.sync_all()
}
