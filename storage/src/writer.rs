//! The one writer: it groups the writes of many callers into one durable commit.
//!
//! ```text
//! callers --> queue (bounded in requests and bytes) --> group --> one redb transaction --> answers
//! ```
//!
//! A caller that finds nobody writing commits what it asked for itself: that saves two hand-overs
//! between threads, which take as long as the disk does. Everything else is the thread's: what came
//! while somebody wrote, large or slow requests, and what follows a failure.
//!
//! Invariant: one at a time writes, whoever that is; an answer is sent only when the commit that holds
//! the write is on the disk, or has failed; a failed commit is never tried again, because after a
//! failed fsync nobody knows what the kernel still holds. What is refused leaves nothing and does not
//! disturb the rest of its group. The thread ends, and the file is closed, when the last handle is gone.
//! The callers' end is in `writer/queue.rs`, the thread in `writer/thread.rs`; what each request does
//! to the tables in `writer/apply.rs`.
//!
//! A writer that has nothing to do for a moment *settles* the file: it commits redb's allocator
//! state, so that a process killed after that leaves a file that opens at once, however large.

mod apply;
mod heap;
mod kv;
mod queue;
pub(crate) mod request;
mod sweep;
mod tenants;
mod thread;
pub(crate) mod totals;

pub use apply::MAX_TEMPLATES;
pub(crate) use queue::Queue;
pub use sweep::Swept;
pub use tenants::{MAX_TENANTS, MAX_TOKENS};

use crate::database::{Fault, Slot, panic_text};
use crate::error::StorageError;
use crate::tables::Tables;
use apply::{Effect, apply};
use redb::{Database, Durability, WriteTransaction};
use request::{Done, Reply, Work, WriteRequest};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use totals::Totals;

/// Requests of one commit: a commit of this many is still a few milliseconds.
const MAX_GROUP_REQUESTS: usize = 256;

/// Bytes of one commit: enough that the sync, not the writing, is most of it. The request that
/// passes it is the last of its group, so that one larger than this still gets through.
const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;

/// How long the writer waits for more before it settles the file.
///
/// Recording the allocator in every commit would let the file open at once after any crash, but
/// costs each of them more the larger the file is. Measured for one execution, without and with: 0.48
/// and 0.58 ms in a file of 34 MB, 0.49 and 0.82 ms in one of 2.2 GB. So it is left to pauses; a
/// process killed under load leaves a file whose opening takes 1.1 s a GB.
pub(crate) const SETTLE_AFTER: Duration = Duration::from_millis(25);

/// Bytes that must be free on the file system beyond what a group may write: the file's own
/// bookkeeping, and what is written while others fill the disk.
const FREE_BESIDE_GROUP: u64 = 8 << 20;

/// The same for what only makes room, so that a disk which is full can be emptied: closing, purging
/// and sweeping write little and free more.
const FREE_TO_MAKE_ROOM: u64 = 1 << 20;

/// How much a record grows at most on its way into the file: its page, those above it, and the
/// copies of them that the last state keeps.
const GROWTH: u64 = 4;

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
    Ok(txn)
}

/// Starts the writer.
pub(crate) fn start(slot: &Arc<Slot>) -> Result<Queue, StorageError> {
    let queue = Queue::new(Writer { slot: Arc::clone(slot), unsettled_since: None });
    let shared = Arc::clone(queue.shared());
    std::thread::Builder::new()
        .name("vm-storage-writer".to_owned())
        .spawn(move || thread::run(&shared))
        .map_err(|error| slot.unavailable(error.to_string()))?;
    Ok(queue)
}

/// The right to write, and what goes with it.
struct Writer {
    slot: Arc<Slot>,
    /// When the last commit was that did not record the allocator, if it did not.
    unsettled_since: Option<Instant>,
}

impl Writer {
    /// Has the file be open again after a failure.
    fn reopen(&mut self) -> Result<(), String> {
        if self.slot.wants_reopening() { self.slot.reopen() } else { Ok(()) }
    }

    /// Answers a group that the file is not open.
    fn refuse(&mut self, group: Vec<WriteRequest>, detail: &str) {
        self.slot.requests.fetch_add(group.len() as u64, Ordering::Relaxed);
        self.answer_unavailable(group.into_iter().map(WriteRequest::reply), detail);
    }

