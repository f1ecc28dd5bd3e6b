//! The modules that a template's libraries and startup files were made into.

use crate::server::App;
use crate::server::answer::{Answer, Answered};
use crate::server::query::{PathId, PathIdAndName};
use crate::wire::Artifact;
use axum::body::Body;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;
use vm_storage::TemplateId;

/// Bytes of a module that are in memory for one client, however slowly it reads.
const PIECE_BYTES: usize = 64 << 10;

pub(super) async fn list(app: App, PathId(id): PathId<TemplateId>) -> Answered {
    let _reading = app.reads.acquire().await;
    let artifacts = app.host.list_artifacts(id).await?;
    let artifacts: Vec<_> = artifacts.into_iter().map(Artifact::from).collect();
    Ok(Answer::ok(&artifacts))
}

pub(super) async fn download(
    app: App,
    PathIdAndName(id, hash): PathIdAndName<TemplateId>,
) -> Answered {
    let _reading = app.reads.acquire().await;
    let (file, bytes) = app.host.artifact(id, &hash).await?;
    let pieces = ReaderStream::with_capacity(File::from_std(file).take(bytes), PIECE_BYTES);
    Ok(Answer::wasm(Body::from_stream(pieces), bytes))
}
