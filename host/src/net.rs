//! Requests of scripts over the network: what may be asked for, where it may lead, and asking for it.
//!
//! ```text
//!  URL ──▶ origin and method granted? ──▶ address: literal, or every one that the name has, public or
//!   ▲                                     named ──▶ connection to it ──▶ response ──▶ bounded body
//!   └────────────────────── redirect, checked like the first ───────────────┘
//! ```
//!
//! Invariant: a connection is made only to an address that was checked for this grant: names are
//! resolved once, and what they resolved to is what is connected to. Connections are kept for other
//! requests of the same execution under the same grant, and for no others.
//!
//! Leaves to others: how scripts name requests, and what an execution may have under way.

mod address;
mod fetch;
mod origin;
mod redact;
mod resolve;

pub(crate) use address::AddressRange;
pub(crate) use fetch::{Body, FetchError, RequestHead, Requested, fetch};
pub(crate) use origin::OriginPattern;
pub(crate) use resolve::{NetGrant, client};

use address::is_public;
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// Names that are looked up at one time in the whole host: each takes a thread until the machine's
/// resolver answers.
const MAX_LOOKUPS: usize = 64;

/// What requests of all sessions share.
#[derive(Debug)]
pub(crate) struct Network {
    /// Addresses that are not public, and may be reached where a template names them.
    pub(crate) allowed: Vec<AddressRange>,
    pub(crate) lookups: Arc<Semaphore>,
    tls: OnceLock<ClientConfig>,
}

impl Network {
    pub(crate) fn new(allowed: Vec<AddressRange>) -> Self {
        Self { allowed, lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)), tls: OnceLock::new() }
    }

    /// Whether an address may be reached where a template names it.
    fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.iter().any(|range| range.contains(address))
    }

    /// Whether an origin of a template's may be asked, as far as that can be told of its name.
    pub(crate) fn may_ask(&self, origin: &str) -> bool {
        let origin = origin.parse::<OriginPattern>().ok();
        origin.is_some_and(|it| it.address().is_none_or(|address| self.allows(address)))
    }

    /// What is left of a template's ranges.
    pub(crate) fn allowed_of(&self, ranges: &[String]) -> Vec<String> {
        let named = ranges.iter().filter_map(|range| range.parse::<AddressRange>().ok());
        let common =
            named.flat_map(|named| self.allowed.iter().filter_map(move |it| it.and(named)));
        common.map(|range| range.to_string()).collect()
    }

    /// How servers are trusted: by the machine's certificates or, where it has none, by Mozilla's. Reads
    /// files when it is first called.
    fn tls(&self) -> &ClientConfig {
        self.tls.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("ring has the cipher suites of the default versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            config
        })
    }
}
