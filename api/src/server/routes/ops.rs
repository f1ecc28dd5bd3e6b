//! What operators ask of a daemon: whether it takes work, what it holds, a backup, a smaller file.

use crate::error::{ApiError, ErrorCode};
use crate::server::App;
use crate::server::answer::{Answer, Answered};
use crate::server::body::{Json, NoBody};
use crate::wire::{
    self, BackupMade, Compacted, Health, RemovedStats, SessionStats, Stats, StorageStats,
};
use std::time::Duration;
use vm_storage::{StorageStatus, now};

/// Bytes of a backup's name.
const MAX_NAME_BYTES: usize = 128;

/// When a client that met a daemon which takes no work may ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// 200 while the daemon takes work, and otherwise why it does not.
pub(super) async fn ready(app: App) -> Answered {
    let not_ready = |reason: &str, message: String| {
        let retry_after = Some(RETRY_AFTER);
        let error = ApiError::new(ErrorCode::StorageUnavailable, message).with("reason", reason);
        Err(ApiError { retry_after, ..error })
    };
    match app.host.storage().status() {
        StorageStatus::Ready => Ok(Answer::ok(&Health { status: "ready".to_owned() })),
        StorageStatus::NoSpace { free_bytes, needed_bytes } => {
            let message =
                format!("the disk is full: {free_bytes} bytes are free and {needed_bytes} needed");
            not_ready("no_space", message)
        }
        // What failed is for the log.
        StorageStatus::Failed { detail: _ } => {
            not_ready("failed", "the database failed and is being opened again".to_owned())
        }
        StorageStatus::Compacting => {
            not_ready("compacting", "the database is being compacted".to_owned())
        }
        StorageStatus::Closed => not_ready("stopping", "the daemon is stopping".to_owned()),
    }
}

pub(super) async fn stats(app: App) -> Answered {
    let _reading = app.reads.acquire().await;
    let contents = app.host.contents().await?;
    let (host, writer) = (app.host.stats(), app.host.storage().stats());
    Ok(Answer::ok(&Stats {
        sessions: SessionStats {
            live: host.live_sessions,
            held: host.held_sessions as u64,
            instances: host.instances as u64,
            instances_made: host.instances_made,
            hibernations: host.hibernations,
        },
        storage: StorageStats {
            templates: contents.templates,
            sessions: contents.sessions,
            executions: contents.executions,
            events: contents.events,
            execution_bytes: contents.execution_bytes,
            event_bytes: contents.event_bytes,
            heap_bytes: contents.heap_bytes,
            unswept_sessions: contents.unswept_sessions,
            file_bytes: contents.file_bytes,
            free_bytes: contents.free_bytes,
            commits: writer.commits,
            writes: writer.requests,
            reopens: writer.reopens,
        },
        removed: RemovedStats { executions: host.executions_removed, events: host.events_removed },
        executions_under_way: host.executions as u64,
        template_modules_compiled: host.template_modules_compiled,
        template_images_made: host.template_images_made,
    }))
}

pub(super) async fn backup(app: App, Json(body, _room): Json<wire::MakeBackup>) -> Answered {
    let name = match body.name {
        Some(name) => checked(name)?,
        None => now().strftime("%Y%m%dT%H%M%S%.6fZ").to_string(),
    };
    let made = app.host.backup(&name).await?;
    let path = made.path.display().to_string();
    Ok(Answer::created(&BackupMade { name, path, database_bytes: made.database_bytes }))
}

/// A name that is one of a folder and of nothing else.
fn checked(name: String) -> Result<String, ApiError> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.starts_with('.') {
        let reason =
            format!("must have 1 to {MAX_NAME_BYTES} characters, the first of them no dot");
        return Err(ApiError::validation("name", reason));
    }
    if !name.chars().all(good) {
        return Err(ApiError::validation("name", "may have letters, digits, dots, - and _ only"));
    }
    Ok(name)
}

pub(super) async fn compact(app: App, _body: NoBody) -> Answered {
    let before_bytes = app.host.contents().await?.file_bytes;
    app.host.storage().compact().await?;
    let after_bytes = app.host.contents().await?.file_bytes;
    Ok(Answer::ok(&Compacted { before_bytes, after_bytes }))
}
