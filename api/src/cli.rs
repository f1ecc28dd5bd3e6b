//! The command line. Each command is a file; this one has the flags, and the exit codes that all
//! of them share.

mod local;
mod printer;
mod repl;
mod run;
mod template_file;

use clap::{Args, Parser, Subcommand, ValueEnum};
use local::LocalError;
use std::path::PathBuf;
use std::process::ExitCode;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// Everything went well.
    Success = 0,
    /// The script threw.
    Threw = 1,
    /// The command line, or a file it names, is wrong; clap uses the same number.
    Usage = 2,
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
#[derive(Debug, Parser)]
#[command(name = "vm-system", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a JavaScript file in a sandbox
    ///
    /// Console output goes to stdout (log, info, debug) and stderr (warn, error) as it happens, then
    /// the value of the last expression to stdout, unless it is undefined.
    ///
    /// Exit status: 0 when the script ended, 1 when it threw, 2 for bad usage, 124 when a limit
    /// stopped it, 130 for Ctrl-C, 70 when the host failed.
    Run(RunArgs),
    /// Evaluate JavaScript interactively in one session
    ///
    /// Ctrl-C stops the running line, Ctrl-D ends. `.help` lists the commands. Without a terminal,
    /// evaluates what stands on standard input.
    Repl(ReplArgs),
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
    /// Keep session, execution and events in this database (default: one that is thrown away)
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
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
    #[arg(long, value_name = "DIR", default_value = ".vm-cache/libraries")]
    library_dir: PathBuf,
}

/// What `run` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The script's output and its value.
    Text,
    /// One JSON object at the end: the execution with its events.
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

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("vm-system: cannot start: {error}");
            return Exit::Failed.into();
        }
    };
    let exit = match cli.command {
        Command::Run(args) => runtime.block_on(run::run(args)),
        Command::Repl(args) => repl::repl(&runtime, &args),
    };
    // A script may have left a host call that blocks; nothing durable waits for it.
    runtime.shutdown_background();
    let exit = exit.unwrap_or_else(|error| {
        eprintln!("vm-system: {error}");
        error.exit()
    });
    exit.into()
}

impl LocalError {
    fn exit(&self) -> Exit {
        match self {
            Self::TemplateFile { .. }
            | Self::Template { .. }
            | Self::Limit(_)
            | Self::NoSuchFile { .. }
            | Self::NotUtf8 { .. } => Exit::Usage,
            Self::Host(error) => local::exit_of(error),
            Self::Storage(_) | Self::Io { .. } => Exit::Failed,
        }
    }
}
