//! Templates, their capabilities and their startup files.

use super::required_text;
use crate::error::{ApiError, ErrorCode};
use crate::server::App;
use crate::server::access::forbidden;
use crate::server::answer::{Answer, Answered, Ids};
use crate::server::body::Json;
use crate::server::if_match::IfMatch;
use crate::server::query::{Parameters, PathId, page, parse_id};
use crate::settings_patch::SettingsError;
use crate::whole::OutOfRange;
use crate::wire::{self, BASE};
use axum::Extension;
use serde::Deserialize;
use std::sync::Arc;
use vm_host::{Principal, catalogue, check_config, check_path, limits};
use vm_storage::{
    Capability, CapabilityId, CapabilityKind, MAX_LISTED, Page, Scope, StartupFile, StartupFileId,
    Template, TemplateId, now,
};

/// Bytes of a name.
const MAX_NAME_BYTES: usize = 256;

/// Capabilities, startup files, modules or libraries that one template may have of each. All are
/// kept in one record, and copied into each session.
pub(super) const MAX_PARTS: usize = 256;

/// The largest order: what every JSON reader takes for a whole number.
const MAX_ORDER: i64 = (1 << 53) - 1;

/// How startup files may be evaluated.
const MODES: &[&str] = &["eval", "module"];

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Part {
    limit: Option<String>,
    cursor: Option<String>,
}

pub(super) async fn list(app: App, Parameters(part): Parameters<Part>) -> Answered {
    let request =
        page(part.limit, MAX_LISTED as u64, part.cursor, |text| parse_id::<TemplateId>(text).ok())?;
    let _reading = app.reads.acquire().await;
    let Page { items, next } = app.host.list_templates(request).await?;
    let templates: Vec<_> = items.into_iter().map(wire::Template::from).collect();
    let limit = request.limit;
    let next = next.map(|cursor| format!("{BASE}/templates?limit={limit}&cursor={cursor}"));
    Ok(Answer::ok(&templates).followed_by(next))
}

pub(super) async fn create(app: App, Json(body, _room): Json<wire::CreateTemplate>) -> Answered {
    let name = required_text("name", body.name, MAX_NAME_BYTES)?;
    let mut template = Template::new(name);
    if let Some(engine) = body.engine {
        template.engine = supported_engine(engine)?;
    }
    template.is_unique = body.unique.unwrap_or(false);
    limits::lower(&mut template.settings.limits, &app.host.ceilings());
    let template = app.host.create_template(template).await?;
    let ids = about(template.id);
    let version = template.version;
    Ok(Answer::created(&wire::Template::from(template)).about(ids).of_version(version))
}

fn supported_engine(engine: String) -> Result<String, ApiError> {
    let engine = required_text("engine", Some(engine), MAX_NAME_BYTES)?;
    if catalogue::has_engine(&engine) {
        return Ok(engine);
    }
    let supported: Vec<_> = catalogue::ENGINES.iter().map(|engine| engine.name).collect();
    let message = format!("there is no engine {engine:?}");
    Err(ApiError::new(ErrorCode::EngineUnsupported, message).with("supported", supported))
}

pub(super) async fn get(app: App, PathId(id): PathId<TemplateId>) -> Answered {
    let template = app.host.template(id).await?;
    let version = template.version;
    Ok(Answer::ok(&wire::TemplateDetail::from(template)).of_version(version))
}

pub(super) async fn update(
    app: App,
    Extension(principal): Extension<Arc<Principal>>,
    PathId(id): PathId<TemplateId>,
    if_match: IfMatch,
    Json(body, _room): Json<wire::UpdateTemplate>,
) -> Answered {
    let name = match body.name {
        Some(name) => Some(required_text("name", Some(name), MAX_NAME_BYTES)?),
        None => None,
    };
    let shared = body.shared;
    if shared.is_some() && !principal.may(Scope::Admin) {
        return Err(forbidden(Scope::Admin));
    }
    let (settings, ceilings) = (body.settings, app.host.ceilings());
    let changed = change(&app, id, if_match, move |template| {
        settings.apply(&mut template.settings, &ceilings)?;
        if let Some(name) = name {
            template.name = name;
        }
        if let Some(is_shared) = shared {
            template.is_shared = is_shared;
        }
        Ok(template.clone())
    });
    let changed = changed.await?;
    // The store counts what is written.
    let version = changed.version.saturating_add(1);
    Ok(Answer::ok(&wire::TemplateDetail::from(changed)).of_version(version))
}

pub(super) async fn delete(
    app: App,
    PathId(id): PathId<TemplateId>,
    IfMatch(expected): IfMatch,
) -> Answered {
    app.host.delete_template(id, expected).await?;
    Ok(Answer::ok(&wire::TemplateDeleted { status: "ok".to_owned(), template_id: id }))
}

