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
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{RwLock, RwLockReadGuard, Semaphore};
use vm_guest::abi::Operation;
use vm_storage::{Limits, Session, TemplateId, TenantId};

/// Bytes of images that are held ready.
const MAX_READY_BYTES: u64 = 256 << 20;
/// Bytes of what images asked, held ready to find the one that fits a worktree.
const MAX_ASKED_BYTES: u64 = 8 << 20;
/// Images of the same parts, which other answers of their worktrees made others, among which one is
/// looked for that fits: those used last.
const MAX_CANDIDATES: usize = 256;

/// Bytes of memory up to which an image is small: the guest's own, and large libraries.
const SMALL_IMAGE_BYTES: usize = 16 << 20;
/// Small images that are made at a time.
const MAKING_SMALL: usize = 8;

/// What artifacts are kept under: the hash of everything that a module is made of.
pub(crate) type Key = [u8; 32];

/// A template as one tenant uses it. What another's sessions of a shared template left is not its own: it
/// holds what their worktrees have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UsedBy {
    pub(crate) tenant: TenantId,
    pub(crate) template: TemplateId,
}

impl UsedBy {
    /// The template that a session was made from, as its tenant uses it.
    pub(crate) fn of(session: &Session) -> Self {
        Self { tenant: session.tenant_id, template: session.template_id }
    }
}

/// The template modules that there are.
pub(crate) struct Artifacts {
    replayed: ReplayedModules,
    /// By hash.
    images: Cache<String, Arc<Image>>,
    /// What each image asked, by hash.
    asked: Cache<String, Arc<Vec<Asked>>>,
    folder: Option<Arc<Folder>>,
    /// Held while a session that begins with an image is stored; and, by who removes artifacts, from
    /// looking at which ones sessions use. Nobody waits for a worktree or for an instance with it.
    in_use: RwLock<()>,
    /// Turns at making an image, which takes twice its memory: large ones are made one at a time, and
    /// small ones do not wait for them.
    large: Semaphore,
    small: Semaphore,
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
        let asked_weigher = |_: &String, asked: &Arc<Vec<Asked>>| asked_bytes(asked);
        Self {
            replayed: ReplayedModules::new(),
            images: Cache::builder().max_capacity(MAX_READY_BYTES).weigher(weigher).build(),
            asked: Cache::builder().max_capacity(MAX_ASKED_BYTES).weigher(asked_weigher).build(),
            folder: folder.map(|path| Arc::new(Folder::open(path, max_bytes))),
            in_use: RwLock::new(()),
            large: Semaphore::new(1),
            small: Semaphore::new(MAKING_SMALL),
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
        template: UsedBy,
        scripts: &Scripts,
        limits: &Limits,
    ) -> Result<Arc<replayed::Replayed>, HostError> {
        let module = self.replayed.get(engine, self.folder.as_ref(), scripts, limits).await?;
        if let Some(hash) = &module.hash {
            self.note_use(template, hash).await;
        }
        Ok(module)
    }

