//! Template modules: what the libraries and startup files of a template are compiled to, in two
//! forms.
//!
//! ```text
//!              first session                            later ones
//!   parts ──▶ replayed: bytecode ──run──▶ heap ──▶ image: that heap ──▶ begins where it ends
//!                                          │                              │
//!                              spoilt: every session replays    another answer: replays
//! ```
//!
//! - **replayed** (`replayed.rs`): bytecode that a `startup` export runs in each new session.
//! - **image** (`image.rs`): the heap that startup left, as a memory that sessions map copy-on-write.
//!   It is made when the session that replayed was given nothing that another would not be: no time,
//!   no random number, no file written. What it asked of its worktree is listed in the image, and
//!   asked again of the worktree of every session that would begin with it.
//!
//! Both are files of one folder (`folder.rs`), named by what they are made of and by their own hash.
//!
//! Invariant: a session that begins with an image is in the state that it would have reached by
//! replaying, and an image that a stored session began with is kept for as long as that lives.

mod folder;
mod image;
mod manifest;
mod replayed;
mod scripts;
mod told;

pub(crate) use image::{Image, Ran};
pub(crate) use manifest::Recorded;
pub use manifest::{ArtifactForm, ArtifactSource, SourceKind};
pub(crate) use replayed::{BrokenPart, Part, STARTUP, Source};
pub(crate) use scripts::Scripts;
pub use told::{Artifact, ArtifactInput, InputAnswer};

use crate::engine::{Engine, Guest, GuestError};
use crate::error::HostError;
use crate::heap::Heap;
use crate::imports::{Answer, Asked};
use crate::runtime::Grants;
use crate::startup::blocking;
use folder::Folder;
use manifest::Manifest;
use moka::future::Cache;
use replayed::ReplayedModules;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{RwLock, RwLockReadGuard};
use vm_guest::abi::Operation;
use vm_storage::{Limits, TemplateId};

/// Bytes of images that are held ready.
const MAX_READY_BYTES: u64 = 256 << 20;
/// Images of the same parts, which other answers of their worktrees made others, that are looked
/// through for one that fits.
const MAX_CANDIDATES: usize = 4;

/// What artifacts are kept under: the hash of everything that a module is made of.
pub(crate) type Key = [u8; 32];

/// The template modules that there are.
pub(crate) struct Artifacts {
    replayed: ReplayedModules,
    /// By hash.
    images: Cache<String, Arc<Image>>,
    folder: Option<Arc<Folder>>,
    /// Held to begin a session with an image, from finding it until the session is stored; and, by
    /// who removes artifacts, from looking at which ones sessions use.
    in_use: RwLock<()>,
    /// Held to make an image, so that sessions which start together make one.
    making: tokio::sync::Mutex<()>,
    images_made: AtomicU64,
    hits: Mutex<HashMap<String, u64>>,
    forms: Forms,
}

/// Which forms of template modules a host uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forms {
    /// Images where they are the same as replaying.
    ImagesAndReplayed,
    /// Every session runs its template's startup itself.
    Replayed,
}

/// Where template modules are kept, and how many.
#[derive(Clone, Debug)]
pub(crate) struct ArtifactOptions {
    /// The folder; without one nothing outlives the process, and there are no images.
    pub(crate) folder: Option<PathBuf>,
    /// Bytes of files there may be, beyond those that stored sessions need.
    pub(crate) max_bytes: u64,
    pub(crate) forms: Forms,
}

impl Artifacts {
    /// Opens the folder. Not on an async worker.
    pub(crate) fn open(options: ArtifactOptions) -> Self {
        let ArtifactOptions { folder, max_bytes, forms } = options;
        let weigher = |_: &String, image: &Arc<Image>| image.bytes();
        Self {
            replayed: ReplayedModules::new(),
            images: Cache::builder().max_capacity(MAX_READY_BYTES).weigher(weigher).build(),
            folder: folder.map(|path| Arc::new(Folder::open(path, max_bytes))),
            in_use: RwLock::new(()),
            making: tokio::sync::Mutex::default(),
            images_made: AtomicU64::new(0),
            hits: Mutex::default(),
            forms,
        }
    }

