//! Tenants and tokens.

use super::{Answer, Client};
use crate::wire::{
    CreateTenant, CreateToken, Tenant, TenantDeleted, Token, TokenMade, UpdateTenant,
};
use http::Method;
use jiff::Timestamp;
use vm_storage::{Scope, TenantId, TenantStatus, TokenId};

impl Client {
    /// All tenants, oldest first.
    pub async fn tenants(&self) -> Answer<Vec<Tenant>> {
        self.get("/tenants").await
    }

    /// A new tenant, whose worktrees must lie beneath these folders.
    pub async fn create_tenant(&self, name: &str, worktree_roots: Vec<String>) -> Answer<Tenant> {
        let (name, worktree_roots) = (Some(name.to_owned()), Some(worktree_roots));
        self.post("/tenants", &CreateTenant { name, worktree_roots }).await
    }

    /// One tenant.
    pub async fn tenant(&self, id: TenantId) -> Answer<Tenant> {
        self.get(&format!("/tenants/{id}")).await
    }

    /// Changes a tenant: what is given of it.
    pub async fn update_tenant(
        &self,
        id: TenantId,
        name: Option<String>,
        status: Option<TenantStatus>,
        worktree_roots: Option<Vec<String>>,
    ) -> Answer<Tenant> {
        let status = status.map(|status| match status {
            TenantStatus::Active => "active".to_owned(),
            TenantStatus::Suspended => "suspended".to_owned(),
        });
        let change = UpdateTenant { name, status, worktree_roots };
        self.send(Method::PATCH, &format!("/tenants/{id}"), Some(&change)).await
    }

    /// Removes a tenant with all that it has.
    pub async fn delete_tenant(&self, id: TenantId) -> Answer<TenantDeleted> {
        self.delete(&format!("/tenants/{id}")).await
    }

    /// The tokens of a tenant, or of the client's own.
    pub async fn tokens(&self, tenant: Option<TenantId>) -> Answer<Vec<Token>> {
        self.get(&format!("/tokens?tenant_id={}", text(tenant))).await
    }

    /// A new token of a tenant, or of the client's own, with its secret.
    pub async fn create_token(
        &self,
        name: &str,
        scopes: &[Scope],
        expires_at: Option<Timestamp>,
        tenant: Option<TenantId>,
    ) -> Answer<TokenMade> {
        let scope = |scope: &Scope| scope.name().to_owned();
        let token = CreateToken {
            name: Some(name.to_owned()),
            scopes: Some(scopes.iter().map(scope).collect()),
            expires_at: expires_at.map(|at| at.to_string()),
            tenant_id: tenant.map(|tenant| tenant.to_string()),
        };
        self.post("/tokens", &token).await
    }

    /// Revokes a token of a tenant, or of the client's own.
    pub async fn revoke_token(&self, id: TokenId, tenant: Option<TenantId>) -> Answer<Token> {
        self.delete(&format!("/tokens/{id}?tenant_id={}", text(tenant))).await
    }
}

fn text(tenant: Option<TenantId>) -> String {
    tenant.map(|tenant| tenant.to_string()).unwrap_or_default()
}
