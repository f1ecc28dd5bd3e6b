//! Who may talk to a server that has no auth: programs of this machine, not web pages.
//!
//! A page that resolves its own name to 127.0.0.1 would send that name as `Host`; one that just posts
//! here would send its own `Origin`. Both are refused, whatever they ask for.
//!
//! Invariant: a request that passes named this machine as the one it talks to.

use crate::error::{ApiError, ErrorCode};
use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::{Authority, Uri};
use std::net::IpAddr;

/// Refuses a request whose `Host` is not loopback or whose `Origin` is not this server.
pub(super) fn check(request: &Parts) -> Result<(), ApiError> {
    let hosts: Vec<_> = request.headers.get_all(HOST).iter().collect();
    let from_header = match hosts.as_slice() {
        [] => None,
        [host] => Some(
            host.to_str()
                .ok()
                .and_then(|host| host.parse::<Authority>().ok())
                .ok_or_else(|| forbidden("the Host header is not a host"))?,
        ),
        [_, _, ..] => return Err(forbidden("there is more than one Host header")),
    };
    let named = [request.uri.authority(), from_header.as_ref()];
    let mut named = named.into_iter().flatten().peekable();
    let Some(&own) = named.peek() else {
        return Err(forbidden("there is no Host header"));
    };
    if named.any(|authority| !is_loopback(authority)) {
        return Err(forbidden("the Host is not this machine"));
    }
    let mut origins = request.headers.get_all(ORIGIN).iter();
    let foreign = |origin: &http::HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        !origin.is_some_and(|origin| {
            origin.scheme_str() == Some("http") && origin.authority() == Some(own)
        })
    };
    if origins.any(foreign) {
        return Err(forbidden("the Origin is another site"));
    }
    Ok(())
}

fn forbidden(reason: &str) -> ApiError {
    let message = format!("{reason}; without auth, only this machine's own programs are served");
    ApiError::new(ErrorCode::ForbiddenOrigin, message)
}

fn is_loopback(authority: &Authority) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(headers: &[(&str, &str)]) -> bool {
        let mut request = http::Request::builder().uri("/api/v1/health");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0).is_ok()
    }

    #[test]
    fn only_loopback_hosts_pass() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:3210"]
        {
            assert!(checked(&[("host", host)]), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "127.0.0.1@example.com",
            "0.0.0.0",
            "10.0.0.1",
            "[::]",
            "[::ffff:127.0.0.1]",
            "2130706433",
            "127.1",
            "a b",
        ] {
            assert!(!checked(&[("host", host)]), "{host}");
        }
        assert!(!checked(&[]));
        assert!(!checked(&[("host", "localhost"), ("host", "localhost")]));
    }

    #[test]
    fn only_the_own_origin_passes() {
        let own = ("host", "127.0.0.1:3210");
        assert!(checked(&[own, ("origin", "http://127.0.0.1:3210")]));
        for origin in [
            "null",
            "",
            "http://example.com",
            "https://127.0.0.1:3210",
            "http://127.0.0.1:8080",
            "http://127.0.0.1",
            "http://localhost:3210",
        ] {
            assert!(!checked(&[own, ("origin", origin)]), "{origin}");
        }
    }
}