    /// Holds off the removal of artifacts.
    pub(crate) async fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.in_use.read().await
    }

    /// The image that a session may begin with, if there is one: of these parts, and of a worktree
    /// that answered what startup asked as the session's own does. It is there until what comes with it
    /// is dropped, and after that for as long as a stored session needs it.
    pub(crate) async fn image(
        &self,
        engine: &Engine,
        template: UsedBy,
        key: &Key,
        grants: &Grants,
    ) -> Option<(Arc<Image>, RwLockReadGuard<'_, ()>)> {
        let folder = self.folder.as_ref().filter(|_| self.makes_images())?;
        let mut candidates = Vec::new();
        for hash in folder.images(key).into_iter().rev().take(MAX_CANDIDATES) {
            if let Some(asked) = self.asked(folder, &hash).await {
                candidates.push((hash, asked));
            }
        }
        let (hash, asked) = answered_alike(grants, candidates).await?;
        let image = self.stored_image(engine, &engine.guest, &hash).await.ok()?;
        if image.asked() != *asked {
            return None;
        }
        self.note_use(template, &hash).await;
        let held = self.hold().await;
        // It may have been removed while the worktree answered.
        folder.has(&hash).then_some((image, held))
    }

    /// What an image asked, as its file says; whether the file is whole is seen when it is used.
    async fn asked(&self, folder: &Arc<Folder>, hash: &str) -> Option<Arc<Vec<Asked>>> {
        let load = async {
            let (folder, hash) = (Arc::clone(folder), hash.to_owned());
            let told = blocking(move || folder.manifest(&hash)).await.ok().flatten();
            told.map(|manifest| Arc::new(manifest.asked))
        };
        self.asked.optionally_get_with_by_ref(hash, load).await
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
        let (guest, linking, name) = (guest.clone(), engine.linking.clone(), hash.to_owned());
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

    /// Makes an image of the heap that a startup left, unless there is one: it is the same bytes, of the
    /// same hash. What is too large for one, or cannot be kept, makes none.
    pub(crate) async fn make_image(
        &self,
        engine: &Engine,
        template: UsedBy,
        key: Key,
        heap: &Heap,
        ran: Ran<'_>,
    ) {
        let Some(folder) = self.folder.clone().filter(|_| self.makes_images()) else { return };
        let is_small = heap.memory_bytes() <= SMALL_IMAGE_BYTES;
        let turns = if is_small { &self.small } else { &self.large };
        let _turn = turns.acquire().await.expect("the semaphore is never closed");
        let draft = image::Draft::of(&key, heap, &engine.guest, ran).await;
        let Some(draft) = draft else { return };
        let (linking, guest) = (engine.linking.clone(), Arc::clone(&engine.guest));
        let made = blocking(move || {
            let module = draft.encode()?;
            let (hash, is_new) = folder.keep(&key, ArtifactForm::Image, &module)?;
            folder.touch(&hash);
            Some(Image::of(&linking, &guest, &module, hash).map(|image| (Arc::new(image), is_new)))
        });
        match made.await {
            Ok(Some(Ok((image, is_new)))) => {
                self.images_made.fetch_add(u64::from(is_new), Ordering::Relaxed);
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
    pub(crate) async fn list(&self, template: UsedBy) -> Result<Vec<Artifact>, HostError> {
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

    /// One of a template's artifacts, as an open file and its length; none if it has no such.
    pub(crate) async fn download(&self, template: UsedBy, hash: &str) -> Option<(File, u64)> {
        let (folder, hash) = (self.folder.clone()?, hash.to_owned());
        let open = blocking(move || {
            folder.is_marked(template, &hash).then(|| folder.open_module(&hash).ok()).flatten()
        });
        open.await.ok().flatten()
    }

    /// Forgets what was noted of a template that is gone.
    pub(crate) async fn forget_template(&self, template: TemplateId) {
        let Some(folder) = self.folder.clone() else { return };
        drop(blocking(move || folder.unmark_all(template)).await);
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
            self.asked.invalidate(&hash).await;
            self.hits().remove(&hash);
        }
        Ok(())
    }

    async fn note_use(&self, template: UsedBy, hash: &str) {
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

    async fn mark(&self, template: UsedBy, hash: &str) {
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
pub(crate) fn hex(hash: &[u8; 32]) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a text cannot fail");
        text
    })
}

/// The first of the images of a key that asked what a session would be answered the same. Runs that were
/// answered alike so far ask the same next, so that each question is asked once, however many images
/// there are.
async fn answered_alike(
    grants: &Grants,
    mut images: Vec<(String, Arc<Vec<Asked>>)>,
) -> Option<(String, Arc<Vec<Asked>>)> {
    for number in 0.. {
        let (_, first) = images.first()?;
        let Some(question) = first.get(number).cloned() else { break };
        let Ok(operation) = Operation::try_from(question.operation) else { return None };
        let answer = grants.answer(operation, question.flags, &question.name, Vec::new()).await;
        let answered = Asked { answer: Answer::of(operation, &answer), ..question };
        images.retain(|(_, asked)| asked.get(number) == Some(&answered));
    }
    images.into_iter().next()
}

fn asked_bytes(asked: &[Asked]) -> u32 {
    // Each has a name, and a hash in hexadecimal; so has the entry.
    let bytes = asked.iter().map(|asked| size_of::<Asked>() + asked.name.len() + 64);
    u32::try_from(64 + bytes.sum::<usize>()).unwrap_or(u32::MAX)
}
