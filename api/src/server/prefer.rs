//! What clients would rather have: the `Prefer` header of RFC 7240.
//!
//! Invariant: a preference that is not known, or malformed, is as if it was not there.

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::request::Parts;
use std::convert::Infallible;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The preferences that routes know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preference {
    /// `respond-async`: an answer before the work is done.
    pub(super) is_async: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Preference {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let values = parts.headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        // What stands behind a semicolon are parameters, of which this one has none.
        let mut named = values
            .flat_map(|value| value.split(','))
            .map(|preference| preference.split(';').next().unwrap_or_default().trim());
        let is_async = named.any(|name| name.eq_ignore_ascii_case("respond-async"));
        Ok(Self { is_async })
    }
}
