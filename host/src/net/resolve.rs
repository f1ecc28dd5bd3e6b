//! Names looked up and judged before anything is connected to.
//!
//! Invariant: what this gives is connected to as it is; a name with one address that may not be reached
//! has none that may.

use super::address::{AddressRange, is_public};
use super::{Network, OriginPattern};
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};

/// Connections that are kept for other requests of an execution.
const MAX_IDLE: usize = 16;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What one capability allows.
#[derive(Clone, Debug)]
pub(crate) struct NetGrant {
    pub(crate) origins: Vec<OriginPattern>,
    pub(crate) methods: Vec<String>,
    /// Addresses that are not public, and that it names.
    pub(crate) addresses: Vec<AddressRange>,
    pub(crate) max_requests: u32,
    pub(crate) max_redirects: u32,
    pub(crate) max_request_bytes: u64,
    pub(crate) max_response_bytes: u64,
    pub(crate) timeout: Duration,
}

/// Why an address may not be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("the address {0} is not public, and the template does not name it")]
    Unnamed(IpAddr),
    #[error("the address {0} is not public, and the host does not allow it (serve --allow-net)")]
    Forbidden(IpAddr),
    #[error("the host '{0}' is not found")]
    Unknown(String),
}

impl NetGrant {
    pub(crate) fn allows(&self, method: &str, url: &Url) -> bool {
        self.methods.iter().any(|one| one == method) && self.has_origin(url)
    }

    pub(super) fn has_origin(&self, url: &Url) -> bool {
        self.origins.iter().any(|origin| origin.matches(url))
    }

    /// Whether the host of a URL is an address that may not be reached; of a name that is found out when
    /// it is looked up.
    pub(super) fn check_literal(&self, network: &Network, url: &Url) -> Result<(), AddressError> {
        let address = match url.host() {
            Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
            Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        let named =
            self.origins.iter().any(|origin| origin.address().is_some() && origin.matches(url));
        self.check(network, address, named)
    }

    /// Whether an address may be reached; `named` says that it is by an origin that is this address.
    fn check(&self, network: &Network, address: IpAddr, named: bool) -> Result<(), AddressError> {
        if is_public(address) {
            return Ok(());
        }
        if !named && !self.addresses.iter().any(|range| range.contains(address)) {
            return Err(AddressError::Unnamed(address));
        }
        if !network.allows(address) {
            return Err(AddressError::Forbidden(address));
        }
        Ok(())
    }
}

/// A client whose connections go where a grant lets them.
pub(crate) fn client(
    network: &Arc<Network>,
    grant: &Arc<NetGrant>,
) -> Result<Client, reqwest::Error> {
    let resolver = Checked { network: Arc::clone(network), grant: Arc::clone(grant) };
    Client::builder()
        .tls_backend_preconfigured(network.tls().clone())
        .dns_resolver(resolver)
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE)
        .user_agent(concat!("vm-system/", env!("CARGO_PKG_VERSION")))
        .build()
}

struct Checked {
    network: Arc<Network>,
    grant: Arc<NetGrant>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (network, grant) = (Arc::clone(&self.network), Arc::clone(&self.grant));
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let place = Arc::clone(&network.lookups).acquire_owned().await?;
            // The machine's resolver takes a thread, which goes on when whoever asked is gone: the
            // place goes with it.
            let asked = name.clone();
            let looked_up = tokio::task::spawn_blocking(move || {
                let _place = place;
                std::net::ToSocketAddrs::to_socket_addrs(&(asked.as_str(), 0))
                    .map(Iterator::collect::<Vec<SocketAddr>>)
            });
            let found = looked_up.await?.unwrap_or_default();
            for address in &found {
                grant.check(&network, address.ip(), false)?;
            }
            if found.is_empty() {
                return Err(AddressError::Unknown(name).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
