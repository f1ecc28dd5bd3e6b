//! The callers' end of the writer: a queue bounded in requests and in bytes.
//!
//! Invariant: what waits never exceeds the two bounds; a caller for whom there is no room waits
//! its turn without holding anything but its own request. What is queued while somebody writes is
//! seen by them when they have written, or by the thread that they wake.

use super::request::{Done, Reply, Request, Work, WriteRequest};
use super::{MAX_GROUP_BYTES, MAX_GROUP_REQUESTS, Writer};
use crate::database::Slot;
use crate::error::StorageError;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Requests that wait at most. Each is one execution that ends: as many as a full host has
/// sessions busy; further callers wait for room.
const MAX_QUEUED_REQUESTS: usize = 1_024;

/// Bytes of records that wait at most, in the queue and the group under way: four times the output
/// of a full host's slots, and little beside their memories. Further callers wait for room.
const MAX_QUEUED_BYTES: u32 = 64 * 1024 * 1024;

/// Bytes of a group that a caller commits itself: so few that the disk's own time is most of it.
const MAX_LED_BYTES: usize = 64 * 1024;

/// Requests of a group that a caller commits itself.
const MAX_LED_REQUESTS: usize = 16;

/// The callers' end of the writer's queue.
#[derive(Clone)]
pub(crate) struct Queue {
    handle: Arc<Handle>,
}

/// What all clones of a queue hold together, and nobody else.
struct Handle(Arc<Shared>);

/// What callers and the writer's thread share.
pub(super) struct Shared {
    pending: Mutex<Pending>,
    writer: Mutex<Writer>,
    thread: OnceLock<Thread>,
    room: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Pending {
    requests: VecDeque<(Request, OwnedSemaphorePermit)>,
    /// No handle is left.
    is_abandoned: bool,
    /// Nobody takes requests any more.
    is_closed: bool,
}

/// What is written together, and what comes after it.
pub(super) struct Group {
    pub(super) writes: Vec<WriteRequest>,
    /// `None` when no more is queued.
    pub(super) then: Option<Then>,
}

/// What follows a group.
pub(super) enum Then {
    GoOn,
    Compact(Reply),
    Stop(Reply),
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.pending().is_abandoned = true;
        self.0.wake();
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    /// The queue of a writer, before there is a thread for it.
    pub(super) fn new(writer: Writer) -> Self {
        let shared = Shared {
            pending: Mutex::default(),
            writer: Mutex::new(writer),
            thread: OnceLock::new(),
            room: Arc::new(Semaphore::new(MAX_QUEUED_BYTES as usize)),
            places: Arc::new(Semaphore::new(MAX_QUEUED_REQUESTS)),
        };
        Self { handle: Arc::new(Handle(Arc::new(shared))) }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.handle.0
    }

    /// Asks for one write and waits until it is durable or refused.
    ///
    /// When nobody writes, it is committed here, on the caller's thread, which may be an async worker:
    /// it is blocked for one small commit. One at a time is; the others go on, and handing it over
    /// would take as long again.
    pub(crate) async fn ask(&self, slot: &Slot, work: Work) -> Result<Done, StorageError> {
        let bytes = work.bytes();
        let may_lead = work.may_be_led() && bytes <= MAX_LED_BYTES;
        let room = u32::try_from(bytes).unwrap_or(u32::MAX).min(MAX_QUEUED_BYTES);
        let shared = self.shared();
        let Ok(room) = Arc::clone(&shared.room).acquire_many_owned(room).await else {
            return Err(slot.closed());
        };
        let (reply, answer) = oneshot::channel();
        let request = Request::Write(WriteRequest { work, bytes, reply, room });
        if !shared.push(request).await {
            return Err(slot.closed());
        }
        shared.write_or_wake(may_lead);
        answer.await.unwrap_or_else(|_| Err(slot.closed()))
    }

    /// Has the writer look whether the database wants reopening.
    pub(crate) fn wake(&self) {
        self.shared().wake();
    }

    /// Has the writer finish what was asked before and compact the file; gives whether that gained
    /// anything.
    pub(crate) async fn compact(&self, slot: &Slot) -> Result<bool, StorageError> {
        Ok(self.ask_alone(slot, Request::Compact).await?.compacted)
    }

