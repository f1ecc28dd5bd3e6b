//! What every request goes through before and after its route: its id, who it speaks for, the log.
//!
//! Invariant: every answer that the program makes has `X-Request-Id`, and is logged once, also when
//! its client went away.

use super::access::Access;
use super::activity::Activity;
use super::log::RequestLog;
use super::{App, routes};
use crate::error::ApiError;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::RouterIntoService;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use uuid::Uuid;
use vm_host::Host;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of a client's request id.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Service {
    router: RouterIntoService<Body>,
    access: Access,
    host: Host,
}

impl Service {
    pub(super) fn new(app: App) -> Self {
        let (access, host) = (app.options.access, app.host.clone());
        Self { router: routes::router(app).into_service(), access, host }
    }

    /// Answers one request.
    pub(super) fn call(
        mut self,
        request: Request<Incoming>,
        activity: &Arc<Activity>,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Response<UntilSent>, Infallible>> + Send + use<> {
        let under_way = activity.begin(request.version());
        async move {
            let (head, body) = request.into_parts();
            let id = request_id(&head);
            let log = RequestLog::begin(&head, id.clone(), peer);
            let admitted = self.access.admit(&self.host, &head);
            let mut response = match admitted {
                Err(refused) => refused.into_response(),
                Ok(principal) => {
                    let mut request = Request::from_parts(head, Body::new(body));
                    request.extensions_mut().insert(Arc::new(principal));
                    let answer = tower_service::Service::call(&mut self.router, request);
                    // A bug in one route is that request's failure, not the connection's.
                    match AssertUnwindSafe(answer).catch_unwind().await {
                        Ok(Ok(response)) => response,
                        Ok(Err(never)) => match never {},
                        Err(_) => ApiError::internal("a route panicked").into_response(),
                    }
                }
            };
            let headers = response.headers_mut();
            headers.insert(X_REQUEST_ID, id);
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            log.end(&response);
            Ok(response.map(|body| UntilSent { body, _under_way: under_way }))
        }
    }
}

/// The client's id when it is short and plain, so that it can be logged and sent back; or a new one.
fn request_id(head: &http::request::Parts) -> HeaderValue {
    let plain = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@~".contains(byte);
        !bytes.is_empty() && bytes.len() <= MAX_REQUEST_ID_BYTES && bytes.iter().all(good)
    };
    match head.headers.get(&X_REQUEST_ID).filter(plain) {
        Some(id) => id.clone(),
        None => HeaderValue::from_str(&Uuid::now_v7().to_string())
            .expect("a UUID is letters, digits and hyphens"),
    }
}

/// A response's body; while it lives, its connection has a request under way.
pub(super) struct UntilSent {
    body: Body,
    _under_way: super::activity::Request,
}

impl http_body::Body for UntilSent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
