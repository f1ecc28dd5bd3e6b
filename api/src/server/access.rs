//! Who is answered: this machine's own programs, or who shows a token.
//!
//! Invariant: a request that reaches a route has a [`Principal`], and may what the route needs; the host
//! that the route works with is the one that the principal's tenant sees.

use super::{App, guard};
use crate::error::{ApiError, ErrorCode};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::request::Parts;
use std::sync::Arc;
use vm_host::{Host, HostError, Principal};
use vm_storage::Scope;

/// What is answered to everyone.
const OPEN: [&str; 2] = ["/api/v1/health", "/api/v1/ready"];

/// Who is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Programs of this machine, without a token; not web pages.
    Loopback,
    /// Who shows a token, but for health and readiness.
    Tokens,
    /// Everyone, as the local tenant.
    Everyone,
}

impl Access {
    /// Whom a request speaks for.
    pub(super) fn admit(self, host: &Host, head: &Parts) -> Result<Principal, ApiError> {
        match self {
            Self::Loopback => guard::check(head).map(|()| Principal::local()),
            Self::Everyone => Ok(Principal::local()),
            Self::Tokens if OPEN.contains(&head.uri.path()) => Ok(Principal::nobody()),
            Self::Tokens => match bearer(head) {
                Some(token) => Ok(host.authenticate(token).map_err(HostError::from)?),
                None => {
                    Err(unauthenticated("the request has no token: send Authorization: Bearer"))
                }
            },
        }
    }
}

/// The token of a request, if it shows one.
fn bearer(head: &Parts) -> Option<&str> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    // Of two it is not clear which one counts.
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

fn unauthenticated(message: &str) -> ApiError {
    ApiError::new(ErrorCode::Unauthenticated, message)
}

/// The refusal of what the token is not for.
pub(super) fn forbidden(scope: Scope) -> ApiError {
    let message = format!("this needs a token of the scope {}", scope.name());
    ApiError::new(ErrorCode::Forbidden, message).with("scope", scope)
}

/// What a route needs of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Read,
    Execute,
    Manage,
    Admin,
}

impl Needs {
    fn scope(self) -> Option<Scope> {
        match self {
            Self::Nothing => None,
            Self::Read => Some(Scope::Read),
            Self::Execute => Some(Scope::Execute),
            Self::Manage => Some(Scope::Manage),
            Self::Admin => Some(Scope::Admin),
        }
    }

    /// Lets a request through to its route, or refuses it.
    pub(super) async fn check(
        State(needs): State<Self>,
        request: Request,
        next: Next,
    ) -> Result<Response, ApiError> {
        let principal = request.extensions().get::<Arc<Principal>>();
        match (needs.scope(), principal) {
            (None, _) => {}
            (Some(scope), Some(principal)) if principal.may(scope) => {}
            (Some(scope), _) => return Err(forbidden(scope)),
        }
        Ok(next.run(request).await)
    }
}

/// What a route works with: the host as the principal's tenant sees it.
impl FromRequestParts<Self> for App {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Self) -> Result<Self, ApiError> {
        let principal = parts.extensions.get::<Arc<Principal>>();
        let principal =
            principal.ok_or_else(|| ApiError::internal("a request has no principal"))?;
        Ok(Self { host: app.host.within(principal.tenant), ..app.clone() })
    }
}
