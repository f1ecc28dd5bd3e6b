//! One live instance of the guest: its store, its memory, and the calls that the host makes.
//!
//! Invariant: after a call that did not return — a trap, a limit, a dropped future — the runtime
//! is garbage and is dropped; `execution` sees to that, and the session goes on in a new one that
//! is restored from its committed heap. It knows nothing of storage.

mod clock;
pub(crate) mod fuel;
mod start;
mod state;

pub(crate) use clock::SessionClock;
pub(crate) use state::{Clock, Entropy, Grants, MAX_INITIAL_BYTES, State};

use crate::engine::Guest;
use crate::error::HostError;
use crate::heap::{Delta, Heap, HotPages, Tracker};
use crate::imports::{Asked, Stop, Unrepeatable, Witness};
use crate::live::Closing;
use crate::places::Place;
use crate::recorder::{OutputLimit, SharedRecorder};
use std::sync::Arc;
use vm_guest::abi::{Outcome, exports};
use vm_storage::{EventPayload, ExecutionErrorCode, HostCalls, KvCommit};
use wasmtime::{Instance, Memory, Module, Store, Trap, TypedFunc};

/// Why a call of the guest did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its fuel is spent.
    Fuel,
    /// Its time is over.
    WallTime,
    /// Somebody asked for it to end.
    Cancelled,
    /// Its session is being closed.
    Closed,
    /// The host stops.
    HostStopped,
    /// It passed a limit of output.
    Output(OutputLimit),
    /// What it read of its workspace's keys has changed.
    KvConflict,
    /// Its workspace's keys could not be read.
    KvUnavailable,
    /// Its workspace has no room for what it wrote.
    KvQuota,
    /// It trapped, or did what no sound guest does.
    Trapped(String),
}

impl Failure {
    /// The code and the sentence that clients are told.
    pub(crate) fn described(&self) -> (ExecutionErrorCode, String) {
        match self {
            Self::Fuel => (ExecutionErrorCode::FuelExhausted, "cpu_ms is used up".to_owned()),
            Self::WallTime => {
                (ExecutionErrorCode::WallTimeExceeded, "wall_ms is used up".to_owned())
            }
            Self::Cancelled => {
                (ExecutionErrorCode::Cancelled, "the execution was cancelled".to_owned())
            }
            Self::Closed => (ExecutionErrorCode::Cancelled, "the session was closed".to_owned()),
            Self::HostStopped => (ExecutionErrorCode::HostStopped, "the host stopped".to_owned()),
            Self::Output(limit) => (ExecutionErrorCode::OutputLimitExceeded, limit.to_string()),
            Self::KvConflict => {
                let message =
                    "another execution changed keys that this one had read; it can be retried";
                (ExecutionErrorCode::KvConflict, message.to_owned())
            }
            Self::KvUnavailable => {
                let message = "the workspace's keys could not be read; it can be retried";
                (ExecutionErrorCode::KvUnavailable, message.to_owned())
            }
            Self::KvQuota => {
                let message = "the workspace has no room for the keys that were written";
                (ExecutionErrorCode::KvQuotaExceeded, message.to_owned())
            }
            Self::Trapped(why) => {
                (ExecutionErrorCode::GuestTrapped, format!("the guest trapped: {why}"))
            }
        }
    }

    /// What a session that is being closed ends with.
    pub(crate) fn of_closing(closing: Closing) -> Self {
        match closing {
            Closing::HostStops => Self::HostStopped,
            Closing::No | Closing::ByClient | Closing::ByTtl => Self::Closed,
        }
    }

    fn of(error: &wasmtime::Error, store: &mut Store<State>) -> Self {
        if let Some(Stop::Output(limit)) = error.downcast_ref() {
            return Self::Output(*limit);
        }
        if let Some(limit) = error.downcast_ref::<OutputLimit>() {
            return Self::Output(*limit);
        }
        match error.downcast_ref() {
            Some(Stop::KvConflict) => return Self::KvConflict,
            Some(Stop::KvUnavailable) => return Self::KvUnavailable,
            _ => {}
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => Self::Fuel,
            Some(Trap::UnreachableCodeReached) if fuel::is_overdrawn(store) => Self::Fuel,
            Some(trap) => Self::Trapped(trap.to_string()),
            None => Self::Trapped(error.root_cause().to_string()),
        }
    }
}

/// A script to evaluate or compile.
#[derive(Clone, Copy)]
pub(crate) struct Script<'a> {
    /// What stacks call it; has no NUL.
    pub(crate) name: &'a str,
    /// Its source, bytes as they were read.
    pub(crate) source: &'a [u8],
    /// See [`vm_guest::abi::script_flags`].
    pub(crate) flags: u32,
}

/// Bytes of memory from which an instance is dropped on a blocking thread: the kernel takes some
/// 0.1 milliseconds to free a MiB.
const DROP_ELSEWHERE: u64 = 8 << 20;

