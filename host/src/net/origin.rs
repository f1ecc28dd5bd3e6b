//! Origins that a config names: a scheme, a host or a pattern of hosts, and a port.
//!
//! ```text
//!  https://api.example.com      that host, port 443        https://*.example.com   each beneath it
//!  http://127.0.0.1:8080        that address and port      https://*               every host
//!  https://example.com:*        any port
//! ```
//!
//! Invariant: patterns and URLs are compared as the URL standard writes them, so that no other notation
//! of a host is another host.

use std::net::IpAddr;
use std::str::FromStr;
use url::{Host, Url};

/// Bytes of a pattern.
const MAX_BYTES: usize = 512;

/// An origin, or several, as a config has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OriginPattern {
    scheme: String,
    host: HostPattern,
    /// Any, when absent.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    /// Every host beneath this one.
    Beneath(String),
    Exactly(Host<String>),
}

impl OriginPattern {
    /// Whether a URL is of one of the origins.
    pub(crate) fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let host_matches = match (&self.host, &host) {
            (HostPattern::Any, _) => true,
            (HostPattern::Beneath(parent), Host::Domain(name)) => {
                let above = name.strip_suffix(parent.as_str());
                above.is_some_and(|above| above.len() > 1 && above.ends_with('.'))
            }
            (HostPattern::Beneath(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
            (HostPattern::Exactly(exactly), host) => exactly.to_string() == host.to_string(),
        };
        let port = url.port_or_known_default();
        host_matches && self.scheme == url.scheme() && (self.port.is_none() || self.port == port)
    }

    /// Its host, if that is an address and not a name of one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self.host {
            HostPattern::Exactly(Host::Ipv4(v4)) => Some(v4.into()),
            HostPattern::Exactly(Host::Ipv6(v6)) => Some(v6.into()),
            HostPattern::Any | HostPattern::Beneath(_) | HostPattern::Exactly(Host::Domain(_)) => {
                None
            }
        }
    }
}

impl FromStr for OriginPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |reason: &str| format!("'{text}' is no origin: {reason}");
        if text.len() > MAX_BYTES {
            return Err("an origin is too long".to_owned());
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        if !matches!(scheme, "http" | "https") {
            return Err(wrong("its scheme is not http or https"));
        }
        let (host, any_port) = match rest.strip_suffix(":*") {
            Some(host) => (host, true),
            None => (rest, false),
        };
        // The rest of a pattern has to be a URL's authority and nothing more.
        let (wild, host) = match host.strip_prefix('*') {
            Some(after) => (true, after),
            None => (false, host),
        };
        let parent = host.strip_prefix('.');
        let authority = match (wild, parent) {
            (true, Some(parent)) => parent.to_owned(),
            (true, None) if host.is_empty() || host.starts_with(':') => format!("any{host}"),
            (true, None) => {
                return Err(wrong("a * stands for all before a dot, or for every host"));
            }
            (false, _) => host.to_owned(),
        };
        if authority.contains(['/', '?', '#', '@', '\\', '*']) {
            return Err(wrong("it is a scheme, a host and a port alone"));
        }
        let url = Url::parse(&format!("{scheme}://{authority}"))
            .map_err(|error| wrong(&error.to_string()))?;
        let parsed = url.host().ok_or_else(|| wrong("it has no host"))?.to_owned();
        let host = match (wild, parent, parsed) {
            (true, Some(_), Host::Domain(parent)) => HostPattern::Beneath(parent),
            (true, Some(_), Host::Ipv4(_) | Host::Ipv6(_)) => {
                return Err(wrong("nothing is beneath an address"));
            }
            (true, None, _) => HostPattern::Any,
            (false, _, host) => HostPattern::Exactly(host),
        };
        let port = if any_port { None } else { url.port_or_known_default() };
        Ok(Self { scheme: scheme.to_owned(), host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, url: &str) -> bool {
        pattern.parse::<OriginPattern>().unwrap().matches(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_pattern_matches_its_origins_in_every_notation_and_no_other() {
        for (pattern, url) in [
            ("https://example.com", "https://EXAMPLE.com:443/a?b#c"),
            ("https://example.com:8443", "https://example.com:8443/"),
            ("https://example.com:*", "https://example.com:1/"),
            ("https://*.example.com", "https://a.b.example.com/"),
            ("https://*", "https://anything.test/"),
            ("http://*:8080", "http://x.test:8080/"),
            ("http://127.0.0.1", "http://0x7f.1/"),
            ("http://127.0.0.1", "http://2130706433/"),
            ("http://[::1]:80", "http://[0:0::1]/"),
            ("https://xn--bcher-kva.example", "https://bücher.example/"),
        ] {
            assert!(matches(pattern, url), "{pattern} {url}");
        }
        for (pattern, url) in [
            ("https://example.com", "http://example.com/"),
            ("https://example.com", "https://example.com:444/"),
            ("https://example.com", "https://example.com.evil.test/"),
            ("https://example.com", "https://evilexample.com/"),
            ("https://*.example.com", "https://example.com/"),
            ("https://*.example.com", "https://evilexample.com/"),
            ("https://*.example.com", "https://.example.com/"),
            ("https://*", "http://anything.test/"),
            ("https://*", "https://anything.test:8443/"),
            ("http://127.0.0.1", "http://127.0.0.2/"),
        ] {
            assert!(!matches(pattern, url), "{pattern} {url}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for wrong in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https:///x",
            "https://example.com/",
            "https://example.com/a",
            "https://u@example.com",
            "https://e*mple.com",
            "https://*x.com",
            "https://a.*.com",
            "https://*.127.0.0.1",
            "https://example.com:99999",
            "https://a b",
            "https://example.com?x",
            "https://example.com#x",
            "HTTPS://example.com",
        ] {
            assert!(wrong.parse::<OriginPattern>().is_err(), "{wrong}");
        }
    }
}
