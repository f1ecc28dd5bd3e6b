//! Executions and their events.

use super::required_text;
use crate::error::{ApiError, ErrorCode};
use crate::server::App;
use crate::server::answer::{Answer, Answered, Ids};
use crate::server::body::Json;
use crate::server::query::{Parameters, PathId, given, number, page, required_id};
use crate::wire::{self, BASE};
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use vm_host::{Finished, HostError, Source};
use vm_storage::{Event, ExecutionErrorCode, ExecutionId, Page, SessionId};

/// Executions that a list has unless the client says otherwise.
const DEFAULT_LIMIT: u64 = 50;

/// Events that are read at one time. A longer answer is sent in pieces, so that what one client
/// reads is never in memory whole.
const EVENTS_PAGE: usize = 4_096;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Of {
    session_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct After {
    after_seq: Option<String>,
}

pub(super) async fn list(State(app): State<App>, Parameters(of): Parameters<Of>) -> Answered {
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
    State(app): State<App>,
    Json(body, _room): Json<wire::RunSnippet>,
) -> Answered {
    let session = required_id(body.session_id)?;
    let input = match body.input {
        Some(input) if !input.is_empty() => input,
        Some(_) | None => return Err(ApiError::validation("input", "is required")),
    };
    let finished = app.host.execute(session, Source::Repl { input }, None).await;
    answer(session, finished)
}

pub(super) async fn run_file(
    State(app): State<App>,
    Json(body, _room): Json<wire::RunFile>,
) -> Answered {
    let session = required_id(body.session_id)?;
    // How long a path may be is for the worktree to say, under its own code.
    let path = required_text("path", body.path, usize::MAX)?;
    let (args, env) = (body.args.unwrap_or_default(), body.env.unwrap_or_default());
    let finished = app.host.execute(session, Source::File { path, args, env }, None).await;
    answer(session, finished)
}

fn answer(session: SessionId, finished: Result<Finished, HostError>) -> Answered {
    let finished = finished.map_err(|error| ApiError::from(error).with("session_id", session))?;
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

pub(super) async fn get(State(app): State<App>, PathId(id): PathId<ExecutionId>) -> Answered {
    let execution = app.host.execution(id).await?;
    let ids = Ids { session: Some(execution.session_id), ..Ids::default() };
    Ok(Answer::ok(&wire::Execution::from(execution)).about(ids))
}

/// Ends an execution, and answers when it is over; one that is over stays as it is.
pub(super) async fn cancel(State(app): State<App>, PathId(id): PathId<ExecutionId>) -> Answered {
    let execution = app.host.cancel_execution(id).await?;
    let ids = Ids { session: Some(execution.session_id), ..Ids::default() };
    Ok(Answer::ok(&wire::Execution::from(execution)).about(ids))
}

pub(super) async fn events(
    State(app): State<App>,
    PathId(id): PathId<ExecutionId>,
    Parameters(after): Parameters<After>,
) -> Answered {
    let after_seq = number("after_seq", after.after_seq, 0, 0..=u64::MAX)?;
    let first = events_page(&app, id, after_seq).await?;
    if first.len() < EVENTS_PAGE {
        return Ok(Answer::ok(&first));
    }
    Ok(Answer::streamed(Body::from_stream(pages(app, id, first))))
}

async fn events_page(app: &App, id: ExecutionId, after_seq: u64) -> Result<Vec<Event>, HostError> {
    let _reading = app.reads.acquire().await;
    app.host.events(id, after_seq, EVENTS_PAGE).await
}

/// A JSON array of events, a page at a time, beginning with the one that was read. A page that
/// cannot be read ends the connection before the array is whole, so that the client sees it.
fn pages(
    app: App,
    id: ExecutionId,
    first: Vec<Event>,
) -> impl futures_util::Stream<Item = Result<Bytes, HostError>> {
    enum Next {
        First(Vec<Event>),
        After(u64),
        Nothing,
    }
    stream::try_unfold((app, Next::First(first)), move |(app, next)| async move {
        let (opening, events) = match next {
            Next::First(events) => ("[", events),
            Next::After(seq) => (",", events_page(&app, id, seq).await?),
            Next::Nothing => return Ok(None),
        };
        let next = match events.last() {
            Some(last) if events.len() == EVENTS_PAGE => Next::After(last.seq),
            Some(_) | None => Next::Nothing,
        };
        let json = serde_json::to_string(&events).expect("checked by their types: events are JSON");
        let inner = &json[1..json.len() - 1];
        // A page that follows a full one may be empty; then there is nothing to part.
        let opening = if inner.is_empty() { "" } else { opening };
        let closing = if matches!(next, Next::Nothing) { "]" } else { "" };
        let piece = Bytes::from(format!("{opening}{inner}{closing}"));
        Ok(Some((piece, (app, next))))
    })
}
