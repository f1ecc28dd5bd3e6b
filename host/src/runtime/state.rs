//! What the store of an instance holds beside it: WASI that grants nothing, the session's grants and
//! clock, and the recorder of the execution that runs.
//!
//! Invariant: nothing of the host's is inherited: no environment, argument, stream or directory.
//! WASI's context is made when a guest first needs it, which few do.

use super::SessionClock;
use super::fuel::Fuel;
use crate::database::Databases;
use crate::imports::{
    Account, Calls, CurrentRecorder, Exec, Fetches, Files, Kv, Later, Net, OutputSink, Transaction,
    Unrepeatable, Witness,
};
use crate::limits::MemoryLimiter;
use crate::masks::Masks;
use crate::modules::Modules;
use crate::recorder::SharedRecorder;
use std::collections::BTreeMap;
use std::sync::Arc;
use vm_storage::KvCommit;
use wasmtime::Memory;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::WasiP1Ctx;

/// Bytes of memory that a guest may initialise: ours takes four MiB.
pub(crate) const MAX_INITIAL_BYTES: u64 = 64 << 20;

/// What a store holds beside its instances.
pub(crate) struct State {
    wasi: Option<Box<WasiP1Ctx>>,
    pub(super) limiter: MemoryLimiter,
    /// Once there is an instance, if it is metered.
    pub(super) fuel: Option<Fuel>,
    pub(super) recorder: CurrentRecorder,
    grants: Grants,
    clock: Clock,
    entropy: Entropy,
    witness: Option<Box<Witness>>,
    account: Account,
    /// What the execution began and has under way; most begin nothing.
    under_way: Option<Box<(Later, Fetches)>>,
    /// Once the execution that runs has used its workspace's keys.
    transaction: Option<Transaction>,
    memory: Option<Memory>,
    /// The answer of the last host call, until the guest takes it.
    answer: Vec<u8>,
}

/// What the clocks show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The time; the monotonic one, the session's.
    Runs(SessionClock),
    /// The start of 1970, and 0.
    Stopped,
}

/// Where random bytes come from.
#[derive(Clone, Copy)]
pub(crate) enum Entropy {
    /// The machine.
    Machine,
    /// Nowhere: all are 0.
    Zeros,
}

/// What a session's template lets its scripts reach.
#[derive(Clone)]
pub(crate) struct Grants {
    /// Native modules that may be required.
    pub(crate) modules: Vec<String>,
    /// The worktree's files; none without the `fs` module.
    pub(crate) files: Option<Files>,
    /// The worktree's modules; none where there is no worktree.
    pub(crate) worktree_modules: Option<Arc<Modules>>,
    /// Databases; none without the `database` module.
    pub(crate) databases: Option<Databases>,
    /// Programs; none without the `exec` module.
    pub(crate) programs: Option<Exec>,
    /// The network; none without a capability for it.
    pub(crate) net: Option<Net>,
    /// What scripts have in their environment of the host's secrets.
    pub(crate) variables: Arc<BTreeMap<String, String>>,
    /// What of these no event shows.
    pub(crate) masks: Option<Masks>,
    /// The workspace's keys; none without the `kv` module.
    pub(crate) kv: Option<Kv>,
    /// What of all this is under way.
    pub(crate) calls: Calls,
    /// Whether each call leaves an event.
    pub(crate) audit: bool,
}

impl Grants {
    /// Nothing at all.
    pub(crate) fn none() -> Self {
        Self {
            modules: Vec::new(),
            files: None,
            worktree_modules: None,
            databases: None,
            programs: None,
            net: None,
            variables: Arc::default(),
            masks: None,
            kv: None,
            calls: Calls::new(),
            audit: false,
        }
    }
}

impl State {
    pub(super) fn new(max_memory_bytes: u64, grants: Grants, clock: SessionClock) -> Self {
        Self {
            wasi: None,
            limiter: MemoryLimiter::new(max_memory_bytes),
            fuel: None,
            recorder: CurrentRecorder::default(),
            grants,
            clock: Clock::Runs(clock),
            entropy: Entropy::Machine,
            witness: None,
            account: Account::default(),
            under_way: None,
            transaction: None,
            memory: None,
            answer: Vec::new(),
        }
    }

