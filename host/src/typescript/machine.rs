//! The instance that one source is parsed in.
//!
//! Invariant: it imports no function of the host's that tells it anything or does anything, and every
//! way in which it can end is an answer.

use super::{Kind, NotTypeScript, Stripped};
use crate::engine::ModuleCache;
use crate::error::HostError;
use crate::limits::MemoryLimiter;
use std::path::PathBuf;
use wasmtime::{
    Caller, Config, Engine, Extern, InstancePre, Linker, Module, Store, Trap, TypedFunc,
};

/// Bytes of memory of one instance.
const MAX_MEMORY_BYTES: u64 = 256 << 20;
/// Bytes of native stack that parsing may take. The module's own stack in its memory ends most
/// recursions before.
const MAX_WASM_STACK: usize = 16 << 20;
/// Bytes of stack that a thread is given for it, and for what is above and below.
const STACK_BYTES: usize = MAX_WASM_STACK + (1 << 20);
/// Fuel, of the engine's own counting, that any source may take, some 0.1 s, and that each of its bytes
/// adds: programs take 350 a byte, the densest that was tried 1,200.
const FUEL: u64 = 200_000_000;
const FUEL_PER_BYTE: u64 = 2_500;

/// The module, compiled and linked.
pub(super) struct Machine {
    engine: Engine,
    instance: InstancePre<MemoryLimiter>,
}

/// What it exports.
mod exports {
    pub(super) const MEMORY: &str = "memory";
    /// `() -> ()`, before any other.
    pub(super) const INITIALIZE: &str = "_initialize";
    /// `(len) -> address`
    pub(super) const ALLOC: &str = "ts_alloc";
    /// `(address, len, flags) -> address << 32 | len` of an answer.
    pub(super) const STRIP: &str = "ts_strip";
}

const WASI_MODULE: &str = "wasi_snapshot_preview1";
/// WASI's number of the error that a file is not open.
const WASI_BADF: u32 = 8;

/// The flag of a line of a REPL.
const FLAG_REPL: u32 = 1;
/// First byte of an answer that is a text.
const STRIPPED: u8 = 0;
/// First byte of one that is a line, a column and a sentence.
const REFUSED: u8 = 1;

impl Machine {
    /// Compiles the module, a second or two, or loads it, some 10 ms.
    pub(super) fn new(cache_dir: Option<PathBuf>) -> Result<Self, HostError> {
        let mut config = Config::new();
        config.consume_fuel(true).max_wasm_stack(MAX_WASM_STACK);
        config.async_stack_size(STACK_BYTES);
        let engine = Engine::new(&config).map_err(HostError::engine)?;
        let wasm = vm_guest::typescript();
        let cache = ModuleCache::new(cache_dir);
        let module = cache.load_or_compile(&engine, "typescript", wasm, || Ok(wasm.into()))?;
        let instance = linked(&engine, &module).map_err(HostError::engine)?;
        Ok(Self { engine, instance })
    }

    /// Strips a source in an instance of its own. Blocks, for as long as its fuel lasts at most.
    pub(super) fn strip(&self, source: &str, kind: Kind) -> Result<Stripped, HostError> {
        let mut store = Store::new(&self.engine, MemoryLimiter::new(MAX_MEMORY_BYTES));
        store.limiter(|limiter| limiter);
        let fuel = FUEL.saturating_add(FUEL_PER_BYTE.saturating_mul(source.len() as u64));
        store.set_fuel(fuel).map_err(HostError::engine)?;
        let answer = stacker::grow(STACK_BYTES, || self.answer(&mut store, source, kind));
        match answer {
            Ok(answer) => decode(&answer),
            Err(error) => Ok(Err(refusal(&error, store.data().refused))),
        }
    }

