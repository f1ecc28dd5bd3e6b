//! Sessions.

use super::required_text;
use crate::error::ApiError;
use crate::server::App;
use crate::server::answer::{Answer, Answered, Ids};
use crate::server::body::{Json, NoBody};
use crate::server::query::{Parameters, PathId, given, page, parse_id, required_id};
use crate::wire::{self, BASE};
use serde::Deserialize;
use vm_host::SessionRequest;
use vm_storage::{MAX_LISTED, Page, SessionFilter, SessionId, SessionStatus, TemplateId};

/// Bytes of a workspace's id, and of a commit's.
const MAX_ID_BYTES: usize = 1_024;

/// Bytes of a path: the kernel's `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4_096;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    status: Option<String>,
    template_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Removal {
    purge: Option<String>,
}

pub(super) async fn list(app: App, Parameters(filter): Parameters<Filter>) -> Answered {
    let wanted = given(filter.status);
    let statuses = match &wanted {
        Some(names) => names.split(',').map(status).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let template_id: Option<TemplateId> =
        given(filter.template_id).map(|id| parse_id(&id)).transpose()?;
    let request = page(filter.limit, MAX_LISTED as u64, filter.cursor, |text| {
        parse_id::<SessionId>(text).ok()
    })?;
    let filter = SessionFilter { statuses, template_id };
    let _reading = app.reads.acquire().await;
    let Page { items, next } = app.host.list_sessions(filter, request).await?;
    let sessions: Vec<_> =
        items.into_iter().map(|session| wire::Session::of(session, &app.host)).collect();
    let next = next.map(|cursor| {
        // A parameter that is empty counts as left out.
        let statuses = wanted.unwrap_or_default();
        let template = template_id.map(|id| id.to_string()).unwrap_or_default();
        let limit = request.limit;
        format!(
            "{BASE}/sessions?limit={limit}&cursor={cursor}&status={statuses}&template_id={template}"
        )
    });
    Ok(Answer::ok(&sessions).followed_by(next))
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

pub(super) async fn create(app: App, Json(body, _room): Json<wire::CreateSession>) -> Answered {
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
    Ok(Answer::created(&wire::Session::of(session, &app.host)).about(ids))
}

pub(super) async fn get(app: App, PathId(id): PathId<SessionId>) -> Answered {
    Ok(Answer::ok(&wire::Session::of(app.host.session(id).await?, &app.host)))
}

pub(super) async fn close(app: App, PathId(id): PathId<SessionId>, _body: NoBody) -> Answered {
    Ok(Answer::ok(&wire::Session::of(app.host.close_session(id).await?, &app.host)))
}

/// Closes a session; with `purge=true` removes it and all that belongs to it.
pub(super) async fn remove(
    app: App,
    PathId(id): PathId<SessionId>,
    Parameters(removal): Parameters<Removal>,
    _body: NoBody,
) -> Answered {
    let removed = match given(removal.purge).as_deref() {
        Some("true") => app.host.purge_session(id).await,
        Some("false") | None => app.host.close_session(id).await,
        Some(_) => return Err(ApiError::validation("purge", "must be true or false")),
    };
    Ok(Answer::ok(&wire::Session::of(removed?, &app.host)))
}
