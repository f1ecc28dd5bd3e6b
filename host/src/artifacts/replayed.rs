//! The replayed form: the libraries and startup files of a template, compiled to
//! bytecode by the guest and kept in a WebAssembly module that runs them in each new session.
//!
//! ```text
//! (import "guest" "memory") (import "guest" "vm_alloc") (import "guest" "vm_run") (import "guest" "vm_drain")
//! (data passive: bytecode of part 0) (data passive: part 1) …
//! (func (export "startup") (param $part i32) (result i32)  ;; an outcome
//!    copy the part's data into memory that vm_alloc gives; vm_run it; vm_drain)
//! ```
//!
//! Invariant: a module is a function of the hash it is kept under — guest, flags, names and
//! contents of the parts — so that a second session of a template compiles nothing, and changed
//! content means another module.

use super::folder::Folder;
use super::manifest::{ArtifactForm, Manifest};
use super::{Key, Scripts, hex};
use crate::engine::{COMPILING_SESSIONS, Engine};
use crate::error::HostError;
use crate::limits;
use crate::recorder::SharedRecorder;
use crate::runtime::{Failure, Grants, Runtime, RuntimeOptions, Script, SessionClock};
use crate::startup::blocking;
use crate::typescript::{NotTypeScript, Stripped};
use moka::future::Cache;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;
use vm_guest::abi::{GUEST_MODULE, exports, script_flags};
use vm_storage::{EventPayload, ExecutionId, Limits};
use wasm_encoder::{
    BlockType, CodeSection, DataCountSection, DataSection, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, ImportSection, MemoryType, TypeSection, ValType,
};
use wasmtime::Module;

/// Name of a template module's export: `(part) -> outcome`.
pub(crate) const STARTUP: &str = "startup";

/// Bytes of compiled modules that are kept.
const MAX_CACHED_BYTES: u64 = 256 << 20;

/// One script that a template loads into its sessions.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// What stacks call it.
    pub(crate) name: String,
    /// Its source, as it was read.
    pub(crate) source: Source,
    /// See [`vm_guest::abi::script_flags`].
    pub(crate) flags: u32,
}

/// A source, what is compiled of it, and the SHA-256 of either.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Without types, of TypeScript; or why that is none.
    pub(crate) text: Stripped,
    pub(crate) bytes: u64,
    pub(super) sha256: [u8; 32],
    /// Of what is compiled.
    pub(super) compiled_sha256: [u8; 32],
}

impl From<Vec<u8>> for Source {
    fn from(text: Vec<u8>) -> Self {
        let (bytes, sha256) = (text.len() as u64, Sha256::digest(&text).into());
        Self { text: Ok(text.into()), bytes, sha256, compiled_sha256: sha256 }
    }
}

impl Source {
    /// The source of which that was compiled.
    pub(crate) fn stripped(self, text: Stripped) -> Self {
        let compiled_sha256 = match &text {
            Ok(text) => Sha256::digest(text).into(),
            Err(refused) => {
                let refused =
                    Sha256::new_with_prefix(b"refused\0").chain_update(refused.answer(""));
                refused.finalize().into()
            }
        };
        Self { text, compiled_sha256, ..self }
    }
}

/// A template's scripts as a module.
pub(crate) struct Replayed {
    /// Runs the parts that compiled.
    pub(crate) module: Module,
    /// The first part that did not compile, and what follows from it.
    pub(crate) broken: Option<BrokenPart>,
    /// The SHA-256 of the module, if its file is kept.
    pub(super) hash: Option<String>,
    bytes: u32,
}

/// A part that does not compile.
#[derive(Clone, Debug)]
pub(crate) struct BrokenPart {
    pub(crate) index: usize,
    /// The exception that the compiler emitted.
    pub(crate) events: Vec<EventPayload>,
    /// What stopped the compiler, when it was not the script's syntax.
    pub(crate) failure: Option<Failure>,
}

impl BrokenPart {
    /// TypeScript that is none, in a file of this name.
    pub(crate) fn of_syntax(index: usize, refused: &NotTypeScript, name: &str) -> Self {
        Self { index, events: vec![refused.exception(name)], failure: None }
    }
}

