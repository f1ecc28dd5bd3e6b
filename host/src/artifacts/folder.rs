//! The folder of template modules, beside the database.
//!
//! ```text
//! MODULES/KEY.FORM.HASH.wasm           a module: what it is made of, its form, its own SHA-256
//! MODULES/templates/TEMPLATE/HASH      empty: the template's sessions were started by that module
//! ```
//!
//! Invariant: what is read hashes to its name; a file that was torn, or changed, is none. A file is on
//! the disk before anyone is told of it, so that a session may depend on it. A module says what it is
//! kept under, so that a hash has one file.

use super::manifest::{ArtifactForm, MAX_MANIFEST_BYTES, Manifest};
use super::{Key, UsedBy, hex};
use crate::engine::hash;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use vm_storage::TemplateId;

/// Files there may be, so that listing the folder takes milliseconds.
const MAX_FILES: usize = 4_096;
/// Bytes of a file that is read: an image has 64 MiB at most.
const MAX_FILE_BYTES: u64 = 128 << 20;
/// Modules of one template that are told of.
const MAX_LISTED: usize = 1_000;
/// How often as much as may be kept there may be until what is too much is removed, or because stored
/// sessions need it.
const MOST_BEYOND: u64 = 2;
/// When it is looked again whether stored sessions still need what is too much: it takes a read of all
/// of them.
const LOOK_AGAIN_AFTER: Duration = Duration::from_mins(1);
/// What follows the name of a file that is being written.
const DRAFT: &str = "draft";

/// Files written by this process, so that each has a name of its own.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

/// A file of the folder.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) hash: String,
    pub(super) form: ArtifactForm,
    pub(super) bytes: u64,
    pub(super) created_at: SystemTime,
    key: Key,
    used_at: SystemTime,
}

/// The folder, and what is in it.
pub(super) struct Folder {
    path: PathBuf,
    max_bytes: u64,
    index: Mutex<Index>,
}

#[derive(Default)]
struct Index {
    /// By hash.
    entries: HashMap<String, Entry>,
    /// Hashes by key, those used last at the end.
    by_key: HashMap<Key, Vec<String>>,
    bytes: u64,
    /// Bytes that were left when there was no more to remove, and when that was.
    stuck_at: Option<(u64, Instant)>,
    marks: HashSet<(UsedBy, String)>,
}

