//! Receiving on a thread of its own, for as long as there is patience.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received<T> {
    Request(T),
    /// Nothing while the patience lasted.
    Nothing,
    /// Nothing, and nothing can come any more.
    Closed,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for the next message, no longer than `patience` where there is one.
pub(super) fn receive<T>(requests: &mut Receiver<T>, patience: Option<Duration>) -> Received<T> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let until = patience.map(|patience| Instant::now() + patience);
    loop {
        match requests.poll_recv(&mut context) {
            Poll::Ready(Some(request)) => return Received::Request(request),
            Poll::Ready(None) => return Received::Closed,
            Poll::Pending => {}
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => return Received::Nothing,
            Some(left) => std::thread::park_timeout(left),
            None => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[test]
    fn a_message_comes_before_patience_ends_and_nothing_after() {
        let (sender, mut requests) = mpsc::channel(1);
        let later = std::thread::spawn(move || sender.blocking_send(7));
        assert_eq!(receive(&mut requests, None), Received::Request(7));
        later.join().unwrap().unwrap();
        assert_eq!(receive(&mut requests, Some(Duration::ZERO)), Received::Closed);
        let (_sender, mut requests) = mpsc::channel::<u8>(1);
        assert_eq!(receive(&mut requests, Some(Duration::from_millis(1))), Received::Nothing);
    }
}