/// One instance of the guest.
pub(crate) struct Runtime {
    store: Store<State>,
    memory: Memory,
    instance: Instance,
    alloc: TypedFunc<u32, u32>,
    evaluate: TypedFunc<(u32, u32, u32, u32), u32>,
    tracker: Tracker,
    first: First,
    /// Its place in the pool; the last field, so that it is given back after the instance.
    _place: Place,
}

/// The first execution in an instance.
enum First {
    /// Nothing has run.
    Ahead(Arc<HotPages>),
    /// It runs, or what it changed was not looked at.
    Under(Arc<HotPages>),
    Over,
}

/// What a runtime is made with.
#[derive(Clone)]
pub(crate) struct RuntimeOptions {
    pub(crate) guest: Arc<Guest>,
    pub(crate) clock: SessionClock,
    pub(crate) max_memory_bytes: u64,
    pub(crate) grants: Grants,
    /// See [`vm_guest::abi::realm_flags`].
    pub(crate) realm_flags: u32,
}

impl Runtime {
    /// Begins to note what the guest is given from outside its memory.
    pub(crate) fn begin_witness(&mut self) {
        self.store.data_mut().begin_witness();
    }

    /// What was noted since, if anything is noted: what it asked, or why another run would differ.
    pub(crate) fn take_witness(&mut self) -> Option<Result<Vec<Asked>, Unrepeatable>> {
        self.store.data_mut().take_witness().map(Witness::asked)
    }

    /// Says that the thread which ran the guest had page faults since the last [`Self::changes`].
    pub(crate) fn note_faults(&mut self) {
        self.tracker.note_faults();
    }

    /// What was changed since `heap` was committed.
    pub(crate) async fn changes(&mut self, heap: &Heap) -> Delta {
        let delta = self.tracker.changes(heap, self.memory.data(&self.store)).await;
        if let First::Under(hot) = std::mem::replace(&mut self.first, First::Over)
            && heap.is_image()
            && !self.tracker.last().is_empty()
        {
            hot.learn(self.tracker.last());
        }
        delta
    }

    /// Drops it, on a blocking thread if that takes long.
    pub(crate) fn discard(self) {
        if self.memory_bytes() >= DROP_ELSEWHERE
            && let Ok(tokio) = tokio::runtime::Handle::try_current()
        {
            tokio.spawn_blocking(|| drop(self));
        }
    }

    /// Gives the next calls this much fuel, and their events to `recorder`.
    pub(crate) fn begin(&mut self, fuel: u64, recorder: SharedRecorder) {
        if let First::Ahead(hot) = &self.first {
            hot.populate(self.memory.data(&self.store));
            self.first = First::Under(Arc::clone(hot));
        }
        fuel::refuel(&mut self.store, fuel);
        self.store.data_mut().limiter.refused = false;
        self.store.data_mut().begin_execution();
        if let Some(masks) = &self.store.data().grants().masks {
            recorder.lock().mask(masks.clone());
        }
        self.store.data().recorder.set(Some(recorder));
    }

