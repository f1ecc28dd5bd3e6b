//! Standard output and error of a guest: what is written there becomes events.
//!
//! Scripts have the console; these streams carry what the guest's own libraries print, such as the
//! message of a panic before it traps.

use crate::recorder::SharedRecorder;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use vm_storage::EventPayload;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// Bytes taken in one write.
const MAX_WRITE: usize = 64 * 1024;

/// Which stream a sink is of.
#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

/// Where a stream's bytes go: the recorder of the execution that runs, if one does.
#[derive(Clone)]
pub(crate) struct OutputSink {
    stream: Stream,
    recorder: CurrentRecorder,
}

/// The recorder of the execution that runs in a session. It is shared because WASI's streams
/// cannot see the store's data; the lock is held to read or replace it.
#[derive(Clone, Default)]
pub(crate) struct CurrentRecorder(Arc<Mutex<Option<SharedRecorder>>>);

impl CurrentRecorder {
    pub(crate) fn set(&self, recorder: Option<SharedRecorder>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = recorder;
    }

    pub(crate) fn get(&self) -> Option<SharedRecorder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl OutputSink {
    /// The sinks of standard output and error.
    pub(crate) fn pair(recorder: &CurrentRecorder) -> (Self, Self) {
        let sink = |stream| Self { stream, recorder: recorder.clone() };
        (sink(Stream::Stdout), sink(Stream::Stderr))
    }

    fn record(&self, bytes: &[u8]) -> Result<(), crate::recorder::OutputLimit> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let payload = match self.stream {
            Stream::Stdout => EventPayload::Stdout { text },
            Stream::Stderr => EventPayload::Stderr { text },
        };
        match self.recorder.get() {
            Some(recorder) => recorder.lock().push(payload),
            None => Ok(()),
        }
    }
}

impl IsTerminal for OutputSink {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for OutputSink {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for OutputSink {
    async fn ready(&mut self) {}
}

impl OutputStream for OutputSink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // The execution ends by a trap, whose cause is read from the recorder.
        self.record(&bytes).map_err(|limit| StreamError::Trap(wasmtime::Error::new(limit)))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

impl tokio::io::AsyncWrite for OutputSink {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let taken = bytes.len().min(MAX_WRITE);
        Poll::Ready(self.record(&bytes[..taken]).map(|()| taken).map_err(std::io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
