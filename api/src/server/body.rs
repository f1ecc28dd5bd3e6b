//! Reading and decoding the body of a request.
//!
//! Invariant: no more than the limit is held of one body, nor of all together more than the server's
//! room, and no longer than the timeout is waited for it.

use super::App;
use crate::error::{ApiError, ErrorCode};
use crate::strict_json;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vm_host::{HostError, Principal};

/// Bytes past its limit that are still read of a body and dropped, so that its sender gets to read
/// the refusal. One that announces more is refused at once.
const MAX_DRAINED_BYTES: u64 = 64 << 20;

/// The room that a body takes until its request has been answered.
pub(super) struct Room {
    /// Given back when it is dropped.
    _permit: Option<OwnedSemaphorePermit>,
}

/// A body that must be there.
pub(super) struct Json<T>(pub(super) T, pub(super) Room);

/// A body that may be left out; where it is there, it is `{}`.
pub(super) struct NoBody;

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (bytes, room) = read(request, app).await?;
        if bytes.is_empty() {
            return Err(ApiError::new(ErrorCode::InvalidRequest, "the body is empty"));
        }
        Ok(Self(decode(&bytes)?, room))
    }
}

impl FromRequest<App> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (bytes, _room) = read(request, app).await?;
        if !bytes.is_empty() {
            decode::<crate::wire::Nothing>(&bytes)?;
        }
        Ok(Self)
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    strict_json::decode(bytes)
        .map_err(|error| ApiError::new(ErrorCode::InvalidRequest, format!("bad body: {error}")))
}

async fn read(request: Request, app: &App) -> Result<(Bytes, Room), ApiError> {
    let (head, body) = request.into_parts();
    let principal = head.extensions.get::<Arc<Principal>>().cloned();
    let is_json = is_json(&head.headers);
    if head.headers.contains_key(CONTENT_TYPE) && !is_json {
        return Err(not_json());
    }
    if head.headers.contains_key(CONTENT_ENCODING) {
        let message = "a body is taken as it is, without Content-Encoding";
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, message));
    }
    let awaits_continue = head.headers.contains_key(EXPECT);
    let reading = collect(body, app.options.max_body_bytes, &app.bodies, awaits_continue);
    let (bytes, room) = tokio::time::timeout(app.options.body_timeout, reading)
        .await
        .map_err(|_| ApiError::new(ErrorCode::RequestTimeout, "the body came too slowly"))??;
    if !bytes.is_empty() && !is_json {
        return Err(not_json());
    }
    // A body may take its time, and the token may not be taken any more by now.
    if let Some(principal) = principal {
        app.host.check(&principal).map_err(HostError::from)?;
    }
    Ok((bytes, room))
}

fn not_json() -> ApiError {
    let message = "a body is JSON, and its Content-Type says application/json";
    ApiError::new(ErrorCode::UnsupportedMediaType, message)
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let Some(mime) = only.to_str().ok().and_then(|text| text.parse::<mime::Mime>().ok()) else {
        return false;
    };
    let utf_8 = mime.get_param(mime::CHARSET).is_none_or(|charset| charset == mime::UTF_8);
    mime.essence_str() == mime::APPLICATION_JSON.as_ref() && utf_8
}

/// Reads a body to its end.
async fn collect(
    mut body: Body,
    limit: usize,
    room: &Arc<Semaphore>,
    awaits_continue: bool,
) -> Result<(Bytes, Room), ApiError> {
    let too_large = || {
        let message = format!("the body is larger than {limit} bytes");
        ApiError::new(ErrorCode::PayloadTooLarge, message).with("limit_bytes", limit)
    };
    let announced = body.size_hint().lower();
    let is_too_large = announced > limit as u64;
    if is_too_large && (awaits_continue || announced > MAX_DRAINED_BYTES) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    let mut held: Option<OwnedSemaphorePermit> = None;
    let mut received = 0_u64;
    while let Some(frame) = body.frame().await {
        let broken = |error: axum::Error| {
            ApiError::new(ErrorCode::InvalidRequest, format!("the body broke off: {error}"))
        };
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        received += data.len() as u64;
        if received > limit as u64 || is_too_large {
            if received > limit as u64 + MAX_DRAINED_BYTES {
                break;
            }
            bytes.clear();
            held = None;
            continue;
        }
        let more = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let permit = Arc::clone(room).try_acquire_many_owned(more).map_err(|_| {
            ApiError::capacity("the server holds as many bytes of request bodies as it may")
        })?;
        match &mut held {
            Some(held) => held.merge(permit),
            None => held = Some(permit),
        }
        bytes.extend_from_slice(&data);
    }
    if received > limit as u64 {
        return Err(too_large());
    }
    Ok((bytes.freeze(), Room { _permit: held }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(chunks: &[&'static str]) -> Body {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok::<_, std::io::Error>(*chunk)).collect();
        Body::from_stream(futures_util::stream::iter(chunks))
    }

    #[tokio::test]
    async fn a_body_holds_room_for_its_bytes_while_it_lives() {
        let room = Arc::new(Semaphore::new(10));
        let (bytes, held) = collect(body(&["1234", "56"]), 8, &room, false).await.unwrap();
        assert_eq!(bytes.as_ref(), b"123456");
        assert_eq!(room.available_permits(), 4);
        let full = collect(body(&["1234", "5"]), 8, &room, false).await.err().unwrap();
        assert_eq!(full.code, ErrorCode::CapacityExceeded);
        drop(held);
        assert_eq!(room.available_permits(), 10);
    }

    #[tokio::test]
    async fn a_body_past_the_limit_is_refused_however_it_comes() {
        let room = Arc::new(Semaphore::new(100));
        collect(body(&["1234", "5678"]), 8, &room, false).await.unwrap();
        for chunks in [&["123456789"][..], &["1234", "5678", "9"], &["1", "2345678", "9abc"]] {
            let refused = collect(body(chunks), 8, &room, false).await.err().unwrap();
            assert_eq!(refused.code, ErrorCode::PayloadTooLarge);
        }
        let refused = collect(Body::from("123456789"), 8, &room, true).await.err().unwrap();
        assert_eq!(refused.code, ErrorCode::PayloadTooLarge);
        assert_eq!(room.available_permits(), 100);
    }

    #[test]
    fn only_json_in_utf_8_is_json() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(value));
            is_json(&headers)
        };
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(with(good), "{good}");
        }
        for bad in
            ["text/plain", "application/json; charset=latin1", "application/jsonp", "json", ""]
        {
            assert!(!with(bad), "{bad}");
        }
    }
}