    /// Has the writer finish what was asked before, close the file and end.
    pub(crate) async fn stop(self, slot: &Slot) -> Result<(), StorageError> {
        self.ask_alone(slot, Request::Stop).await.map(drop)
    }

    async fn ask_alone(
        &self,
        slot: &Slot,
        request: impl FnOnce(Reply) -> Request,
    ) -> Result<Done, StorageError> {
        let (reply, answer) = oneshot::channel();
        if !self.shared().push(request(reply)).await {
            return Err(slot.closed());
        }
        self.shared().wake();
        answer.await.unwrap_or_else(|_| Err(slot.closed()))
    }
}

impl Shared {
    /// Queues a request; gives whether anybody will take it.
    async fn push(&self, request: Request) -> bool {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return false };
        let mut pending = self.pending();
        if !pending.is_closed {
            pending.requests.push_back((request, place));
        }
        !pending.is_closed
    }

    /// Commits what is queued if nobody writes and the caller may, and has the thread do what is left.
    fn write_or_wake(&self, may_lead: bool) {
        let leaves_work = match self.writer.try_lock() {
            Ok(mut writer) if may_lead && !writer.slot.wants_reopening() => {
                let was_settled = writer.unsettled_since.is_none();
                let Group { writes, then: _ } = self.take_small();
                writer.carry_out(writes);
                // The file is opened again, or settled some time after the first of many commits.
                was_settled || writer.slot.wants_reopening()
            }
            // Opening a file again is long, and so is writing much.
            Ok(_) | Err(TryLockError::Poisoned(_)) => true,
            // Whoever writes looks at the queue afterwards.
            Err(TryLockError::WouldBlock) => return,
        };
        if leaves_work || self.has_requests() {
            self.wake();
        }
    }

    /// Whether anything is queued.
    pub(super) fn has_requests(&self) -> bool {
        !self.pending().requests.is_empty()
    }

    /// The next group, and what follows it.
    pub(super) fn take(&self) -> Group {
        self.pending().take(MAX_GROUP_REQUESTS, MAX_GROUP_BYTES, |_| true)
    }

    fn take_small(&self) -> Group {
        let is_small = |request: &Request| match request {
            Request::Write(write) => write.work.may_be_led() && write.bytes <= MAX_LED_BYTES,
            Request::Compact(_) | Request::Stop(_) => false,
        };
        self.pending().take(MAX_LED_REQUESTS, MAX_LED_BYTES, is_small)
    }

    /// The right to write, as soon as nobody else has it.
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        // Who panicked left no transaction behind: it is gone with their stack.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread look what there is to do.
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Tells callers which thread to wake. It looks at the queue after that.
    pub(super) fn known_as(&self, thread: Thread) {
        self.thread.get_or_init(|| thread);
    }

    /// Whether no handle is left, and nothing is queued.
    pub(super) fn is_abandoned(&self) -> bool {
        let pending = self.pending();
        pending.is_abandoned && pending.requests.is_empty()
    }