/// The modules that are held ready, by the hash of what they were made of.
pub(super) struct ReplayedModules {
    cache: Cache<Key, Arc<Replayed>>,
    /// Guests that may compile at one time; the pool has room for no more. Others wait their turn.
    compiling: Semaphore,
    compiled: AtomicU64,
}

impl ReplayedModules {
    pub(super) fn new() -> Self {
        let weigher = |_: &Key, module: &Arc<Replayed>| module.bytes;
        let cache = Cache::builder().max_capacity(MAX_CACHED_BYTES).weigher(weigher).build();
        let compiling = Semaphore::new(COMPILING_SESSIONS as usize);
        Self { cache, compiling, compiled: AtomicU64::new(0) }
    }

    /// Modules compiled so far.
    pub(super) fn compiled(&self) -> u64 {
        self.compiled.load(Ordering::Relaxed)
    }

    /// The module of some scripts: from the folder, or made if it is not there. Sessions that ask for
    /// the same at one time wait for one to make it.
    pub(super) async fn get(
        &self,
        engine: &Engine,
        folder: Option<&Arc<Folder>>,
        scripts: &Scripts,
        limits: &Limits,
    ) -> Result<Arc<Replayed>, HostError> {
        let key = scripts.key(&engine.guest.binding.guest);
        let make = async {
            if let Some(kept) = kept(engine, folder, key).await {
                return Ok(kept);
            }
            let _permit = self.compiling.acquire().await.expect("the semaphore is never closed");
            self.compiled.fetch_add(1, Ordering::Relaxed);
            make(engine, folder, key, scripts, limits).await
        };
        let module = self.cache.try_get_with(key, make).await;
        let module =
            module.map_err(|error: Arc<HostError>| HostError::Engine(error.to_string()))?;
        if module.broken.as_ref().is_some_and(|broken| broken.failure.is_some()) {
            // It passed a limit of this template's; another's may be higher.
            self.cache.invalidate(&key).await;
        }
        Ok(module)
    }
}

/// The module that the folder has.
async fn kept(engine: &Engine, folder: Option<&Arc<Folder>>, key: Key) -> Option<Arc<Replayed>> {
    let (folder, wasm) = (Arc::clone(folder?), engine.linking.wasm.clone());
    let load = blocking(move || {
        let (hash, bytes) = folder.replayed(&key)?;
        let module = Module::new(&wasm, &bytes);
        let module = module.inspect_err(|error| tracing::warn!(%error, "a damaged module")).ok()?;
        let bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Some(Arc::new(Replayed { module, broken: None, hash: Some(hash), bytes }))
    });
    load.await.ok().flatten()
}

async fn make(
    engine: &Engine,
    folder: Option<&Arc<Folder>>,
    key: Key,
    scripts: &Scripts,
    limits: &Limits,
) -> Result<Arc<Replayed>, HostError> {
    let (compiled, broken) = compile(engine, scripts, limits).await?;
    let wasm = encode(&compiled);
    let manifest = Manifest {
        form: ArtifactForm::Replayed,
        key: hex(&key),
        guest: engine.guest.binding.guest.clone(),
        sources: scripts.sources(),
        asked: Vec::new(),
        startup: Vec::new(),
    };
    // What does not compile is told anew by every start.
    let folder = folder.filter(|_| broken.is_none()).cloned();
    let engine = engine.linking.wasm.clone();
    blocking(move || {
        let told = manifest.put_into(&wasm);
        let keep = |folder: Arc<Folder>| folder.keep(&key, ArtifactForm::Replayed, told.as_ref()?);
        let hash = folder.and_then(keep).map(|(hash, _)| hash);
        let module = Module::new(&engine, &wasm).map_err(HostError::engine)?;
        let bytes = u32::try_from(wasm.len()).unwrap_or(u32::MAX);
        Ok(Arc::new(Replayed { module, broken, hash, bytes }))
    })
    .await?
}

