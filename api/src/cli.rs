//! The command line. Each family of commands is a file; this one has the flags they share, and the
//! exit codes.

mod credentials;
mod escape;
mod exec;
mod interrupt;
mod libs;
mod local;
mod logging;
mod ops;
mod printer;
mod progress;
mod remote;
mod repl;
mod run;
mod serve;
mod session;
mod table;
mod template;
mod template_file;
mod tenant;
mod token;

use crate::client::ClientError;
use crate::error::ErrorCode;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use credentials::CredentialsError;
use libs::LibsError;
use local::LocalError;
use logging::LogFormat;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use vm_host::Concurrency;

/// Threads that scripts never hold: there are this many more than slices of scripts at one time.
const WORKERS_BESIDE_SCRIPTS: usize = 2;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// Everything went well.
    Success = 0,
    /// The script threw, or the daemon refused.
    Failure = 1,
    /// The command line, or a file it names, is wrong; clap uses the same number.
    Usage = 2,
    /// No daemon answers; `EX_UNAVAILABLE` of sysexits.h.
    Unavailable = 69,
    /// The host itself failed.
    Failed = 70,
    /// A limit ended the script, as `timeout` of coreutils says it.
    Limit = 124,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A JavaScript function host on WebAssembly.
///
/// `serve` is the daemon; `template`, `session`, `exec`, `tenant`, `token` and `ops` talk to one; `run` and
/// `repl` need none.
#[derive(Debug, Parser)]
#[command(name = "vm-system", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// What may stand before or after any command.
#[derive(Debug, Args)]
struct GlobalArgs {
    /// The daemon that `template`, `session`, `exec`, `tenant`, `token` and `ops` talk to
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:3210",
        env = "VM_SYSTEM_SERVER_URL"
    )]
    server_url: String,
    /// The token that is shown to the daemon (default: what the credentials file has for its URL)
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "VM_SYSTEM_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// A TOML file of daemons' URLs and the tokens for them, such as `"URL" = "vms_…"`
    /// (default: vm-system/credentials.toml in the user's folder for configuration)
    #[arg(long, global = true, value_name = "FILE", env = "VM_SYSTEM_CREDENTIALS")]
    credentials: Option<PathBuf>,
    /// The database of `serve`, `tenant bootstrap`, `ops restore` and `ops verify` (default:
    /// vm-system.redb) and `run` (default: one that is thrown away); other commands have none
    #[arg(long, global = true, value_name = "FILE")]
    db: Option<PathBuf>,
    /// What to print: text for people, or one JSON document for programs
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the REST API
    ///
    /// Prints one line on stdout once it accepts: `listening on http://ADDR:PORT`. The log goes to
    /// stderr. SIGTERM and SIGINT end it in order: executions may end until the grace is over, a
    /// second signal cancels them at once.
    Serve(serve::ServeArgs),
    /// Templates: what runtimes may do
    #[command(subcommand)]
    Template(template::TemplateCommand),
    /// Sessions: live runtimes made from templates
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Executions: snippets and files run in sessions
    #[command(subcommand)]
    Exec(exec::ExecCommand),
    /// Tenants: whose templates and sessions there are
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Tokens: what lets a client speak for a tenant
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// The daemon itself
    #[command(subcommand)]
    Ops(ops::OpsCommand),
    /// The libraries that templates can name
    #[command(subcommand)]
    Libs(libs::LibsCommand),
    /// Run a JavaScript file in a sandbox, without a daemon
    ///
    /// Console output goes to stdout (log, info, debug) and stderr (warn, error) as it happens, then
    /// the value of the last expression to stdout, unless it is undefined.
    ///
    /// Exit status: 0 when the script ended, 1 when it threw, 2 for bad usage, 124 when a limit
    /// stopped it, 130 for Ctrl-C, 70 when the host failed.
    Run(RunArgs),
    /// Evaluate JavaScript interactively in one session, without a daemon
    ///
    /// Ctrl-C stops the running line, Ctrl-D ends. `.help` lists the commands. Without a terminal,
    /// evaluates what stands on standard input.
    Repl(ReplArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The file to run: a path, or with --worktree a path inside the worktree
    file: PathBuf,
    /// What the script sees as __ARGS__, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = json_object)]
    args: JsonObject,
    /// What the script sees in process.env and __ENV__; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    env: Vec<(String, String)>,
    /// Milliseconds of processor time, counted as fuel
    #[arg(long, value_name = "N")]
    cpu_ms: Option<u64>,
    /// Milliseconds from start to end
    #[arg(long, value_name = "N")]
    wall_ms: Option<u64>,
    /// MiB of memory
    #[arg(long, value_name = "N")]
    mem_mb: Option<u64>,
    #[command(flatten)]
    local: LocalArgs,
}

#[derive(Debug, Args)]
struct ReplArgs {
    #[command(flatten)]
    local: LocalArgs,
}