    fn answer(
        &self,
        store: &mut Store<MemoryLimiter>,
        source: &str,
        kind: Kind,
    ) -> wasmtime::Result<Vec<u8>> {
        let instance = self.instance.instantiate(&mut *store)?;
        let memory = instance.get_memory(&mut *store, exports::MEMORY);
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("it has no memory"))?;
        let initialize: TypedFunc<(), ()> =
            instance.get_typed_func(&mut *store, exports::INITIALIZE)?;
        initialize.call(&mut *store, ())?;
        let alloc: TypedFunc<u32, u32> = instance.get_typed_func(&mut *store, exports::ALLOC)?;
        let len = u32::try_from(source.len())?;
        let address = alloc.call(&mut *store, len)?;
        memory.write(&mut *store, address as usize, source.as_bytes())?;
        let flags = if kind == Kind::Line { FLAG_REPL } else { 0 };
        let strip: TypedFunc<(u32, u32, u32), u64> =
            instance.get_typed_func(&mut *store, exports::STRIP)?;
        let answer = strip.call(&mut *store, (address, len, flags))?;
        let (address, len) = ((answer >> 32) as usize, (answer & 0xffff_ffff) as usize);
        let bytes = memory.data(&*store).get(address..).and_then(|bytes| bytes.get(..len));
        Ok(bytes.ok_or_else(|| wasmtime::Error::msg("its answer is nowhere"))?.to_vec())
    }
}

/// Links what the module's libraries import. None of it is there: a source that has them print, because
/// it found a fault of theirs, ends so.
fn linked(engine: &Engine, module: &Module) -> wasmtime::Result<InstancePre<MemoryLimiter>> {
    let mut linker = Linker::new(engine);
    // Seeds of hash maps, the same every time.
    linker.func_wrap(WASI_MODULE, "random_get", random_get)?;
    // Asked at the start for the folders that are open: none is.
    linker.func_wrap(WASI_MODULE, "fd_prestat_get", |_: u32, _: u32| WASI_BADF)?;
    linker.define_unknown_imports_as_traps(module)?;
    linker.instantiate_pre(module)
}

fn random_get(
    mut caller: Caller<'_, MemoryLimiter>,
    address: u32,
    len: u32,
) -> wasmtime::Result<u32> {
    let memory = caller.get_export(exports::MEMORY).and_then(Extern::into_memory);
    let memory = memory.ok_or_else(|| wasmtime::Error::msg("it has no memory"))?;
    let (start, end) = (address as usize, address as usize + len as usize);
    let seed = memory.data_mut(&mut caller).get_mut(start..end);
    seed.ok_or(Trap::MemoryOutOfBounds)?.fill(0);
    Ok(0)
}

fn decode(answer: &[u8]) -> Result<Stripped, HostError> {
    let malformed = || HostError::Engine("an answer of the TypeScript parser is malformed".into());
    let (kind, answer) = answer.split_first().ok_or_else(malformed)?;
    match *kind {
        STRIPPED => Ok(Ok(answer.into())),
        REFUSED => {
            let (line, answer) = answer.split_first_chunk().ok_or_else(malformed)?;
            let (column, message) = answer.split_first_chunk().ok_or_else(malformed)?;
            let position = Some((u32::from_le_bytes(*line), u32::from_le_bytes(*column)));
            let message = String::from_utf8_lossy(message).into_owned();
            Ok(Err(NotTypeScript { message, position }))
        }
        _ => Err(malformed()),
    }
}

/// What an instance that did not answer says of its source.
fn refusal(error: &wasmtime::Error, out_of_memory: bool) -> NotTypeScript {
    let message = match error.downcast_ref::<Trap>() {
        _ if out_of_memory => "TypeScript that takes too much memory to parse",
        // Its stack lies at the start of its memory, so that one which is too deep leaves that.
        Some(Trap::StackOverflow | Trap::MemoryOutOfBounds) => "nested too deeply",
        Some(Trap::OutOfFuel) => "TypeScript that takes too long to parse",
        Some(_) | None => {
            tracing::error!(?error, "a fault of the TypeScript parser");
            "TypeScript that its parser fails on"
        }
    };
    NotTypeScript { message: message.to_owned(), position: None }
}
