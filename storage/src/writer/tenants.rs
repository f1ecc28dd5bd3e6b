//! What requests do to tenants and their tokens.
//!
//! Invariant: names of tenants differ; the tenant that is there from the beginning stays, and is served;
//! one that goes owns nothing, and its tokens and keys go first.

use super::apply::Effect;
use super::request::Change;
use super::sweep::Swept;
use crate::database::Fault;
use crate::error::StorageError;
use crate::id::{TenantId, TokenId};
use crate::kv::{ROW_OVERHEAD, row_key};
use crate::record::{decode, encode};
use crate::tables::{Noun, Owned, Tables, Workspace, all_owned, get};
use crate::tenant::{Tenant, TenantStatus, Token};
use redb::{ReadableTable, ReadableTableMetadata};

/// How many tenants there may be: their names are compared one by one.
pub const MAX_TENANTS: u64 = 10_000;

/// How many tokens all tenants may have together: the host keeps them in memory.
pub const MAX_TOKENS: u64 = 100_000;

pub(super) fn create(tables: &mut Tables<'_>, tenant: &Tenant) -> Result<Effect, Fault> {
    if tables.tenants.get(tenant.id.as_bytes())?.is_some() {
        return Err(StorageError::DuplicateTenant(tenant.id).into());
    }
    if tables.tenants.len()? >= MAX_TENANTS {
        return Err(StorageError::TooManyTenants { limit: MAX_TENANTS }.into());
    }
    put(tables, tenant)
}

pub(super) fn update(
    tables: &mut Tables<'_>,
    id: TenantId,
    change: Change<Tenant>,
) -> Result<Effect, Fault> {
    let mut tenant = find(tables, id)?;
    if !change(&mut tenant) {
        return Ok(Effect::Nothing);
    }
    if tenant.id != id || (id.is_local() && tenant.status == TenantStatus::Suspended) {
        return Err(StorageError::LocalTenant.into());
    }
    put(tables, &tenant)
}

fn put(tables: &mut Tables<'_>, tenant: &Tenant) -> Result<Effect, Fault> {
    for row in tables.tenants.iter()? {
        let (key, record) = row?;
        let other: Tenant =
            decode(&Noun::Tenant(TenantId::from_bytes(key.value())), record.value())?;
        if other.id != tenant.id && other.name == tenant.name {
            return Err(StorageError::TenantNameTaken { name: other.name }.into());
        }
    }
    let record = encode(&Noun::Tenant(tenant.id), tenant)?;
    tables.tenants.insert(tenant.id.as_bytes(), record.as_slice())?;
    Ok(Effect::Written)
}

/// Takes a step of removing a tenant that owns no templates and sessions: its tokens and keys, and in
/// the last step itself.
pub(super) fn delete(tables: &mut Tables<'_>, id: TenantId) -> Result<Swept, Fault> {
    if id.is_local() {
        return Err(StorageError::LocalTenant.into());
    }
    find(tables, id)?;
    let owns = count(&tables.owned_templates, id, 1)?
        + count(&tables.active_sessions, id, 1)?
        + count(&tables.ended_sessions, id, 1)?;
    if owns > 0 {
        return Err(StorageError::TenantNotEmpty(id).into());
    }
    let mut swept = Swept::default();
    for token in tokens_of(tables, id)? {
        tables.tokens.remove(token.as_bytes())?;
    }
    while let Some((workspace, mut row)) = first_workspace(tables, id)? {
        let (number, _, bytes, keys) = &mut row;
        let (first, end) = (row_key(*number, ""), row_key(number.saturating_add(1), ""));
        let rows = tables.kv.extract_from_if(first.as_slice()..end.as_slice(), |_, _| true)?;
        for removed in rows.take(usize::try_from(swept.room()).unwrap_or(usize::MAX)) {
            let (key, value) = removed?;
            let size = key.value().len() + value.value().len() - ROW_OVERHEAD;
            (*bytes, *keys) = (bytes.saturating_sub(size as u64), keys.saturating_sub(1));
            swept.rows += 1;
        }
        if swept.room() == 0 && *keys > 0 {
            tables.kv_workspaces.insert(workspace.as_str(), row)?;
            return Ok(swept);
        }
        tables.kv_workspaces.remove(workspace.as_str())?;
    }
    tables.tenants.remove(id.as_bytes())?;
    Ok(Swept::default())
}

fn first_workspace(
    tables: &Tables<'_>,
    tenant: TenantId,
) -> Result<Option<(String, Workspace)>, Fault> {
    let prefix = tenant.workspace("");
    let Some(row) = tables.kv_workspaces.range::<&str>(prefix.as_ref()..)?.next() else {
        return Ok(None);
    };
    let (name, row) = row?;
    let name = name.value().to_owned();
    Ok(name.starts_with(prefix.as_ref()).then(|| (name, row.value())))
}

fn tokens_of(tables: &Tables<'_>, tenant: TenantId) -> Result<Vec<TokenId>, Fault> {
    let mut own = Vec::new();
    for row in tables.tokens.iter()? {
        let (key, record) = row?;
        let id = TokenId::from_bytes(key.value());
        let token: Token = decode(&Noun::Token(id), record.value())?;
        own.extend((token.tenant_id == tenant).then_some(id));
    }
    Ok(own)
}

pub(super) fn create_token(tables: &mut Tables<'_>, token: &Token) -> Result<Effect, Fault> {
    check(tables, token.tenant_id)?;
    if tables.tokens.len()? >= MAX_TOKENS {
        return Err(StorageError::TooManyTokens { limit: MAX_TOKENS }.into());
    }
    let record = encode(&Noun::Token(token.id), token)?;
    tables.tokens.insert(token.id.as_bytes(), record.as_slice())?;
    Ok(Effect::Written)
}

pub(super) fn delete_token(tables: &mut Tables<'_>, id: TokenId) -> Result<Effect, Fault> {
    match tables.tokens.remove(id.as_bytes())? {
        Some(_) => Ok(Effect::Written),
        None => Err(StorageError::UnknownToken(id).into()),
    }
}

/// Refuses what is to belong to a tenant that is not there.
pub(super) fn check(tables: &Tables<'_>, id: TenantId) -> Result<(), Fault> {
    match tables.tenants.get(id.as_bytes())? {
        Some(_) => Ok(()),
        None => Err(StorageError::UnknownTenant(id).into()),
    }
}

fn find(tables: &Tables<'_>, id: TenantId) -> Result<Tenant, Fault> {
    Ok(get(&tables.tenants, Noun::Tenant(id))?.ok_or(StorageError::UnknownTenant(id))?)
}

/// How many rows a tenant has in an index, up to `max`.
pub(super) fn count(
    index: &impl ReadableTable<Owned, ()>,
    tenant: TenantId,
    max: u64,
) -> Result<u64, Fault> {
    let (first, last) = all_owned(tenant);
    let mut count = 0;
    for row in index.range::<&[u8; 32]>(&first..=&last)? {
        row?;
        count += 1;
        if count == max {
            break;
        }
    }
    Ok(count)
}
