//! Who may run, and when: a bound on the executions there are, and turns of the processor among
//! those that have started.
//!
//! ```text
//!  admit ──▶ waiting ──start──▶ started ──┬─▶ slice: holds a processor slot, polled once ─┐
//!    │       bounded, in order   bounded   └────── waits for a slot, in order ◀────────────┘
//!    └─▶ CapacityExceeded
//! ```
//!
//! A slot is held for one slice: until the guest used [`FUEL_PER_SLICE`], or waits for the host.
//! There are more slots than cores, so that a slice which does much at once — filling a hundred
//! megabytes is one instruction — leaves others running; and fewer than the threads of the
//! runtime, so that there is always one for the rest of the host.
//!
//! Invariant: slots, starts and admissions are given in the order in which they were asked for.
//!
//! [`FUEL_PER_SLICE`]: crate::limits::FUEL_PER_SLICE

use crate::error::{Capacity, HostError};
use crate::heap::thread_faults;
use crate::host::HostOptions;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// When a client that met a full host may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many executions a host takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Executions, and sessions being made, that have started and are not committed yet.
    pub started: u32,
    /// Those that wait to start; beyond them a host refuses.
    pub waiting: u32,
    /// Slices that run at one time.
    pub cpu_slots: u32,
}

impl Default for Concurrency {
    /// As many started as there are sessions by default, so that executions which never end keep
    /// none from starting: they share the slots. 1,024 waiting, and two slots for each core.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let cpu_slots = u32::try_from(2 * cores).unwrap_or(u32::MAX);
        Self { started: HostOptions::DEFAULT_MAX_SESSIONS, waiting: 1_024, cpu_slots }
    }
}

/// Admits executions and gives them their turns.
pub(crate) struct Scheduler {
    concurrency: Concurrency,
    places: Arc<Semaphore>,
    starts: Arc<Semaphore>,
    cpu: Arc<Semaphore>,
}

/// A place among the executions of a host.
pub(crate) struct Admission {
    starts: Arc<Semaphore>,
    started: Option<OwnedSemaphorePermit>,
    _place: OwnedSemaphorePermit,
}

impl Scheduler {
    pub(crate) fn new(concurrency: Concurrency) -> Self {
        let Concurrency { started, waiting, cpu_slots } = concurrency;
        let semaphore = |permits: u32| Arc::new(Semaphore::new(permits as usize));
        Self {
            concurrency,
            places: semaphore(started.saturating_add(waiting)),
            starts: semaphore(started),
            cpu: semaphore(cpu_slots),
        }
    }

    /// Takes one more execution, or refuses it because too many wait.
    pub(crate) fn admit(&self) -> Result<Admission, HostError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| HostError::CapacityExceeded {
            what: Capacity::Executions,
            limit: self.concurrency.started.saturating_add(self.concurrency.waiting),
            retry_after: RETRY_AFTER,
        })?;
        Ok(Admission { starts: Arc::clone(&self.starts), started: None, _place: place })
    }

    /// Executions that are admitted and not over.
    pub(crate) fn admitted(&self) -> usize {
        let all = self.concurrency.started.saturating_add(self.concurrency.waiting) as usize;
        all.saturating_sub(self.places.available_permits())
    }

    /// Waits for a slot, and runs a future in slices from then on.
    pub(crate) async fn slices<'a, F: Future>(&self, future: Pin<&'a mut F>) -> Slices<'a, F> {
        let first = if let Ok(permit) = Arc::clone(&self.cpu).try_acquire_owned() {
            permit
        } else {
            let permit = Arc::clone(&self.cpu).acquire_owned().await;
            permit.expect("the semaphore is never closed")
        };
        let slots = PollSemaphore::new(Arc::clone(&self.cpu));
        Slices { future, first: Some(first), slots, faults: 0 }
    }

    /// Runs a future to its end in slices.
    pub(crate) async fn run<F: Future>(&self, future: F) -> F::Output {
        let future = std::pin::pin!(future);
        self.slices(future).await.await
    }
}

impl Admission {
    /// Waits until it may start.
    pub(crate) async fn start(&mut self) {
        if self.started.is_none() {
            let permit = Arc::clone(&self.starts).acquire_owned().await;
            self.started = Some(permit.expect("the semaphore is never closed"));
        }
    }
}

/// A future that is polled only while it holds a slot.
pub(crate) struct Slices<'a, F> {
    future: Pin<&'a mut F>,
    first: Option<OwnedSemaphorePermit>,
    slots: PollSemaphore,
    faults: u64,
}

impl<F> Slices<'_, F> {
    /// Page faults of threads while they polled the future.
    pub(crate) fn faults(&self) -> u64 {
        self.faults
    }
}

impl<F: Future> Future for Slices<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _slot = match self.first.take() {
            Some(slot) => slot,
            None => match self.slots.poll_acquire(context) {
                Poll::Ready(slot) => slot.expect("the semaphore is never closed"),
                Poll::Pending => return Poll::Pending,
            },
        };
        let before = thread_faults();
        let polled = self.future.as_mut().poll(context);
        self.faults += thread_faults() - before;
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn scheduler(started: u32, waiting: u32, cpu_slots: u32) -> Scheduler {
        Scheduler::new(Concurrency { started, waiting, cpu_slots })
    }

    #[tokio::test]
    async fn executions_beyond_those_that_may_wait_are_refused() {
        let scheduler = scheduler(1, 2, 1);
        let mut admitted: Vec<_> = (0..3).map(|_| scheduler.admit().unwrap()).collect();
        let refused = scheduler.admit().map(drop);
        assert!(
            matches!(
                refused,
                Err(HostError::CapacityExceeded { what: Capacity::Executions, limit: 3, .. })
            ),
            "{refused:?}"
        );
        admitted[0].start().await;
        let mut second = admitted.remove(1);
        let mut waits = std::pin::pin!(second.start());
        assert!(futures_util::poll!(waits.as_mut()).is_pending());
        drop(admitted);
        waits.await;
        assert_eq!(scheduler.admitted(), 1);
    }

    #[tokio::test]
    async fn slices_of_several_take_turns() {
        let scheduler = scheduler(3, 0, 1);
        let order = Mutex::new(Vec::new());
        let busy = |name: char| {
            let order = &order;
            async move {
                for _ in 0..3 {
                    order.lock().unwrap().push(name);
                    tokio::task::yield_now().await;
                }
            }
        };
        let (a, b, c) = (busy('a'), busy('b'), busy('c'));
        tokio::join!(scheduler.run(a), scheduler.run(b), scheduler.run(c));
        let order = order.into_inner().unwrap();
        let turns: Vec<_> = order.chunks(3).map(|turn| turn.iter().collect::<String>()).collect();
        assert_eq!(turns.len(), 3);
        for turn in &turns {
            assert!(['a', 'b', 'c'].iter().all(|name| turn.contains(*name)), "{turns:?}");
        }
    }
}
