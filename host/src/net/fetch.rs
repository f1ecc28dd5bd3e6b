//! One request: followed through its redirects, each checked like the first.
//!
//! Invariant: no more of a body is held than one part of it, and none past its limit is given; a secret
//! is put only into headers of requests to origins that it is for.

use super::redact::{Redactor, Replacement};
use super::resolve::AddressError;
use super::{NetGrant, Network};
use crate::secrets::Placeholder;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use reqwest::Client;
use serde::{Deserialize, Serialize};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// Headers that are the client's own to say, which a script's are left out of, as a browser does.
const FORBIDDEN: [HeaderName; 14] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VIA,
];
/// Headers that another origin is not told by a redirect.
const PRIVATE: [HeaderName; 2] = [header::AUTHORIZATION, header::COOKIE];
/// Headers that go with a body that is dropped.
const OF_BODY: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_ENCODING,
];

/// What a script says of a request beside its method and its URL.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestHead {
    /// Names and values, whose characters are bytes.
    headers: Vec<(String, String)>,
    redirect: Redirect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Redirect {
    Follow,
    Error,
    Manual,
}

/// A request that was granted.
pub(crate) struct Requested {
    pub(crate) network: Arc<Network>,
    pub(crate) client: Client,
    pub(crate) grant: Arc<NetGrant>,
    pub(crate) placeholders: Arc<[Placeholder]>,
    pub(crate) method: String,
    pub(crate) url: Url,
    pub(crate) head: RequestHead,
    pub(crate) body: Vec<u8>,
}

/// What a script is told of a response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Response {
    status: u16,
    status_text: String,
    headers: Vec<(String, String)>,
    url: String,
    redirected: bool,
    /// The number that its body is read under, once it has one.
    pub(crate) body: Option<u32>,
}

/// The rest of a response.
pub(crate) struct Body {
    response: reqwest::Response,
    redactor: Redactor,
    left: u64,
    limit: u64,
    deadline: Instant,
    timeout: Duration,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the template does not allow {method} {origin}")]
    NotGranted { method: String, origin: String },
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("{0}")]
    Malformed(String),
    #[error("the request's body is larger than {0} bytes")]
    RequestTooLarge(u64),
    #[error("the response's body is larger than {0} bytes")]
    ResponseTooLarge(u64),
    #[error("it took longer than {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("it was redirected more than {0} times")]
    TooManyRedirects(u32),
    #[error("it was redirected")]
    Redirected,
    #[error("the secret {name} may not be sent to {origin}")]
    SecretElsewhere { name: String, origin: String },
    #[error("{0}")]
    Client(String),
    #[error("cannot connect to {host}: {reason}")]
    Connect { host: String, reason: String },
}

