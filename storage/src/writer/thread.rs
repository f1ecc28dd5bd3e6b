//! The writer's thread: what no caller does itself.
//!
//! ```text
//!   parked ──woken──▶ reopen, if the file failed ──▶ groups, until none waits ──▶ parked
//!      └──nothing was written for a moment──▶ settle ──▶ parked, for as long as it takes
//! ```
//!
//! Invariant: whatever is queued when nobody writes any more, this thread was woken for.

use super::Writer;
use super::queue::{Group, Shared, Then};
use super::request::{Done, Reply};
use std::time::Duration;

/// Writes until the store is shut down or the last handle is gone.
pub(super) fn run(shared: &Shared) {
    shared.known_as(std::thread::current());
    let stop = loop {
        let (stop, patience) = {
            let mut writer = shared.writer();
            (write_all(shared, &mut writer), patience(&mut writer))
        };
        if stop.is_some() || shared.is_abandoned() {
            break stop;
        }
        match patience {
            // Who queued it while this thread wrote left it to this thread.
            _ if shared.has_requests() => {}
            Some(patience) => std::thread::park_timeout(patience),
            None => std::thread::park(),
        }
    };
    end(shared, stop);
}

/// Writes all that is queued; gives whom to answer that the file is closed, if it is to be.
fn write_all(shared: &Shared, writer: &mut Writer) -> Option<Reply> {
    loop {
        let Group { writes, then } = shared.take();
        let is_last = writes.is_empty();
        // After what is to be written was asked for: the file may be as it should by then.
        match writer.reopen() {
            Ok(()) => writer.carry_out(writes),
            Err(detail) => writer.refuse(writes, &detail),
        }
        match then {
            Some(Then::Stop(reply)) => return Some(reply),
            Some(Then::Compact(reply)) => drop(reply.send(writer.compact())),
            None if is_last => return None,
            Some(Then::GoOn) | None => {}
        }
    }
}

/// Settles the file if it is time; gives how long there is nothing to do for this thread, if anything
/// will be.
fn patience(writer: &mut Writer) -> Option<Duration> {
    let since = writer.unsettled_since?;
    let left = writer.slot.source().options().settle_after.saturating_sub(since.elapsed());
    if left.is_zero() {
        writer.settle();
        // A commit of that failed took the file down: it is opened again at once.
        return writer.slot.wants_reopening().then_some(Duration::ZERO);
    }
    Some(left)
}

/// Closes the file. Requests that come later, or came meanwhile, are answered that it is closed.
fn end(shared: &Shared, stop: Option<Reply>) {
    let writer = shared.writer();
    let outcome = writer.slot.close();
    shared.close();
    match stop {
        Some(reply) => drop(reply.send(outcome.map(|()| Done::default()))),
        None => {
            if let Err(error) = outcome {
                tracing::error!(%error, "the database was not closed in order");
            }
        }
    }
}