    /// Takes no more requests, and drops those that are queued.
    pub(super) fn close(&self) {
        self.room.close();
        self.places.close();
        let mut pending = self.pending();
        pending.is_closed = true;
        let queued = std::mem::take(&mut pending.requests);
        drop(pending);
        drop(queued);
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Held for a few moves, none of which can fail half way.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Takes requests from the front that are written together.
    fn take(
        &mut self,
        max_requests: usize,
        max_bytes: usize,
        fits: impl Fn(&Request) -> bool,
    ) -> Group {
        let (mut writes, mut bytes) = (Vec::new(), 0);
        while writes.len() < max_requests && bytes < max_bytes {
            match self.requests.pop_front_if(|(request, _)| fits(request)) {
                Some((Request::Write(write), _)) => {
                    bytes += write.bytes;
                    writes.push(write);
                }
                Some((Request::Compact(reply), _)) => {
                    return Group { writes, then: Some(Then::Compact(reply)) };
                }
                Some((Request::Stop(reply), _)) => {
                    return Group { writes, then: Some(Then::Stop(reply)) };
                }
                None if self.requests.is_empty() => return Group { writes, then: None },
                None => break,
            }
        }
        Group { writes, then: Some(Then::GoOn) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Source;
    use crate::database::create::lay_out;
    use crate::writer::request::PreparedTemplate;
    use crate::{StorageOptions, TemplateId, TenantId};
    use futures_util::FutureExt;
    use redb::Database;

    fn queue() -> (Queue, Arc<Slot>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vm.redb");
        let database = Database::create(&path).unwrap();
        lay_out(&database).unwrap();
        let source = Source::of_file(&path, StorageOptions::default());
        let slot = Arc::new(Slot::new(source, database));
        (Queue::new(Writer { slot: Arc::clone(&slot), unsettled_since: None }), slot)
    }

    fn create(bytes: usize) -> Work {
        let (id, tenant, record) = (TemplateId::new(), TenantId::LOCAL, vec![b'x'; bytes]);
        Work::CreateTemplate(PreparedTemplate {
            id,
            tenant,
            is_shared: false,
            unique_name: None,
            record,
        })
    }

    /// Asks for a write of so many bytes as far as the queue lets it come.
    fn ask(queue: &Queue, slot: &Slot, bytes: usize) {
        assert!(queue.ask(slot, create(bytes)).now_or_never().is_none(), "nobody answers");
    }

    fn len(queue: &Queue) -> usize {
        queue.shared().pending().requests.len()
    }

    #[test]
    fn the_queue_holds_so_many_requests_and_no_more() {
        let (queue, slot) = queue();
        let writing = queue.shared().writer();
        (0..=MAX_QUEUED_REQUESTS).for_each(|_| ask(&queue, &slot, 100));
        assert_eq!(len(&queue), MAX_QUEUED_REQUESTS);
        drop(queue.shared().pending().requests.pop_front());
        ask(&queue, &slot, 100);
        assert_eq!(len(&queue), MAX_QUEUED_REQUESTS);
        drop(writing);
    }

    #[test]
    fn the_queue_holds_so_many_bytes_and_no_more() {
        let (queue, slot) = queue();
        let an_eighth = MAX_QUEUED_BYTES as usize / 8;
        (0..9).for_each(|_| ask(&queue, &slot, an_eighth));
        assert_eq!(len(&queue), 8);
        drop(queue.shared().pending().requests.pop_front());
        ask(&queue, &slot, an_eighth);
        assert_eq!(len(&queue), 8);
    }

    #[test]
    fn a_request_larger_than_the_queue_waits_until_it_is_empty() {
        let (queue, slot) = queue();
        let huge = MAX_QUEUED_BYTES as usize + 1;
        ask(&queue, &slot, MAX_LED_BYTES + 1);
        ask(&queue, &slot, huge);
        assert_eq!(len(&queue), 1);
        drop(queue.shared().pending().requests.pop_front());
        ask(&queue, &slot, huge);
        assert_eq!(len(&queue), 1);
    }

    #[test]
    fn a_caller_commits_what_is_small_itself_and_leaves_the_rest() {
        let (queue, slot) = queue();
        let commits = || slot.commits.load(std::sync::atomic::Ordering::Relaxed);
        assert!(queue.ask(&slot, create(100)).now_or_never().unwrap().is_ok());
        assert_eq!((commits(), len(&queue)), (1, 0));
        ask(&queue, &slot, MAX_LED_BYTES + 1);
        assert_eq!((commits(), len(&queue)), (1, 1));
        // What came before is not passed by what came later.
        ask(&queue, &slot, 100);
        assert_eq!((commits(), len(&queue)), (1, 2));
    }

    #[test]
    fn what_is_queued_while_somebody_writes_is_taken_together() {
        let (queue, slot) = queue();
        let writing = queue.shared().writer();
        (0..3).for_each(|_| ask(&queue, &slot, 100));
        drop(writing);
        assert!(queue.ask(&slot, create(100)).now_or_never().unwrap().is_ok());
        assert_eq!(slot.commits.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(len(&queue), 0);
    }

    #[test]
    fn nobody_waits_for_a_queue_that_was_closed() {
        let (queue, slot) = queue();
        ask(&queue, &slot, MAX_LED_BYTES + 1);
        queue.shared().close();
        assert_eq!(len(&queue), 0);
        let refused = queue.ask(&slot, create(1)).now_or_never().unwrap();
        assert!(matches!(refused, Err(StorageError::Closed { .. })), "{refused:?}");
    }
}
