//! Tenants: made, changed, suspended and removed by who runs the host.

use super::required_text;
use crate::error::ApiError;
use crate::server::App;
use crate::server::answer::{Answer, Answered};
use crate::server::body::Json;
use crate::server::query::PathId;
use crate::wire;
use std::path::Path;
use vm_storage::{TenantId, TenantStatus};

/// Bytes of a tenant's name.
const MAX_NAME_BYTES: usize = 256;

/// Folders that a tenant's worktrees may lie beneath.
const MAX_ROOTS: usize = 64;

/// Bytes of a path: what the kernel takes.
const MAX_PATH_BYTES: usize = 4_096;

pub(super) async fn list(app: App) -> Answer {
    let tenants: Vec<_> = app.host.tenants().into_iter().map(wire::Tenant::from).collect();
    Answer::ok(&tenants)
}

pub(super) async fn create(app: App, Json(body, _room): Json<wire::CreateTenant>) -> Answered {
    let name = required_text("name", body.name, MAX_NAME_BYTES)?;
    let mut tenant = vm_storage::Tenant::new(name);
    tenant.worktree_roots = roots(body.worktree_roots.unwrap_or_default())?;
    app.host.create_tenant(tenant.clone()).await?;
    Ok(Answer::created(&wire::Tenant::from(tenant)))
}

pub(super) async fn get(app: App, PathId(id): PathId<TenantId>) -> Answered {
    Ok(Answer::ok(&wire::Tenant::from(app.host.tenant(id)?)))
}

pub(super) async fn update(
    app: App,
    PathId(id): PathId<TenantId>,
    Json(body, _room): Json<wire::UpdateTenant>,
) -> Answered {
    let name = match body.name {
        Some(name) => Some(required_text("name", Some(name), MAX_NAME_BYTES)?),
        None => None,
    };
    let status = match body.status.as_deref() {
        None => None,
        Some("active") => Some(TenantStatus::Active),
        Some("suspended") => Some(TenantStatus::Suspended),
        Some(_) => return Err(ApiError::validation("status", "must be active or suspended")),
    };
    let roots = body.worktree_roots.map(roots).transpose()?;
    let changed = app.host.update_tenant(id, move |tenant| {
        tenant.name = name.unwrap_or_else(|| std::mem::take(&mut tenant.name));
        tenant.status = status.unwrap_or(tenant.status);
        tenant.worktree_roots = roots.unwrap_or_else(|| std::mem::take(&mut tenant.worktree_roots));
    });
    Ok(Answer::ok(&wire::Tenant::from(changed.await?)))
}

pub(super) async fn delete(app: App, PathId(id): PathId<TenantId>) -> Answered {
    app.host.delete_tenant(id).await?;
    Ok(Answer::ok(&wire::TenantDeleted { status: "ok".to_owned(), tenant_id: id }))
}

fn roots(paths: Vec<String>) -> Result<Vec<String>, ApiError> {
    let wrong = |reason: &str| Err(ApiError::validation("worktree_roots", reason));
    if paths.len() > MAX_ROOTS {
        return wrong("may have 64 paths");
    }
    let is_good = |path: &String| {
        Path::new(path).is_absolute() && path.len() <= MAX_PATH_BYTES && !path.contains('\0')
    };
    if paths.iter().all(is_good) { Ok(paths) } else { wrong("must be absolute paths") }
}