/// What every command with an in-process host takes.
#[derive(Clone, Debug, Args)]
struct LocalArgs {
    /// A template: limits, startup files, modules, libraries (TOML; see README.md)
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// The folder that scripts see as their files (default: the file's folder, or the current one)
    #[arg(long, value_name = "DIR")]
    worktree: Option<PathBuf>,
    /// Folder of the libraries a template names
    #[arg(long, value_name = "DIR", default_value = libs::DEFAULT_FOLDER)]
    library_dir: PathBuf,
    /// A program that scripts may run whose template has the exec module, by its name or absolute path;
    /// may be given several times. It has all the powers of your user
    #[arg(long, value_name = "PROGRAM")]
    allow_exec: Vec<String>,
    /// An address that is not public, or a range of them such as 10.0.0.0/8, that scripts may reach whose
    /// template names it; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    allow_net: Vec<String>,
    /// A TOML file of secrets that templates may grant by name
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

/// What commands print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Text for people.
    Text,
    /// One JSON document: what the REST API answers.
    Json,
}

/// A JSON object, as a flag's value.
#[derive(Clone, Debug)]
struct JsonObject(serde_json::Map<String, serde_json::Value>);

fn json_object(text: &str) -> Result<JsonObject, String> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(object)) => Ok(JsonObject(object)),
        Ok(_) => Err("it must be a JSON object, such as {\"name\":\"value\"}".to_owned()),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("it must be KEY=VALUE".to_owned()),
    }
}

/// Why a command did not do what it was told.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error("{}", remote::explained(.0))]
    Client(#[from] ClientError),
    #[error(transparent)]
    Libs(#[from] LibsError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("'{text}' is not a log filter: {reason}")]
    LogFilter { text: String, reason: String },
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run_command(cli) {
        Ok(_) if !printer::is_written() => {
            printer::stderr_line("vm-system: the output could not be written");
            Exit::Failed.into()
        }
        Ok(exit) => exit.into(),
        Err(error) => {
            printer::stderr_line(&format!("vm-system: {}", escape::lines(&error.to_string())));
            error.exit().into()
        }
    }
}

fn run_command(cli: Cli) -> Result<Exit, CliError> {
    let (format, filter) = match &cli.command {
        Command::Serve(args) => (args.log_format, args.log.as_str()),
        _ => (LogFormat::Text, "warn"),
    };
    let filter = EnvFilter::try_new(filter).map_err(|error| CliError::LogFilter {
        text: filter.to_owned(),
        reason: error.to_string(),
    })?;
    let _log = logging::start(format, filter);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS_BESIDE_SCRIPTS + Concurrency::default().cpu_slots as usize)
        .enable_all()
        .build();
    let what = "cannot start the runtime";
    let runtime = runtime.map_err(|source| LocalError::Io { what, source })?;
    let GlobalArgs { server_url, token, credentials, db, output } = cli.global;
    let connect = || -> Result<_, CliError> {
        let token = match token {
            Some(token) => Some(token),
            None => credentials::token(credentials.as_deref(), &server_url)?,
        };
        Ok(remote::Remote::new(&server_url, token.as_deref(), output)?)
    };
    let exit = match cli.command {
        Command::Serve(args) => runtime.block_on(serve::serve(args, db.as_deref()))?,
        Command::Template(command) => runtime.block_on(command.run(connect()?))?,
        Command::Session(command) => runtime.block_on(command.run(connect()?))?,
        Command::Exec(command) => command.run(&runtime, connect()?)?,
        Command::Tenant(tenant::TenantCommand::Bootstrap) => {
            runtime.block_on(tenant::bootstrap(db.as_deref(), output))?
        }
        Command::Tenant(command) => runtime.block_on(command.run(connect()?))?,
        Command::Token(command) => runtime.block_on(command.run(connect()?))?,
        Command::Ops(command) => runtime.block_on(command.run(connect()?, db.as_deref()))?,
        Command::Libs(command) => command.run(output)?,
        Command::Run(args) => runtime.block_on(run::run(args, db.as_deref(), output))?,
        Command::Repl(args) => repl::local(&runtime, &args)?,
        Command::Completions { shell } => {
            // Made whole first: the generator panics where its reader has gone.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "vm-system", &mut script);
            printer::stdout_line(String::from_utf8_lossy(&script).trim_end());
            Exit::Success
        }
    };
    // A script may have left a host call that blocks; nothing durable waits for it.
    runtime.shutdown_background();
    Ok(exit)
}

impl CliError {
    fn exit(&self) -> Exit {
        match self {
            Self::Local(error) => error.exit(),
            Self::Client(error) if error.code() == Some(ErrorCode::OutputLimitExceeded) => {
                Exit::Limit
            }
            Self::Client(ClientError::Refused(refusal)) if refusal.status.is_server_error() => {
                Exit::Failed
            }
            Self::Client(ClientError::Refused(_)) => Exit::Failure,
            Self::Client(ClientError::Unreachable { .. } | ClientError::Protocol { .. }) => {
                Exit::Unavailable
            }
            Self::Client(ClientError::Address { .. } | ClientError::Token)
            | Self::Credentials(_)
            | Self::LogFilter { .. } => Exit::Usage,
            Self::Libs(error) => error.exit(),
        }
    }
}

impl LocalError {
    fn exit(&self) -> Exit {
        match self {
            Self::TemplateFile { .. }
            | Self::Template { .. }
            | Self::Settings(_)
            | Self::Capability(_)
            | Self::Listen(_)
            | Self::NoSuchFile { .. }
            | Self::NotUtf8 { .. } => Exit::Usage,
            Self::Host(error) => local::exit_of(error),
            Self::Bind { .. } | Self::Storage(_) | Self::Io { .. } => Exit::Failed,
        }
    }
}
