//! The monotonic clock of a session: milliseconds since the session was made.
//!
//! Invariant: it never goes back, whatever becomes of the process or of the machine's clock: it is
//! counted from one reading of the machine's clock by the process's own, and a session that is
//! restored goes on at least where its last commit was.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};
use vm_storage::Session;

/// When the process looked at the machine's clock, and what it said, in milliseconds since 1970.
static START: LazyLock<(Instant, u64)> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), milliseconds(since))
});

/// The monotonic clock of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionClock {
    /// Where it shows 0, in milliseconds since 1970.
    origin_ms: u64,
}

impl SessionClock {
    /// The clock of a session.
    pub(crate) fn of(session: &Session) -> Self {
        Self { origin_ms: u64::try_from(session.created_at.as_millisecond()).unwrap_or(0) }
    }

    /// A clock that begins now.
    pub(crate) fn starting() -> Self {
        Self { origin_ms: unix_ms() }
    }

    /// What it shows.
    pub(crate) fn now_ms(self) -> u64 {
        unix_ms().saturating_sub(self.origin_ms)
    }

    /// Has it show no less than this.
    pub(crate) fn go_on_from(&mut self, shown_ms: u64) {
        self.origin_ms = self.origin_ms.min(unix_ms().saturating_sub(shown_ms));
    }
}

/// Milliseconds since 1970, as far as this process has counted.
fn unix_ms() -> u64 {
    let (started, then) = *START;
    then.saturating_add(milliseconds(started.elapsed()))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_goes_on_from_what_it_showed_and_never_goes_back() {
        let mut clock = SessionClock::starting();
        assert!(clock.now_ms() < 60_000);
        clock.go_on_from(1_000_000);
        let shown = clock.now_ms();
        assert!((1_000_000..1_060_000).contains(&shown), "{shown}");
        // The machine's clock was set back, or the commit is an old one: it goes on all the same.
        clock.go_on_from(5);
        assert!(clock.now_ms() >= shown);
    }
}
