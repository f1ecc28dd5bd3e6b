//! Tenants: whose templates, sessions and executions are, and the tokens that speak for them.
//!
//! Invariant: of a token's secret only its hash is kept. What a tenant owns names it, and never another:
//! a tenant goes only once it owns nothing.

use crate::id::{TenantId, TokenId};
use crate::time::now;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Somebody to whom everything that is kept belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// A name for people; no two tenants have the same.
    pub name: String,
    /// Whether it is served.
    pub status: TenantStatus,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed; set by whoever changes it.
    pub updated_at: Timestamp,
    /// Absolute directories beneath which its worktrees must lie.
    pub worktree_roots: Vec<String>,
}

/// Whether a [`Tenant`] is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantStatus {
    /// It is.
    Active,
    /// None of its tokens is taken; what it has is kept.
    Suspended,
}

impl Tenant {
    /// A new tenant, which is served and has no worktrees.
    pub fn new(name: impl Into<String>) -> Self {
        Self::of(TenantId::new(), name.into())
    }

    /// [`TenantId::LOCAL`], as every store has it from the beginning.
    pub(crate) fn local() -> Self {
        Self::of(TenantId::LOCAL, "local".to_owned())
    }

    fn of(id: TenantId, name: String) -> Self {
        let created_at = now();
        Self {
            id,
            name,
            status: TenantStatus::Active,
            created_at,
            updated_at: created_at,
            worktree_roots: Vec::new(),
        }
    }
}

/// What lets a client speak for a tenant. Its secret is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id, which the token's text begins with.
    pub id: TokenId,
    /// For whom it speaks.
    pub tenant_id: TenantId,
    /// A name for people; need not be unique.
    pub name: String,
    /// SHA-256 of its secret, in hexadecimal.
    pub hash: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// When it was created.
    pub created_at: Timestamp,
    /// From when on it is not taken any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What a [`Token`] may be used for. Each lets its client read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To read what the tenant has.
    Read,
    /// To make and close sessions, and to run executions in them.
    Execute,
    /// To change templates and tokens, and to remove sessions with all that ran in them.
    Manage,
    /// All of these, the tenants themselves, and the host's operation.
    Admin,
}

impl Scope {
    /// Its name, as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Execute => "execute",
            Self::Manage => "manage",
            Self::Admin => "admin",
        }
    }

    /// Whether a token of this scope may do what asks for another.
    pub fn covers(self, wanted: Self) -> bool {
        self == wanted || self == Self::Admin || wanted == Self::Read
    }
}