    /// What a failure means: a guest that traps after it was refused memory could not go on
    /// without it.
    pub(crate) fn explained(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Trapped(_) if self.store.data().limiter.refused => {
                Failure::Trapped("it ran out of memory".to_owned())
            }
            failure => failure,
        }
    }

    /// What the calls of the host came to since [`Runtime::begin`].
    pub(crate) fn host_calls(&mut self) -> HostCalls {
        self.store.data_mut().account().used()
    }

    /// What was done since with the workspace's keys, to be committed; none when nothing was.
    pub(crate) fn take_kv(&mut self) -> Option<KvCommit> {
        self.store.data_mut().take_kv()
    }

    /// Ends what [`Runtime::begin`] began; gives the fuel used of `fuel`.
    pub(crate) fn end(&mut self, fuel: u64) -> u64 {
        self.store.data().recorder.set(None);
        self.store.data_mut().end_execution();
        // None is used where nothing is metered.
        fuel.saturating_sub(fuel::left(&mut self.store).unwrap_or(fuel))
    }

    /// Bytes of linear memory, which never shrinks.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory.data_size(&self.store) as u64
    }

    /// Evaluates a script, runs the jobs it leaves, and reports its outcome as an event.
    pub(crate) async fn evaluate(&mut self, script: Script<'_>) -> Result<Outcome, Failure> {
        let Some((address, name_len, source_len)) = self.hand_over(script).await? else {
            return self.out_of_memory();
        };
        let args = (address, name_len, source_len, script.flags);
        outcome_of(call(&mut self.store, &self.evaluate, args).await?)
    }

    /// Compiles a script for a template's module; `None` after emitting the exception.
    pub(crate) async fn compile(&mut self, script: Script<'_>) -> Result<Option<Vec<u8>>, Failure> {
        let Some((address, name_len, source_len)) = self.hand_over(script).await? else {
            return self.out_of_memory().map(|_| None);
        };
        let args = (address, name_len, source_len, script.flags);
        let compile: TypedFunc<(u32, u32, u32, u32), u64> = self.export(exports::COMPILE)?;
        let compiled = call(&mut self.store, &compile, args).await?;
        if compiled == 0 {
            return Ok(None);
        }
        let (address, len) = ((compiled >> 32) as u32, (compiled & 0xffff_ffff) as u32);
        let range = address as usize..address as usize + len as usize;
        let bytes = self.memory.data(&self.store).get(range).map(<[u8]>::to_vec);
        let bytes = bytes.ok_or_else(|| Failure::Trapped(Stop::OutOfBounds.to_string()))?;
        let free: TypedFunc<(u32, u32), ()> = self.export(exports::FREE)?;
        call(&mut self.store, &free, (address, len)).await?;
        Ok(Some(bytes))
    }

    /// Sets what the next file sees as its arguments and environment, two JSON texts.
    pub(crate) async fn set_inputs(&mut self, args: &str, env: &str) -> Result<Outcome, Failure> {
        let Some(address) = self.write([args, env].concat().as_bytes()).await? else {
            return self.out_of_memory();
        };
        let inputs: TypedFunc<(u32, u32, u32), ()> = self.export(exports::INPUTS)?;
        let args = (address, len32(args.len()), len32(env.len()));
        call(&mut self.store, &inputs, args).await?;
        Ok(Outcome::Value)
    }

    /// Links a template's module to the guest.
    pub(crate) async fn link(&mut self, module: &Module) -> Result<Instance, HostError> {
        let mut imports = Vec::new();
        for import in module.imports() {
            let export = self.instance.get_export(&mut self.store, import.name());
            imports.push(export.ok_or_else(|| {
                HostError::Engine(format!("the guest exports no {}", import.name()))
            })?);
        }
        Instance::new_async(&mut self.store, module, &imports).await.map_err(HostError::engine)
    }

    /// Runs a library of a template's module. Clocks stand still meanwhile: lodash notes the time as
    /// it loads, and what loads the same in every session can be the image of many.
    pub(crate) async fn run_library(
        &mut self,
        module: &Instance,
        index: u32,
    ) -> Result<Outcome, Failure> {
        let runs = self.store.data_mut().set_clock(Clock::Stopped);
        let outcome = self.run_linked(module, index).await;
        self.store.data_mut().set_clock(runs);
        outcome
    }

    /// Runs one script of a template's module.
    pub(crate) async fn run_linked(
        &mut self,
        module: &Instance,
        index: u32,
    ) -> Result<Outcome, Failure> {
        let startup = module
            .get_typed_func::<u32, u32>(&mut self.store, crate::artifacts::STARTUP)
            .map_err(|error| Failure::Trapped(error.to_string()))?;
        outcome_of(call(&mut self.store, &startup, index).await?)
    }

    fn export<P, R>(&mut self, name: &str) -> Result<TypedFunc<P, R>, Failure>
    where
        P: wasmtime::WasmParams,
        R: wasmtime::WasmResults,
    {
        self.instance
            .get_typed_func(&mut self.store, name)
            .map_err(|error| Failure::Trapped(error.to_string()))
    }

    /// What a script sees that the memory has no room for: the error that `QuickJS` itself throws.
    fn out_of_memory(&self) -> Result<Outcome, Failure> {
        let message = "InternalError: out of memory".to_owned();
        if let Some(recorder) = self.store.data().recorder() {
            let exception = EventPayload::Exception { message, stack: None };
            recorder.lock().push(exception).map_err(Failure::Output)?;
        }
        Ok(Outcome::Threw)
    }

    /// Writes a script where the guest takes it: name, NUL, source, NUL. `None` when the memory
    /// has no room for it.
    async fn hand_over(&mut self, script: Script<'_>) -> Result<Option<(u32, u32, u32)>, Failure> {
        let bytes = [script.name.as_bytes(), &[0], script.source, &[0]].concat();
        let address = self.write(&bytes).await?;
        let lengths = |address| (address, len32(script.name.len()), len32(script.source.len()));
        Ok(address.map(lengths))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<Option<u32>, Failure> {
        let Ok(len) = u32::try_from(bytes.len()) else {
            return Ok(None);
        };
        let address = call(&mut self.store, &self.alloc, len).await?;
        if address == 0 {
            return Ok(None);
        }
        self.memory
            .write(&mut self.store, address as usize, bytes)
            .map_err(|_| Failure::Trapped(Stop::OutOfBounds.to_string()))?;
        Ok(Some(address))
    }
}

async fn call<P, R>(
    store: &mut Store<State>,
    function: &TypedFunc<P, R>,
    args: P,
) -> Result<R, Failure>
where
    P: wasmtime::WasmParams + Sync,
    R: wasmtime::WasmResults + Sync,
{
    let called = function.call_async(&mut *store, args).await;
    called.map_err(|error| Failure::of(&error, store))
}

fn outcome_of(number: u32) -> Result<Outcome, Failure> {
    Outcome::try_from(number).map_err(|error| Failure::Trapped(error.to_string()))
}

/// The length of what was just written into a memory of 32 bits.
fn len32(len: usize) -> u32 {
    u32::try_from(len).expect("checked by `write`: all of it has a 32-bit length")
}
