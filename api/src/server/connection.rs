//! One connection, from its first byte to its last.
//!
//! Invariant: it ends when the client closes it, when a deadline of its activity passes, when its
//! place is needed or when the server stops; in the last two cases not before its requests have
//! been answered.

use super::ServerOptions;
use super::activity::Activity;
use super::connections::Place;
use super::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// Bytes of a request's head, and what is read at one time of a body.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Bytes of the headers of an HTTP/2 request, uncompressed.
const MAX_HEADER_LIST_BYTES: u32 = 32 << 10;

/// Requests under way on one HTTP/2 connection. Clients begin up to 100 before they have been told
/// (RFC 9113 asks for no less), and fewer would only be refused.
const MAX_STREAMS: u32 = 128;

/// A connection that was accepted.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) place: Place,
    pub(super) service: Service,
    pub(super) options: ServerOptions,
    pub(super) stopping: CancellationToken,
}

impl Connection {
    /// Serves it to its end.
    pub(super) async fn serve(self) {
        let Self { stream, peer, place, service, options, stopping } = self;
        // An answer is one small write; waiting to fill a packet only delays it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "no TCP_NODELAY");
        }
        let close = place.close();
        let activity = Activity::new(place, options);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(options.write_timeout));
        let io = Watched { stream: Box::pin(stream), activity: Arc::clone(&activity) };
        let service = hyper::service::service_fn({
            let activity = Arc::clone(&activity);
            move |request| service.clone().call(request, &activity, peer)
        });
        let builder = builder();
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        let mut closing = pin!(close.cancelled());
        let mut stop = pin!(stopping.cancelled());
        let mut is_stopping = false;
        let mut timer = pin!(tokio::time::sleep(options.idle_timeout));
        let ended = std::future::poll_fn(|context| {
            if !is_stopping && stop.as_mut().poll(context).is_ready() {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(Some(ended));
            }
            activity.register(context.waker());
            let Some(deadline) = activity.deadline(is_stopping) else {
                return Poll::Pending;
            };
            if closing.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            // It is set anew only where it would fire too late; one that fires early is set then.
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            while timer.as_mut().poll(context).is_ready() {
                if deadline <= tokio::time::Instant::now() {
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await;
        match ended {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%peer, error = ?error, "a connection failed"),
            None => tracing::debug!(%peer, "an idle or slow connection was closed"),
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Activity` has the deadlines: hyper's would count the time between requests as well.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES);
    builder
}

/// A stream that tells when bytes come and go.
struct Watched {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    activity: Arc<Activity>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.stream.as_mut().poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.received();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream.as_mut().poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream.as_mut().poll_write_vectored(context, slices);
        self.note(&written);
        written
    }
}

impl Watched {
    fn note(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(1..)) = written {
            self.activity.sent();
        }
    }
}
