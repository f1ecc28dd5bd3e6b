//! The HTTP server: a listener, a task for each connection, and the routes behind them.
//!
//! ```text
//! accept ── admit (connections.rs) ── serve (connection.rs) ── id, access, log (service.rs)
//!                                                                   └── routes.rs ── host
//! ```
//!
//! Invariant: everything a client can make the server hold is bounded: connections, the time they
//! may idle, the headers and body of a request, the bytes of all bodies together, and how long a
//! response may wait to be read.

mod access;
mod activity;
mod answer;
mod body;
mod compression;
mod connection;
mod connections;
mod guard;
mod if_match;
mod log;
mod prefer;
mod query;
mod routes;
mod service;

pub use access::Access;
pub use routes::ROUTES;

use connection::Connection;
use connections::Connections;
use service::Service;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vm_host::{Host, HostError};

/// Bytes of the bodies that are being read or decoded, all together.
const MAX_BODIES_BYTES: usize = 256 << 20;

/// Reads of the store that run at one time: each is a blocking thread, and holds its answer.
const MAX_READS: usize = 64;

/// How long the server waits before it accepts again after the kernel refused it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long connections may take, once the host has stopped, to send the answers they owe.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// What clients may ask of a server.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Bytes of a request's body.
    pub max_body_bytes: usize,
    /// Connections open at one time. One more takes the place of the one that has idled longest.
    pub max_connections: usize,
    /// From the first byte of a request to the end of its headers.
    pub header_timeout: Duration,
    /// From the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// How long a client may leave a response unread before its connection is closed.
    pub write_timeout: Duration,
    /// Who is answered.
    pub access: Access,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 4 << 20,
            max_connections: 16_384,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            access: Access::Loopback,
        }
    }
}

/// What every route works with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) host: Host,
    pub(crate) options: ServerOptions,
    /// Room for the bytes of bodies.
    pub(crate) bodies: Arc<Semaphore>,
    /// Room for reads.
    pub(crate) reads: Arc<Semaphore>,
}

/// A server that has its address and is about to accept.
pub struct Server {
    listener: TcpListener,
    host: Host,
    options: ServerOptions,
}

impl Server {
    /// Binds an address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, host: Host, options: ServerOptions) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, host, options })
    }

    /// The address it has.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then ends in order: accepts nothing more, lets executions end until
    /// `grace` is over, cancels those that have not, answers, and closes the host and its store.
    ///
    /// # Errors
    /// What closing the store gives.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        grace: impl Future<Output = ()>,
    ) -> Result<(), HostError> {
        let Self { listener, host, options } = self;
        let stopping = CancellationToken::new();
        let connections = TaskTracker::new();
        let app = App {
            host: host.clone(),
            options,
            bodies: Arc::new(Semaphore::new(MAX_BODIES_BYTES)),
            reads: Arc::new(Semaphore::new(MAX_READS)),
        };
        let service = Service::new(app);
        let accepting = accept(listener, options, service, &connections, &stopping);
        tokio::select! {
            never = accepting => match never {},
            () = stop => {}
        }
        tracing::info!("stopping: no more connections; executions may end");
        stopping.cancel();
        connections.close();
        let ended = host.shutdown(grace).await;
        if tokio::time::timeout(FLUSH_TIMEOUT, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "clients did not read their answers");
        }
        ended
    }
}

/// Accepts connections, and serves each in a task of its own.
async fn accept(
    listener: TcpListener,
    options: ServerOptions,
    service: Service,
    tasks: &TaskTracker,
    stopping: &CancellationToken,
) -> std::convert::Infallible {
    let connections = Connections::new(options.max_connections);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = Connection {
                    stream,
                    peer,
                    place: connections.admit().await,
                    service: service.clone(),
                    options,
                    stopping: stopping.clone(),
                };
                tasks.spawn(connection.serve());
            }
            // The client went away before it was accepted, or there are no descriptors left: an
            // idle connection gives its one back.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                connections.close_longest_idle();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
