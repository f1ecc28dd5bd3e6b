//! The callers' end of the writer: a queue bounded in requests and in bytes.
//!
//! Invariant: what waits never exceeds the two bounds; a caller for whom there is no room waits
//! its turn without holding anything but its own request.

use super::request::{Done, Reply, Request, Work, WriteRequest};
use crate::database::Slot;
use crate::error::StorageError;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Requests that wait at most. Each is one execution that ends: as many as a full host has
/// sessions busy; further callers wait for room.
const MAX_QUEUED_REQUESTS: usize = 1_024;

/// Bytes of records that wait at most, in the queue and the group under way: four times the output
/// of a full host's slots, and little beside their memories. Further callers wait for room.
const MAX_QUEUED_BYTES: u32 = 64 * 1024 * 1024;

/// The callers' end of the writer's queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
}

impl Queue {
    /// The queue and the writer's end of it.
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, requests) = mpsc::channel(MAX_QUEUED_REQUESTS);
        let room = Arc::new(Semaphore::new(MAX_QUEUED_BYTES as usize));
        (Self { sender, room }, requests)
    }

    /// Asks for one write and waits until it is durable or refused.
    pub(crate) async fn ask(&self, slot: &Slot, work: Work) -> Result<Done, StorageError> {
        let bytes = work.bytes();
        let room = u32::try_from(bytes).unwrap_or(u32::MAX).min(MAX_QUEUED_BYTES);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(room).await else {
            return Err(slot.closed());
        };
        let (reply, answer) = oneshot::channel();
        let request = Request::Write(WriteRequest { work, bytes, reply, room });
        if self.sender.send(request).await.is_err() {
            return Err(slot.closed());
        }
        answer.await.unwrap_or_else(|_| Err(slot.closed()))
    }

    /// Has the writer look whether the database wants reopening. A full queue does that anyway.
    pub(crate) fn wake(&self) {
        drop(self.sender.try_send(Request::Wake));
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
        if self.sender.send(request(reply)).await.is_err() {
            return Err(slot.closed());
        }
        answer.await.unwrap_or_else(|_| Err(slot.closed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Source;
    use crate::{StorageOptions, TemplateId};
    use futures_util::FutureExt;
    use redb::Database;

    /// A queue that nobody takes from, and a slot for its errors.
    fn queue_without_a_writer() -> (Queue, mpsc::Receiver<Request>, Slot) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vm.redb");
        let slot = Slot::new(
            Source::of_file(&path, StorageOptions::default()),
            Database::create(&path).unwrap(),
        );
        let (queue, requests) = Queue::new();
        (queue, requests, slot)
    }

    /// Asks for a write of so many bytes as far as the queue lets it come.
    fn ask(queue: &Queue, slot: &Slot, bytes: usize) {
        let work = Work::CreateTemplate { id: TemplateId::new(), record: vec![b'x'; bytes] };
        assert!(queue.ask(slot, work).now_or_never().is_none(), "nobody answers");
    }

    #[test]
    fn the_queue_holds_so_many_requests_and_no_more() {
        let (queue, mut requests, slot) = queue_without_a_writer();
        (0..=MAX_QUEUED_REQUESTS).for_each(|_| ask(&queue, &slot, 100));
        assert_eq!(requests.len(), MAX_QUEUED_REQUESTS);
        drop(requests.try_recv().unwrap());
        ask(&queue, &slot, 100);
        assert_eq!(requests.len(), MAX_QUEUED_REQUESTS);
    }

    #[test]
    fn the_queue_holds_so_many_bytes_and_no_more() {
        let (queue, mut requests, slot) = queue_without_a_writer();
        let an_eighth = MAX_QUEUED_BYTES as usize / 8;
        (0..9).for_each(|_| ask(&queue, &slot, an_eighth));
        assert_eq!(requests.len(), 8);
        drop(requests.try_recv().unwrap());
        ask(&queue, &slot, an_eighth);
        assert_eq!(requests.len(), 8);
    }

    #[test]
    fn a_request_larger_than_the_queue_waits_until_it_is_empty() {
        let (queue, mut requests, slot) = queue_without_a_writer();
        let huge = MAX_QUEUED_BYTES as usize + 1;
        ask(&queue, &slot, 1);
        ask(&queue, &slot, huge);
        assert_eq!(requests.len(), 1);
        drop(requests.try_recv().unwrap());
        ask(&queue, &slot, huge);
        assert_eq!(requests.len(), 1);
    }
}
