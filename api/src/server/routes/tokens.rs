//! Tokens: a tenant's own, or any tenant's for who runs the host.

use super::required_text;
use crate::error::ApiError;
use crate::server::App;
use crate::server::access::forbidden;
use crate::server::answer::{Answer, Answered};
use crate::server::body::Json;
use crate::server::query::{Parameters, PathId, given, parse_id};
use crate::wire;
use axum::Extension;
use jiff::Timestamp;
use serde::Deserialize;
use std::sync::Arc;
use vm_host::{Host, NewToken, Principal};
use vm_storage::{Scope, TenantId, TokenId, now};

/// Bytes of a token's name.
const MAX_NAME_BYTES: usize = 256;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Of {
    tenant_id: Option<String>,
}

/// The host as the tenant that a request is about sees it: the client's own, unless it may be another.
fn of_tenant(app: &App, principal: &Principal, tenant: Option<String>) -> Result<Host, ApiError> {
    let Some(text) = tenant else { return Ok(app.host.clone()) };
    let id: TenantId = parse_id(&text)?;
    if id == principal.tenant {
        return Ok(app.host.clone());
    }
    if !principal.may(Scope::Admin) {
        return Err(forbidden(Scope::Admin));
    }
    app.host.tenant(id)?;
    Ok(app.host.within(id))
}

pub(super) async fn list(
    app: App,
    Extension(principal): Extension<Arc<Principal>>,
    Parameters(of): Parameters<Of>,
) -> Answered {
    let tokens = of_tenant(&app, &principal, given(of.tenant_id))?.tokens();
    Ok(Answer::ok(&tokens.into_iter().map(wire::Token::from).collect::<Vec<_>>()))
}

pub(super) async fn create(
    app: App,
    Extension(principal): Extension<Arc<Principal>>,
    Json(body, _room): Json<wire::CreateToken>,
) -> Answered {
    let name = required_text("name", body.name, MAX_NAME_BYTES)?;
    let host = of_tenant(&app, &principal, body.tenant_id)?;
    let scopes = scopes(body.scopes.unwrap_or_default())?;
    if scopes.contains(&Scope::Admin) && !host.tenant_id().is_local() {
        let reason = "may have admin only for the local tenant, whose the host is";
        return Err(ApiError::validation("scopes", reason));
    }
    if let Some(scope) = scopes.iter().find(|scope| !principal.may(**scope)) {
        return Err(forbidden(*scope));
    }
    let wanted = given(body.expires_at).map(|text| expiry(&text)).transpose()?;
    // None outlives the one that it was made with.
    let expires_at = [wanted, principal.expires_at].into_iter().flatten().min();
    let new = NewToken { name, scopes, expires_at };
    let (token, secret) = host.create_token(new, &principal).await?;
    Ok(Answer::created(&wire::TokenMade { token: token.into(), secret }))
}

pub(super) async fn revoke(
    app: App,
    Extension(principal): Extension<Arc<Principal>>,
    PathId(id): PathId<TokenId>,
    Parameters(of): Parameters<Of>,
) -> Answered {
    let host = of_tenant(&app, &principal, given(of.tenant_id))?;
    let token = host.tokens().into_iter().find(|token| token.id == id);
    let beyond = token.and_then(|token| token.scopes.into_iter().find(|one| !principal.may(*one)));
    if let Some(scope) = beyond {
        return Err(forbidden(scope));
    }
    let token = host.delete_token(id).await?;
    Ok(Answer::ok(&wire::Token::from(token)))
}

fn scopes(names: Vec<String>) -> Result<Vec<Scope>, ApiError> {
    let scope = |name: String| match name.as_str() {
        "read" => Ok(Scope::Read),
        "execute" => Ok(Scope::Execute),
        "manage" => Ok(Scope::Manage),
        "admin" => Ok(Scope::Admin),
        _ => Err(ApiError::validation("scopes", "must be of read, execute, manage and admin")),
    };
    let mut scopes = names.into_iter().map(scope).collect::<Result<Vec<_>, _>>()?;
    if scopes.is_empty() {
        return Err(ApiError::validation("scopes", "is required"));
    }
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes)
}

fn expiry(text: &str) -> Result<Timestamp, ApiError> {
    let wrong = |reason| ApiError::validation("expires_at", reason);
    let at: Timestamp = text.parse().map_err(|_| wrong("must be a time of RFC 3339"))?;
    if at <= now() { Err(wrong("must be in the future")) } else { Ok(at) }
}