/// Compiles the parts in a guest of their own, up to the first that does not compile.
async fn compile(
    engine: &Engine,
    scripts: &Scripts,
    limits: &Limits,
) -> Result<(Vec<Vec<u8>>, Option<BrokenPart>), HostError> {
    let options = RuntimeOptions {
        guest: Arc::clone(&engine.guest),
        clock: SessionClock::starting(),
        max_memory_bytes: limits::memory_bytes(limits),
        grants: Grants::none(),
        realm_flags: 0,
    };
    let place = engine.places.take().await;
    let mut runtime = Runtime::new(engine, place, options).await?;
    let mut compiled = Vec::with_capacity(scripts.parts.len());
    for (index, part) in scripts.parts.iter().enumerate() {
        let text = match &part.source.text {
            Ok(text) => text,
            Err(refused) => {
                let broken = BrokenPart::of_syntax(index, refused, &part.name);
                return Ok((compiled, Some(broken)));
            }
        };
        match compile_part(&mut runtime, part, text, limits).await {
            Ok(bytecode) => compiled.push(bytecode),
            Err((events, failure)) => {
                return Ok((compiled, Some(BrokenPart { index, events, failure })));
            }
        }
    }
    Ok((compiled, None))
}

async fn compile_part(
    runtime: &mut Runtime,
    part: &Part,
    source: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, (Vec<EventPayload>, Option<Failure>)> {
    let recorder = SharedRecorder::new(ExecutionId::new(), limits, None);
    let fuel = limits::fuel(limits);
    runtime.begin(fuel, recorder.clone());
    let script = Script { name: &part.name, source, flags: part.flags };
    let compiled = runtime.compile(script).await;
    runtime.end(fuel);
    let events = || recorder.lock().events().iter().map(|event| event.payload.clone()).collect();
    match compiled {
        Ok(Some(bytecode)) => Ok(bytecode),
        Ok(None) => Err((events(), None)),
        Err(failure) => Err((events(), Some(failure))),
    }
}

/// Function indices of a template module: its imports come first.
mod index {
    pub(super) const ALLOC: u32 = 0;
    pub(super) const RUN: u32 = 1;
    pub(super) const DRAIN: u32 = 2;
    pub(super) const STARTUP: u32 = 3;
}

fn encode(compiled: &[Vec<u8>]) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32, ValType::I32], []);
    let mut imports = ImportSection::new();
    let memory = MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    };
    imports.import(GUEST_MODULE, exports::MEMORY, EntityType::Memory(memory));
    imports.import(GUEST_MODULE, exports::ALLOC, EntityType::Function(0));
    imports.import(GUEST_MODULE, exports::RUN, EntityType::Function(1));
    imports.import(GUEST_MODULE, exports::DRAIN, EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exported = ExportSection::new();
    exported.export(STARTUP, ExportKind::Func, index::STARTUP);
    let mut code = CodeSection::new();
    code.function(&startup(compiled));
    let mut data = DataSection::new();
    for bytecode in compiled {
        data.passive(bytecode.iter().copied());
    }
    let mut module = wasm_encoder::Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&exported)
        .section(&DataCountSection { count: data.len() })
        .section(&code)
        .section(&data);
    module.finish()
}

/// `startup(part)`: traps on a part that is not there, or when memory is short.
fn startup(compiled: &[Vec<u8>]) -> Function {
    const PART: u32 = 0;
    const ADDRESS: u32 = 1;
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code = function.instructions();
    for (segment, bytecode) in (0_u32..).zip(compiled) {
        let len = u32::try_from(bytecode.len()).expect("checked by the guest: 32-bit lengths");
        let len = len.cast_signed();
        code.local_get(PART).i32_const(segment.cast_signed()).i32_eq().if_(BlockType::Empty);
        code.i32_const(len).call(index::ALLOC).local_tee(ADDRESS).i32_eqz();
        code.if_(BlockType::Empty).unreachable().end();
        code.local_get(ADDRESS).i32_const(0).i32_const(len).memory_init(0, segment);
        code.local_get(ADDRESS).i32_const(len).call(index::RUN);
        code.i32_const(script_flags::QUIET.cast_signed()).call(index::DRAIN).return_().end();
    }
    code.unreachable().end();
    function
}
