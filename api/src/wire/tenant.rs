//! Tenants, and the tokens that speak for them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vm_storage::{Scope, TenantId, TenantStatus, TokenId};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name; no two tenants have the same.
    pub name: String,
    /// Whether it is served.
    pub status: TenantStatus,
    /// Absolute directories beneath which its worktrees must lie.
    pub worktree_roots: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl From<vm_storage::Tenant> for Tenant {
    fn from(tenant: vm_storage::Tenant) -> Self {
        let vm_storage::Tenant { id, name, status, created_at, updated_at, worktree_roots } =
            tenant;
        Self { id, name, status, worktree_roots, created_at, updated_at }
    }
}

/// A tenant that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantDeleted {
    /// `ok`.
    pub status: String,
    /// Which one.
    pub tenant_id: TenantId,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// For whom it speaks.
    pub tenant_id: TenantId,
    /// Its name; need not be unique.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// When it was created.
    pub created_at: Timestamp,
    /// From when on it is not taken any more; left out when never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl From<vm_storage::Token> for Token {
    fn from(token: vm_storage::Token) -> Self {
        let vm_storage::Token { id, tenant_id, name, hash: _, scopes, created_at, expires_at } =
            token;
        Self { id, tenant_id, name, scopes, created_at, expires_at }
    }
}

/// A token as it is made: its text is shown this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenMade {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// What `Authorization: Bearer` takes.
    pub secret: String,
}
