//! What routes answer: a status, and JSON, a module or events; and the ids it is about for the log.
//!
//! Invariant: every body says what it is, and nothing is not JSON but what was asked for.

use super::if_match::etag;
use crate::error::{ApiError, ErrorCode};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, LINK, LOCATION, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use serde::Serialize;
use serde_json::Value;
use vm_storage::{ExecutionId, SessionId, TemplateId};

/// The ids that an answer is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids {
    pub(super) template: Option<TemplateId>,
    pub(super) session: Option<SessionId>,
    pub(super) execution: Option<ExecutionId>,
}

impl Ids {
    /// Those of `self`, and those of `other` where it has none.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            template: self.template.or(other.template),
            session: self.session.or(other.session),
            execution: self.execution.or(other.execution),
        }
    }
}

/// What went wrong, for the log.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) cause: Option<String>,
}

/// An answer that is no refusal.
pub(super) struct Answer {
    status: StatusCode,
    body: Body,
    content_type: Option<HeaderValue>,
    /// Its length, where the body does not know it.
    bytes: Option<u64>,
    ids: Ids,
    link: Option<HeaderValue>,
    location: Option<HeaderValue>,
    etag: Option<HeaderValue>,
}

/// What a route gives.
pub(super) type Answered = Result<Answer, ApiError>;

impl Answer {
    /// 200 with a body.
    pub(super) fn ok(body: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// 201 with what was created.
    pub(super) fn created(body: &impl Serialize) -> Self {
        Self::json(StatusCode::CREATED, body)
    }

    /// 202 with what is under way, and where it is to be found.
    pub(super) fn accepted(body: &impl Serialize, location: String) -> Self {
        let location = HeaderValue::try_from(location);
        let location = Some(location.expect("checked by its maker: a path with an id"));
        Self { location, ..Self::json(StatusCode::ACCEPTED, body) }
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self::of(StatusCode::NO_CONTENT, Body::empty(), None)
    }

    /// 200 with server-sent events, as they come.
    pub(super) fn event_stream(events: Body) -> Self {
        Self::of(StatusCode::OK, events, Some("text/event-stream"))
    }

    /// 200 with JSON that comes in pieces.
    pub(super) fn streamed(body: Body) -> Self {
        Self::of(StatusCode::OK, body, Some("application/json"))
    }

    /// 200 with a WebAssembly module of so many bytes, which comes in pieces.
    pub(super) fn wasm(module: Body, bytes: u64) -> Self {
        let answer = Self::of(StatusCode::OK, module, Some("application/wasm"));
        Self { bytes: Some(bytes), ..answer }
    }

    fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body)
            .expect("checked by their types: the shapes of `wire` are JSON");
        Self::of(status, body.into(), Some("application/json"))
    }

    fn of(status: StatusCode, body: Body, content_type: Option<&'static str>) -> Self {
        let content_type = content_type.map(HeaderValue::from_static);
        Self {
            status,
            body,
            content_type,
            bytes: None,
            ids: Ids::default(),
            link: None,
            location: None,
            etag: None,
        }
    }

    /// Says of which version it is.
    pub(super) fn of_version(mut self, version: u64) -> Self {
        self.etag = Some(etag(version));
        self
    }

    /// Says where a list goes on, if it does: a path and a query.
    pub(super) fn followed_by(mut self, next: Option<String>) -> Self {
        self.link = next.map(|next| {
            HeaderValue::try_from(format!("<{next}>; rel=\"next\""))
                .expect("checked by its maker: ids, numbers and names of statuses")
        });
        self
    }

    /// Says what it is about.
    pub(super) fn about(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        if let Some(content_type) = self.content_type {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        if let Some(bytes) = self.bytes {
            response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
        }
        if let Some(etag) = self.etag {
            response.headers_mut().insert(ETAG, etag);
        }
        if let Some(location) = self.location {
            response.headers_mut().insert(LOCATION, location);
        }
        if let Some(link) = self.link {
            response.headers_mut().insert(LINK, link);
        }
        response.extensions_mut().insert(self.ids);
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut answer = Answer::json(self.code.status(), &self.envelope());
        answer.ids = Ids {
            template: id(self.details.get("template_id")),
            session: id(self.details.get("session_id")),
            execution: id(self.details.get("execution_id")),
        };
        let mut response = answer.into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs().max(1);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if self.code == ErrorCode::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        if matches!(self.code, ErrorCode::PayloadTooLarge | ErrorCode::RequestTimeout) {
            // The rest of the body is still on its way, and nobody will read it.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(Refusal { code: self.code, cause: self.cause });
        response
    }
}

fn id<T: std::str::FromStr>(value: Option<&Value>) -> Option<T> {
    value?.as_str()?.parse().ok()
}
