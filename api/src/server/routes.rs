//! The whole API, on one screen; each family of routes is a file.
//!
//! Each says first what a client's token must be for. Invariant: a route checks what it was given before it asks the host for anything, and all it
//! answers is a shape of `wire` or an [`ApiError`].

mod artifacts;
mod events;
mod executions;
mod names;
mod ops;
mod runtime;
mod sessions;
mod templates;
mod tenants;
mod tokens;

use super::App;
use super::access::Needs;
use super::compression::compression;
use crate::error::{ApiError, ErrorCode};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};

macro_rules! routes {
    ($($scope:ident $method:ident $path:literal => $handler:path;)+) => {
        /// Every route: its method and its path, with the names of its parameters in braces.
        pub const ROUTES: &[(&str, &str)] =
            &[$((stringify!($method), concat!("/api/v1", $path))),+];

        /// The routes, and the answers where there is none.
        pub(super) fn router(app: App) -> Router {
            Router::new()
                $(.route(
                    concat!("/api/v1", $path),
                    on(MethodFilter::$method, $handler)
                        .route_layer(from_fn_with_state(Needs::$scope, Needs::check)),
                ))+
                .fallback(no_route)
                .method_not_allowed_fallback(no_method)
                .with_state(app)
                .layer(compression())
        }
    };
}

routes! {
    Nothing GET "/health" => runtime::health;
    Nothing GET "/ready" => ops::ready;
    Read GET "/runtime/summary" => runtime::summary;
    Read GET "/metadata/engines" => runtime::engines;
    Read GET "/metadata/modules" => runtime::modules;
    Read GET "/metadata/libraries" => runtime::libraries;

    Read GET "/templates" => templates::list;
    Manage POST "/templates" => templates::create;
    Read GET "/templates/{template_id}" => templates::get;
    Manage PATCH "/templates/{template_id}" => templates::update;
    Manage DELETE "/templates/{template_id}" => templates::delete;
    Read GET "/templates/{template_id}/artifacts" => artifacts::list;
    Read GET "/templates/{template_id}/artifacts/{hash}" => artifacts::download;
    Read GET "/templates/{template_id}/capabilities" => templates::capabilities;
    Manage POST "/templates/{template_id}/capabilities" => templates::add_capability;
    Read GET "/templates/{template_id}/startup-files" => templates::startup_files;
    Manage POST "/templates/{template_id}/startup-files" => templates::add_startup_file;
    Read GET "/templates/{template_id}/modules" => names::modules;
    Manage POST "/templates/{template_id}/modules" => names::add_module;
    Manage DELETE "/templates/{template_id}/modules/{name}" => names::remove_module;
    Read GET "/templates/{template_id}/libraries" => names::libraries;
    Manage POST "/templates/{template_id}/libraries" => names::add_library;
    Manage DELETE "/templates/{template_id}/libraries/{name}" => names::remove_library;

    Admin GET "/tenants" => tenants::list;
    Admin POST "/tenants" => tenants::create;
    Admin GET "/tenants/{tenant_id}" => tenants::get;
    Admin PATCH "/tenants/{tenant_id}" => tenants::update;
    Admin DELETE "/tenants/{tenant_id}" => tenants::delete;
    Manage GET "/tokens" => tokens::list;
    Manage POST "/tokens" => tokens::create;
    Manage DELETE "/tokens/{token_id}" => tokens::revoke;

    Read GET "/sessions" => sessions::list;
    Execute POST "/sessions" => sessions::create;
    Read GET "/sessions/{session_id}" => sessions::get;
    Execute POST "/sessions/{session_id}/close" => sessions::close;
    Manage DELETE "/sessions/{session_id}" => sessions::remove;

    Read GET "/executions" => executions::list;
    Execute POST "/executions/repl" => executions::repl;
    Execute POST "/executions/run-file" => executions::run_file;
    Read GET "/executions/{execution_id}" => executions::get;
    Execute POST "/executions/{execution_id}/cancel" => executions::cancel;
    Read GET "/executions/{execution_id}/events" => events::events;

    Admin GET "/ops/stats" => ops::stats;
    Admin POST "/ops/backup" => ops::backup;
    Admin POST "/ops/compact" => ops::compact;
}

async fn no_route() -> ApiError {
    ApiError::new(ErrorCode::RouteNotFound, "no route has this path")
}

async fn no_method() -> ApiError {
    let message = "the route has other methods; the Allow header names them";
    ApiError::new(ErrorCode::MethodNotAllowed, message)
}

/// Takes a body's field for a text that says something, in at most `max` bytes.
fn required_text(name: &str, field: Option<String>, max: usize) -> Result<String, ApiError> {
    let Some(text) = field.filter(|text| !text.trim().is_empty()) else {
        return Err(ApiError::validation(name, "is required"));
    };
    if text.len() > max {
        let reason = format!("may have {max} bytes, not {}", text.len());
        return Err(ApiError::validation(name, reason).with("max_bytes", max));
    }
    Ok(text)
}