    /// A state under which the guest always initialises to the same memory.
    pub(crate) fn for_base_image() -> Self {
        let state = Self::new(MAX_INITIAL_BYTES, Grants::none(), SessionClock::starting());
        Self { clock: Clock::Stopped, entropy: Entropy::Zeros, ..state }
    }

    pub(crate) fn limiter(&mut self) -> &mut MemoryLimiter {
        &mut self.limiter
    }

    pub(crate) fn wasi(&mut self) -> &mut WasiP1Ctx {
        self.wasi.get_or_insert_with(|| {
            let (stdout, stderr) = OutputSink::pair(&self.recorder);
            Box::new(WasiCtxBuilder::new().stdout(stdout).stderr(stderr).build_p1())
        })
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Has the clocks show something else; gives what they showed.
    pub(super) fn set_clock(&mut self, clock: Clock) -> Clock {
        std::mem::replace(&mut self.clock, clock)
    }

    pub(crate) fn entropy(&self) -> Entropy {
        self.entropy
    }

    /// Begins to note what the guest is given from outside its memory.
    pub(super) fn begin_witness(&mut self) {
        self.witness = Some(Box::default());
    }

    /// What was noted since.
    pub(super) fn take_witness(&mut self) -> Option<Witness> {
        self.witness.take().map(|witness| *witness)
    }

    /// What is being noted, if anything is.
    pub(crate) fn witness(&mut self) -> Option<&mut Witness> {
        self.witness.as_deref_mut()
    }

    /// Notes that the guest was given what another run of it would not be.
    pub(crate) fn note_unrepeatable(&mut self, what: Unrepeatable) {
        if let Some(witness) = self.witness() {
            witness.spoil(what);
        }
    }

    pub(crate) fn recorder(&self) -> Option<SharedRecorder> {
        self.recorder.get()
    }

    pub(crate) fn memory(&self) -> Option<Memory> {
        self.memory
    }

    pub(crate) fn set_memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }

    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// What the calls of the execution that runs came to.
    pub(crate) fn account(&mut self) -> &mut Account {
        &mut self.account
    }

    /// What the execution has under way, if it began anything.
    pub(crate) fn later(&mut self) -> Option<&mut Later> {
        self.under_way.as_deref_mut().map(|(later, _)| later)
    }

    /// The same, to begin something.
    pub(crate) fn under_way(&mut self) -> (&mut Later, &mut Fetches) {
        let (later, fetches) = &mut **self.under_way.get_or_insert_default();
        (later, fetches)
    }

    /// Ends what the execution has under way, and lets go of what it held in the host.
    pub(super) fn end_execution(&mut self) {
        self.under_way = None;
        if let Some(databases) = &self.grants.databases {
            databases.end_execution();
        }
    }

    /// What the execution that runs does with its workspace's keys. Libraries, for which clocks stand
    /// still, are loaded by none: nothing would commit it.
    pub(crate) fn transaction(&mut self) -> Option<Transaction> {
        if self.clock == Clock::Stopped {
            return None;
        }
        Some(self.transaction.get_or_insert_default().clone())
    }

    /// What it did, for its commit.
    pub(super) fn take_kv(&mut self) -> Option<KvCommit> {
        let (kv, transaction) = (self.grants.kv.as_ref()?, self.transaction.take()?);
        kv.commit(&transaction)
    }

    /// Forgets what the execution before did with its grants.
    pub(super) fn begin_execution(&mut self) {
        self.end_execution();
        self.account = Account::default();
        self.transaction = None;
        if let Some(files) = &self.grants.files {
            files.begin();
        }
    }

    pub(crate) fn set_answer(&mut self, answer: Vec<u8>) {
        self.answer = answer;
    }

    pub(crate) fn take_answer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }
}
