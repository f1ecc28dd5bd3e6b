//! `vm-system serve`: the daemon.

use super::local::{LocalError, backup_dir, cache_dir, guest_dir, module_dir};
use super::logging::LogFormat;
use super::{Exit, printer};
use crate::server::{Access, Server, ServerOptions};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use vm_host::limits::{MAX, MAX_INPUT_BYTES};
use vm_host::{Concurrency, Forms, Host, HostOptions, PageTracking};
use vm_storage::{Bounds, Limits, Retention, Storage, StorageOptions, Verification};

/// The database where none is named.
pub(super) const DEFAULT_DB: &str = "vm-system.redb";

/// How often the daemon looks for what it has to remove or end.
const UPKEEP_PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address and port; port 0 takes a free one. Without --auth only loopback addresses, unless
    /// --insecure insists
    #[arg(long, value_name = "ADDR:PORT", default_value_t = default_address(), value_parser = address)]
    listen: SocketAddr,
    #[command(flatten)]
    access: AccessArgs,
    /// Folder of the libraries that templates name
    #[arg(long, value_name = "DIR", default_value = super::libs::DEFAULT_FOLDER)]
    library_dir: PathBuf,
    /// A folder that worktrees must lie in; may be given several times (default: they may lie
    /// anywhere)
    #[arg(long, value_name = "DIR")]
    worktree_root: Vec<PathBuf>,
    /// A program that scripts may run whose template has the exec module, by its name or absolute path;
    /// may be given several times. It has all the powers of the user that the daemon runs as
    #[arg(long, value_name = "PROGRAM")]
    allow_exec: Vec<String>,
    /// An address that is not public, or a range of them such as 10.0.0.0/8, that scripts may reach whose
    /// template names it; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    allow_net: Vec<String>,
    /// A TOML file of secrets that templates may grant by name
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Sessions that may be live at one time; most take room on the disk and nowhere else
    #[arg(
        long,
        value_name = "N",
        default_value_t = HostOptions::DEFAULT_MAX_SESSIONS,
        value_parser = clap::value_parser!(u32).range(1..=100_000_000)
    )]
    max_sessions: u32,
    /// Sessions that may be in memory at one time; the one used longest ago makes room for another
    #[arg(
        long,
        value_name = "N",
        default_value_t = HostOptions::DEFAULT_MAX_RESIDENT,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    max_resident: u32,
    /// Seconds without use after which a session leaves the memory; its next execution brings it
    /// back
    #[arg(long, value_name = "S", default_value_t = HostOptions::DEFAULT_IDLE_HIBERNATE.as_secs(),
        value_parser = clap::value_parser!(u64).range(0..=31_536_000))]
    idle_hibernate: u64,
    /// Executions that may have started and not ended at one time, with sessions being made
    /// (default: as many as sessions in memory, so that none waits for one that never ends)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_executions: Option<u32>,
    /// Executions that may wait to start; beyond them the answer is 503
    #[arg(long, value_name = "N", default_value_t = Concurrency::default().waiting,
        value_parser = clap::value_parser!(u32).range(0..=100_000))]
    max_waiting: u32,
    /// The most milliseconds of processor time that a template may allow
    #[arg(long, value_name = "N", default_value_t = MAX.cpu_ms,
        value_parser = up_to(MAX.cpu_ms))]
    max_cpu_ms: u64,
    /// The most milliseconds from start to end that a template may allow
    #[arg(long, value_name = "N", default_value_t = MAX.wall_ms,
        value_parser = up_to(MAX.wall_ms))]
    max_wall_ms: u64,
    /// The most MiB of memory that a template may allow
    #[arg(long, value_name = "N", default_value_t = MAX.mem_mb,
        value_parser = up_to(MAX.mem_mb))]
    max_mem_mb: u64,
    /// The most events of one execution that a template may allow
    #[arg(long, value_name = "N", default_value_t = MAX.max_events,
        value_parser = up_to(MAX.max_events))]
    max_events: u64,
    /// The most KiB of output of one execution that a template may allow
    #[arg(long, value_name = "N", default_value_t = MAX.max_output_kb,
        value_parser = up_to(MAX.max_output_kb))]
    max_output_kb: u64,
    /// Seconds that executions may take to end when the daemon is told to stop
    #[arg(long, value_name = "S", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(0..=3_600))]
    shutdown_grace_s: u64,
    /// KiB of a request's body
    #[arg(long, value_name = "N", default_value_t = 4_096, value_parser = body_kb())]
    max_body_kb: usize,
    /// Connections that may be open at one time; one more closes the one that idled longest
    #[arg(long, value_name = "N", default_value_t = 16_384,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    max_connections: usize,
    /// Seconds from the first byte of a request to the end of its headers
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = seconds())]
    header_timeout_s: u64,
    /// Seconds for a request's body
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = seconds())]
    body_timeout_s: u64,
    /// Seconds that a connection may stay open without a request
    #[arg(long, value_name = "S", default_value_t = 75, value_parser = seconds())]
    idle_timeout_s: u64,
    /// Seconds that a client may leave an answer unread
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = seconds())]
    write_timeout_s: u64,
    /// Seconds after their start that executions are kept, with their events (default: for ever)
    #[arg(long, value_name = "S", value_parser = up_to(u64::MAX))]
    retain_executions_s: Option<u64>,
    /// Executions that are kept, of all sessions together; the oldest go (default: all)
    #[arg(long, value_name = "N", value_parser = up_to(u64::MAX))]
    retain_executions: Option<u64>,
    /// MiB of executions and their events that are kept; the oldest go (default: all)
    #[arg(long, value_name = "N", value_parser = up_to(u64::MAX >> 20))]
    retain_executions_mb: Option<u64>,
    /// Seconds after the start of their execution that events are kept (default: as long as it)
    #[arg(long, value_name = "S", value_parser = up_to(u64::MAX))]
    retain_events_s: Option<u64>,
    /// Events that are kept, of all sessions together; the oldest go (default: all)
    #[arg(long, value_name = "N", value_parser = up_to(u64::MAX))]
    retain_events: Option<u64>,
    /// MiB of events that are kept; the oldest go (default: all)
    #[arg(long, value_name = "N", value_parser = up_to(u64::MAX >> 20))]
    retain_events_mb: Option<u64>,
    /// Folder that `ops backup` makes backups in (default: the database's name and .backups)
    #[arg(long, value_name = "DIR")]
    backup_dir: Option<PathBuf>,
    /// MiB of template modules that are kept beside the database, beyond what stored sessions need;
    /// those used longest ago go
    #[arg(long, value_name = "N", default_value_t = HostOptions::DEFAULT_MAX_MODULE_BYTES >> 20,
        value_parser = up_to(1 << 30))]
    max_modules_mb: u64,
    /// Run libraries and startup files in every session, instead of beginning with what they left
    #[arg(long)]
    no_images: bool,
    /// Verify every page of the database before serving; takes a second a gigabyte or more
    #[arg(long)]
    verify: bool,
    /// How the log looks
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
    /// What is logged: off, error, warn, info, debug or trace, or a filter by module
    #[arg(long, value_name = "FILTER", default_value = "info", env = "VM_SYSTEM_LOG")]
    pub(super) log: String,
}

