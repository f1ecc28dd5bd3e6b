//! Who is served: the tenants of a host, and the tokens that speak for them.
//!
//! A token's text is `vms_`, its id and a secret of 256 random bits, both in hexadecimal. The store has
//! the secret's hash; the text is given once, when the token is made.
//!
//! Invariant: what is in memory here is in the store; a token that was revoked is taken by no request
//! that comes after the answer which says so.

use crate::artifacts::hex;
use crate::engine::hash;
use crate::error::HostError;
use crate::host::Host;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use vm_storage::{
    MAX_LISTED, PageRequest, Scope, SessionFilter, Storage, StorageError, Tenant, TenantId,
    TenantStatus, Token, TokenId, now,
};

/// What the text of every token begins with, so that scanners of leaked secrets know it.
const PREFIX: &str = "vms_";

/// Bytes of a token's secret.
const SECRET_BYTES: usize = 32;

/// Tokens of one tenant, so that none takes the places of all.
const MAX_TENANT_TOKENS: usize = 1_000;

/// Rest of a deletion that meets what was begun before it.
const REST: Duration = Duration::from_millis(10);

/// The tenants, and the tokens that speak for them.
pub(crate) struct Tenancy {
    known: RwLock<Known>,
    /// Held from a change's commit until it is in memory, so that the last commit is what is there.
    changing: tokio::sync::Mutex<()>,
}

struct Known {
    tenants: HashMap<TenantId, Arc<Tenant>>,
    tokens: HashMap<TokenId, Arc<Token>>,
}

/// What may be used for what, for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The tenant.
    pub tenant: TenantId,
    /// The token that was shown; none where no token is asked for.
    pub token: Option<TokenId>,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// From when on it is not taken any more.
    pub expires_at: Option<Timestamp>,
}

impl Principal {
    /// The one tenant of a host that asks for no tokens, which may do everything.
    pub fn local() -> Self {
        Self { tenant: TenantId::LOCAL, token: None, scopes: vec![Scope::Admin], expires_at: None }
    }

    /// Who showed no token where one is asked for, and may do nothing that needs one.
    pub fn nobody() -> Self {
        Self { scopes: Vec::new(), ..Self::local() }
    }

    /// Whether it may do what asks for a scope.
    pub fn may(&self, wanted: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.covers(wanted))
    }
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// It is none of ours, or was revoked, or its time is over: which of these is not said.
    #[error("the token is not valid")]
    Invalid,
    /// Its tenant is suspended.
    #[error("the tenant is suspended")]
    Suspended,
}

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// A name for people.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// From when on it is not taken any more.
    pub expires_at: Option<Timestamp>,
}

impl NewToken {
    /// Makes it for a tenant; gives it, and its text, which is not kept.
    ///
    /// # Errors
    /// `Entropy`.
    pub fn made(self, tenant_id: TenantId) -> Result<(Token, String), HostError> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|error| HostError::Entropy(error.to_string()))?;
        let secret = hex(&secret);
        let Self { name, scopes, expires_at } = self;
        // A secret as random as a key needs no salt and no slow hash.
        let (id, hash, created_at) = (TokenId::new(), hash(secret.as_bytes()), now());
        let text = format!("{PREFIX}{}_{secret}", id.as_uuid().simple());
        Ok((Token { id, tenant_id, name, hash, scopes, created_at, expires_at }, text))
    }
}

impl Tenancy {
    /// Those that a store has. Not on an async worker.
    pub(crate) fn load(storage: &Storage) -> Result<Self, StorageError> {
        let known = RwLock::new(Known::load(storage)?);
        Ok(Self { known, changing: tokio::sync::Mutex::default() })
    }

    // Every critical section is a look at the maps, or one change of them.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, id: TenantId) -> Option<Arc<Tenant>> {
        self.read().tenants.get(&id).cloned()
    }

    /// For whom a token speaks.
    fn authenticate(&self, text: &str) -> Result<Principal, TokenRefused> {
        let (id, secret) = parse(text).ok_or(TokenRefused::Invalid)?;
        let known = self.read();
        let token = known.tokens.get(&id).ok_or(TokenRefused::Invalid)?;
        let is_same: bool = hash(secret.as_bytes()).as_bytes().ct_eq(token.hash.as_bytes()).into();
        if !is_same {
            return Err(TokenRefused::Invalid);
        }
        known.check(token)?;
        let Token { tenant_id: tenant, expires_at, ref scopes, .. } = **token;
        Ok(Principal { tenant, token: Some(id), scopes: scopes.clone(), expires_at })
    }

    /// Refuses a principal whose token is not taken any more.
    fn check(&self, principal: &Principal) -> Result<(), TokenRefused> {
        let Some(id) = principal.token else { return Ok(()) };
        let known = self.read();
        known.check(known.tokens.get(&id).ok_or(TokenRefused::Invalid)?)
    }
}

