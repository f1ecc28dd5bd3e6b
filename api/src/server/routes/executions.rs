//! Executions.

use super::required_text;
use crate::error::{ApiError, ErrorCode};
use crate::server::App;
use crate::server::answer::{Answer, Answered, Ids};
use crate::server::body::Json;
use crate::server::prefer::Preference;
use crate::server::query::{Parameters, PathId, given, page, required_id, wait};
use crate::wire::{self, BASE};
use serde::Deserialize;
use vm_host::{Finished, HostError, Manner, OnBusy, Source};
use vm_storage::{ExecutionErrorCode, ExecutionId, Page, SessionId};

/// Executions that a list has unless the client says otherwise.
const DEFAULT_LIMIT: u64 = 50;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Of {
    session_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Waiting {
    wait: Option<String>,
}

pub(super) async fn list(app: App, Parameters(of): Parameters<Of>) -> Answered {
    let session: SessionId = required_id(given(of.session_id))?;
    let request = page(of.limit, DEFAULT_LIMIT, of.cursor, |text| text.parse().ok())?;
    let _reading = app.reads.acquire().await;
    let Page { items, next } = app.host.list_executions(session, request).await?;
    let executions: Vec<_> = items.into_iter().map(wire::Execution::from).collect();
    let ids = Ids { session: Some(session), ..Ids::default() };
    let limit = request.limit;
    let next = next.map(|cursor| {
        format!("{BASE}/executions?session_id={session}&limit={limit}&cursor={cursor}")
    });
    Ok(Answer::ok(&executions).followed_by(next).about(ids))
}

pub(super) async fn repl(
    app: App,
    preference: Preference,
    Json(body, _room): Json<wire::RunSnippet>,
) -> Answered {
    let session = required_id(body.session_id)?;
    let input = match body.input {
        Some(input) if !input.is_empty() => input,
        Some(_) | None => return Err(ApiError::validation("input", "is required")),
    };
    let on_busy = on_busy(body.on_busy.as_deref())?;
    run(&app, session, Source::Repl { input }, on_busy, preference).await
}

pub(super) async fn run_file(
    app: App,
    preference: Preference,
    Json(body, _room): Json<wire::RunFile>,
) -> Answered {
    let session = required_id(body.session_id)?;
    // How long a path may be is for the worktree to say, under its own code.
    let path = required_text("path", body.path, usize::MAX)?;
    let (args, env) = (body.args.unwrap_or_default(), body.env.unwrap_or_default());
    let on_busy = on_busy(body.on_busy.as_deref())?;
    run(&app, session, Source::File { path, args, env }, on_busy, preference).await
}

fn on_busy(field: Option<&str>) -> Result<OnBusy, ApiError> {
    match field {
        None | Some("reject") => Ok(OnBusy::Refuse),
        Some("queue") => Ok(OnBusy::Queue),
        Some(_) => Err(ApiError::validation("on_busy", "must be reject or queue")),
    }
}

/// Runs something; answers when it is over or, where the client prefers that, when it is begun.
async fn run(
    app: &App,
    session: SessionId,
    source: Source,
    on_busy: OnBusy,
    preference: Preference,
) -> Answered {
    let manner = Manner { on_busy, ..Manner::default() };
    if preference.is_async {
        let begun = app.host.begin(session, source, manner).await;
        let execution = begun.map_err(|error| about(error, session))?;
        let ids = Ids { session: Some(session), execution: Some(execution.id), ..Ids::default() };
        let location = format!("{BASE}/executions/{}", execution.id);
        return Ok(Answer::accepted(&wire::Execution::from(execution), location).about(ids));
    }
    answer(session, app.host.execute_with(session, source, manner).await)
}

fn about(error: HostError, session: SessionId) -> ApiError {
    ApiError::from(error).with("session_id", session)
}

fn answer(session: SessionId, finished: Result<Finished, HostError>) -> Answered {
    let finished = finished.map_err(|error| about(error, session))?;
    let execution = &finished.execution;
    if let Some(error) = &execution.error
        && error.code == Some(ExecutionErrorCode::OutputLimitExceeded)
    {
        return Err(ApiError::new(ErrorCode::OutputLimitExceeded, error.message.as_str())
            .with("session_id", session)
            .with("execution_id", execution.id));
    }
    let ids = Ids { session: Some(session), execution: Some(execution.id), ..Ids::default() };
    Ok(Answer::created(&wire::Execution::from(finished)).about(ids))
}

/// One execution; with `wait`, when it is over or the time is.
pub(super) async fn get(
    app: App,
    PathId(id): PathId<ExecutionId>,
    Parameters(waiting): Parameters<Waiting>,
) -> Answered {
    let time = wait(waiting.wait)?;
    let execution = match tokio::time::timeout(time, app.host.execution_ended(id)).await {
        Ok(ended) => ended?,
        Err(_) => app.host.execution(id).await?,
    };
    let ids = Ids { session: Some(execution.session_id), ..Ids::default() };
    Ok(Answer::ok(&wire::Execution::from(execution)).about(ids))
}

/// Ends an execution, and answers when it is over; one that is over stays as it is.
pub(super) async fn cancel(app: App, PathId(id): PathId<ExecutionId>) -> Answered {
    let execution = app.host.cancel_execution(id).await?;
    let ids = Ids { session: Some(execution.session_id), ..Ids::default() };
    Ok(Answer::ok(&wire::Execution::from(execution)).about(ids))
}
