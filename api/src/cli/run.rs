//! `vm-system run FILE`: one file in one session, then the end.

use super::local::{Local, LocalError, LocalOptions, exit_of_code, folder_and_name};
use super::{Exit, Output, RunArgs, printer};
use crate::settings_patch::LimitsPatch;
use serde::Serialize;
use vm_host::{Finished, Source};
use vm_storage::{Event, Execution, ExecutionStatus};

/// Runs the file and prints what it did.
pub(super) async fn run(args: RunArgs) -> Result<Exit, LocalError> {
    let (default_worktree, path) = match &args.local.worktree {
        Some(_) => (".".into(), path_in_worktree(&args)?),
        None => folder_and_name(&args.file)?,
    };
    let limits = LimitsPatch {
        cpu_ms: args.cpu_ms,
        wall_ms: args.wall_ms,
        mem_mb: args.mem_mb,
        ..LimitsPatch::default()
    };
    let db = args.db.as_deref();
    let options = LocalOptions { args: &args.local, default_worktree, limits, db };
    let local = Local::start(options).await?;
    let observer = match args.output {
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
        _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
    };
    local.end().await?;
    let finished = finished?;
    match args.output {
        Output::Text => printer::outcome(&finished.execution),
        Output::Json => print_json(&finished),
    }
    Ok(exit(&finished))
}

/// The file's path as the session sees it: with a worktree, a path inside it.
fn path_in_worktree(args: &RunArgs) -> Result<String, LocalError> {
    let path = args.file.to_str();
    path.map(str::to_owned).ok_or_else(|| LocalError::NotUtf8 { path: args.file.clone() })
}

fn exit(finished: &Finished) -> Exit {
    match (&finished.execution.status, &finished.execution.error) {
        (ExecutionStatus::Ok, _) => Exit::Success,
        (_, Some(error)) => error.code.map_or(Exit::Threw, exit_of_code),
        (_, None) => Exit::Threw,
    }
}

fn print_json(finished: &Finished) {
    /// The answer of the REST API to a run.
    #[derive(Serialize)]
    struct Answer<'a> {
        #[serde(flatten)]
        execution: &'a Execution,
        events: &'a [Event],
    }
    let answer = Answer { execution: &finished.execution, events: &finished.events };
    let json = serde_json::to_string(&answer)
        .expect("checked by their types: executions and events are JSON");
    printer::stdout_line(&json);
}
