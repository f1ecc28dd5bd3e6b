//! `vm-system exec …`.

use super::interrupt::Interrupt;
use super::local::LocalError;
use super::remote::Remote;
use super::{CliError, Exit, JsonObject, escape, printer, repl, run, table};
use crate::client::{Client, ClientError, ListPart, NewRun};
use crate::wire::Execution;
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;
use tokio::runtime::Runtime;
use vm_storage::{Event, ExecutionId, SessionId};

/// Characters of an event's payload in a table.
const PAYLOAD_WIDTH: usize = 100;

#[derive(Debug, Subcommand)]
pub(super) enum ExecCommand {
    /// Run a snippet in a session
    ///
    /// Without a snippet, evaluates interactively, or what stands on standard input.
    ///
    /// Ctrl-C stops what runs; the session is as it was before.
    ///
    /// Exit status: 0 when it gave a value, 1 when it threw or the daemon refused, 124 when a limit
    /// stopped it, 130 when it was cancelled, 69 when no daemon answers.
    Repl {
        /// The session
        session_id: SessionId,
        /// The snippet
        #[arg(allow_hyphen_values = true)]
        input: Option<String>,
    },
    /// Run a file of the session's worktree
    ///
    /// The exit status is that of `exec repl`.
    RunFile(RunFileArgs),
    /// List the executions of a session, newest first
    List {
        /// The session
        session_id: SessionId,
        /// How many at most, up to 1000
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Go on where the part before ended: what it said
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Show an execution
    Get {
        /// The execution
        execution_id: ExecutionId,
    },
    /// Stop an execution that runs; its session is as it was before it
    ///
    /// One that has ended stays as it is.
    Cancel {
        /// The execution
        execution_id: ExecutionId,
    },
    /// Show what an execution did
    Events {
        /// The execution
        execution_id: ExecutionId,
        /// Only events after this number
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after_seq: u64,
        /// Show those of an execution that runs as they come, a line each, to its end
        #[arg(long)]
        follow: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct RunFileArgs {
    /// The session
    session_id: SessionId,
    /// The file's path in the worktree
    path: String,
    /// What the script sees as __ARGS__, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = super::json_object)]
    args: JsonObject,
    /// What the script sees in process.env and __ENV__: KEY=VALUE, or a JSON object of texts; may be
    /// given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = variables)]
    env: Vec<Variables>,
    /// Show what the file does while it runs, a line an event, and then what became of it
    #[arg(long)]
    follow: bool,
}

/// Variables, as one `--env` gives them.
#[derive(Clone, Debug)]
struct Variables(BTreeMap<String, String>);

fn variables(text: &str) -> Result<Variables, String> {
    if text.trim_start().starts_with('{') {
        let object = serde_json::from_str(text);
        return object.map(Variables).map_err(|error| format!("it is no JSON of texts: {error}"));
    }
    super::key_value(text).map(|pair| Variables(BTreeMap::from([pair])))
}

impl ExecCommand {
    pub(super) fn run(self, runtime: &Runtime, remote: Remote) -> Result<Exit, CliError> {
        match self {
            Self::Repl { session_id, input: None } => {
                Ok(repl::remote(runtime, &remote.client, session_id)?)
            }
            command => runtime.block_on(command.once(remote)),
        }
    }

    async fn once(self, remote: Remote) -> Result<Exit, CliError> {
        let client = &remote.client;
        match self {
            Self::Repl { session_id, input } => {
                let input = input.unwrap_or_default();
                let running =
                    remote.wait("the snippet is running", client.repl(session_id, &input));
                finished(&remote, interruptible(client, session_id, running).await?)
            }
            Self::RunFile(args) => {
                let env = args.env.into_iter().flat_map(|Variables(pairs)| pairs).collect();
                let run = NewRun { path: args.path, args: args.args.0, env };
                if args.follow {
                    let begun = client.begin_file(args.session_id, run).await?;
                    let running = followed(&remote, begun.execution.id, 0);
                    let waited = interruptible(client, args.session_id, running).await?;
                    return ended(&remote, waited);
                }
                let running = client.run_file(args.session_id, run);
                let running = remote.wait("the file is running", running);
                finished(&remote, interruptible(client, args.session_id, running).await?)
            }
            Self::List { session_id, limit, cursor } => {
                let part = ListPart { limit, cursor };
                let executions = client.executions_page(session_id, &part).await?;
                remote.show_page(&executions, |executions| {
                    let row = |Execution { execution, .. }: &Execution| {
                        let kind = name(&execution.kind);
                        let started = execution.started_at.to_string();
                        [execution.id.to_string(), kind, name(&execution.status), started]
                    };
                    let header = ["Execution ID", "Kind", "Status", "Started"];
                    table::print(header, executions.iter().map(row).collect(), "No executions");
                });
                Ok(Exit::Success)
            }
            Self::Get { execution_id } => {
                remote.show(&client.execution(execution_id).await?, print_execution);
                Ok(Exit::Success)
            }
            Self::Cancel { execution_id } => {
                remote.show(&client.cancel_execution(execution_id).await?, print_execution);
                Ok(Exit::Success)
            }
            Self::Events { execution_id, after_seq, follow: true } => {
                followed(&remote, execution_id, after_seq).await?;
                Ok(Exit::Success)
            }
            Self::Events { execution_id, after_seq, follow: false } => {
                remote.show(&client.events(execution_id, after_seq).await?, |events| {
                    print_table(events);
                });
                Ok(Exit::Success)
            }
        }
    }
}

/// What a daemon answered; `None` when it did not even answer that the execution is to stop before
/// Ctrl-C came again.
pub(super) type Waited = Option<Result<Execution, ClientError>>;

/// Waits for an execution in a session. Ctrl-C stops it in the daemon, and a second one the
/// waiting.
pub(super) async fn interruptible(
    client: &Client,
    session: SessionId,
    running: impl Future<Output = Result<Execution, ClientError>>,
) -> Result<Waited, LocalError> {
    let mut interrupt = Interrupt::new()?;
    let mut running = pin!(running);
    tokio::select! {
        answer = &mut running => return Ok(Some(answer)),
        () = interrupt.came() => {}
    }
    let stopped = async {
        client.cancel_running(session).await?;
        running.await
    };
    Ok(tokio::select! {
        answer = stopped => Some(answer),
        () = interrupt.came() => None,
    })
}

/// How long the daemon is asked to wait for events.
const WAIT: Duration = Duration::from_secs(20);

/// Prints the events of an execution as they become durable; gives it when it is over.
async fn followed(
    remote: &Remote,
    id: ExecutionId,
    mut after_seq: u64,
) -> Result<Execution, ClientError> {
    let client = &remote.client;
    loop {
        let events = client.events_awaited(id, after_seq, WAIT).await?;
        for event in &events {
            remote.show(event, |event| printer::stdout_line(&line(event)));
        }
        if let Some(last) = events.last() {
            after_seq = last.seq;
            continue;
        }
        // What came since is asked for once more.
        let execution = client.execution(id).await?;
        if execution.execution.status.is_over() && execution.execution.metrics.events <= after_seq {
            return Ok(execution);
        }
    }
}

/// Prints what became of an execution whose events were printed, and gives its exit status.
fn ended(remote: &Remote, waited: Waited) -> Result<Exit, CliError> {
    let Some(answer) = waited else { return Ok(Exit::Interrupted) };
    let answer = answer?;
    remote.show(&answer, |Execution { execution, .. }| print_outcome(execution));
    Ok(run::exit(&answer.execution))
}

fn line(event: &Event) -> String {
    let (kind, payload) = kind_and_payload(event);
    format!("[{}] {kind}: {payload}", event.seq)
}

/// Prints an execution that just ran, and gives its exit status.
fn finished(remote: &Remote, waited: Waited) -> Result<Exit, CliError> {
    let Some(answer) = waited else { return Ok(Exit::Interrupted) };
    let answer = answer?;
    remote.show(&answer, |Execution { execution, events }| {
        print_outcome(execution);
        printer::stdout_line("\nEvents:");
        for event in events.iter().flatten() {
            printer::stdout_line(&line(event));
        }
    });
    Ok(run::exit(&answer.execution))
}

fn print_outcome(execution: &vm_storage::Execution) {
    let mut properties =
        vec![("Execution ID", execution.id.to_string()), ("Status", name(&execution.status))];
    if let Some(result) = &execution.result {
        properties.push(("Result", printer::compact(result)));
    }
    if let Some(error) = &execution.error {
        properties.push(("Error", printer::compact(error)));
    }
    table::properties(&properties);
}

fn print_execution(Execution { execution, .. }: &Execution) {
    print_outcome(execution);
    let mut properties = vec![
        ("Session ID", execution.session_id.to_string()),
        ("Kind", name(&execution.kind)),
        ("Started", execution.started_at.to_string()),
    ];
    if let Some(ended_at) = execution.ended_at {
        properties.push(("Ended", ended_at.to_string()));
    }
    if let Some(input) = &execution.input {
        properties.push(("Input", input.clone()));
    }
    if let Some(path) = &execution.path {
        properties.push(("Path", path.clone()));
        properties.push(("Args", printer::compact(&execution.args)));
        properties.push(("Env", printer::compact(&execution.env)));
    }
    properties.push(("Metrics", printer::compact(&execution.metrics)));
    table::properties(&properties);
}

fn print_table(events: &[Event]) {
    let row = |event: &Event| {
        let (kind, mut payload) = kind_and_payload(event);
        if payload.chars().count() > PAYLOAD_WIDTH {
            payload = payload.chars().take(PAYLOAD_WIDTH).chain(['…']).collect();
        }
        [event.seq.to_string(), event.ts.to_string(), kind, payload]
    };
    let rows = events.iter().map(row).collect();
    table::print(["Seq", "Time", "Type", "Payload"], rows, "No events");
}

/// An event's type, and its payload as compact JSON, in which nothing needs escaping but what turns
/// text around.
fn kind_and_payload(event: &Event) -> (String, String) {
    let value =
        serde_json::to_value(&event.payload).expect("checked by its type: a payload is JSON");
    let kind = value["type"].as_str().unwrap_or_default().to_owned();
    (kind, escape::line(&value["payload"].to_string()))
}

/// What the API calls a status or a kind.
fn name(noun: &impl serde::Serialize) -> String {
    printer::compact(noun).trim_matches('"').to_owned()
}
