//! The guests of other versions of this program, kept for as long as stored sessions may need them.
//!
//! A start keeps its own guest in the data folder, under its hash. A session that was made with
//! another is restored in that, compiled when the first such session is used.
//!
//! Invariant: a guest is only ever run under the name that its bytes hash to.

use super::cache::ModuleCache;
use super::{Guest, Linking};
use crate::error::HostError;
use moka::future::Cache;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Guests of other versions that are held ready: each takes some ten megabytes.
const MAX_GUESTS: u64 = 8;

/// Bytes of a guest that is read: ours has one and a half million.
const MAX_GUEST_BYTES: u64 = 64 << 20;

/// Why a stored heap cannot be restored by this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// Its guest is not kept here.
    #[error("the guest {hash} is not kept in the data folder")]
    Missing {
        /// The SHA-256 of the guest.
        hash: String,
    },
    /// A file of its name is another, or cannot be run.
    #[error("the guest {hash} cannot be used: {reason}")]
    Unusable {
        /// The SHA-256 of the guest.
        hash: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It was made for other host functions.
    #[error("it needs version {found} of the host's functions, and this host has {supported}")]
    Imports {
        /// The version it was made with.
        found: u32,
        /// The version of this host.
        supported: u32,
    },
    /// The image that it differs from is neither the guest's own on this host nor kept here.
    #[error("the image {hash} is not kept in the data folder")]
    Image {
        /// The SHA-256 of the image.
        hash: String,
    },
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(crate) fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The folder that guests are kept in.
pub(super) struct GuestFolder {
    path: Option<PathBuf>,
}

impl GuestFolder {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// Keeps a guest. One that cannot be kept is no reason not to serve: the sessions made now run
    /// all the same, and say so when a later version cannot restore them.
    pub(super) fn keep(&self, guest: &[u8]) {
        let Some(folder) = &self.path else { return };
        let path = folder.join(file_name(&hash(guest)));
        if let Err(error) = keep(folder, &path, guest) {
            tracing::error!(path = %path.display(), %error, "the guest was not kept");
        }
    }

    fn load(&self, name: &str) -> Result<Vec<u8>, GuestError> {
        let missing = || GuestError::Missing { hash: name.to_owned() };
        let unusable = |reason: String| GuestError::Unusable { hash: name.to_owned(), reason };
        let folder = self.path.as_ref().ok_or_else(missing)?;
        let path = folder.join(file_name(name));
        let file = fs::metadata(&path).map_err(|_| missing())?;
        if file.len() > MAX_GUEST_BYTES {
            return Err(unusable(format!("it has {} bytes", file.len())));
        }
        let guest = fs::read(&path).map_err(|error| unusable(error.to_string()))?;
        if hash(&guest) == name {
            Ok(guest)
        } else {
            Err(unusable("its bytes are others than its name says".to_owned()))
        }
    }
}

fn file_name(hash: &str) -> String {
    // A hash from a stored record is only ever a name within the folder.
    let safe: String = hash.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    format!("{safe}.wasm")
}

/// Writes beside the file and renames, so that nobody ever finds half of it.
fn keep(folder: &Path, path: &Path, guest: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|kept| kept == guest) {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let mut file = File::create(&draft)?;
    let written = file
        .write_all(guest)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        drop(fs::remove_file(&draft));
    }
    written
}

/// The guests of other versions, ready to run.
pub(super) struct OtherGuests {
    kept: Arc<(ModuleCache, GuestFolder)>,
    ready: Cache<String, Arc<Guest>>,
}

impl OtherGuests {
    pub(super) fn new(cache: ModuleCache, folder: GuestFolder) -> Self {
        Self { kept: Arc::new((cache, folder)), ready: Cache::new(MAX_GUESTS) }
    }

    /// The guest of a hash; those who ask for the same at one time wait for one to make it.
    pub(super) async fn get(
        &self,
        linking: &Linking,
        hash: &str,
    ) -> Result<Arc<Guest>, GuestError> {
        let (kept, linking) = (Arc::clone(&self.kept), linking.clone());
        let name = hash.to_owned();
        let make = async move {
            let named = name.clone();
            let ready = tokio::task::spawn_blocking(move || {
                let (cache, folder) = &*kept;
                let guest = folder.load(&name)?;
                let unusable = |error: HostError| GuestError::Unusable {
                    hash: name.clone(),
                    reason: error.to_string(),
                };
                Ok(Arc::new(Guest::new(&linking, cache, &guest).map_err(unusable)?))
            });
            ready.await.unwrap_or_else(|error| {
                Err(GuestError::Unusable { hash: named, reason: error.to_string() })
            })
        };
        let guest = self.ready.try_get_with(hash.to_owned(), make).await;
        guest.map_err(|error: Arc<GuestError>| (*error).clone())
    }
}
