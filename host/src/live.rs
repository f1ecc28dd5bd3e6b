//! Live sessions: the ones that are starting or ready, and those of them that this process holds.
//!
//! ```text
//!               startup done
//!   starting ───────────────▶ ready ◀─────────────── stored: ready, in no registry
//!      │                      │   │      loaded          ▲
//!      │ startup failed       │   └──────────────────────┘
//!      ▼                      │     retired: idle, pushed out, or a commit that failed
//!   crashed                   └──close, TTL──▶ closed
//! ```
//!
//! A session that is ready lives in the store; a process holds it while it is used (`slot.rs` has
//! what it holds). Three things keep its executions apart:
//! - the **turn** is taken by an execution from its request to its answer; another is refused, or queues
//!   for it, in order;
//! - the **slot** is locked by whoever works on what the process holds, and waited for;
//! - an entry that is **retired** has left the registry: who has it looks the session up again.
//!
//! Invariant: of a session there is one entry that is not retired; it is retired by who holds its
//! slot; and what was done in it is durable by then.

mod registry;
mod slot;

pub(crate) use registry::Registry;
pub(crate) use slot::{Awake, Slot};

use crate::error::HostError;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};
use vm_storage::{Session, SessionId, SessionStatus, TenantId, now};

/// Executions that may queue for one session.
const MAX_QUEUED: usize = 64;

/// Nobody runs in the session.
const IDLE: u8 = 0;
/// An execution runs in it.
const TAKEN: u8 = 1;
/// The entry has left the registry.
const RETIRED: u8 = 2;

/// When the process began to count.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A session that this process holds, or is about to.
pub(crate) struct LiveSession {
    pub(crate) id: SessionId,
    /// Whose it is; known once it is loaded.
    tenant: OnceLock<TenantId>,
    /// `None` until it is loaded.
    slot: Arc<tokio::sync::Mutex<Option<Slot>>>,
    /// [`IDLE`], [`TAKEN`] or [`RETIRED`].
    turn: AtomicU8,
    /// Given to one at a time, in the order in which they asked, before it takes the turn.
    turns: Arc<Semaphore>,
    queued: AtomicUsize,
    /// As it was made, before anything of it is stored; none for one that was loaded.
    initial: Option<Arc<Session>>,
    ready: AtomicBool,
    /// Milliseconds since the process began to count.
    last_used: AtomicU64,
    closing: watch::Sender<Closing>,
}

/// The right to run in a session; the next is given it when it is dropped.
pub(crate) struct Turn {
    session: Arc<LiveSession>,
    _next: OwnedSemaphorePermit,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // It stays retired if the session was meanwhile.
        self.session.exchange(TAKEN, IDLE).ok();
    }
}

/// A place in the queue of a session, while it lives.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn of(session: &'a LiveSession) -> Result<Self, HostError> {
        let one_more = |queued: usize| (queued < MAX_QUEUED).then_some(queued + 1);
        match session.queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => Ok(Self(&session.queued)),
            Err(_) => Err(HostError::SessionBusy(session.id)),
        }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What became of an attempt to enter a session.
pub(crate) enum Entered {
    /// It may run.
    Turn(Turn),
    /// The session has left the registry: look it up again.
    Retired,
}

/// Whether a session is being closed, and whose wish it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Nobody's: it goes on.
    No,
    /// A client's.
    ByClient,
    /// Its template's, which gives it so long without being used.
    ByTtl,
    /// The host stops: what runs in it ends, and the session goes on in the next process.
    HostStops,
}

impl Closing {
    /// What is told to who wants to run in the session.
    pub(crate) fn refusal(self, id: SessionId) -> HostError {
        match self {
            Self::HostStops => HostError::Stopping,
            Self::No | Self::ByClient | Self::ByTtl => {
                HostError::SessionNotReady { id, status: SessionStatus::Closed }
            }
        }
    }

    /// The session, closed.
    pub(crate) fn close(self, session: &Session) -> Session {
        let mut closed = session.clone();
        closed.status = SessionStatus::Closed;
        closed.closed_at = Some(now());
        if self == Self::ByTtl {
            closed.last_error = Some("the session was not used for its time to live".to_owned());
        }
        closed
    }
}

impl LiveSession {
    /// One that is being made.
    pub(crate) fn starting(slot: Slot) -> Arc<Self> {
        let session = slot.session.clone();
        Self::new(session.id, Some(slot), Some(Arc::new(session)))
    }

    /// One that may be in the store.
    fn unloaded(id: SessionId) -> Arc<Self> {
        Self::new(id, None, None)
    }