pub(super) async fn capabilities(app: App, PathId(id): PathId<TemplateId>) -> Answered {
    let capabilities = app.host.template(id).await?.capabilities.into_iter();
    let capabilities: Vec<_> = capabilities.map(|own| wire::Capability::of(id, own)).collect();
    Ok(Answer::ok(&capabilities))
}

pub(super) async fn add_capability(
    app: App,
    PathId(id): PathId<TemplateId>,
    if_match: IfMatch,
    Json(body, _room): Json<wire::AddCapability>,
) -> Answered {
    let kind = required_text("kind", body.kind, MAX_NAME_BYTES)?;
    let capability = Capability {
        id: CapabilityId::new(),
        kind: capability_kind(&kind)?,
        name: required_text("name", body.name, MAX_NAME_BYTES)?,
        enabled: body.enabled.unwrap_or(false),
        config: body.config.unwrap_or_else(|| serde_json::json!({})),
    };
    check_config(capability.kind, &capability.name, &capability.config)
        .map_err(|error| ApiError::validation(&error.path, error.reason))?;
    let added = change(&app, id, if_match, move |template| {
        refuse_when_full("capabilities", template.capabilities.len())?;
        template.capabilities.push(capability.clone());
        Ok(capability)
    });
    Ok(Answer::created(&wire::Capability::of(id, added.await?)))
}

fn capability_kind(kind: &str) -> Result<CapabilityKind, ApiError> {
    match kind {
        "module" => Ok(CapabilityKind::Module),
        "global" => Ok(CapabilityKind::Global),
        "fs" => Ok(CapabilityKind::Fs),
        "net" => Ok(CapabilityKind::Net),
        "env" => Ok(CapabilityKind::Env),
        _ => Err(ApiError::validation("kind", "must be module, global, fs, net or env")),
    }
}

pub(super) async fn startup_files(app: App, PathId(id): PathId<TemplateId>) -> Answered {
    let files = app.host.template(id).await?.startup_files;
    Ok(Answer::ok(&wire::StartupFile::ordered(id, files)))
}

pub(super) async fn add_startup_file(
    app: App,
    PathId(id): PathId<TemplateId>,
    if_match: IfMatch,
    Json(body, _room): Json<wire::AddStartupFile>,
) -> Answered {
    // How long a path may be is for `check_path` to say, under its own code.
    let path = required_text("path", body.path, usize::MAX)?;
    if let Err(reason) = check_path(&path) {
        let message = format!("invalid path: {reason}");
        return Err(ApiError::new(ErrorCode::InvalidPath, message).with("path", path));
    }
    let mode = body.mode.unwrap_or_else(|| "eval".to_owned());
    if !MODES.contains(&mode.as_str()) {
        let message = format!("there is no startup mode {mode:?}");
        return Err(
            ApiError::new(ErrorCode::StartupModeUnsupported, message).with("supported", MODES)
        );
    }
    let order_index = match body.order_index {
        Some(order) => order.within("order_index", -MAX_ORDER, MAX_ORDER)?,
        None => 0,
    };
    let file = StartupFile { id: StartupFileId::new(), path, order_index, mode };
    let added = change(&app, id, if_match, move |template| {
        refuse_when_full("startup files", template.startup_files.len())?;
        template.startup_files.push(file.clone());
        Ok(file)
    });
    Ok(Answer::created(&wire::StartupFile::of(id, added.await?)))
}

/// Changes a template, atomically against every other change.
pub(super) async fn change<T: Send + 'static>(
    app: &App,
    id: TemplateId,
    if_match: IfMatch,
    change: impl FnOnce(&mut Template) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let change = move |template: &mut Template| {
        if_match.check(template)?;
        template.updated_at = now();
        change(template)
    };
    app.host.update_template(id, change).await
}

/// Refuses one more part of a template that has as many as it may.
pub(super) fn refuse_when_full(parts: &str, count: usize) -> Result<(), ApiError> {
    if count < MAX_PARTS {
        return Ok(());
    }
    let message = format!("a template may have {MAX_PARTS} {parts}");
    Err(ApiError::new(ErrorCode::Validation, message).with("limit", MAX_PARTS))
}

fn about(template: TemplateId) -> Ids {
    Ids { template: Some(template), ..Ids::default() }
}

impl From<OutOfRange> for ApiError {
    fn from(error: OutOfRange) -> Self {
        Self::new(ErrorCode::Validation, error.to_string())
            .with("field", error.field)
            .with("min", error.min)
            .with("max", error.max)
    }
}

impl From<SettingsError> for ApiError {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Limit(error) => error.into(),
            SettingsError::Resolver { field, reason } => Self::validation(field, reason),
        }
    }
}
