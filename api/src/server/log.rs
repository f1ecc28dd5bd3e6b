//! One line of log for each request: what was asked, of what, how it ended and how long it took.
//!
//! Invariant: what a client chose is written escaped, so that no request can forge a line.

use super::answer::{Ids, Refusal};
use crate::error::ErrorCode;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method};
use std::net::SocketAddr;
use std::time::Instant;

/// Bytes of a path that are logged.
const MAX_PATH_BYTES: usize = 256;

/// A request that has not been answered. Dropped before, it logs that its client went away.
pub(super) struct RequestLog {
    id: HeaderValue,
    method: Method,
    path: String,
    ids: Ids,
    peer: SocketAddr,
    began: Instant,
    ended: bool,
}

impl RequestLog {
    pub(super) fn begin(head: &Parts, id: HeaderValue, peer: SocketAddr) -> Self {
        let mut path = head.uri.path().to_owned();
        path.truncate(path.floor_char_boundary(MAX_PATH_BYTES));
        let ids = ids_of_path(&path);
        let method = head.method.clone();
        Self { id, method, path, ids, peer, began: Instant::now(), ended: false }
    }

    /// Logs the answer.
    pub(super) fn end(mut self, response: &Response) {
        self.ended = true;
        let ids = response.extensions().get::<Ids>().copied().unwrap_or_default().or(self.ids);
        let refusal = response.extensions().get::<Refusal>();
        let status = response.status().as_u16();
        self.line(ids, Some(status), refusal);
    }

    fn line(&self, ids: Ids, status: Option<u16>, refusal: Option<&Refusal>) {
        let code = refusal.map(|refusal| refusal.code.as_str());
        let cause = refusal.and_then(|refusal| refusal.cause.as_deref());
        let is_internal = refusal.is_some_and(|refusal| refusal.code == ErrorCode::Internal);
        let request_id = self.id.to_str().unwrap_or_default();
        let template_id = ids.template.map(tracing::field::display);
        let session_id = ids.session.map(tracing::field::display);
        let execution_id = ids.execution.map(tracing::field::display);
        let duration_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        // The level of an event is fixed where it is written, so it is written twice.
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    request_id,
                    method = self.method.as_str(),
                    path = ?self.path,
                    status,
                    code,
                    cause = cause.map(tracing::field::debug),
                    template_id,
                    session_id,
                    execution_id,
                    duration_us,
                    peer = %self.peer,
                    $message
                )
            };
        }
        match (status, is_internal) {
            (None, _) => line!(info, "the client went away"),
            (Some(_), true) => line!(error, "request"),
            (Some(_), false) => line!(info, "request"),
        }
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        if !self.ended {
            self.line(self.ids, None, None);
        }
    }
}

/// The id that stands in the path after its noun.
fn ids_of_path(path: &str) -> Ids {
    let mut ids = Ids::default();
    let mut parts = path.strip_prefix(crate::wire::BASE).unwrap_or_default().split('/').skip(1);
    if let (Some(noun), Some(id)) = (parts.next(), parts.next()) {
        match noun {
            "templates" => ids.template = id.parse().ok(),
            "sessions" => ids.session = id.parse().ok(),
            "executions" => ids.execution = id.parse().ok(),
            _ => {}
        }
    }
    ids
}
