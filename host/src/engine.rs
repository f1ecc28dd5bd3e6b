//! The one WebAssembly engine, the guest's compiled code, and the base image that sessions start
//! from.
//!
//! Invariant: everything here is made once at start and shared by all sessions; nothing of it
//! changes afterwards. The base image is the same bytes every time: it is made under a clock that
//! stands still and a generator of constant numbers.

mod cache;
mod image;

use crate::error::HostError;
use crate::heap::{PageTracking, PageWatch};
use crate::imports;
use crate::limits::{MAX_MEMORY_BYTES, SETUP_FUEL};
use crate::runtime::State;
use cache::ModuleCache;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use vm_guest::abi::exports;
use wasmtime::{
    Config, InstanceAllocationStrategy, InstancePre, Linker, Module, PoolingAllocationConfig, Store,
};

/// Bytes of native stack that a script's recursion may use. The guest's own check of its shadow
/// stack ends every recursion before: of what was tried, the parser takes most, 13 native bytes for
/// each of the 2 MiB (`MAX_STACK` in the guest) that it may use there.
const MAX_WASM_STACK: usize = 32 << 20;
/// Bytes of a fibre's stack: the script's, and room for host functions above it.
const ASYNC_STACK: usize = MAX_WASM_STACK + (1 << 20);
/// Bytes of a fibre's stack that are kept, zeroed, when its session ends; the rest goes back to the
/// system.
const STACK_KEPT: usize = 32 << 10;
/// Bytes of address space reserved for a memory: all that 32 bits can address, so that no access
/// needs a bounds check.
const MEMORY_RESERVATION: u64 = 4 << 30;
/// Bytes that the runtime keeps of one instance: 1,800 functions and a table of as many.
const MAX_INSTANCE_BYTES: usize = 1 << 20;
/// Instances a session holds: its memory, the guest's code, its template's module.
const INSTANCES_PER_SESSION: u32 = 3;
/// Tables a session holds: the code's one, and none of the others.
const TABLE_ELEMENTS: usize = 20_000;

/// Guests beyond the limit of sessions that exist only while they compile a template's files.
pub(crate) const COMPILING_SESSIONS: u32 = 8;

/// The engine and what every session is made of.
pub(crate) struct Engine {
    pub(crate) wasm: wasmtime::Engine,
    /// Host functions and WASI, to which a session adds its memory.
    pub(crate) linker: Linker<State>,
    /// The guest's code, importing its memory.
    pub(crate) code: Module,
    /// A memory in which the guest has been initialised.
    pub(crate) base: InstancePre<State>,
    /// The bytes of that memory.
    pub(crate) image: Arc<[u8]>,
    /// The kernel's tracking of written pages, where there is one.
    pub(crate) watch: Option<Arc<PageWatch>>,
    /// One permit for each instance that the pool has room for. An instance that is being dropped
    /// still holds its own, so that whoever needs its place waits for that.
    pub(crate) places: Arc<Semaphore>,
}

/// What the engine is made for.
#[derive(Clone, Debug)]
pub(crate) struct EngineOptions {
    /// Sessions that may be live at one time.
    pub(crate) max_sessions: u32,
    /// Folder for compiled code; `None` compiles at every start.
    pub(crate) cache_dir: Option<PathBuf>,
    /// How the pages that an execution changed are found.
    pub(crate) tracking: PageTracking,
}

impl Engine {
    /// Compiles or loads the guest and makes the base image. Takes a second when nothing is
    /// cached, so not on an async worker.
    ///
    /// Any guest of the border that `vm_guest` describes will do; ours is trusted no more than
    /// others.
    pub(crate) fn new(guest: &[u8], options: &EngineOptions) -> Result<Self, HostError> {
        let wasm =
            wasmtime::Engine::new(&config(options.max_sessions)).map_err(HostError::engine)?;
        let guest = vm_guest::split(guest)?;
        let cache = ModuleCache::new(options.cache_dir.clone());
        let code = cache.load_or_compile(&wasm, "guest", &guest.code)?;
        let mut linker = Linker::new(&wasm);
        imports::add_to_linker(&mut linker).map_err(HostError::engine)?;
        let initial = Module::new(&wasm, &guest.initial_memory).map_err(HostError::engine)?;
        let image: Arc<[u8]> = initialised_memory(&wasm, &linker, &code, &initial)?.into();
        let base = Module::new(&wasm, image::encode(&image)).map_err(HostError::engine)?;
        let base = linker.instantiate_pre(&base).map_err(HostError::engine)?;
        let places = Arc::new(Semaphore::new(instances(options.max_sessions) as usize));
        Ok(Self { wasm, linker, code, base, image, watch: watch(options.tracking), places })
    }