    /// Commits a group to a file that is open, and answers all of it.
    fn carry_out(&mut self, mut group: Vec<WriteRequest>) {
        let bytes: u64 = group.iter().map(|write| write.bytes as u64).sum();
        self.slot.requests.fetch_add(group.len() as u64, Ordering::Relaxed);
        // Also when there is nothing to write: it is how a disk that has room again is noticed.
        if let Err(detail) = self.slot.check_space(bytes * GROWTH + FREE_BESIDE_GROUP) {
            let has_some = self.slot.has_space(bytes * GROWTH + FREE_TO_MAKE_ROOM);
            let is_refused = |write: &mut WriteRequest| !(has_some && write.work.makes_room());
            let refused: Vec<_> = group.extract_if(.., is_refused).collect();
            self.answer_unavailable(refused.into_iter().map(WriteRequest::reply), &detail);
        }
        if group.is_empty() {
            return;
        }
        let (works, replies): (Vec<_>, Vec<_>) =
            group.into_iter().map(|write| (write.work, (write.reply, write.room))).unzip();
        match self.commit(works) {
            Ok(outcomes) => {
                self.unsettled_since = Some(Instant::now());
                for ((reply, _room), outcome) in replies.into_iter().zip(outcomes) {
                    // The caller may have gone; its write is there all the same.
                    drop(reply.send(outcome));
                }
            }
            Err(detail) => {
                self.slot.take_down(&detail);
                self.answer_unavailable(replies.into_iter(), &detail);
            }
        }
    }

    /// Records the allocator, so that the file opens fast whatever becomes of the process.
    fn settle(&mut self) {
        self.unsettled_since = None;
        // There is the next pause after a commit for it.
        if self.slot.check_space(FREE_BESIDE_GROUP).is_err() {
            return;
        }
        let settle = |database: &Database| {
            let mut txn = durable_write(database)?;
            txn.set_quick_repair(true);
            txn.commit()?;
            Ok::<_, redb::Error>(())
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.slot.with_open(|database| Ok(settle(database).map_err(|error| error.to_string())))
        }));
        let failed = match outcome {
            // A store that is down has nothing to settle.
            Ok(Ok(Ok(())) | Err(_)) => return,
            Ok(Ok(Err(detail))) => detail,
            Err(panic) => panic_text(&*panic).to_owned(),
        };
        self.slot.take_down(&failed);
    }

    /// Moves what the file holds together and gives what is free back to the file system.
    fn compact(&mut self) -> Result<Done, StorageError> {
        self.unsettled_since = Some(Instant::now());
        let compacted = self.slot.compact()?;
        Ok(Done { compacted, ..Done::default() })
    }

    fn answer_unavailable(
        &self,
        replies: impl Iterator<Item = (Reply, OwnedSemaphorePermit)>,
        detail: &str,
    ) {
        for (reply, _room) in replies {
            drop(reply.send(Err(self.slot.unavailable(detail.to_owned()))));
        }
    }

    /// What became of each of a group, or why there is no telling.
    fn commit(&self, works: Vec<Work>) -> Result<Vec<Result<Done, StorageError>>, String> {
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            self.slot.with_open(|database| Ok(self.commit_to(database, works)))
        }));
        match attempt {
            Ok(Ok(Ok(outcomes))) => Ok(outcomes),
            Ok(Ok(Err(Fault::Engine(error)))) => Err(error.to_string()),
            // A refusal of the whole group: none is left at this point.
            Ok(Ok(Err(Fault::Refused(error))) | Err(error)) => Err(error.to_string()),
            Err(panic) => Err(panic_text(&*panic).to_owned()),
        }
    }

    /// Applies a group in one transaction and commits it, unless all of it was refused.
    fn commit_to(
        &self,
        database: &Database,
        works: Vec<Work>,
    ) -> Result<Vec<Result<Done, StorageError>>, Fault> {
        let txn = durable_write(database)?;
        let mut tables = Tables::open(&txn)?;
        let mut totals = Totals::read(&tables.totals)?;
        let mut outcomes = Vec::with_capacity(works.len());
        let mut effect = Effect::Nothing;
        for work in works {
            outcomes.push(match apply(&mut tables, &mut totals, work) {
                Ok((Effect::Written, done)) => {
                    effect = Effect::Written;
                    Ok(done)
                }
                Ok((Effect::Nothing, done)) => Ok(done),
                Err(Fault::Refused(error)) => Err(error),
                Err(Fault::Engine(error)) => return Err(Fault::Engine(error)),
            });
        }
        if effect == Effect::Written {
            totals.write(&mut tables)?;
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
