//! Ctrl-C while something runs.
//!
//! Invariant: one that comes after [`Interrupt::new`] is never lost, and never ends the process by
//! itself.

use super::local::LocalError;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from when it is made.
pub(super) struct Interrupt(Signal);

impl Interrupt {
    pub(super) fn new() -> Result<Self, LocalError> {
        let what = "cannot wait for signals";
        let signal = signal(SignalKind::interrupt());
        signal.map(Self).map_err(|source| LocalError::Io { what, source })
    }

    /// Waits for the next one.
    pub(super) async fn came(&mut self) {
        self.0.recv().await;
    }
}