    fn new(id: SessionId, slot: Option<Slot>, initial: Option<Arc<Session>>) -> Arc<Self> {
        let live = Self {
            id,
            tenant: initial.as_ref().map(|session| session.tenant_id.into()).unwrap_or_default(),
            slot: Arc::new(tokio::sync::Mutex::new(slot)),
            turn: AtomicU8::new(IDLE),
            turns: Arc::new(Semaphore::new(1)),
            queued: AtomicUsize::new(0),
            initial,
            ready: AtomicBool::new(false),
            last_used: AtomicU64::new(0),
            closing: watch::Sender::new(Closing::No),
        };
        live.touch();
        Arc::new(live)
    }

    /// The session as it was when it began to start, if it did so here.
    pub(crate) fn initial(&self) -> Option<Arc<Session>> {
        self.initial.clone()
    }

    /// Whether it is this tenant's, as far as it is loaded.
    pub(crate) fn belongs_to(&self, tenant: TenantId) -> bool {
        self.tenant.get() == Some(&tenant)
    }

    /// Says whose it is.
    pub(crate) fn set_tenant(&self, tenant: TenantId) {
        self.tenant.get_or_init(|| tenant);
    }

    /// Lets executions in.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether it lets executions in.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether it is being made.
    pub(crate) fn is_starting(&self) -> bool {
        self.initial.is_some() && !self.is_ready()
    }

    /// Whether it has left the registry.
    pub(crate) fn is_retired(&self) -> bool {
        self.turn.load(Ordering::Acquire) == RETIRED
    }

    fn exchange(&self, before: u8, after: u8) -> Result<u8, u8> {
        self.turn.compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire)
    }

    /// Notes that it is used.
    pub(crate) fn touch(&self) {
        let now = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_used.store(now, Ordering::Relaxed);
    }

    /// How long it was not used.
    pub(crate) fn idle(&self) -> Duration {
        START
            .elapsed()
            .saturating_sub(Duration::from_millis(self.last_used.load(Ordering::Relaxed)))
    }

    /// Takes the turn for an execution, unless another has it or queues for it.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Result<Entered, HostError> {
        self.refuse_when_starting()?;
        match Arc::clone(&self.turns).try_acquire_owned() {
            Ok(next) => self.entered(next),
            Err(_) if self.is_retired() => Ok(Entered::Retired),
            Err(_) => Err(HostError::SessionBusy(self.id)),
        }
    }

    /// The same behind those that are there already, if they are not too many.
    pub(crate) async fn enter_queued(self: &Arc<Self>) -> Result<Entered, HostError> {
        self.refuse_when_starting()?;
        let _place = Queued::of(self)?;
        tokio::select! {
            biased;
            closing = self.closed() => Err(closing.refusal(self.id)),
            next = Arc::clone(&self.turns).acquire_owned() => {
                self.entered(next.expect("the semaphore is never closed"))
            }
        }
    }

    fn refuse_when_starting(&self) -> Result<(), HostError> {
        let status = SessionStatus::Starting;
        if self.is_starting() {
            return Err(HostError::SessionNotReady { id: self.id, status });
        }
        Ok(())
    }

    fn entered(self: &Arc<Self>, next: OwnedSemaphorePermit) -> Result<Entered, HostError> {
        match self.exchange(IDLE, TAKEN) {
            Ok(_) => {
                self.touch();
                Ok(Entered::Turn(Turn { session: Arc::clone(self), _next: next }))
            }
            Err(RETIRED) => Ok(Entered::Retired),
            Err(_) => Err(HostError::SessionBusy(self.id)),
        }
    }

    /// Whether an execution has the turn.
    pub(crate) fn is_busy(&self) -> bool {
        self.turn.load(Ordering::Acquire) == TAKEN
    }

    /// What the process holds of it.
    pub(crate) async fn lock(&self) -> OwnedMutexGuard<Option<Slot>> {
        Arc::clone(&self.slot).lock_owned().await
    }

    /// The same, if nobody works on it.
    pub(crate) fn try_lock(&self) -> Option<OwnedMutexGuard<Option<Slot>>> {
        Arc::clone(&self.slot).try_lock_owned().ok()
    }

    /// Tells whatever runs in the session to stop.
    pub(crate) fn begin_closing(&self, closing: Closing) {
        self.closing.send_if_modified(|current| {
            let is_first = *current == Closing::No;
            if is_first {
                *current = closing;
            }
            is_first
        });
    }

    /// Waits until the session is being closed.
    pub(crate) async fn closed(&self) -> Closing {
        let mut closing = self.closing();
        let closing = closing.wait_for(|closing| *closing != Closing::No).await;
        *closing.expect("the sender outlives this: it is the session's")
    }

    /// Says when the session is being closed.
    pub(crate) fn closing(&self) -> watch::Receiver<Closing> {
        self.closing.subscribe()
    }
}