#[derive(Clone, Copy, Debug, Args)]
struct AccessArgs {
    /// Answer only who shows a token, but for /health and /ready; `vm-system tenant bootstrap` makes the
    /// first
    #[arg(long)]
    auth: bool,
    /// Answer everyone who reaches the address, without a token: they can run what they like in the
    /// worktrees
    #[arg(long, conflicts_with = "auth")]
    insecure: bool,
}

impl AccessArgs {
    /// Who is answered at an address.
    fn access(self, listen: SocketAddr) -> Result<Access, LocalError> {
        match (self.auth, self.insecure) {
            (true, _) => Ok(Access::Tokens),
            (false, true) => Ok(Access::Everyone),
            (false, false) if listen.ip().is_loopback() => Ok(Access::Loopback),
            (false, false) => Err(LocalError::Listen(listen)),
        }
    }
}

/// Serves until SIGTERM or SIGINT; a second one ends the grace of what still runs.
pub(super) async fn serve(args: ServeArgs, db: Option<&Path>) -> Result<Exit, LocalError> {
    let access = args.access.access(args.listen)?;
    raise_descriptor_limit();
    let mut signals = Signals::new()?;
    let _too_large = outlive_file_limits()?;
    let db = super::local::absolute_db(db.unwrap_or(Path::new(DEFAULT_DB)))?;
    let host_options = host_options(&args, &db);
    let verification = if args.verify { Verification::Full } else { Verification::Quick };
    let storage_options = StorageOptions { verification, ..StorageOptions::default() };
    let opening = tokio::task::spawn_blocking(move || Storage::open(&db, storage_options));
    let (storage, recovery) = opening.await.expect("opening gives its errors")?;
    if recovery.executions_stopped > 0 || recovery.sessions_crashed > 0 {
        tracing::warn!(
            executions_stopped = recovery.executions_stopped,
            sessions_crashed = recovery.sessions_crashed,
            "the daemon before did not end in order"
        );
    }
    let host = Host::start(storage, host_options).await?;
    if access == Access::Tokens && host.tokens().is_empty() {
        tracing::warn!("nobody has a token: stop, and make one with `vm-system tenant bootstrap`");
    }
    let server = Server::bind(args.listen, host, server_options(&args, access)).await;
    let listen = |source| LocalError::Bind { address: args.listen, source };
    let server = server.map_err(listen)?;
    let address = server.address().map_err(listen)?;
    // The kernel queues connections from `bind` on, so it accepts from here.
    printer::stdout_line(&format!("listening on http://{address}"));
    tracing::info!(%address, "listening");
    let grace = Duration::from_secs(args.shutdown_grace_s);
    let (stopped, stop) = tokio::sync::oneshot::channel();
    let (hurried, hurry) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        signals.next().await;
        drop(stopped);
        signals.next().await;
        drop(hurried);
    });
    let stop = async { drop(stop.await as Result<(), _>) };
    let grace = async move {
        tokio::select! {
            () = tokio::time::sleep(grace) => {}
            _ = hurry => {}
        }
        tracing::info!("cancelling what still runs");
    };
    server.run(stop, grace).await?;
    tracing::info!("stopped");
    Ok(Exit::Success)
}

