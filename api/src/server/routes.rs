//! The whole API, on one screen; each family of routes is a file.
//!
//! Invariant: a route checks what it was given before it asks the host for anything, and all it
//! answers is a shape of `wire` or an [`ApiError`].

mod artifacts;
mod events;
mod executions;
mod names;
mod ops;
mod runtime;
mod sessions;
mod templates;

use super::App;
use crate::error::{ApiError, ErrorCode};
use axum::Router;
use axum::routing::{MethodFilter, on};

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path;)+) => {
        /// Every route: its method and its path, with the names of its parameters in braces.
        pub const ROUTES: &[(&str, &str)] =
            &[$((stringify!($method), concat!("/api/v1", $path))),+];

        /// The routes, and the answers where there is none.
        pub(super) fn router(app: App) -> Router {
            Router::new()
                $(.route(concat!("/api/v1", $path), on(MethodFilter::$method, $handler)))+
                .fallback(no_route)
                .method_not_allowed_fallback(no_method)
                .with_state(app)
        }
    };
}

routes! {
    GET "/health" => runtime::health;
    GET "/ready" => ops::ready;
    GET "/runtime/summary" => runtime::summary;
    GET "/metadata/engines" => runtime::engines;
    GET "/metadata/modules" => runtime::modules;
    GET "/metadata/libraries" => runtime::libraries;

    GET "/templates" => templates::list;
    POST "/templates" => templates::create;
    GET "/templates/{template_id}" => templates::get;
    PATCH "/templates/{template_id}" => templates::update;
    DELETE "/templates/{template_id}" => templates::delete;
    GET "/templates/{template_id}/artifacts" => artifacts::list;
    GET "/templates/{template_id}/artifacts/{hash}" => artifacts::download;
    GET "/templates/{template_id}/capabilities" => templates::capabilities;
    POST "/templates/{template_id}/capabilities" => templates::add_capability;
    GET "/templates/{template_id}/startup-files" => templates::startup_files;
    POST "/templates/{template_id}/startup-files" => templates::add_startup_file;
    GET "/templates/{template_id}/modules" => names::modules;
    POST "/templates/{template_id}/modules" => names::add_module;
    DELETE "/templates/{template_id}/modules/{name}" => names::remove_module;
    GET "/templates/{template_id}/libraries" => names::libraries;
    POST "/templates/{template_id}/libraries" => names::add_library;
    DELETE "/templates/{template_id}/libraries/{name}" => names::remove_library;

    GET "/sessions" => sessions::list;
    POST "/sessions" => sessions::create;
    GET "/sessions/{session_id}" => sessions::get;
    POST "/sessions/{session_id}/close" => sessions::close;
    DELETE "/sessions/{session_id}" => sessions::remove;

    GET "/executions" => executions::list;
    POST "/executions/repl" => executions::repl;
    POST "/executions/run-file" => executions::run_file;
    GET "/executions/{execution_id}" => executions::get;
    POST "/executions/{execution_id}/cancel" => executions::cancel;
    GET "/executions/{execution_id}/events" => events::events;

    GET "/ops/stats" => ops::stats;
    POST "/ops/backup" => ops::backup;
    POST "/ops/compact" => ops::compact;
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
