//! Preconditions: the version that a client takes what it changes to be of.

use crate::error::{ApiError, ErrorCode};
use axum::extract::FromRequestParts;
use http::header::{HeaderValue, IF_MATCH};
use http::request::Parts;
use vm_storage::{Template, TemplateId};

/// Tags that one request may name.
const MAX_TAGS: usize = 64;

/// The versions of which one must be there; none where any will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IfMatch(pub(super) Option<Vec<u64>>);

impl IfMatch {
    /// Refuses a template of another version.
    pub(super) fn check(&self, template: &Template) -> Result<(), ApiError> {
        match &self.0 {
            Some(versions) if !versions.contains(&template.version) => {
                Err(mismatch(template.id, template.version))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The tag of a version.
pub(super) fn etag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits and quotes")
}

fn mismatch(id: TemplateId, version: u64) -> ApiError {
    ApiError::new(ErrorCode::VersionMismatch, format!("template {id} is of version {version}"))
        .with("template_id", id)
        .with("version", version)
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut versions = Vec::new();
        let mut is_there = false;
        for value in parts.headers.get_all(IF_MATCH) {
            is_there = true;
            let text = value.to_str().map_err(|_| malformed())?.trim();
            if text == "*" {
                return Ok(Self(None));
            }
            for tag in text.split(',') {
                versions.extend(version(tag.trim())?);
            }
        }
        if versions.len() > MAX_TAGS {
            return Err(malformed());
        }
        Ok(Self(is_there.then_some(versions)))
    }
}

/// The version of a tag; none of one that no answer has, and of a weak one, which never matches.
fn version(tag: &str) -> Result<Option<u64>, ApiError> {
    let strong = tag.strip_prefix("W/").unwrap_or(tag);
    let inner = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.filter(|inner| !inner.contains('"')).ok_or_else(malformed)?;
    let is_ours = tag == strong && etag_digits(inner);
    Ok(if is_ours { inner.parse().ok() } else { None })
}

/// Whether a tag is as we write them: `"01"` is none.
fn etag_digits(inner: &str) -> bool {
    !inner.is_empty() && !inner.starts_with('0') && inner.bytes().all(|byte| byte.is_ascii_digit())
}

fn malformed() -> ApiError {
    ApiError::validation("If-Match", "must be * or tags such as \"3\", as ETag has them")
}