impl FetchError {
    /// The code that scripts are told.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotGranted { .. }
            | Self::SecretElsewhere { .. }
            | Self::Address(AddressError::Unnamed(_) | AddressError::Forbidden(_)) => "EACCES",
            Self::Address(AddressError::Unknown(_)) => "ENOTFOUND",
            Self::Malformed(_) => "EINVAL",
            Self::RequestTooLarge(_) | Self::ResponseTooLarge(_) => "EMSGSIZE",
            Self::TimedOut(_) => "ETIMEDOUT",
            Self::TooManyRedirects(_) | Self::Redirected => "ELOOP",
            Self::Client(_) => "EPROTO",
            Self::Connect { .. } => "ECONNREFUSED",
        }
    }

    fn of(error: reqwest::Error, url: &Url) -> Self {
        let error = error.without_url();
        let mut source = error.source();
        while let Some(cause) = source {
            if cause.is::<AddressError>() {
                // It is boxed by the client, so it is told anew in its own words.
                return Self::refused(cause);
            }
            source = cause.source();
        }
        let reason = innermost(&error);
        if error.is_connect() {
            let host = url.host_str().unwrap_or_default().to_owned();
            return Self::Connect { host, reason };
        }
        Self::Client(reason)
    }

    fn refused(cause: &(dyn std::error::Error + 'static)) -> Self {
        match cause.downcast_ref() {
            Some(AddressError::Unnamed(address)) => AddressError::Unnamed(*address).into(),
            Some(AddressError::Forbidden(address)) => AddressError::Forbidden(*address).into(),
            Some(AddressError::Unknown(name)) => AddressError::Unknown(name.clone()).into(),
            None => Self::Client(cause.to_string()),
        }
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Makes a request; gives the response's head, and its body where it has one.
pub(crate) async fn fetch(requested: Requested) -> Result<(Response, Option<Body>), FetchError> {
    let timeout = requested.grant.timeout;
    let deadline = Instant::now() + timeout;
    let followed = tokio::time::timeout_at(deadline, follow(requested, deadline));
    followed.await.map_err(|_| FetchError::TimedOut(timeout))?
}

async fn follow(
    mut requested: Requested,
    deadline: Instant,
) -> Result<(Response, Option<Body>), FetchError> {
    let mut headers = header_map(&requested.head.headers)?;
    let mut body = Bytes::from(std::mem::take(&mut requested.body));
    let mut sent: Vec<Replacement> = Vec::new();
    let Requested { network, client, grant, placeholders, mut method, mut url, head, .. } =
        requested;
    if body.len() as u64 > grant.max_request_bytes {
        return Err(FetchError::RequestTooLarge(grant.max_request_bytes));
    }
    let mut redirects = 0;
    loop {
        if !grant.allows(&method, &url) {
            return Err(FetchError::NotGranted { method, origin: origin_of(&url) });
        }
        grant.check_literal(&network, &url)?;
        let filled = filled(&headers, &placeholders, &url, redirects == 0, &mut sent)?;
        let parsed = Method::from_bytes(method.as_bytes())
            .map_err(|_| FetchError::Malformed(format!("'{method}' is no method")))?;
        let request = client.request(parsed, url.clone()).headers(filled).body(body.clone());
        let response = request.send().await.map_err(|error| FetchError::of(error, &url))?;
        let target = match head.redirect {
            Redirect::Manual => None,
            Redirect::Follow | Redirect::Error => target(&response, &url)?,
        };
        let Some(target) = target else {
            let redactor = Redactor::new(sent);
            return Ok(received(response, redactor, &url, redirects > 0, &grant, deadline));
        };
        if head.redirect == Redirect::Error {
            return Err(FetchError::Redirected);
        }
        redirects += 1;
        if redirects > grant.max_redirects {
            return Err(FetchError::TooManyRedirects(grant.max_redirects));
        }
        if changes_method(response.status(), &method) {
            "GET".clone_into(&mut method);
            body = Bytes::new();
            for name in &OF_BODY {
                headers.remove(name);
            }
        }
        if target.origin() != url.origin() {
            for name in &PRIVATE {
                headers.remove(name);
            }
        }
        url = target;
    }
}

/// Headers as they are sent, without those that are the client's.
fn header_map(pairs: &[(String, String)]) -> Result<HeaderMap, FetchError> {
    let wrong = |name: &str| FetchError::Malformed(format!("the header '{name}' is none"));
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(name))?;
        if FORBIDDEN.contains(&header) || name.starts_with("sec-") || name.starts_with("proxy-") {
            continue;
        }
        let bytes: Option<Vec<u8>> =
            value.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        let value = bytes.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
        headers
            .try_append(header, value.ok_or_else(|| wrong(name))?)
            .map_err(|_| FetchError::Malformed("there are too many headers".to_owned()))?;
    }
    Ok(headers)
}

