//! Sessions.

use super::required_text;
use crate::error::ApiError;
use crate::server::App;
use crate::server::answer::{Answer, Answered, Ids};
use crate::server::body::{Json, NoBody};
use crate::server::query::{Parameters, PathId, given, parse_id, required_id};
use crate::wire;
use axum::extract::State;
use serde::Deserialize;
use vm_host::SessionRequest;
use vm_storage::{MAX_SESSIONS_LISTED, SessionFilter, SessionId, SessionStatus};

/// Bytes of a workspace's id, and of a commit's.
const MAX_ID_BYTES: usize = 1_024;

/// Bytes of a path: the kernel's `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4_096;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    status: Option<String>,
    template_id: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    Parameters(filter): Parameters<Filter>,
) -> Answered {
    let statuses = match given(filter.status) {
        Some(names) => names.split(',').map(status).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let template_id = given(filter.template_id).map(|id| parse_id(&id)).transpose()?;
    let filter = SessionFilter { statuses, template_id };
    let _reading = app.reads.acquire().await;
    let sessions = app.host.list_sessions(filter, MAX_SESSIONS_LISTED).await?;
    let sessions: Vec<_> = sessions.into_iter().map(wire::Session::from).collect();
    Ok(Answer::ok(&sessions))
}

fn status(name: &str) -> Result<SessionStatus, ApiError> {
    match name {
        "starting" => Ok(SessionStatus::Starting),
        "ready" => Ok(SessionStatus::Ready),
        "crashed" => Ok(SessionStatus::Crashed),
        "closed" => Ok(SessionStatus::Closed),
        _ => Err(ApiError::validation(
            "status",
            "must be of starting, ready, crashed and closed, with commas between",
        )),
    }
}

pub(super) async fn create(
    State(app): State<App>,
    Json(body, _room): Json<wire::CreateSession>,
) -> Answered {
    let request = SessionRequest {
        template_id: required_id(body.template_id)?,
        workspace_id: required_text("workspace_id", body.workspace_id, MAX_ID_BYTES)?,
        base_commit_oid: required_text("base_commit_oid", body.base_commit_oid, MAX_ID_BYTES)?,
        worktree_path: required_text("worktree_path", body.worktree_path, MAX_PATH_BYTES)?,
    };
    let template_id = request.template_id;
    let created = app.host.create_session(request, None).await;
    let session =
        created.map_err(|error| ApiError::from(error).with("template_id", template_id))?;
    let ids = Ids { session: Some(session.id), template: Some(template_id), execution: None };
    Ok(Answer::created(&wire::Session::from(session)).about(ids))
}

pub(super) async fn get(State(app): State<App>, PathId(id): PathId<SessionId>) -> Answered {
    Ok(Answer::ok(&wire::Session::from(app.host.session(id).await?)))
}

pub(super) async fn close(
    State(app): State<App>,
    PathId(id): PathId<SessionId>,
    _body: NoBody,
) -> Answered {
    Ok(Answer::ok(&wire::Session::from(app.host.close_session(id).await?)))
}