impl Known {
    fn load(storage: &Storage) -> Result<Self, StorageError> {
        let tenants = storage.tenants()?.into_iter().map(|one| (one.id, Arc::new(one))).collect();
        let tokens = storage.tokens()?.into_iter().map(|one| (one.id, Arc::new(one))).collect();
        Ok(Self { tenants, tokens })
    }

    /// Refuses a token whose time is over, and one of a tenant that is not served.
    fn check(&self, token: &Token) -> Result<(), TokenRefused> {
        if token.expires_at.is_some_and(|expires_at| expires_at <= now()) {
            return Err(TokenRefused::Invalid);
        }
        let tenant = self.tenants.get(&token.tenant_id).ok_or(TokenRefused::Invalid)?;
        match tenant.status {
            TenantStatus::Active => Ok(()),
            TenantStatus::Suspended => Err(TokenRefused::Suspended),
        }
    }
}

impl Host {
    /// For whom a token speaks, by its text.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn authenticate(&self, token: &str) -> Result<Principal, TokenRefused> {
        self.tenancy().authenticate(token)
    }

    /// Refuses a principal whose token was revoked, or is over, since it was shown; or whose tenant is
    /// suspended.
    ///
    /// # Errors
    /// Why it is not taken any more.
    pub fn check(&self, principal: &Principal) -> Result<(), TokenRefused> {
        self.tenancy().check(principal)
    }

    /// Notes what a commit changed, or after one that failed what the store has then, as far as that can be
    /// read. The caller holds the right to change.
    async fn noted<T>(
        &self,
        committed: Result<T, StorageError>,
        note: impl FnOnce(&mut Known, &T),
    ) -> Result<T, HostError> {
        match committed {
            Ok(done) => {
                note(&mut self.tenancy().write(), &done);
                Ok(done)
            }
            Err(error) => {
                if let Ok(known) = self.read(Known::load).await {
                    *self.tenancy().write() = known;
                }
                Err(match error {
                    StorageError::UnknownTenant(id) => HostError::TenantNotFound(id),
                    StorageError::UnknownToken(id) => HostError::TokenNotFound(id),
                    error => error.into(),
                })
            }
        }
    }

    /// Makes a tenant.
    ///
    /// # Errors
    /// `Storage(TenantNameTaken)`, `Storage(TooManyTenants)`, and the states of the store.
    pub async fn create_tenant(&self, tenant: Tenant) -> Result<(), HostError> {
        let host = self.clone();
        let create = async move {
            let _changing = host.tenancy().changing.lock().await;
            let created = host.storage().create_tenant(tenant.clone()).await;
            let insert = |known: &mut Known, (): &()| {
                known.tenants.insert(tenant.id, Arc::new(tenant));
            };
            host.noted(created, insert).await
        };
        self.detached(create).await
    }

    /// All tenants, oldest first.
    pub fn tenants(&self) -> Vec<Tenant> {
        let known = self.tenancy().read();
        let mut tenants: Vec<_> = known.tenants.values().map(|one| (**one).clone()).collect();
        tenants.sort_unstable_by_key(|tenant| tenant.id);
        tenants
    }

    /// One tenant.
    ///
    /// # Errors
    /// `TenantNotFound`.
    pub fn tenant(&self, id: TenantId) -> Result<Tenant, HostError> {
        let found = self.tenancy().find(id).ok_or(HostError::TenantNotFound(id))?;
        Ok((*found).clone())
    }

    /// Changes a tenant; what is suspended is refused from the next request on.
    ///
    /// # Errors
    /// `TenantNotFound`, `Storage(TenantNameTaken)`, `Storage(LocalTenant)`, and the states of the store.
    pub async fn update_tenant(
        &self,
        id: TenantId,
        change: impl FnOnce(&mut Tenant) + Send + 'static,
    ) -> Result<Tenant, HostError> {
        let host = self.clone();
        let update = async move {
            let _changing = host.tenancy().changing.lock().await;
            let changed = host.storage().update_tenant(id, |tenant: &mut Tenant| {
                change(tenant);
                tenant.updated_at = now();
                Ok::<_, StorageError>(tenant.clone())
            });
            let insert = |known: &mut Known, changed: &Tenant| {
                known.tenants.insert(id, Arc::new(changed.clone()));
            };
            host.noted(changed.await, insert).await
        };
        self.detached(update).await
    }

    /// Removes a tenant, and all that it has: its sessions are closed first, and nobody speaks for it
    /// any more. One that was interrupted is suspended, and can be removed again.
    ///
    /// # Errors
    /// `TenantNotFound`, `Storage(LocalTenant)`, and the states of the store.
    pub async fn delete_tenant(&self, id: TenantId) -> Result<(), HostError> {
        self.update_tenant(id, |tenant| tenant.status = TenantStatus::Suspended).await?;
        let host = self.clone();
        let delete = async move {
            let own = host.within(id);
            // What was begun before it was suspended may still make a session or a template.
            loop {
                own.remove_all().await?;
                let changing = host.tenancy().changing.lock().await;
                let deleted = host.storage().delete_tenant(id).await;
                if matches!(deleted, Err(StorageError::TenantNotEmpty(_))) {
                    drop(changing);
                    tokio::time::sleep(REST).await;
                    continue;
                }
                let remove = |known: &mut Known, (): &()| {
                    known.tenants.remove(&id);
                    known.tokens.retain(|_, token| token.tenant_id != id);
                };
                return host.noted(deleted, remove).await;
            }
        };
        self.detached(delete).await
    }

    /// Removes the tenant's sessions and templates. What somebody else removes meanwhile is gone too.
    async fn remove_all(&self) -> Result<(), HostError> {
        loop {
            let page = PageRequest::first(MAX_LISTED);
            let sessions = self.list_sessions(SessionFilter::default(), page).await?.items;
            for session in &sessions {
                self.refuse_when_stopping()?;
                match self.purge_session(session.id).await {
                    Ok(_)
                    | Err(
                        HostError::SessionNotFound(_)
                        | HostError::Storage(StorageError::UnknownSession(_)),
                    ) => {}
                    Err(error) => return Err(error),
                }
            }
            if sessions.is_empty() {
                break;
            }
        }
        let tenant = self.tenant_id();
        loop {
            self.refuse_when_stopping()?;
            let own = self.read(move |storage| storage.owned_templates(tenant, MAX_LISTED)).await?;
            for id in &own {
                match self.delete_template(*id, None).await {
                    Ok(())
                    | Err(
                        HostError::TemplateNotFound(_)
                        | HostError::Storage(StorageError::UnknownTemplate(_)),
                    ) => {}
                    Err(error) => return Err(error),
                }
            }
            if own.is_empty() {
                return Ok(());
            }
        }
    }

    /// Makes a token for the tenant, as long as the one `by` whom it is made is taken; gives it, and its
    /// text, which is not kept.
    ///
    /// # Errors
    /// `TenantNotFound`, `TokenRefused`, `Storage(TooManyTokens)`, `Entropy`, and the states of the store.
    pub async fn create_token(
        &self,
        new: NewToken,
        by: &Principal,
    ) -> Result<(Token, String), HostError> {
        let (token, text) = new.made(self.tenant_id())?;
        let (host, kept, by) = (self.clone(), token.clone(), by.clone());
        let create = async move {
            let _changing = host.tenancy().changing.lock().await;
            host.check(&by)?;
            if host.tokens().len() >= MAX_TENANT_TOKENS {
                let limit = MAX_TENANT_TOKENS as u64;
                return Err(StorageError::TooManyTokens { limit }.into());
            }
            let created = host.storage().create_token(kept.clone()).await;
            let insert = |known: &mut Known, (): &()| {
                known.tokens.insert(kept.id, Arc::new(kept));
            };
            host.noted(created, insert).await
        };
        self.detached(create).await?;
        Ok((token, text))
    }

    /// The tenant's tokens, oldest first.
    pub fn tokens(&self) -> Vec<Token> {
        let known = self.tenancy().read();
        let own = known.tokens.values().filter(|token| token.tenant_id == self.tenant_id());
        let mut own: Vec<_> = own.map(|token| (**token).clone()).collect();
        own.sort_unstable_by_key(|token| token.id);
        own
    }

    /// Revokes one of the tenant's tokens: the next request that shows it is refused.
    ///
    /// # Errors
    /// `TokenNotFound`, and the states of the store.
    pub async fn delete_token(&self, id: TokenId) -> Result<Token, HostError> {
        let token = self.tenancy().read().tokens.get(&id).cloned();
        let own = token.filter(|token| token.tenant_id == self.tenant_id());
        let token = own.ok_or(HostError::TokenNotFound(id))?;
        let host = self.clone();
        let delete = async move {
            let _changing = host.tenancy().changing.lock().await;
            let deleted = host.storage().delete_token(id).await;
            let remove = |known: &mut Known, (): &()| {
                known.tokens.remove(&id);
            };
            host.noted(deleted, remove).await
        };
        self.detached(delete).await?;
        Ok((*token).clone())
    }
}

/// The id and the secret of a token's text.
fn parse(text: &str) -> Option<(TokenId, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_hex = secret.len() == 2 * SECRET_BYTES && secret.bytes().all(|b| b.is_ascii_hexdigit());
    let id = (id.len() == 32).then(|| Uuid::try_parse(id).ok()).flatten()?;
    is_hex.then(|| (TokenId::from_uuid(id), secret))
}
