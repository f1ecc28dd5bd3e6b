//! The parts of a path and of a query, taken strictly.
//!
//! Invariant: an id is a UUID in its usual form, 36 characters with hyphens; a query has no parameter
//! that the route does not know, and none twice. One that is empty counts as left out.

use crate::error::{ApiError, ErrorCode};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;
use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use std::str::FromStr;
use std::time::Duration;
use vm_storage::{ExecutionId, MAX_LISTED, PageRequest, SessionId, TemplateId, TenantId, TokenId};

/// Characters of a UUID in its usual form.
const UUID_LENGTH: usize = 36;

/// An id that stands in a path or a body.
pub(super) trait Id: FromStr {
    /// What it is called there.
    const NAME: &'static str;
}

impl Id for TenantId {
    const NAME: &'static str = "tenant_id";
}

impl Id for TokenId {
    const NAME: &'static str = "token_id";
}

impl Id for TemplateId {
    const NAME: &'static str = "template_id";
}

impl Id for SessionId {
    const NAME: &'static str = "session_id";
}

impl Id for ExecutionId {
    const NAME: &'static str = "execution_id";
}

/// Takes text for an id.
pub(super) fn parse_id<T: Id>(text: &str) -> Result<T, ApiError> {
    let id = if text.len() == UUID_LENGTH { text.parse().ok() } else { None };
    id.ok_or_else(|| ApiError::validation(T::NAME, "must be a UUID"))
}

/// Takes a body's field for an id.
pub(super) fn required_id<T: Id>(field: Option<String>) -> Result<T, ApiError> {
    match field {
        Some(text) if !text.is_empty() => parse_id(&text),
        Some(_) | None => Err(ApiError::validation(T::NAME, "is required")),
    }
}

/// The one id of a path.
pub(super) struct PathId<T>(pub(super) T);

impl<T: Id, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => parse_id(&text).map(Self),
            Err(rejection) => Err(bad_path(&rejection)),
        }
    }
}

/// The id and the name of a path.
pub(super) struct PathIdAndName<T>(pub(super) T, pub(super) String);

impl<T: Id, S: Send + Sync> FromRequestParts<S> for PathIdAndName<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<(String, String)>::from_request_parts(parts, state).await {
            Ok(Path((text, name))) => Ok(Self(parse_id(&text)?, name)),
            Err(rejection) => Err(bad_path(&rejection)),
        }
    }
}

fn bad_path(rejection: &PathRejection) -> ApiError {
    ApiError::validation("path", format!("cannot be decoded: {rejection}"))
}

/// The parameters of a query.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => {
                let message = format!("bad query: {}", rejection.body_text());
                Err(ApiError::new(ErrorCode::Validation, message))
            }
        }
    }
}

/// A parameter that is there and not empty.
pub(super) fn given(parameter: Option<String>) -> Option<String> {
    parameter.filter(|text| !text.is_empty())
}

/// Which part of a list a query asks for.
pub(super) fn page<C: Copy>(
    limit: Option<String>,
    default_limit: u64,
    cursor: Option<String>,
    parse: impl FnOnce(&str) -> Option<C>,
) -> Result<PageRequest<C>, ApiError> {
    let limit = number("limit", limit, default_limit, 1..=MAX_LISTED as u64)?;
    let limit = usize::try_from(limit).unwrap_or(MAX_LISTED);
    let cursor = match given(cursor) {
        Some(text) => {
            let cursor = parse(&text);
            let wrong = || ApiError::validation("cursor", "must be one that a list gave");
            Some(cursor.ok_or_else(wrong)?)
        }
        None => None,
    };
    Ok(PageRequest { limit, cursor })
}

/// The longest that a client may have an answer wait for.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// Takes a parameter for a time such as `20s`; none is no time.
pub(super) fn wait(parameter: Option<String>) -> Result<Duration, ApiError> {
    let Some(text) = given(parameter) else { return Ok(Duration::ZERO) };
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    time.filter(|time| *time <= MAX_WAIT).ok_or_else(|| {
        let reason = format!("must be a time of at most {}s, such as 20s", MAX_WAIT.as_secs());
        ApiError::validation("wait", reason)
    })
}

/// Takes a parameter for a whole number of a range.
pub(super) fn number(
    name: &'static str,
    parameter: Option<String>,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, ApiError> {
    let Some(text) = given(parameter) else {
        return Ok(default);
    };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let (min, max) = (range.start(), range.end());
        let reason = format!("must be a whole number between {min} and {max}");
        ApiError::validation(name, reason).with("min", min).with("max", max)
    })
}