    /// Replayed modules compiled so far.
    pub(crate) fn compiled(&self) -> u64 {
        self.replayed.compiled()
    }

    /// Images made so far.
    pub(crate) fn images_made(&self) -> u64 {
        self.images_made.load(Ordering::Relaxed)
    }

    /// The replayed module of some parts, made if there is none.
    pub(crate) async fn replayed(
        &self,
        engine: &Engine,
        template: TemplateId,
        scripts: &Scripts,
        limits: &Limits,
    ) -> Result<Arc<replayed::Replayed>, HostError> {
        let module = self.replayed.get(engine, self.folder.as_ref(), scripts, limits).await?;
        if let Some(hash) = &module.hash {
            self.note_use(template, hash).await;
        }
        Ok(module)
    }

    /// Holds off the removal of artifacts, while a session begins with one.
    pub(crate) async fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.in_use.read().await
    }

    /// The image that a session may begin with, if there is one: of these parts, and of a worktree
    /// that answered what startup asked as the session's own does.
    pub(crate) async fn image(
        &self,
        engine: &Engine,
        template: TemplateId,
        key: &Key,
        grants: &Grants,
    ) -> Option<Arc<Image>> {
        let folder = self.folder.as_ref().filter(|_| self.makes_images())?;
        let candidates = folder.images(key);
        for hash in candidates.into_iter().rev().take(MAX_CANDIDATES) {
            let Ok(image) = self.stored_image(engine, &engine.guest, &hash).await else { continue };
            if would_answer(grants, image.asked()).await {
                self.note_use(template, &hash).await;
                return Some(image);
            }
        }
        None
    }

    /// The image of a hash, which a stored session began with.
    pub(crate) async fn stored_image(
        &self,
        engine: &Engine,
        guest: &Guest,
        hash: &str,
    ) -> Result<Arc<Image>, GuestError> {
        let absent = || GuestError::Image { hash: hash.to_owned() };
        let folder = Arc::clone(self.folder.as_ref().ok_or_else(absent)?);
        let (guest, linking, name) = (guest.clone(), engine.linking(), hash.to_owned());
        let load = async {
            let loaded = blocking(move || {
                let module = folder.read(&name).map_err(|error| error.to_string())?;
                let image = Image::of(&linking, &guest, &module, name);
                image.map(Arc::new).map_err(|error| error.to_string())
            });
            let loaded = loaded.await.map_err(|error| error.to_string()).flatten();
            loaded.map_err(|error| {
                tracing::warn!(%hash, %error, "an image cannot be used");
                absent()
            })
        };
        let image = self.images.try_get_with(hash.to_owned(), load).await;
        image.map_err(|error: Arc<GuestError>| (*error).clone())
    }

    /// Whether sessions begin with images at all.
    pub(crate) fn makes_images(&self) -> bool {
        self.folder.is_some() && self.forms == Forms::ImagesAndReplayed
    }

    /// Makes an image of the heap that a startup left, unless there is one. What is too large for
    /// one, or cannot be kept, makes none.
    pub(crate) async fn make_image(
        &self,
        engine: &Engine,
        template: TemplateId,
        key: Key,
        heap: &Heap,
        ran: Ran<'_>,
    ) {
        let Some(folder) = self.folder.clone().filter(|_| self.makes_images()) else { return };
        let _making = self.making.lock().await;
        for hash in folder.images(&key) {
            let there = self.stored_image(engine, &engine.guest, &hash).await;
            if there.is_ok_and(|image| image.asked() == ran.asked) {
                return;
            }
        }
        let Some(draft) = image::Draft::of(heap, &engine.guest, ran) else { return };
        let (linking, guest) = (engine.linking(), Arc::clone(&engine.guest));
        let made = blocking(move || {
            let module = draft.encode()?;
            let hash = folder.keep(&key, ArtifactForm::Image, &module)?;
            Some(Image::of(&linking, &guest, &module, hash).map(Arc::new))
        });
        match made.await {
            Ok(Some(Ok(image))) => {
                self.images_made.fetch_add(1, Ordering::Relaxed);
                let hash = image.hash().to_owned();
                self.images.insert(hash.clone(), image).await;
                self.mark(template, &hash).await;
            }
            // It is too large, or was not kept, which was said.
            Ok(None) => {}
            Ok(Some(Err(error))) | Err(error) => tracing::warn!(%error, "an image was not made"),
        }
    }

    /// The artifacts that were made for a template or used by its sessions, and are there.
    ///
    /// # Errors
    /// `Artifact` when the folder cannot be read.
    pub(crate) async fn list(&self, template: TemplateId) -> Result<Vec<Artifact>, HostError> {
        let Some(folder) = self.folder.clone() else { return Ok(Vec::new()) };
        let found = blocking(move || folder.list(template)).await?;
        let hits = self.hits().clone();
        let artifact = |(entry, manifest): (folder::Entry, Manifest)| Artifact {
            hits: hits.get(&entry.hash).copied().unwrap_or(0),
            hash: entry.hash,
            form: entry.form,
            bytes: entry.bytes,
            created_at: entry.created_at,
            asked: manifest.asked.iter().map(ArtifactInput::of).collect(),
            sources: manifest.sources,
        };
        Ok(found.into_iter().map(artifact).collect())
    }

    /// The bytes of one of a template's artifacts; none if it has no such.
    pub(crate) async fn download(&self, template: TemplateId, hash: &str) -> Option<Vec<u8>> {
        let (folder, hash) = (self.folder.clone()?, hash.to_owned());
        let read = blocking(move || {
            folder.is_marked(template, &hash).then(|| folder.read(&hash).ok()).flatten()
        });
        read.await.ok().flatten()
    }

    /// Whether there is more than may be.
    pub(crate) fn wants_eviction(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| folder.wants_eviction())
    }

    /// Removes what was used longest ago until there is no more than may be, but nothing that `used`
    /// says stored sessions need.
    pub(crate) async fn evict(
        &self,
        used: impl FnOnce() -> Result<HashSet<String>, HostError> + Send + 'static,
    ) -> Result<(), HostError> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let _nobody_begins = self.in_use.write().await;
        let evicted = blocking(move || Ok::<_, HostError>(folder.evict(&used()?))).await??;
        for hash in evicted {
            self.images.invalidate(&hash).await;
            self.hits().remove(&hash);
        }
        Ok(())
    }

    async fn note_use(&self, template: TemplateId, hash: &str) {
        let is_first = {
            let mut hits = self.hits();
            let hits = hits.entry(hash.to_owned()).or_default();
            *hits += 1;
            *hits == 1
        };
        if let Some(folder) = &self.folder {
            folder.touch(hash);
            if is_first || !folder.knows_mark(template, hash) {
                self.mark(template, hash).await;
            }
        }
    }

    async fn mark(&self, template: TemplateId, hash: &str) {
        let Some(folder) = self.folder.clone() else { return };
        let hash = hash.to_owned();
        drop(blocking(move || folder.mark(template, &hash)).await);
    }

    fn hits(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        // Held for one call of the map's.
        self.hits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hash, as text.
fn hex(hash: &[u8; 32]) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a text cannot fail");
        text
    })
}

/// Whether a session would be answered the same.
async fn would_answer(grants: &Grants, asked: &[Asked]) -> bool {
    for asked in asked {
        let Ok(operation) = Operation::try_from(asked.operation) else { return false };
        let answer = grants.answer(operation, asked.flags, &asked.name, Vec::new()).await;
        if Answer::of(operation, &answer) != asked.answer {
            return false;
        }
    }
    true
}
