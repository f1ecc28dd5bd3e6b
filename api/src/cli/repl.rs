//! `vm-system repl`: snippets in one session, typed or piped in.

mod completeness;

use super::local::{Local, LocalError, LocalOptions};
use super::{Exit, ReplArgs, printer};
use crate::settings_patch::LimitsPatch;
use completeness::{Completeness, completeness};
use reedline::{
    DefaultPrompt, DefaultPromptSegment, FileBackedHistory, Reedline, Signal, ValidationResult,
    Validator,
};
use std::io::{BufRead, IsTerminal};
use tokio::runtime::Runtime;
use vm_host::Source;
use vm_storage::SessionId;

/// Snippets that the history file keeps.
const HISTORY_ENTRIES: usize = 1_000;

const HELP: &str = "\
.exit   end (as Ctrl-D does)
.help   this list
Ctrl-C  stop the running line, or clear the one being typed";

/// Reads, evaluates and prints until the input ends.
pub(super) fn repl(runtime: &Runtime, args: &ReplArgs) -> Result<Exit, LocalError> {
    let mut repl = runtime.block_on(Repl::start(args))?;
    if std::io::stdin().is_terminal() {
        repl.interactive(runtime)?;
    } else {
        repl.piped(runtime)?;
    }
    Ok(Exit::Success)
}

struct Repl {
    local: Local,
    session: SessionId,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Continue,
    End,
}

impl Repl {
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

    fn interactive(&mut self, runtime: &Runtime) -> Result<(), LocalError> {
        let mut editor = editor();
        let prompt = DefaultPrompt::new(
            DefaultPromptSegment::Basic("js".to_owned()),
            DefaultPromptSegment::Empty,
        );
        printer::stdout_line("vm-system: JavaScript in a session of its own; .help lists commands");
        loop {
            match editor.read_line(&prompt) {
                Ok(Signal::Success(line)) => {
                    if self.line(runtime, line)? == Next::End {
                        return Ok(());
                    }
                }
                Ok(Signal::CtrlD) => return Ok(()),
                Ok(_) => {}
                Err(source) => {
                    return Err(LocalError::Io { what: "cannot read the line", source });
                }
            }
        }
    }

    /// Evaluates standard input, snippet by snippet as they are complete.
    fn piped(&mut self, runtime: &Runtime) -> Result<(), LocalError> {
        let mut snippet = String::new();
        for line in std::io::stdin().lock().lines() {
            let what = "cannot read standard input";
            snippet.push_str(&line.map_err(|source| LocalError::Io { what, source })?);
            if completeness(&snippet) == Completeness::Incomplete {
                snippet.push('\n');
                continue;
            }
            if self.line(runtime, std::mem::take(&mut snippet))? == Next::End {
                return Ok(());
            }
        }
        self.line(runtime, snippet).map(drop)
    }

    fn line(&mut self, runtime: &Runtime, line: String) -> Result<Next, LocalError> {
        match line.trim() {
            "" => {}
            ".exit" => return Ok(Next::End),
            ".help" => printer::stdout_line(HELP),
            _ => runtime.block_on(self.evaluate(line))?,
        }
        Ok(Next::Continue)
    }

    async fn evaluate(&mut self, input: String) -> Result<(), LocalError> {
        let host = self.local.host.clone();
        let source = Source::Repl { input };
        let mut execution =
            std::pin::pin!(host.execute(self.session, source, Some(printer::observer())));
        let finished = tokio::select! {
            finished = &mut execution => finished?,
            _ = tokio::signal::ctrl_c() => {
                // Closing is what stops it; the execution is over when both have answered.
                let (closed, finished) = tokio::join!(host.close_session(self.session), execution);
                closed?;
                finished?
            }
        };
        printer::outcome(&finished.execution);
        if finished.execution.error.as_ref().is_some_and(|error| error.code.is_some()) {
            printer::stderr_line("The session's state is lost; this is a new one.");
            self.session = self.local.session(Some(printer::observer())).await?.id;
        }
        Ok(())
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
