//! What a capability of kind `net` named `fetch` says.

use super::{Config, ConfigError, FETCH, wrong};
use crate::net::{AddressRange, NetGrant, OriginPattern};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use std::time::Duration;
use vm_storage::CapabilityKind;

/// Entries that one list of a config may have.
const MAX_ENTRIES: usize = 64;
/// Methods that may be granted: the others are no requests for a script to make.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Redirects that a request may be granted to follow.
const MAX_REDIRECTS: u32 = 20;
/// Bytes of a request's body that may be granted.
pub(crate) const MAX_REQUEST_BYTES: u64 = 16 << 20;
/// Bytes of a response's body that may be granted, after it is unpacked.
pub(crate) const MAX_RESPONSE_BYTES: u64 = 256 << 20;
/// Requests of one execution that may be granted.
pub(crate) const MAX_REQUESTS: u32 = 10_000;

/// Config of a capability of kind `net` named `fetch`. A request is allowed when one of the template's
/// grants has its origin and its method; the limits are that grant's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct NetConfig {
    /// Origins that may be asked: `https://api.example.com`, `https://*.example.com`,
    /// `http://127.0.0.1:8080`, `https://example.com:*`, `https://*`.
    pub(crate) origins: Vec<String>,
    /// Methods that may be used.
    pub(crate) methods: Vec<String>,
    /// Addresses that are not public, or ranges of them as CIDR has it, that names may lead to. The host
    /// has to allow them too.
    pub(crate) addresses: Vec<String>,
    /// Requests of one execution.
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) max_requests: u32,
    /// Redirects that one request follows.
    #[schemars(range(max = 20))]
    pub(crate) max_redirects: u32,
    /// Bytes of a request's body.
    #[schemars(range(max = 16_777_216))]
    pub(crate) max_request_bytes: u64,
    /// Bytes of a response's body, after it is unpacked.
    #[schemars(range(max = 268_435_456))]
    pub(crate) max_response_bytes: u64,
    /// Milliseconds that a request may take, to the end of its response's body.
    #[schemars(range(min = 1, max = 600_000))]
    pub(crate) timeout_ms: u64,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            methods: vec!["GET".to_owned(), "HEAD".to_owned()],
            addresses: Vec::new(),
            max_requests: 100,
            max_redirects: 5,
            max_request_bytes: 1 << 20,
            max_response_bytes: 8 << 20,
            timeout_ms: 30_000,
        }
    }
}

impl NetConfig {
    /// What it grants; none that was checked is left out.
    pub(crate) fn grant(&self) -> NetGrant {
        NetGrant {
            origins: parsed(&self.origins),
            methods: self.methods.clone(),
            addresses: parsed(&self.addresses),
            max_requests: self.max_requests,
            max_redirects: self.max_redirects,
            max_request_bytes: self.max_request_bytes,
            max_response_bytes: self.max_response_bytes,
            timeout: Duration::from_millis(self.timeout_ms),
        }
    }
}

impl Config for NetConfig {
    const NAME: &str = FETCH;
    const KINDS: &[CapabilityKind] = &[CapabilityKind::Net];

    fn nothing() -> Self {
        Self::default()
    }

    fn check(&self) -> Result<(), ConfigError> {
        each("origins", &self.origins, |origin| origin.parse::<OriginPattern>().map(drop))?;
        each("addresses", &self.addresses, |range| range.parse::<AddressRange>().map(drop))?;
        each("methods", &self.methods, |method| {
            let known = METHODS.contains(&method);
            known.then_some(()).ok_or_else(|| format!("must be one of {}", METHODS.join(", ")))
        })?;
        let within = |field: &str, value: u64, least: u64, most: u64| {
            let fits = (least..=most).contains(&value);
            fits.then_some(())
                .ok_or_else(|| wrong(field, format!("must be from {least} to {most}")))
        };
        within("max_requests", self.max_requests.into(), 1, MAX_REQUESTS.into())?;
        within("max_redirects", self.max_redirects.into(), 0, MAX_REDIRECTS.into())?;
        within("max_request_bytes", self.max_request_bytes, 0, MAX_REQUEST_BYTES)?;
        within("max_response_bytes", self.max_response_bytes, 0, MAX_RESPONSE_BYTES)?;
        within("timeout_ms", self.timeout_ms, 1, 600_000)
    }
}

fn each(
    field: &str,
    entries: &[String],
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<(), ConfigError> {
    if entries.len() > MAX_ENTRIES {
        return Err(wrong(field, format!("may have {MAX_ENTRIES} entries, not {}", entries.len())));
    }
    for (index, entry) in entries.iter().enumerate() {
        check(entry).map_err(|reason| wrong(&format!("{field}[{index}]"), reason))?;
    }
    Ok(())
}

fn parsed<T: FromStr>(entries: &[String]) -> Vec<T> {
    entries.iter().filter_map(|entry| entry.parse().ok()).collect()
}