    /// How changed pages are found.
    pub(crate) fn tracking(&self) -> PageTracking {
        match self.watch {
            Some(_) => PageTracking::Kernel,
            None => PageTracking::Comparison,
        }
    }
}

fn watch(tracking: PageTracking) -> Option<Arc<PageWatch>> {
    match tracking {
        PageTracking::Comparison => None,
        PageTracking::Kernel => match PageWatch::open() {
            Ok(watch) => Some(Arc::new(watch)),
            Err(error) => {
                tracing::info!(%error, "the kernel does not track pages: memories are compared");
                None
            }
        },
    }
}

/// Instances there may be at one time.
fn instances(max_sessions: u32) -> u32 {
    max_sessions.saturating_add(COMPILING_SESSIONS)
}

fn config(max_sessions: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    let sessions = instances(max_sessions);
    pool.total_memories(sessions)
        .total_core_instances(sessions.saturating_mul(INSTANCES_PER_SESSION))
        .total_tables(sessions)
        .total_stacks(sessions)
        .max_memory_size(usize::try_from(MAX_MEMORY_BYTES).unwrap_or(usize::MAX))
        .max_core_instance_size(MAX_INSTANCE_BYTES)
        .table_elements(TABLE_ELEMENTS)
        .async_stack_keep_resident(STACK_KEPT);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .consume_fuel(true)
        .max_wasm_stack(MAX_WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .async_stack_zeroing(true)
        .memory_reservation(MEMORY_RESERVATION)
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false);
    config
}

/// The memory of a guest that was initialised, its dead stack cleared.
fn initialised_memory(
    wasm: &wasmtime::Engine,
    linker: &Linker<State>,
    code: &Module,
    initial: &Module,
) -> Result<Vec<u8>, HostError> {
    let make = || -> wasmtime::Result<Vec<u8>> {
        let mut store = Store::new(wasm, State::for_base_image());
        store.limiter(|state| state.limiter());
        store.set_fuel(SETUP_FUEL)?;
        let memory = block_on(linker.instantiate_async(&mut store, initial))?;
        let memory = memory
            .get_memory(&mut store, exports::MEMORY)
            .ok_or_else(|| wasmtime::Error::msg("the guest's image exports no memory"))?;
        let mut linker = linker.clone();
        linker.define(&store, vm_guest::abi::IMAGE_MODULE, exports::MEMORY, memory)?;
        let instance = block_on(linker.instantiate_async(&mut store, code))?;
        store.data_mut().set_memory(memory);
        let initialize = instance.get_typed_func::<(), ()>(&mut store, exports::INITIALIZE)?;
        block_on(initialize.call_async(&mut store, ()))?;
        Ok(image::without_stack(memory.data(&store).to_vec()))
    };
    make().map_err(HostError::engine)
}

/// Waits for a future that never waits for anything itself: instantiation and initialisation call
/// no host function that does, and no fuel slice is set.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_image_is_the_same_bytes_every_time() {
        let wasm = wasmtime::Engine::new(&config(1)).unwrap();
        let guest = vm_guest::split(vm_guest::wasm()).unwrap();
        let cache = ModuleCache::new(Some(crate::test_cache_dir()));
        let code = cache.load_or_compile(&wasm, "guest", &guest.code).unwrap();
        let initial = Module::new(&wasm, &guest.initial_memory).unwrap();
        let mut linker = Linker::new(&wasm);
        imports::add_to_linker(&mut linker).unwrap();
        let make = || initialised_memory(&wasm, &linker, &code, &initial).unwrap();
        assert!(make() == make(), "two base images differ");
    }
}
