//! Compiled code kept on disk, so that a second start takes milliseconds.
//!
//! Invariant: a file is loaded only when its name says that it was compiled from these bytes by
//! this engine, and its own hash says that it is whole. What cannot be loaded is compiled anew and
//! replaced; a cache that cannot be written is done without.
#![expect(unsafe_code, reason = "loading compiled code is what this file is for")]

use crate::error::HostError;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use wasmtime::{Engine, Module};

/// Bytes of the hash in front of the compiled code.
const HASH_BYTES: usize = 32;

/// A folder of compiled modules that belongs to this user alone.
pub(crate) struct ModuleCache {
    folder: Option<PathBuf>,
}

impl ModuleCache {
    /// A cache in `folder`, or none.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The compiled form of what is made of `source`, from the cache when it is there; it is the same of
    /// the same source for as long as its name is.
    pub(crate) fn load_or_compile<'a>(
        &self,
        engine: &Engine,
        name: &str,
        source: &[u8],
        make: impl FnOnce() -> Result<Cow<'a, [u8]>, HostError>,
    ) -> Result<Module, HostError> {
        let compile = || Module::new(engine, make()?).map_err(HostError::engine);
        let Some(folder) = &self.folder else { return compile() };
        let path = folder.join(file_name(engine, name, source));
        match load(engine, folder, &path) {
            Ok(module) => return Ok(module),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code was not loaded");
            }
        }
        let module = compile()?;
        let compiled = module.serialize().map_err(HostError::engine)?;
        if let Err(error) = store(folder, &path, &compiled) {
            tracing::warn!(path = %path.display(), %error, "compiled code was not kept");
        }
        Ok(module)
    }
}

/// A name that differs whenever the compiled code may not be used.
fn file_name(engine: &Engine, name: &str, source: &[u8]) -> String {
    let mut compatibility = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut compatibility);
    let hash = Sha256::digest(source);
    let source = hash.iter().take(8).fold(0_u64, |name, byte| name << 8 | u64::from(*byte));
    format!("{name}-{source:016x}-{:016x}.cwasm", compatibility.finish())
}

fn load(engine: &Engine, folder: &Path, path: &Path) -> io::Result<Module> {
    check_owner(folder)?;
    let bytes = fs::read(path)?;
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let (hash, compiled) =
        bytes.split_at_checked(HASH_BYTES).ok_or_else(|| invalid("the file is cut short"))?;
    if hash != Sha256::digest(compiled).as_slice() {
        return Err(invalid("the file is damaged"));
    }
    // SAFETY: loading code trusts its bytes. They come from a folder that only this user can
    // write (checked above), carry the hash they were written with, and wasmtime itself refuses
    // those of another version or configuration.
    unsafe { Module::deserialize(engine, compiled) }.map_err(|error| invalid(&error.to_string()))
}

/// Refuses a folder that somebody else could put code into.
fn check_owner(folder: &Path) -> io::Result<()> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let metadata = fs::symlink_metadata(folder)?;
    let ours = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
    if ours && metadata.mode() & WRITABLE_BY_OTHERS == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "the cache folder can be written by other users",
    ))
}

/// Writes beside the file and renames, so that nobody ever reads half of it.
fn store(folder: &Path, path: &Path, compiled: &[u8]) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    check_owner(folder)?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = file
        .write_all(&Sha256::digest(compiled))
        .and_then(|()| file.write_all(compiled))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    const WASM: &[u8] = b"\0asm\x01\0\0\0";

    fn only_file(folder: &Path) -> PathBuf {
        let mut files = fs::read_dir(folder).unwrap();
        files.next().unwrap().unwrap().path()
    }

    #[test]
    fn a_damaged_file_is_replaced_and_never_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("cache");
        let engine = Engine::default();
        let cache = ModuleCache::new(Some(folder.clone()));
        cache.load_or_compile(&engine, "guest", WASM, || Ok(WASM.into())).unwrap();
        let file = only_file(&folder);
        let good = fs::read(&file).unwrap();
        for damaged in [
            &good[..10],
            &good[..good.len() - 1],
            &[&good[..40], &[!good[40]], &good[41..]].concat(),
        ] {
            fs::write(&file, damaged).unwrap();
            assert!(load(&engine, &folder, &file).is_err());
            cache.load_or_compile(&engine, "guest", WASM, || Ok(WASM.into())).unwrap();
            assert_eq!(fs::read(&file).unwrap(), good);
        }
    }

    #[test]
    fn a_folder_that_others_can_write_is_not_loaded_from() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("cache");
        let engine = Engine::default();
        let cache = ModuleCache::new(Some(folder.clone()));
        cache.load_or_compile(&engine, "guest", WASM, || Ok(WASM.into())).unwrap();
        let file = only_file(&folder);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(load(&engine, &folder, &file).is_err());
        cache.load_or_compile(&engine, "guest", WASM, || Ok(WASM.into())).unwrap();
    }
}
