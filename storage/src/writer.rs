//! The one writer: a thread that groups the writes of many callers into one durable commit.
//!
//! ```text
//! callers --> queue (bounded in requests and bytes) --> group --> one redb transaction --> answers
//! ```
//!
//! Invariant: an answer is sent only when the commit that holds the write is on the disk, or has
//! failed; a failed commit is never tried again, because after a failed fsync nobody knows what
//! the kernel still holds. What is refused leaves nothing and does not disturb the rest of its
//! group. The thread ends, and the file is closed, when the last handle is gone.
//! The callers' end is in `writer/queue.rs`; what each request does to the tables in
//! `writer/apply.rs`.

mod apply;
mod queue;
pub(crate) mod request;

pub use apply::MAX_TEMPLATES;
pub(crate) use queue::Queue;

use crate::database::{Fault, Slot, panic_text};
use crate::error::StorageError;
use crate::tables::Tables;
use apply::{Effect, apply};
use redb::{Database, Durability, WriteTransaction};
use request::{Reply, Request, Work, WriteRequest};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Requests of one commit: a commit of this many is still a few milliseconds.
const MAX_GROUP_REQUESTS: usize = 256;

/// Bytes of one commit: enough that the sync, not the writing, is most of it. The request that
/// passes it is the last of its group, so that one larger than this still gets through.
const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Whether each commit also records redb's allocator, so that opening after a crash need not
/// rebuild it. Off: it makes a commit dearer, and opening reads the whole file in any case (see
/// `CHECK_INTEGRITY`). Measured, off and on, for one execution with 3 events on a disk whose
/// fdatasync takes 0.1 ms: 0.44 and 0.53 ms in a small file, 0.57 and 0.63 at 200,000 events; 16
/// executions in one commit: 0.93 and 1.13 ms, 1.18 and 1.03. On tmpfs, so without the disk: 0.05
/// and 0.16 ms, 0.07 and 0.11; at a million events 0.11 and 0.15.
const QUICK_REPAIR: bool = false;

/// Begins a transaction whose commit is on the disk when it returns.
///
/// Two-phase: the bytes are chosen by hostile scripts, and a one-phase commit is recovered by a
/// checksum that such bytes can be made to satisfy.
pub(crate) fn durable_write(
    database: &Database,
) -> Result<WriteTransaction, redb::TransactionError> {
    let mut txn = database.begin_write()?;
    txn.set_durability(Durability::Immediate)
        .expect("checked by construction: the transaction has no savepoint");
    txn.set_two_phase_commit(true);
    txn.set_quick_repair(QUICK_REPAIR);
    Ok(txn)
}

/// Starts the writer's thread.
pub(crate) fn start(slot: &Arc<Slot>) -> Result<Queue, StorageError> {
    let (queue, requests) = Queue::new();
    let writer = Writer { slot: Arc::clone(slot), requests };
    std::thread::Builder::new()
        .name("vm-storage-writer".to_owned())
        .spawn(move || writer.run())
        .map_err(|error| slot.unavailable(error.to_string()))?;
    Ok(queue)
}

/// The thread's own state.
struct Writer {
    slot: Arc<Slot>,
    requests: mpsc::Receiver<Request>,
}

impl Writer {
    fn run(mut self) {
        let mut stop = None;
        while stop.is_none() {
            let Some(first) = self.requests.blocking_recv() else {
                break;
            };
            let mut group = Vec::new();
            stop = self.gather(first, &mut group);
            self.carry_out(group);
        }
        let outcome = self.slot.close();
        match stop {
            Some(reply) => drop(reply.send(outcome)),
            None => {
                if let Err(error) = outcome {
                    tracing::error!(%error, "the database was not closed in order");
                }
            }
        }
    }

    /// Takes what is queued, up to a group's bounds; gives the reply to a request to stop.
    fn gather(&mut self, first: Request, group: &mut Vec<WriteRequest>) -> Option<Reply> {
        let (mut next, mut bytes) = (Some(first), 0);
        while let Some(request) = next {
            match request {
                Request::Write(write) => {
                    bytes += write.bytes;
                    group.push(write);
                }
                Request::Wake => {}
                Request::Stop(reply) => return Some(reply),
            }
            if group.len() >= MAX_GROUP_REQUESTS || bytes >= MAX_GROUP_BYTES {
                break;
            }
            next = self.requests.try_recv().ok();
        }
        None
    }

    /// Commits a group and answers all of it.
    fn carry_out(&self, group: Vec<WriteRequest>) {
        let (works, replies): (Vec<_>, Vec<_>) =
            group.into_iter().map(|write| (write.work, (write.reply, write.room))).unzip();
        self.slot.requests.fetch_add(replies.len() as u64, Ordering::Relaxed);
        if self.slot.wants_reopening()
            && let Err(detail) = self.slot.reopen()
        {
            return self.answer_unavailable(replies, &detail);
        }
        if works.is_empty() {
            return;
        }
        match self.commit(works) {
            Ok(outcomes) => {
                for ((reply, _room), outcome) in replies.into_iter().zip(outcomes) {
                    // The caller may have gone; its write is there all the same.
                    drop(reply.send(outcome));
                }
            }
            Err(detail) => {
                self.slot.take_down(&detail);
                self.answer_unavailable(replies, &detail);
                // Once now, so that reads work again; if it fails, before each later group.
                drop(self.slot.reopen());
            }
        }
    }

    fn answer_unavailable(&self, replies: Vec<(Reply, OwnedSemaphorePermit)>, detail: &str) {
        for (reply, _room) in replies {
            drop(reply.send(Err(self.slot.unavailable(detail.to_owned()))));
        }
    }

    /// What became of each of a group, or why there is no telling.
    fn commit(&self, works: Vec<Work>) -> Result<Vec<Result<(), StorageError>>, String> {
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            self.slot.with_open(|database| Ok(self.commit_to(database, works)))
        }));
        match attempt {
            Ok(Ok(Ok(outcomes))) => Ok(outcomes),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(panic_text(&*panic).to_owned()),
        }
    }

    /// Applies a group in one transaction and commits it, unless all of it was refused.
    fn commit_to(
        &self,
        database: &Database,
        works: Vec<Work>,
    ) -> Result<Vec<Result<(), StorageError>>, redb::Error> {
        let txn = durable_write(database)?;
        let mut tables = Tables::open(&txn)?;
        let mut outcomes = Vec::with_capacity(works.len());
        let mut effect = Effect::Nothing;
        for work in works {
            outcomes.push(match apply(&mut tables, work) {
                Ok(Effect::Written) => {
                    effect = Effect::Written;
                    Ok(())
                }
                Ok(Effect::Nothing) => Ok(()),
                Err(Fault::Refused(error)) => Err(error),
                Err(Fault::Engine(error)) => return Err(error),
            });
        }
        drop(tables);
        match effect {
            Effect::Written => {
                txn.commit()?;
                self.slot.commits.fetch_add(1, Ordering::Relaxed);
            }
            Effect::Nothing => txn.abort()?,
        }
        Ok(outcomes)
    }
}