/// The headers with the secrets in the places of their placeholders. Another origin that a redirect
/// leads to sees the placeholder.
fn filled(
    headers: &HeaderMap,
    placeholders: &[Placeholder],
    url: &Url,
    is_first: bool,
    sent: &mut Vec<Replacement>,
) -> Result<HeaderMap, FetchError> {
    let mut filled = headers.clone();
    if placeholders.is_empty() {
        return Ok(filled);
    }
    for value in filled.values_mut() {
        let Ok(text) = value.to_str() else { continue };
        let mut text = text.to_owned();
        for placeholder in placeholders {
            if !text.contains(&placeholder.text) {
                continue;
            }
            if !placeholder.origins.iter().any(|origin| origin.matches(url)) {
                if is_first {
                    let (name, origin) = (placeholder.name.clone(), origin_of(url));
                    return Err(FetchError::SecretElsewhere { name, origin });
                }
                continue;
            }
            text = text.replace(&placeholder.text, &placeholder.value);
            let replacement = Replacement {
                value: placeholder.value.clone(),
                placeholder: placeholder.text.clone(),
            };
            if !sent.contains(&replacement) {
                sent.push(replacement);
            }
        }
        let mut secret = HeaderValue::from_str(&text)
            .map_err(|_| FetchError::Malformed("a secret fits no header".to_owned()))?;
        secret.set_sensitive(true);
        *value = secret;
    }
    Ok(filled)
}

/// Where a response leads, if it leads anywhere.
fn target(response: &reqwest::Response, url: &Url) -> Result<Option<Url>, FetchError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(header::LOCATION) else { return Ok(None) };
    let location = String::from_utf8_lossy(location.as_bytes());
    let wrong = || FetchError::Malformed("it was redirected to what is no URL".to_owned());
    let mut target = url.join(&location).map_err(|_| wrong())?;
    if !target.username().is_empty() || target.password().is_some() {
        return Err(wrong());
    }
    if target.fragment().is_none() {
        target.set_fragment(url.fragment());
    }
    Ok(Some(target))
}

/// Whether what is asked for next is asked for by GET.
fn changes_method(status: StatusCode, method: &str) -> bool {
    match status.as_u16() {
        301 | 302 => method == "POST",
        303 => !matches!(method, "GET" | "HEAD"),
        _ => false,
    }
}

fn received(
    response: reqwest::Response,
    redactor: Redactor,
    url: &Url,
    redirected: bool,
    grant: &NetGrant,
    deadline: Instant,
) -> (Response, Option<Body>) {
    let status = response.status();
    let latin1 = |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
    let shown = |value: &HeaderValue| -> String {
        let text: String = latin1(value);
        redactor.whole(&text).into_owned()
    };
    let reason = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let status_text = match reason {
        Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
        None => status.canonical_reason().unwrap_or_default().to_owned(),
    };
    let headers = response.headers();
    let head = Response {
        status: status.as_u16(),
        status_text: redactor.whole(&status_text).into_owned(),
        headers: headers.iter().map(|(name, value)| (name.to_string(), shown(value))).collect(),
        url: redactor.whole(url.as_str()).into_owned(),
        redirected,
        body: None,
    };
    let is_empty = response.content_length() == Some(0);
    let has_body = !is_empty && !matches!(status.as_u16(), 101 | 103 | 204 | 205 | 304);
    let limit = grant.max_response_bytes;
    let body = has_body.then(|| Body {
        response,
        redactor,
        left: limit,
        limit,
        deadline,
        timeout: grant.timeout,
    });
    (head, body)
}

impl Body {
    /// The next bytes; `None` at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        loop {
            let url = self.response.url().clone();
            let chunk = tokio::time::timeout_at(self.deadline, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| FetchError::TimedOut(self.timeout))?;
            let Some(chunk) = chunk.map_err(|error| FetchError::of(error, &url))? else {
                let rest = self.redactor.end();
                return Ok((!rest.is_empty()).then_some(rest));
            };
            let left = self.left.checked_sub(chunk.len() as u64);
            self.left = left.ok_or(FetchError::ResponseTooLarge(self.limit))?;
            let part = self.redactor.part(&chunk);
            if !part.is_empty() {
                return Ok(Some(part));
            }
        }
    }
}
