//! `vm-system run FILE`: one file in one session, then the end.

use super::interrupt::Interrupt;
use super::local::{Local, LocalError, LocalOptions, exit_of_code, folder_and_name};
use super::{Exit, Output, RunArgs, printer};
use crate::settings_patch::LimitsPatch;
use crate::whole::Whole;
use crate::wire;
use std::path::Path;
use vm_host::Source;
use vm_storage::{Execution, ExecutionStatus};

/// Runs the file and prints what it did.
pub(super) async fn run(
    args: RunArgs,
    db: Option<&Path>,
    output: Output,
) -> Result<Exit, LocalError> {
    let (default_worktree, path) = match &args.local.worktree {
        Some(_) => (".".into(), path_in_worktree(&args)?),
        None => folder_and_name(&args.file)?,
    };
    let limits = LimitsPatch {
        cpu_ms: args.cpu_ms.map(Whole::from),
        wall_ms: args.wall_ms.map(Whole::from),
        mem_mb: args.mem_mb.map(Whole::from),
        ..LimitsPatch::default()
    };
    let mut interrupt = Interrupt::new()?;
    let options = LocalOptions { args: &args.local, default_worktree, limits, db };
    let local = Local::start(options).await?;
    let observer = match output {
        Output::Text => Some(printer::observer()),
        Output::Json => None,
    };
    let source =
        Source::File { path, args: args.args.0.clone(), env: args.env.iter().cloned().collect() };
    let work = async {
        let session = local.session(observer.clone()).await?;
        let finished = local.host.execute(session.id, source, observer).await?;
        local.host.close_session(session.id).await?;
        Ok::<_, LocalError>(finished)
    };
    let finished = tokio::select! {
        finished = work => finished,
        () = interrupt.came() => {
            // What ran is cancelled and recorded, unless Ctrl-C comes again.
            tokio::select! {
                stopped = local.stop() => stopped?,
                () = interrupt.came() => {}
            }
            return Ok(Exit::Interrupted);
        }
    };
    local.stop().await?;
    let finished = finished?;
    let exit = exit(&finished.execution);
    match output {
        Output::Text => printer::outcome(&finished.execution),
        Output::Json => printer::json(&wire::Execution::from(finished)),
    }
    Ok(exit)
}

/// The file's path as the session sees it: with a worktree, a path inside it.
fn path_in_worktree(args: &RunArgs) -> Result<String, LocalError> {
    let path = args.file.to_str();
    path.map(str::to_owned).ok_or_else(|| LocalError::NotUtf8 { path: args.file.clone() })
}

/// The exit status of an execution.
pub(super) fn exit(execution: &Execution) -> Exit {
    match (&execution.status, &execution.error) {
        (ExecutionStatus::Ok, _) => Exit::Success,
        (_, Some(error)) => error.code.map_or(Exit::Failure, exit_of_code),
        (_, None) => Exit::Failure,
    }
}
