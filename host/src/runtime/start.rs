//! How an instance comes to be: from an image, or from a heap that was committed.
//!
//! Invariant: what a guest does before its first script is metered, and an instance has its place in
//! the pool before it is made.

use super::fuel::{Fuel, refuel};
use super::{First, Runtime, RuntimeOptions, State};
use crate::engine::{Engine, Seeding};
use crate::error::HostError;
use crate::heap::{Heap, PAGE, Tracker};
use crate::limits::SETUP_FUEL;
use crate::places::Place;
use std::sync::Arc;
use vm_guest::abi::{IMAGE_MODULE, exports};
use wasmtime::Store;

/// Bytes that one call of WASI may make the host copy.
const MAX_WASI_BYTES: usize = 1 << 20;
/// Bytes by which a memory grows.
const WASM_PAGE: usize = 64 << 10;
/// Pages written before the worker is given back, while a memory is restored.
const PAGES_PER_SLICE: usize = 256;

impl Runtime {
    /// A fresh instance of an image.
    pub(crate) async fn new(
        engine: &Engine,
        place: Place,
        options: RuntimeOptions,
    ) -> Result<Self, HostError> {
        let (seeding, is_base) = (options.guest.seeding, options.guest.is_base());
        let flags = options.realm_flags;
        let mut runtime = Self::instantiate(engine, place, options).await?;
        match seeding {
            Seeding::ByHost => runtime.set_up(exports::BEGIN, (entropy()?, flags)).await?,
            // An image of a template was configured, and never drew entropy.
            Seeding::ByGuest if is_base && flags != 0 => {
                runtime.set_up(exports::CONFIGURE, flags).await?;
            }
            Seeding::ByGuest => {}
        }
        Ok(runtime)
    }

    /// An instance that goes on where a committed heap ends, with fresh entropy.
    pub(crate) async fn restore(
        engine: &Engine,
        place: Place,
        options: RuntimeOptions,
        heap: &Heap,
    ) -> Result<Self, HostError> {
        if heap.is_image() {
            return Self::new(engine, place, options).await;
        }
        let seeding = options.guest.seeding;
        let mut runtime = Self::instantiate(engine, place, options).await?;
        runtime.fill(heap).await.map_err(HostError::engine)?;
        runtime.tracker.settle(heap.memory_bytes());
        // Seeding changes the heap: the next execution's changes have it.
        runtime.tracker.note_faults();
        match seeding {
            Seeding::ByHost => runtime.set_up(exports::RESEED, entropy()?).await?,
            Seeding::ByGuest => runtime.set_up(exports::FORGET_ENTROPY, ()).await?,
        }
        Ok(runtime)
    }

    /// An image and the guest's code, in which nothing was called yet.
    async fn instantiate(
        engine: &Engine,
        place: Place,
        options: RuntimeOptions,
    ) -> Result<Self, HostError> {
        let make = async {
            let max_bytes = options.max_memory_bytes;
            let mut store = Store::new(
                &engine.linking.wasm,
                State::new(max_bytes, options.grants, options.clock),
            );
            store.limiter(|state| &mut state.limiter);
            store.set_hostcall_fuel(MAX_WASI_BYTES);
            let image = options.guest.memory.instantiate_async(&mut store).await?;
            let memory = image
                .get_memory(&mut store, exports::MEMORY)
                .ok_or_else(|| wasmtime::Error::msg("an image exports no memory"))?;
            let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
            let watch = engine.watch.as_ref();
            let tracker = Tracker::new(watch, memory.data_ptr(&store), max_bytes);
            // By hand: a linker that has this memory would be a copy of one that has all of WASI.
            let mut imports = Vec::new();
            for import in options.guest.code.imports() {
                let found = match import.module() {
                    IMAGE_MODULE => Some(memory.into()),
                    _ => engine.linking.linker.get_by_import(&mut store, &import),
                };
                let missing = || wasmtime::Error::msg(format!("no host function {import:?}"));
                imports.push(found.ok_or_else(missing)?);
            }
            let code = &options.guest.code;
            let instance = wasmtime::Instance::new_async(&mut store, code, &imports).await?;
            store.data_mut().set_memory(memory);
            Fuel::attach(&mut store, &instance, options.max_memory_bytes)?;
            let alloc = instance.get_typed_func(&mut store, exports::ALLOC)?;
            let evaluate = instance.get_typed_func(&mut store, exports::EVALUATE)?;
            let first = First::Ahead(Arc::clone(&options.guest.hot));
            Ok(Self { store, memory, instance, alloc, evaluate, tracker, first, _place: place })
        };
        make.await.map_err(HostError::engine)
    }

    /// Calls what prepares an instance for its first script.
    async fn set_up<P: wasmtime::WasmParams + Sync>(
        &mut self,
        name: &str,
        args: P,
    ) -> Result<(), HostError> {
        let function = self.instance.get_typed_func::<P, ()>(&mut self.store, name);
        let function = function.map_err(HostError::engine)?;
        refuel(&mut self.store, SETUP_FUEL);
        function.call_async(&mut self.store, args).await.map_err(HostError::engine)
    }

    async fn fill(&mut self, heap: &Heap) -> wasmtime::Result<()> {
        let missing = heap.memory_bytes().saturating_sub(self.memory.data_size(&self.store));
        self.memory.grow(&mut self.store, missing.div_ceil(WASM_PAGE) as u64)?;
        for (written, (number, page)) in heap.pages().enumerate() {
            self.memory.write(&mut self.store, number * PAGE, &page)?;
            if written % PAGES_PER_SLICE == PAGES_PER_SLICE - 1 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

fn entropy() -> Result<u64, HostError> {
    getrandom::u64().map_err(|error| HostError::Engine(format!("no entropy: {error}")))
}
