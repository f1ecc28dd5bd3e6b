//! The one WebAssembly engine, the guest's compiled code, and the images that sessions start from.
//!
//! Invariant: everything here is made once and shared by all sessions; nothing of it changes
//! afterwards. The base image of a guest is the same bytes every time: it is made under a clock that
//! stands still and a generator of constant numbers. A stored heap is restored in the very guest
//! and over the very image that it was made with, or not at all.

mod cache;
mod guests;
mod image;

pub(crate) use cache::ModuleCache;
pub use guests::GuestError;
pub(crate) use guests::hash;
pub(crate) use image::{MAX_IMAGE_BYTES, encode as encode_image};

use crate::error::HostError;
use crate::heap::{HotPages, PageTracking, PageWatch};
use crate::imports;
use crate::limits::{MAX_MEMORY_BYTES, SETUP_FUEL};
use crate::places::Places;
use crate::runtime::fuel::{self, Fuel};
use crate::runtime::{MAX_INITIAL_BYTES, State};
use guests::{GuestFolder, OtherGuests};
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use vm_guest::METER_VERSION;
use vm_guest::abi::{IMPORTS_VERSION, exports};
use vm_storage::EngineBinding;
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
/// Bytes of a table that are kept likewise: all that ours has.
const TABLE_KEPT: usize = 16 << 10;
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
    pub(crate) linking: Linking,
    /// The guest that new sessions run.
    pub(crate) guest: Arc<Guest>,
    /// The kernel's tracking of written pages, where there is one.
    pub(crate) watch: Option<Arc<PageWatch>>,
    /// One place for each instance that the pool has room for.
    pub(crate) places: Places,
    /// The guests of sessions that other versions of this program made.
    others: OtherGuests,
}

/// What a module is made ready with.
#[derive(Clone)]
pub(crate) struct Linking {
    pub(crate) wasm: wasmtime::Engine,
    /// Host functions and WASI, to which a session adds its memory.
    pub(crate) linker: Linker<State>,
    metering: Metering,
}

/// A guest, ready to run.
#[derive(Clone)]
pub(crate) struct Guest {
    /// Its code, importing its memory.
    pub(crate) code: Module,
    /// A memory in which it has been initialised, and in which a template's startup may have run.
    pub(crate) memory: InstancePre<State>,
    /// The bytes of that memory.
    pub(crate) image: Arc<[u8]>,
    /// The pages of that memory which every first execution writes.
    pub(crate) hot: Arc<HotPages>,
    /// What a heap that differs from that memory is tied to.
    pub(crate) binding: EngineBinding,
    pub(crate) seeding: Seeding,
    /// Whether nothing but its initialisation has run in the memory.
    kind: ImageKind,
}

/// Where the seed of a guest's random numbers comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seeding {
    /// The host gives it one before it runs, as to all guests of before it could ask.
    ByHost,
    /// It asks for one when it first draws a number.
    ByGuest,
}

/// What has run in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ImageKind {
    /// The guest's initialisation alone.
    Base,
    /// A template's startup.
    Template,
}

/// What the engine is made for.
#[derive(Clone, Debug)]
pub(crate) struct EngineOptions {
    /// Instances that there may be at one time, beside those that compile.
    pub(crate) max_resident: u32,
    /// Folder for compiled code; `None` compiles at every start.
    pub(crate) cache_dir: Option<PathBuf>,
    /// Folder where guests are kept for the sessions that run them; `None` keeps none.
    pub(crate) guest_dir: Option<PathBuf>,
    /// How the pages that an execution changed are found.
    pub(crate) tracking: PageTracking,
    pub(crate) metering: Metering,
}

/// Whether scripts are metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metering {
    /// By fuel that their code counts, which is the limit and makes the slices.
    Fuel,
    /// Not at all, to be told what it costs: for the benchmarks alone.
    #[cfg(feature = "bench")]
    Off,
}

impl Engine {
    /// Compiles or loads the guest and makes the base image. Takes a second when nothing is
    /// cached, so not on an async worker.
    ///
    /// Any guest of the border that `vm_guest` describes will do; ours is trusted no more than
    /// others.
    pub(crate) fn new(guest: &[u8], options: &EngineOptions) -> Result<Self, HostError> {
        let wasm =
            wasmtime::Engine::new(&config(options.max_resident)).map_err(HostError::engine)?;
        let mut linker = Linker::new(&wasm);
        imports::add_to_linker(&mut linker).map_err(HostError::engine)?;
        fuel::add_to_linker(&mut linker).map_err(HostError::engine)?;
        let cache = ModuleCache::new(options.cache_dir.clone());
        let folder = GuestFolder::new(options.guest_dir.clone());
        folder.keep(guest);
        let linking = Linking { wasm, linker, metering: options.metering };
        let guest = Arc::new(Guest::new(&linking, &cache, guest)?);
        Ok(Self {
            watch: watch(options.tracking),
            places: Places::new(instances(options.max_resident)),
            others: OtherGuests::new(cache, folder),
            linking,
            guest,
        })
    }

    /// The guest that a stored heap belongs to, with its base image.
    pub(crate) async fn guest_of(&self, binding: &EngineBinding) -> Result<Arc<Guest>, GuestError> {
        if binding.imports != IMPORTS_VERSION {
            let (found, supported) = (binding.imports, IMPORTS_VERSION);
            return Err(GuestError::Imports { found, supported });
        }
        if binding.guest == self.guest.binding.guest {
            return Ok(Arc::clone(&self.guest));
        }
        self.others.get(&self.linking, &binding.guest).await
    }

