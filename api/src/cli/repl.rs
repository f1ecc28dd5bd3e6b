//! The REPLs: `vm-system repl`, on a host of its own, and `vm-system exec repl SESSION`, on a daemon.
//!
//! Both are one loop around something that evaluates a snippet and prints what it gave.

mod completeness;

use super::exec::interruptible;
use super::interrupt::Interrupt;
use super::local::{Local, LocalError, LocalOptions};
use super::{CliError, Exit, ReplArgs, printer};
use crate::client::Client;
use crate::error::ErrorCode;
use crate::settings_patch::LimitsPatch;
use completeness::{Completeness, completeness};
use reedline::{
    DefaultPrompt, DefaultPromptSegment, FileBackedHistory, Reedline, Signal, ValidationResult,
    Validator,
};
use std::io::{BufRead, IsTerminal};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use vm_host::Source;
use vm_storage::{PageRequest, SessionId};

/// Snippets that the history file keeps.
const HISTORY_ENTRIES: usize = 1_000;

const HELP: &str = "\
.exit   end (as Ctrl-D does)
.help   this list
Ctrl-C  stop the running line, or clear the one being typed";

/// What the loop calls for each snippet.
type Evaluate<'a> = &'a mut dyn FnMut(String) -> Result<(), CliError>;

/// Reads, evaluates and prints on a host of its own until the input ends.
pub(super) fn local(runtime: &Runtime, args: &ReplArgs) -> Result<Exit, CliError> {
    let mut repl = runtime.block_on(LocalRepl::start(args))?;
    read(
        runtime,
        "vm-system: JavaScript in a session of its own; .help lists commands",
        &mut |input| Ok(runtime.block_on(repl.evaluate(input))?),
    )
}

/// The same in a daemon's session.
pub(super) fn remote(
    runtime: &Runtime,
    client: &Client,
    session: SessionId,
) -> Result<Exit, CliError> {
    // A session that is not there is told before anything is typed.
    runtime.block_on(client.session(session))?;
    read(runtime, &format!("vm-system: session {session}; .help lists commands"), &mut |input| {
        runtime.block_on(evaluate_remotely(client, session, input))
    })
}

fn read(runtime: &Runtime, banner: &str, evaluate: Evaluate<'_>) -> Result<Exit, CliError> {
    if std::io::stdin().is_terminal() {
        interactive(banner, evaluate)?;
        Ok(Exit::Success)
    } else {
        piped(runtime, evaluate)
    }
}

fn interactive(banner: &str, evaluate: Evaluate<'_>) -> Result<(), CliError> {
    let mut editor = editor();
    let prompt = DefaultPrompt::new(
        DefaultPromptSegment::Basic("js".to_owned()),
        DefaultPromptSegment::Empty,
    );
    printer::stdout_line(banner);
    loop {
        match editor.read_line(&prompt) {
            Ok(Signal::Success(line)) => {
                if one(line, evaluate)? == Next::End {
                    return Ok(());
                }
            }
            Ok(Signal::CtrlD) => return Ok(()),
            Ok(_) => {}
            Err(source) => {
                return Err(LocalError::Io { what: "cannot read the line", source }.into());
            }
        }
    }
}

/// Evaluates standard input, snippet by snippet as they are complete. Ctrl-C while none runs is
/// the end.
fn piped(runtime: &Runtime, evaluate: Evaluate<'_>) -> Result<Exit, CliError> {
    let mut lines = lines();
    let mut snippet = String::new();
    loop {
        let line = runtime.block_on(async {
            let mut interrupt = Interrupt::new()?;
            tokio::select! {
                line = lines.recv() => Ok::<_, LocalError>(Some(line)),
                () = interrupt.came() => Ok(None),
            }
        })?;
        let Some(line) = line else { return Ok(Exit::Interrupted) };
        let Some(line) = line else { break };
        let what = "cannot read standard input";
        snippet.push_str(&line.map_err(|source| LocalError::Io { what, source })?);
        if completeness(&snippet) == Completeness::Incomplete {
            snippet.push('\n');
            continue;
        }
        if one(std::mem::take(&mut snippet), evaluate)? == Next::End {
            return Ok(Exit::Success);
        }
    }
    one(snippet, evaluate).map(|_| Exit::Success)
}

/// The lines of standard input, read by a thread of their own, which ends with the process.
fn lines() -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Continue,
    End,
}

fn one(line: String, evaluate: Evaluate<'_>) -> Result<Next, CliError> {
    match line.trim() {
        "" => {}
        ".exit" => return Ok(Next::End),
        ".help" => printer::stdout_line(HELP),
        _ => evaluate(line)?,
    }
    Ok(Next::Continue)
}

struct LocalRepl {
    local: Local,
    session: SessionId,
}

impl LocalRepl {
    async fn start(args: &ReplArgs) -> Result<Self, LocalError> {
        let options = LocalOptions {
            args: &args.local,
            default_worktree: ".".into(),
            limits: LimitsPatch::default(),
            db: None,
        };
        let local = Local::start(options).await?;
        let session = local.session(Some(printer::observer())).await?.id;
        Ok(Self { local, session })
    }

    async fn evaluate(&mut self, input: String) -> Result<(), LocalError> {
        let mut interrupt = Interrupt::new()?;
        let host = &self.local.host;
        let source = Source::Repl { input };
        let mut execution =
            std::pin::pin!(host.execute(self.session, source, Some(printer::observer())));
        let finished = tokio::select! {
            finished = &mut execution => finished?,
            () = interrupt.came() => {
                let newest = host.list_executions(self.session, PageRequest::first(1)).await?;
                for running in newest.items {
                    host.cancel_execution(running.id).await?;
                }
                execution.await?
            }
        };
        printer::outcome(&finished.execution);
        Ok(())
    }
}

async fn evaluate_remotely(
    client: &Client,
    session: SessionId,
    input: String,
) -> Result<(), CliError> {
    let running = client.repl(session, &input);
    let Some(answer) = interruptible(client, session, running).await? else {
        printer::stderr_line("No longer waiting; it may run on in the daemon.");
        return Ok(());
    };
    match answer {
        Ok(answer) => {
            answer.events.iter().flatten().for_each(printer::output);
            printer::outcome(&answer.execution);
            Ok(())
        }
        // These are about the snippet; the session takes another, or says what it is.
        Err(error) => match error.code() {
            Some(ErrorCode::OutputLimitExceeded | ErrorCode::SessionBusy) => {
                printer::stderr_line(&format!("vm-system: {}", super::remote::explained(&error)));
                Ok(())
            }
            Some(_) | None => Err(error.into()),
        },
    }
}

fn editor() -> Reedline {
    let editor = Reedline::create().with_validator(Box::new(Snippets));
    let folders = directories::ProjectDirs::from("", "", "vm-system");
    let history = folders.and_then(|folders| {
        let folder = folders.state_dir().unwrap_or_else(|| folders.data_dir()).to_owned();
        FileBackedHistory::with_file(HISTORY_ENTRIES, folder.join("repl_history")).ok()
    });
    match history {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
}

/// Lets Enter begin another line while a snippet is not complete.
struct Snippets;

impl Validator for Snippets {
    fn validate(&self, line: &str) -> ValidationResult {
        match completeness(line) {
            Completeness::Complete => ValidationResult::Complete,
            Completeness::Incomplete => ValidationResult::Incomplete,
        }
    }
}