impl Folder {
    /// Looks at what is there. A folder that cannot be read has nothing.
    pub(super) fn open(path: PathBuf, max_bytes: u64) -> Self {
        let mut index = Index::default();
        match fs::read_dir(&path) {
            Ok(files) => {
                let mut entries: Vec<_> = files
                    .filter_map(|file| {
                        let file = file.ok()?;
                        let name = file.file_name();
                        if Path::new(&name).extension().is_some_and(|is| is == DRAFT) {
                            // Of a process that ended while it wrote it.
                            drop(fs::remove_file(file.path()));
                            return None;
                        }
                        Entry::of(name.to_str()?, &file.metadata().ok()?)
                    })
                    .collect();
                entries.sort_by_key(|entry| entry.created_at);
                for entry in entries {
                    index.add(entry);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no template modules are read");
            }
        }
        Self { path, max_bytes, index: Mutex::new(index) }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Held for a few operations of maps, each of which leaves it whole enough to go on.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The images of a key, those used last at the end.
    pub(super) fn images(&self, key: &Key) -> Vec<String> {
        self.index().of(key, ArtifactForm::Image)
    }

    /// The replayed module of a key, if it is there and whole.
    pub(super) fn replayed(&self, key: &Key) -> Option<(String, Vec<u8>)> {
        let hash = self.index().of(key, ArtifactForm::Replayed).pop()?;
        match self.read(&hash) {
            Ok(module) => Some((hash, module)),
            Err(error) => {
                tracing::warn!(%error, "a template module is made anew");
                self.forget(&hash);
                None
            }
        }
    }

    /// Whether a module is there.
    pub(super) fn has(&self, hash: &str) -> bool {
        self.index().entries.contains_key(hash)
    }

    /// The bytes of a module.
    ///
    /// # Errors
    /// When it is not there, or is not what its name says.
    pub(super) fn read(&self, hash: &str) -> io::Result<Vec<u8>> {
        let mut module = Vec::new();
        self.file(hash)?.take(MAX_FILE_BYTES).read_to_end(&mut module)?;
        if crate::engine::hash(&module) == hash { Ok(module) } else { Err(damaged(hash)) }
    }

    /// A module as an open file, which stays what it is whatever becomes of its name, and its length.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub(super) fn open_module(&self, hash: &str) -> io::Result<(File, u64)> {
        let mut file = self.file(hash)?;
        let mut sum = Sha256::new();
        let bytes = io::copy(&mut Read::by_ref(&mut file).take(MAX_FILE_BYTES), &mut sum)?;
        if format!("{:x}", sum.finalize()) != hash {
            return Err(damaged(hash));
        }
        file.rewind()?;
        Ok((file, bytes))
    }

    fn file(&self, hash: &str) -> io::Result<File> {
        let entry = self.index().entries.get(hash).cloned();
        let entry = entry.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        File::open(self.path.join(entry.name()))
    }

    /// Keeps a module; gives its hash and whether it was not there before, and none if it cannot be
    /// kept. It is on the disk when this returns.
    pub(super) fn keep(
        &self,
        key: &Key,
        form: ArtifactForm,
        module: &[u8],
    ) -> Option<(String, bool)> {
        let (now, bytes) = (SystemTime::now(), module.len() as u64);
        let entry =
            Entry { hash: hash(module), form, bytes, created_at: now, key: *key, used_at: now };
        let path = self.path.join(entry.name());
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.path)?;
            // Two sessions may keep the same at one time.
            let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
            let draft = path.with_extension(format!("{}-{number}.{DRAFT}", std::process::id()));
            let mut file = File::create(&draft)?;
            let written = file
                .write_all(module)
                .and_then(|()| file.sync_all())
                .and_then(|()| fs::rename(&draft, &path))
                .and_then(|()| File::open(&self.path)?.sync_all());
            if written.is_err() {
                drop(fs::remove_file(&draft));
            }
            written
        };
        if self.read(&entry.hash).is_ok() {
            return Some((entry.hash, false));
        }
        // One that was damaged is made anew.
        self.index().remove(&entry.hash);
        let held = self.index().bytes;
        if held.saturating_add(bytes) > self.max_bytes.saturating_mul(MOST_BEYOND) {
            tracing::warn!(held, bytes, "a template module was not kept: there are too many");
            return None;
        }
        if let Err(error) = write() {
            tracing::warn!(path = %path.display(), %error, "a template module was not kept");
            return None;
        }
        let hash = entry.hash.clone();
        let is_new = self.index().add(entry);
        Some((hash, is_new))
    }

    /// Notes that a module was used.
    pub(super) fn touch(&self, hash: &str) {
        self.index().touch(hash);
    }

    /// Whether a module is known to have started a template's sessions.
    pub(super) fn knows_mark(&self, template: UsedBy, hash: &str) -> bool {
        self.index().marks.contains(&(template, hash.to_owned()))
    }

    /// Notes, for later processes too, that a module started a template's sessions.
    pub(super) fn mark(&self, template: UsedBy, hash: &str) {
        let folder = self.marks(template);
        let marked = fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(hash)));
        match marked {
            Ok(_) => {
                self.index().marks.insert((template, hash.to_owned()));
            }
            Err(error) => tracing::warn!(%error, "a template's module was not noted"),
        }
    }

    /// Forgets which modules started a template's sessions.
    pub(super) fn unmark_all(&self, template: TemplateId) {
        self.index().marks.retain(|(marked, _)| marked.template != template);
        match fs::remove_dir_all(self.marks_of_all(template)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "what is noted of a template was not removed");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Whether a module started a template's sessions.
    pub(super) fn is_marked(&self, template: UsedBy, hash: &str) -> bool {
        // Only what is in the index is looked for: its names are hashes.
        self.has(hash) && fs::exists(self.marks(template).join(hash)).unwrap_or(false)
    }

    fn marks(&self, template: UsedBy) -> PathBuf {
        let UsedBy { tenant, template } = template;
        let all = self.marks_of_all(template);
        // Those of before there were tenants are the local one's.
        if tenant.is_local() { all } else { all.join(tenant.to_string()) }
    }

    fn marks_of_all(&self, template: TemplateId) -> PathBuf {
        self.path.join("templates").join(template.to_string())
    }

    /// The modules that started a template's sessions, oldest first.
    pub(super) fn list(&self, template: UsedBy) -> Vec<(Entry, Manifest)> {
        let Ok(marks) = fs::read_dir(self.marks(template)) else { return Vec::new() };
        let mut entries = Vec::new();
        for mark in marks.flatten().take(MAX_LISTED) {
            let entry =
                mark.file_name().to_str().and_then(|hash| self.index().entries.get(hash).cloned());
            match entry {
                Some(entry) => entries.push(entry),
                // It was removed.
                None => drop(fs::remove_file(mark.path())),
            }
        }
        entries.sort_by(|one, other| {
            (one.created_at, &one.hash).cmp(&(other.created_at, &other.hash))
        });
        let told = |entry: Entry| self.manifest(&entry.hash).map(|manifest| (entry, manifest));
        entries.into_iter().filter_map(told).collect()
    }

    /// What a module says of itself, which is not checked against its hash.
    pub(super) fn manifest(&self, hash: &str) -> Option<Manifest> {
        let mut start = Vec::new();
        self.file(hash).ok()?.take(MAX_MANIFEST_BYTES as u64).read_to_end(&mut start).ok()?;
        Manifest::of(&start)
    }

    /// Whether there is more than may be, and something to be done about it.
    pub(super) fn wants_eviction(&self) -> bool {
        let index = self.index();
        let too_much = index.is_too_much(self.max_bytes);
        let is_stuck =
            |(bytes, at): (u64, Instant)| bytes == index.bytes && at.elapsed() < LOOK_AGAIN_AFTER;
        too_much && !index.stuck_at.is_some_and(is_stuck)
    }

    /// Removes what was used longest ago until there is no more than may be; but none that is in
    /// use. Gives what it removed.
    pub(super) fn evict(&self, used: &HashSet<String>) -> Vec<String> {
        let mut entries: Vec<_> = self.index().entries.values().cloned().collect();
        entries.sort_by_key(|entry| entry.used_at);
        let mut evicted = Vec::new();
        for entry in entries {
            if !self.index().is_too_much(self.max_bytes) {
                break;
            }
            if !used.contains(&entry.hash) && self.forget(&entry.hash) {
                evicted.push(entry.hash);
            }
        }
        let mut index = self.index();
        index.stuck_at = Some((index.bytes, Instant::now()));
        evicted
    }

    /// Removes a module; gives whether it is gone.
    fn forget(&self, hash: &str) -> bool {
        let entry = self.index().entries.get(hash).cloned();
        let Some(entry) = entry else { return false };
        match fs::remove_file(self.path.join(entry.name())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a template module was not removed");
                false
            }
            Ok(()) | Err(_) => {
                self.index().remove(hash);
                true
            }
        }
    }
}

