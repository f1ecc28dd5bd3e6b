//! The modules that a template's libraries and startup files were made into.

use crate::server::App;
use crate::server::answer::{Answer, Answered};
use crate::server::query::{PathId, PathIdAndName};
use crate::wire::Artifact;
use axum::extract::State;
use vm_storage::TemplateId;

pub(super) async fn list(State(app): State<App>, PathId(id): PathId<TemplateId>) -> Answered {
    let _reading = app.reads.acquire().await;
    let artifacts = app.host.list_artifacts(id).await?;
    let artifacts: Vec<_> = artifacts.into_iter().map(Artifact::from).collect();
    Ok(Answer::ok(&artifacts))
}

pub(super) async fn download(
    State(app): State<App>,
    PathIdAndName(id, hash): PathIdAndName<TemplateId>,
) -> Answered {
    let _reading = app.reads.acquire().await;
    Ok(Answer::wasm(app.host.artifact(id, &hash).await?))
}
