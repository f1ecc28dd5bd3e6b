//! The host's side of `fetch`: what requests a session may make, and those that an execution has open.
//!
//! Invariant: no connection, response or body outlives the execution that asked for it.

use super::calls::Called;
use crate::net::{Body, FetchError, NetGrant, Network, RequestHead, Requested, client, fetch};
use crate::secrets::Placeholder;
use reqwest::Client;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;
use url::Url;

/// Bodies of one execution that may be open.
pub(crate) const MAX_BODIES: usize = 64;
/// Bytes of a request's headers, which are read on an async worker: four times what servers take.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// What requests a session may make.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) network: Arc<Network>,
    pub(crate) grants: Arc<[Arc<NetGrant>]>,
    pub(crate) placeholders: Arc<[Placeholder]>,
}

/// What an execution has of the network.
#[derive(Default)]
pub(crate) struct Fetches {
    /// The client of each grant that was used, and how often it was.
    clients: BTreeMap<usize, Used>,
    bodies: Arc<Mutex<Bodies>>,
}

/// A client that is made when it is first needed.
#[derive(Default)]
struct Used {
    client: Arc<OnceCell<Client>>,
    times: u32,
}

/// Bodies by their numbers; one that is being read is not there meanwhile.
#[derive(Default)]
struct Bodies {
    open: BTreeMap<u32, Option<Body>>,
    last: u32,
}

impl Fetches {
    /// A request, ready to be made: `name` is its method, a blank and its URL.
    pub(super) fn fetch(
        &mut self,
        net: &Net,
        name: &str,
        data: &[u8],
    ) -> Result<impl Future<Output = Called> + Send + use<>, String> {
        let malformed = || "EINVAL\nthe request is malformed".to_owned();
        let (method, url) = name.split_once(' ').ok_or_else(malformed)?;
        let url = Url::parse(url).map_err(|_| malformed())?;
        let (len, rest) = data.split_first_chunk::<4>().ok_or_else(malformed)?;
        let (head, body) =
            rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(malformed)?;
        if head.len() > MAX_HEAD_BYTES {
            return Err(format!("EMSGSIZE\nthe headers have more than {MAX_HEAD_BYTES} bytes"));
        }
        let head: RequestHead = serde_json::from_slice(head).map_err(|_| malformed())?;
        let allows = |grant: &Arc<NetGrant>| grant.allows(method, &url);
        // Where none allows it the first says so, once it is asked.
        let chosen = net.grants.iter().position(allows).unwrap_or(0);
        let grant = net.grants.get(chosen).ok_or("EACCES\nthe template allows no requests")?;
        let client = self.client(chosen, grant)?;
        let (network, grant) = (Arc::clone(&net.network), Arc::clone(grant));
        let placeholders = Arc::clone(&net.placeholders);
        let (method, body, bodies) = (method.to_owned(), body.to_vec(), Arc::clone(&self.bodies));
        Ok(async move {
            let client = made(&client, &network, &grant).await?;
            let requested =
                Requested { network, client, grant, placeholders, method, url, head, body };
            let (mut response, body) = fetch(requested).await.map_err(|error| told(&error))?;
            if let Some(body) = body {
                response.body = Some(lock(&bodies).add(body)?);
            }
            Ok(serde_json::to_vec(&response).expect("a response has nothing that is no JSON"))
        })
    }

    /// The next part of a body, ready to be read.
    pub(super) fn read(
        &self,
        number: &str,
    ) -> Result<impl Future<Output = Called> + Send + use<>, String> {
        let closed = || {
            "EBADF\nthe body is being read, or closed: it ends with the execution that asked for it"
                .to_owned()
        };
        let number: u32 = number.parse().map_err(|_| closed())?;
        let body = lock(&self.bodies).open.get_mut(&number).and_then(Option::take);
        let mut body = body.ok_or_else(closed)?;
        let bodies = Arc::clone(&self.bodies);
        Ok(async move {
            let part = body.next().await;
            let mut bodies = lock(&bodies);
            match part {
                Ok(Some(part)) => {
                    // It may have been closed meanwhile.
                    if let Some(place) = bodies.open.get_mut(&number) {
                        *place = Some(body);
                    }
                    Ok(part)
                }
                Ok(None) => {
                    bodies.open.remove(&number);
                    Ok(Vec::new())
                }
                Err(error) => {
                    bodies.open.remove(&number);
                    Err(told(&error))
                }
            }
        })
    }

    /// Closes a body, unless there is none.
    pub(super) fn close(&self, number: u32) {
        lock(&self.bodies).open.remove(&number);
    }

    fn client(&mut self, index: usize, grant: &NetGrant) -> Result<Arc<OnceCell<Client>>, String> {
        let used = self.clients.entry(index).or_default();
        if used.times >= grant.max_requests {
            let most = grant.max_requests;
            return Err(format!("EDQUOT\nthe execution's limit of {most} requests is reached"));
        }
        used.times += 1;
        Ok(Arc::clone(&used.client))
    }
}

/// The client of a grant. The first in a host reads the machine's certificates, so each is made where
/// that may block.
async fn made(
    known: &OnceCell<Client>,
    network: &Arc<Network>,
    grant: &Arc<NetGrant>,
) -> Result<Client, String> {
    let make = || async {
        let (network, grant) = (Arc::clone(network), Arc::clone(grant));
        let made = tokio::task::spawn_blocking(move || client(&network, &grant)).await;
        let made = made.map_err(|_| "EIO\nthe host is stopping".to_owned())?;
        made.map_err(|error| format!("EIO\nno client can be made: {error}"))
    };
    known.get_or_try_init(make).await.cloned()
}

impl Bodies {
    fn add(&mut self, body: Body) -> Result<u32, String> {
        if self.open.len() >= MAX_BODIES {
            return Err(format!("EMFILE\n{MAX_BODIES} bodies of this execution are open"));
        }
        self.last += 1;
        self.open.insert(self.last, Some(body));
        Ok(self.last)
    }
}

fn lock(bodies: &Mutex<Bodies>) -> std::sync::MutexGuard<'_, Bodies> {
    bodies.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error as scripts are told: a code and a reason.
fn told(error: &FetchError) -> String {
    format!("{}\n{error}", error.code())
}