fn damaged(hash: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the module {hash} is damaged"))
}

impl Entry {
    /// The file of a name, if it is one of ours.
    fn of(name: &str, file: &fs::Metadata) -> Option<Self> {
        let mut parts = name.split('.');
        let (key, form, hash, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let form = match form {
            "image" => ArtifactForm::Image,
            "replayed" => ArtifactForm::Replayed,
            _ => return None,
        };
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash || end != "wasm" || parts.next().is_some() || !file.is_file() {
            return None;
        }
        let changed = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Some(Self {
            hash: hash.to_owned(),
            form,
            bytes: file.len(),
            created_at: changed,
            key: key_of(key)?,
            used_at: changed,
        })
    }

    fn name(&self) -> String {
        format!("{}.{}.{}.wasm", hex(&self.key), self.form.as_str(), self.hash)
    }
}

fn key_of(hex: &str) -> Option<Key> {
    let mut key = Key::default();
    if hex.len() != 2 * key.len() || !hex.is_ascii() {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}

impl Index {
    /// Adds a module; gives whether it was not there before.
    fn add(&mut self, entry: Entry) -> bool {
        if self.entries.contains_key(&entry.hash) {
            return false;
        }
        self.stuck_at = None;
        self.bytes += entry.bytes;
        self.by_key.entry(entry.key).or_default().push(entry.hash.clone());
        self.entries.insert(entry.hash.clone(), entry);
        true
    }

    fn touch(&mut self, hash: &str) {
        let Some(entry) = self.entries.get_mut(hash) else { return };
        entry.used_at = SystemTime::now();
        if let Some(hashes) = self.by_key.get_mut(&entry.key)
            && let Some(at) = hashes.iter().position(|known| known == hash)
        {
            let hash = hashes.remove(at);
            hashes.push(hash);
        }
    }

    fn is_too_much(&self, max_bytes: u64) -> bool {
        self.bytes > max_bytes || self.entries.len() > MAX_FILES
    }

    fn remove(&mut self, hash: &str) {
        if let Some(entry) = self.entries.remove(hash) {
            self.bytes -= entry.bytes;
            if let Some(hashes) = self.by_key.get_mut(&entry.key) {
                hashes.retain(|known| known != hash);
                if hashes.is_empty() {
                    self.by_key.remove(&entry.key);
                }
            }
        }
        self.marks.retain(|(_, marked)| marked != hash);
    }

    fn of(&self, key: &Key, form: ArtifactForm) -> Vec<String> {
        let is_form = |hash: &&String| self.entries.get(*hash).is_some_and(|of| of.form == form);
        self.by_key.get(key).into_iter().flatten().filter(is_form).cloned().collect()
    }
}