fn host_options(args: &ServeArgs, db: &Path) -> HostOptions {
    let bounds = |age: Option<u64>, count, megabytes: Option<u64>| Bounds {
        max_age: age.map(Duration::from_secs),
        max_count: count,
        max_bytes: megabytes.map(|megabytes| megabytes << 20),
    };
    HostOptions {
        max_sessions: args.max_sessions,
        max_resident: args.max_resident,
        idle_hibernate: Duration::from_secs(args.idle_hibernate),
        guest_dir: Some(guest_dir(db)),
        module_dir: Some(module_dir(db)),
        max_module_bytes: args.max_modules_mb << 20,
        forms: if args.no_images { Forms::Replayed } else { Forms::ImagesAndReplayed },
        backup_dir: Some(args.backup_dir.clone().unwrap_or_else(|| backup_dir(db))),
        retention: Retention {
            executions: bounds(
                args.retain_executions_s,
                args.retain_executions,
                args.retain_executions_mb,
            ),
            events: bounds(args.retain_events_s, args.retain_events, args.retain_events_mb),
        },
        upkeep_period: UPKEEP_PERIOD,
        library_dir: args.library_dir.clone(),
        cache_dir: cache_dir(),
        worktree_roots: args.worktree_root.clone(),
        allowed_programs: args.allow_exec.clone(),
        allowed_addresses: args.allow_net.clone(),
        secrets: args.secrets.clone(),
        ceilings: Limits {
            cpu_ms: args.max_cpu_ms,
            wall_ms: args.max_wall_ms,
            mem_mb: args.max_mem_mb,
            max_events: args.max_events,
            max_output_kb: args.max_output_kb,
        },
        concurrency: Concurrency {
            started: args.max_executions.unwrap_or(args.max_resident),
            waiting: args.max_waiting,
            ..Concurrency::default()
        },
        page_tracking: PageTracking::Kernel,
    }
}

fn server_options(args: &ServeArgs, access: Access) -> ServerOptions {
    let seconds = Duration::from_secs;
    ServerOptions {
        max_body_bytes: args.max_body_kb << 10,
        max_connections: args.max_connections,
        header_timeout: seconds(args.header_timeout_s),
        body_timeout: seconds(args.body_timeout_s),
        idle_timeout: seconds(args.idle_timeout_s),
        write_timeout: seconds(args.write_timeout_s),
        access,
    }
}

/// An address with its port; a name is looked up.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let found = text.to_socket_addrs().map_err(|error| error.to_string())?.next();
    found.ok_or_else(|| "the name has no address".to_owned())
}

/// Seconds of a timeout.
fn seconds() -> RangedU64ValueParser {
    up_to(3_600)
}

/// Kibibytes of a body: at most what an execution's record holds.
fn body_kb() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=MAX_INPUT_BYTES as u64 >> 10)
}

/// Something of which there is at least one.
fn up_to(max: u64) -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=max)
}

/// A connection is a descriptor, and so are a session's worktree and its files: the process takes
/// all that it may have.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) =
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// A file that may not grow is a write that fails, which the store answers; without a handler the
/// signal that comes with it would end the process. The handler lives as long as what this gives.
fn outlive_file_limits() -> Result<Signal, LocalError> {
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    let what = "cannot wait for signals";
    signal(kind).map_err(|source| LocalError::Io { what, source })
}

/// The signals that end the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, LocalError> {
        let on = |kind| {
            let what = "cannot wait for signals";
            signal(kind).map_err(|source| LocalError::Io { what, source })
        };
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The address that the daemon listens on unless told otherwise.
fn default_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 3210))
}
