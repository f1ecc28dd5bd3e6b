//! Calls that are answered later: work that goes on while the guest does, or waits.
//!
//! Invariant: what an execution began ends with it, answered or not; it has few under way, and they
//! hold few bytes.

use super::calls::Called;
use futures_util::FutureExt;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;

/// Calls of one execution that may be under way.
pub(crate) const MAX_PENDING: usize = 64;
/// Bytes that those of one execution may have been handed.
pub(crate) const MAX_PENDING_BYTES: usize = 32 << 20;

/// What an execution has under way.
#[derive(Debug, Default)]
pub(crate) struct Later {
    tasks: JoinSet<(u32, Called)>,
    under_way: Vec<UnderWay>,
    done: VecDeque<(u32, Called)>,
    last: u32,
}

#[derive(Debug)]
struct UnderWay {
    ticket: u32,
    bytes: usize,
    /// What the call was, for the event that tells of it.
    what: String,
    task: AbortHandle,
}

/// A call that is over.
pub(super) struct Answered {
    pub(super) ticket: u32,
    pub(super) what: String,
    pub(super) sent: usize,
    pub(super) answer: Called,
}

impl Later {
    /// Begins a call that was handed so many bytes; gives its ticket.
    pub(super) fn begin(
        &mut self,
        what: String,
        bytes: usize,
        call: impl Future<Output = Called> + Send + 'static,
    ) -> Result<u32, String> {
        let held: usize = self.under_way.iter().map(|call| call.bytes).sum();
        if self.under_way.len() >= MAX_PENDING {
            return Err(format!("EBUSY\n{MAX_PENDING} calls of this execution are under way"));
        }
        if held + bytes > MAX_PENDING_BYTES {
            let most = MAX_PENDING_BYTES >> 20;
            return Err(format!("EBUSY\ncalls under way may hold {most} MiB together"));
        }
        self.last += 1;
        let ticket = self.last;
        // Who waits for it is told, whatever became of it.
        let call = AssertUnwindSafe(call).catch_unwind();
        let failed = |_| Err("EIO\nthe host failed".to_owned());
        let task = self.tasks.spawn(async move { (ticket, call.await.unwrap_or_else(failed)) });
        self.under_way.push(UnderWay { ticket, bytes, what, task });
        Ok(ticket)
    }

    /// Waits until a call is over or the time is; gives how many are over that nobody asked for.
    pub(super) async fn wait(&mut self, at_most: Option<Duration>) -> usize {
        match at_most {
            // Where nothing is under way nothing can come.
            None => self.answered().await,
            // Those that are about to be over are given the time that a turn of the runtime takes.
            Some(Duration::ZERO) => tokio::select! {
                biased;
                () = self.answered() => {}
                () = tokio::task::yield_now() => {}
            },
            // A guest may say any time, also one that no clock reaches.
            Some(time) => {
                let since = Instant::now();
                let answered = tokio::time::timeout(time, self.answered()).await;
                if answered.is_ok() && self.done.is_empty() {
                    tokio::time::sleep(time.saturating_sub(since.elapsed())).await;
                }
            }
        }
        while let Some(over) = self.tasks.try_join_next() {
            self.keep(over);
        }
        self.done.len()
    }

    /// The next call that is over.
    pub(super) fn next(&mut self) -> Option<Answered> {
        let (ticket, answer) = self.done.pop_front()?;
        let at = self.under_way.iter().position(|call| call.ticket == ticket)?;
        let UnderWay { what, bytes, .. } = self.under_way.swap_remove(at);
        Some(Answered { ticket, what, sent: bytes, answer })
    }

    /// Ends a call; its answer is nobody's.
    pub(super) fn cancel(&mut self, ticket: u32) {
        self.done.retain(|(done, _)| *done != ticket);
        if let Some(at) = self.under_way.iter().position(|call| call.ticket == ticket) {
            self.under_way.swap_remove(at).task.abort();
        }
    }

    /// Waits until a call is over, or none is under way.
    async fn answered(&mut self) {
        while self.done.is_empty()
            && let Some(over) = self.tasks.join_next().await
        {
            self.keep(over);
        }
    }

    /// Keeps an answer; one that was cancelled is over too, and has none that anybody waits for.
    fn keep(&mut self, over: Result<(u32, Called), JoinError>) {
        if let Ok((ticket, answer)) = over
            && self.under_way.iter().any(|call| call.ticket == ticket)
        {
            self.done.push_back((ticket, answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn calls_are_answered_once_and_bounded_in_number_and_bytes() {
        let mut later = Later::default();
        let first = later.begin("a".to_owned(), 1, ready(Ok(vec![1]))).unwrap();
        assert_eq!(later.wait(None).await, 1);
        let answered = later.next().unwrap();
        assert_eq!((answered.ticket, answered.answer), (first, Ok(vec![1])));
        assert!(later.next().is_none());
        for _ in 0..MAX_PENDING {
            later.begin("b".to_owned(), 0, pending()).unwrap();
        }
        assert!(later.begin("c".to_owned(), 0, pending()).unwrap_err().starts_with("EBUSY\n"));
        assert_eq!(later.wait(Some(Duration::ZERO)).await, 0);
        later.cancel(first + 1);
        let refused = later.begin("d".to_owned(), MAX_PENDING_BYTES + 1, pending());
        assert!(refused.unwrap_err().starts_with("EBUSY\n"));
        let failing = async { panic!("on purpose") };
        later.begin("f".to_owned(), 0, failing).unwrap();
        assert_eq!(later.wait(None).await, 1);
        assert!(later.next().unwrap().answer.unwrap_err().starts_with("EIO\n"));
        let last = later.begin("e".to_owned(), 0, ready(Err("X\ny".to_owned()))).unwrap();
        assert_eq!(later.wait(None).await, 1);
        later.cancel(last);
        assert!(later.next().is_none());
    }

    #[tokio::test]
    async fn what_is_cancelled_ends_no_wait_for_something_else() {
        let mut later = Later::default();
        let cancelled = later.begin("a".to_owned(), 0, pending()).unwrap();
        later.cancel(cancelled);
        let (since, time) = (Instant::now(), Duration::from_millis(30));
        assert_eq!(later.wait(Some(time)).await, 0);
        assert!(since.elapsed() >= time);
        let slow = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(Vec::new())
        };
        let cancelled = later.begin("b".to_owned(), 0, pending()).unwrap();
        later.begin("c".to_owned(), 0, slow).unwrap();
        later.cancel(cancelled);
        assert_eq!(later.wait(None).await, 1);
        let forever = Duration::from_millis(u64::MAX - 1);
        assert!(later.next().is_some());
        assert!(later.wait(Some(forever)).now_or_never().is_none());
    }
}