    /// How changed pages are found.
    pub(crate) fn tracking(&self) -> PageTracking {
        match self.watch {
            Some(_) => PageTracking::Kernel,
            None => PageTracking::Comparison,
        }
    }
}

impl Guest {
    fn new(linking: &Linking, cache: &ModuleCache, guest: &[u8]) -> Result<Self, HostError> {
        let Linking { wasm, linker, metering } = linking;
        let hash = guests::hash(guest);
        let guest = vm_guest::split(guest)?;
        let code = compiled(wasm, cache, *metering, &guest.code)?;
        let initial = Module::new(wasm, &guest.initial_memory).map_err(HostError::engine)?;
        let image: Arc<[u8]> = initialised_memory(wasm, linker, &code, &initial)?.into();
        let base = image::encode(&image);
        let binding =
            EngineBinding { guest: hash, imports: IMPORTS_VERSION, image: guests::hash(&base) };
        let memory = memory(wasm, linker, &base)?;
        let seeding = match code.get_export(exports::FORGET_ENTROPY) {
            Some(_) => Seeding::ByGuest,
            None => Seeding::ByHost,
        };
        let hot = Arc::default();
        Ok(Self { code, memory, image, hot, binding, seeding, kind: ImageKind::Base })
    }

    /// Whether nothing but its initialisation has run in its memory.
    pub(crate) fn is_base(&self) -> bool {
        self.kind == ImageKind::Base
    }

    /// The guest with a memory in which a template's startup has run: `module`, of that hash, as
    /// [`encode_image`] makes it, with whatever sections of no meaning to the engine.
    ///
    /// # Errors
    /// When it is no such module.
    pub(crate) fn with_image(
        &self,
        linking: &Linking,
        module: &[u8],
        hash: String,
    ) -> Result<Self, HostError> {
        let image =
            image::decode(module).map_err(|reason| HostError::Engine(reason.to_string()))?;
        let memory = memory(&linking.wasm, &linking.linker, module)?;
        let binding = EngineBinding { image: hash, ..self.binding.clone() };
        let (code, seeding, kind) = (self.code.clone(), self.seeding, ImageKind::Template);
        let (image, hot) = (image.into(), Arc::default());
        Ok(Self { code, memory, image, hot, binding, seeding, kind })
    }
}

/// The compiled code of a guest, with its meter.
fn compiled(
    wasm: &wasmtime::Engine,
    cache: &ModuleCache,
    metering: Metering,
    code: &[u8],
) -> Result<Module, HostError> {
    match metering {
        Metering::Fuel => {
            let name = format!("guest-{METER_VERSION}");
            cache.load_or_compile(wasm, &name, code, || Ok(Cow::Owned(vm_guest::metered(code)?)))
        }
        #[cfg(feature = "bench")]
        Metering::Off => cache.load_or_compile(wasm, "guest", code, || Ok(Cow::Borrowed(code))),
    }
}

fn memory(
    wasm: &wasmtime::Engine,
    linker: &Linker<State>,
    image: &[u8],
) -> Result<InstancePre<State>, HostError> {
    let module = Module::new(wasm, image).map_err(HostError::engine)?;
    linker.instantiate_pre(&module).map_err(HostError::engine)
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
fn instances(max_resident: u32) -> u32 {
    max_resident.saturating_add(COMPILING_SESSIONS)
}

fn config(max_resident: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    let sessions = instances(max_resident);
    pool.total_memories(sessions)
        .total_core_instances(sessions.saturating_mul(INSTANCES_PER_SESSION))
        .total_tables(sessions)
        .total_stacks(sessions)
        .max_memory_size(usize::try_from(MAX_MEMORY_BYTES).unwrap_or(usize::MAX))
        .max_core_instance_size(MAX_INSTANCE_BYTES)
        .table_elements(TABLE_ELEMENTS)
        .async_stack_keep_resident(STACK_KEPT)
        .table_keep_resident(TABLE_KEPT);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .max_wasm_stack(MAX_WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .async_stack_zeroing(true)
        .memory_reservation(MEMORY_RESERVATION)
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        // The meter's.
        .wasm_branch_hinting(true);
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
        let memory = block_on(linker.instantiate_async(&mut store, initial))?;
        let memory = memory
            .get_memory(&mut store, exports::MEMORY)
            .ok_or_else(|| wasmtime::Error::msg("the guest's image exports no memory"))?;
        let mut linker = linker.clone();
        linker.define(&store, vm_guest::abi::IMAGE_MODULE, exports::MEMORY, memory)?;
        let instance = block_on(linker.instantiate_async(&mut store, code))?;
        store.data_mut().set_memory(memory);
        Fuel::attach(&mut store, &instance, MAX_INITIAL_BYTES)?;
        fuel::refuel(&mut store, SETUP_FUEL);
        let initialize = instance.get_typed_func::<(), ()>(&mut store, exports::INITIALIZE)?;
        block_on(initialize.call_async(&mut store, ()))?;
        Ok(image::without_stack(memory.data(&store).to_vec()))
    };
    make().map_err(HostError::engine)
}

/// Waits for a future that never waits for anything itself but its next turn: instantiation and
/// initialisation call no host function that does.
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
        let code = compiled(&wasm, &cache, Metering::Fuel, &guest.code).unwrap();
        let initial = Module::new(&wasm, &guest.initial_memory).unwrap();
        let mut linker = Linker::new(&wasm);
        imports::add_to_linker(&mut linker).unwrap();
        fuel::add_to_linker(&mut linker).unwrap();
        let make = || initialised_memory(&wasm, &linker, &code, &initial).unwrap();
        assert!(make() == make(), "two base images differ");
    }
}
