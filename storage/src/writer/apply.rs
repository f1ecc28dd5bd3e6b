//! What each request does to the tables.
//!
//! Invariant: a request is checked in full before its first row is written, so that one that is
//! refused leaves nothing in a transaction that others share. What it does to a heap is in
//! `writer/heap.rs`, what to a workspace's keys in `writer/kv.rs`, what background steps remove in `writer/sweep.rs`.

use super::heap::{base, change_heap, check_heap};
use super::kv::CheckedKv;
use super::request::{Change, Done, PreparedExecution, PreparedSession, PreparedTemplate, Work};
use super::sweep::sweep;
use super::tenants;
use super::totals::Totals;
use crate::database::Fault;
use crate::database::recover::{crash, stop};
use crate::error::StorageError;
use crate::execution::Execution;
use crate::id::{ExecutionId, SessionId, TemplateId, TenantId};
use crate::record::encode;
use crate::session::{Session, SessionStatus};
use crate::tables::{
    HistoryRow, Noun, Tables, all_of, due_key, get, last_number, named, number_of, numbered, owned,
};
use crate::template::Template;
use redb::ReadableTable;

/// How many templates a tenant may have: they are made by people, and the writer counts them.
pub const MAX_TEMPLATES: u64 = 10_000;

/// Whether a request changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Written,
    Nothing,
}

/// Does what one request asks for.
pub(crate) fn apply(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    work: Work,
) -> Result<(Effect, Done), Fault> {
    let effect = match work {
        Work::CreateTenant(tenant) => tenants::create(tables, &tenant),
        Work::UpdateTenant { id, change } => tenants::update(tables, id, change),
        Work::DeleteTenant { id } => {
            let swept = tenants::delete(tables, id)?;
            return Ok((Effect::Written, Done { swept, ..Done::default() }));
        }
        Work::CreateToken(token) => tenants::create_token(tables, &token),
        Work::DeleteToken { id } => tenants::delete_token(tables, id),
        Work::CreateTemplate(template) => create_template(tables, &template),
        Work::UpdateTemplate { id, change } => update_template(tables, id, change),
        Work::DeleteTemplate { id, expected } => delete_template(tables, id, expected.as_deref()),
        Work::PutSession(session) => put_session(tables, totals, session),
        Work::PurgeSession { id } => purge_session(tables, id),
        Work::PostponeExpiry { id, due_ms, next_ms } => postpone(tables, id, due_ms, next_ms),
        Work::CommitExecution(execution) => {
            let ordinal = commit_execution(tables, totals, execution)?;
            return Ok((Effect::Written, Done { ordinal, ..Done::default() }));
        }
        Work::Abandon { executions, sessions } => abandon(tables, totals, executions, sessions),
        Work::Sweep(retention) => {
            let swept = sweep(tables, totals, &retention)?;
            let effect = if swept.rows > 0 { Effect::Written } else { Effect::Nothing };
            return Ok((effect, Done { swept, ..Done::default() }));
        }
    };
    Ok((effect?, Done::default()))
}

fn create_template(tables: &mut Tables<'_>, template: &PreparedTemplate) -> Result<Effect, Fault> {
    let PreparedTemplate { id, tenant, is_shared, ref unique_name, ref record } = *template;
    tenants::check(tables, tenant)?;
    if tables.templates.get(id.as_bytes())?.is_some() {
        return Err(StorageError::DuplicateTemplate(id).into());
    }
    if tenants::count(&tables.owned_templates, tenant, MAX_TEMPLATES)? >= MAX_TEMPLATES {
        return Err(StorageError::TooManyTemplates { limit: MAX_TEMPLATES }.into());
    }
    if let Some(name) = unique_name {
        take_name(tables, id, tenant, name)?;
    }
    tables.templates.insert(id.as_bytes(), record.as_slice())?;
    tables.owned_templates.insert(&owned(tenant, id.as_bytes()), ())?;
    share_template(tables, id, is_shared)?;
    Ok(Effect::Written)
}

fn update_template(
    tables: &mut Tables<'_>,
    id: TemplateId,
    change: Change<Template>,
) -> Result<Effect, Fault> {
    let noun = Noun::Template(id);
    let mut template: Template =
        get(&tables.templates, noun)?.ok_or(StorageError::UnknownTemplate(id))?;
    let Template { tenant_id: owner, is_unique, version, .. } = template;
    let name_before = template.name.clone();
    if !change(&mut template) {
        return Ok(Effect::Nothing);
    }
    if template.id != id || template.tenant_id != owner || template.is_unique != is_unique {
        return Err(StorageError::TemplateRenamed(id).into());
    }
    template.version = version.saturating_add(1);
    let record = encode(&noun, &template)?;
    if is_unique && template.name != name_before {
        take_name(tables, id, owner, &template.name)?;
        tables.template_names.remove(named(owner, &name_before).as_slice())?;
    }
    tables.templates.insert(id.as_bytes(), record.as_slice())?;
    share_template(tables, id, template.is_shared)?;
    Ok(Effect::Written)
}

/// Gives a template a name that no other of the tenant's may have.
fn take_name(
    tables: &mut Tables<'_>,
    id: TemplateId,
    tenant: TenantId,
    name: &str,
) -> Result<(), Fault> {
    let key = named(tenant, name);
    if tables.template_names.get(key.as_slice())?.is_some() {
        return Err(StorageError::TemplateNameTaken { name: name.to_owned() }.into());
    }
    tables.template_names.insert(key.as_slice(), id.as_bytes())?;
    Ok(())
}

fn share_template(tables: &mut Tables<'_>, id: TemplateId, is_shared: bool) -> Result<(), Fault> {
    if is_shared {
        tables.shared_templates.insert(id.as_bytes(), ())?;
    } else {
        tables.shared_templates.remove(id.as_bytes())?;
    }
    Ok(())
}

fn delete_template(
    tables: &mut Tables<'_>,
    id: TemplateId,
    expected: Option<&[u64]>,
) -> Result<Effect, Fault> {
    let noun = Noun::Template(id);
    let template: Template =
        get(&tables.templates, noun)?.ok_or(StorageError::UnknownTemplate(id))?;
    let version = template.version;
    if expected.is_some_and(|expected| !expected.contains(&version)) {
        return Err(StorageError::TemplateVersion { id, version }.into());
    }
    if template.is_unique {
        tables.template_names.remove(named(template.tenant_id, &template.name).as_slice())?;
    }
    tables.templates.remove(id.as_bytes())?;
    tables.owned_templates.remove(&owned(template.tenant_id, id.as_bytes()))?;
    share_template(tables, id, false)?;
    Ok(Effect::Written)
}

fn put_session(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    session: PreparedSession,
) -> Result<Effect, Fault> {
    let PreparedSession { id, status, tenant, .. } = session;
    refuse_purged(tables, id)?;
    tenants::check(tables, tenant)?;
    let last = last_ordinal(tables, id)?;
    let heap = session.heap.as_ref().filter(|_| status.is_live());
    if let Some(heap) = heap {
        check_heap(tables, id, last + 1, heap)?;
    }
    put_session_row(tables, &session)?;
    if let Some(heap) = session.heap.filter(|_| status.is_live()) {
        // What is no execution has no row for a patch: its pages are the base.
        change_heap(tables, totals, id, last, heap)?;
    }
    Ok(Effect::Written)
}

fn put_session_row(tables: &mut Tables<'_>, session: &PreparedSession) -> Result<(), Fault> {
    let PreparedSession { id, tenant, status, due_ms, ref record, heap: _ } = *session;
    let (key, owned) = (id.as_bytes(), owned(tenant, id.as_bytes()));
    tables.sessions.insert(key, record.as_slice())?;
    let was_live = if status.is_live() {
        tables.doomed_heaps.remove(key)?;
        tables.ended_sessions.remove(&owned)?;
        tables.active_sessions.insert(&owned, ())?.is_some()
    } else {
        tables.ended_sessions.insert(&owned, ())?;
        tables.active_sessions.remove(&owned)?.is_some()
    };
    if status == SessionStatus::Starting {
        tables.starting_sessions.insert(key, ())?;
    } else if was_live {
        tables.starting_sessions.remove(key)?;
    }
    if was_live && !status.is_live() {
        tables.doomed_heaps.insert(key, ())?;
    }
    if let (SessionStatus::Ready, Some(due_ms)) = (status, due_ms) {
        tables.expiring_sessions.insert(&due_key(due_ms, key), ())?;
    }
    Ok(())
}

/// Refuses to bring back a session of which rows have yet to be removed.
fn refuse_purged(tables: &Tables<'_>, id: SessionId) -> Result<(), Fault> {
    match tables.purged_sessions.get(id.as_bytes())? {
        Some(_) => Err(StorageError::UnknownSession(id).into()),
        None => Ok(()),
    }
}

/// Removes a session that is over; what belongs to it is left to background steps, and nobody
/// finds it any more.
fn purge_session(tables: &mut Tables<'_>, id: SessionId) -> Result<Effect, Fault> {
    let session: Session =
        get(&tables.sessions, Noun::Session(id))?.ok_or(StorageError::UnknownSession(id))?;
    if session.status.is_live() {
        return Err(StorageError::SessionLive(id).into());
    }
    let key = id.as_bytes();
    tables.sessions.remove(key)?;
    tables.ended_sessions.remove(&owned(session.tenant_id, key))?;
    tables.doomed_heaps.insert(key, ())?;
    tables.purged_sessions.insert(key, ())?;
    Ok(Effect::Written)
}

fn postpone(
    tables: &mut Tables<'_>,
    id: SessionId,
    due_ms: u64,
    next_ms: Option<u64>,
) -> Result<Effect, Fault> {
    let key = id.as_bytes();
    tables.expiring_sessions.remove(&due_key(due_ms, key))?;
    if let Some(next_ms) = next_ms {
        tables.expiring_sessions.insert(&due_key(next_ms, key), ())?;
    }
    Ok(Effect::Written)
}

/// Ends executions that still run, and sessions that still start, because nobody runs or starts them.
fn abandon(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    executions: Vec<ExecutionId>,
    sessions: Vec<SessionId>,
) -> Result<Effect, Fault> {
    for id in executions {
        if tables.running_executions.get(id.as_bytes())?.is_some() {
            stop(tables, totals, id)?;
        }
    }
    for id in sessions {
        if tables.starting_sessions.get(id.as_bytes())?.is_some() {
            crash(tables, id)?;
        }
    }
    Ok(Effect::Written)
}

fn commit_execution(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    mut execution: PreparedExecution,
) -> Result<u64, Fault> {
    let ordinal = check_execution(tables, &execution)?;
    let kv = execution.kv.take().map(|kv| CheckedKv::of(tables, *kv)).transpose()?;
    let id = execution.id.as_bytes();
    if let Some(own) = &execution.session {
        put_session_row(tables, own)?;
    }
    // Nobody wants the heap of a session that is over.
    let session = execution.session_id;
    let owned = owned(execution.tenant, session.as_bytes());
    let is_live = tables.active_sessions.get(&owned)?.is_some();
    let patch = match execution.heap.filter(|_| is_live) {
        Some(heap) => change_heap(tables, totals, session, ordinal, heap)?,
        None => None,
    };
    let row = HistoryRow { execution: execution.id, patch: patch.as_deref() };
    let key = numbered(session.as_bytes(), ordinal);
    if let Some(before) = tables.history.insert(&key, row.encode().as_slice())? {
        let before = HistoryRow::decode(before.value())?.patch;
        totals.heaps.replace(before.map_or(0, <[u8]>::len), 0);
    }
    let before = tables.executions.insert(id, execution.record.as_slice())?;
    let before = before.map_or(0, |record| record.value().len());
    totals.executions.replace(before, execution.record.len());
    if execution.is_over {
        tables.running_executions.remove(id)?;
    } else {
        tables.running_executions.insert(id, ())?;
    }
    for (event, seq) in execution.events.iter().zip(execution.first_seq..) {
        tables.events.insert(&numbered(id, seq), event.as_slice())?;
        totals.events.replace(0, event.len());
    }
    if let Some(kv) = kv {
        kv.apply(tables)?;
    }
    Ok(ordinal)
}

/// The ordinal of an execution that may be committed.
fn check_execution(tables: &Tables<'_>, execution: &PreparedExecution) -> Result<u64, Fault> {
    let (id, session) = (execution.id, execution.session_id);
    refuse_purged(tables, session)?;
    let before: Option<Execution> = get(&tables.executions, Noun::Execution(id))?;
    let ordinal = match &before {
        Some(before) if before.status.is_over() => {
            return Err(StorageError::ExecutionOver(id).into());
        }
        Some(before) if before.session_id != session => {
            let (expected, found) = (before.session_id, session);
            return Err(StorageError::ForeignSession { execution: id, expected, found }.into());
        }
        Some(_) => ordinal_of(tables, session, id)?,
        None => {
            let comes_along = execution.session.is_some();
            if !comes_along && tables.sessions.get(session.as_bytes())?.is_none() {
                return Err(StorageError::UnknownSession(session).into());
            }
            last_ordinal(tables, session)? + 1
        }
    };
    if let Some(own) = &execution.session {
        tenants::check(tables, own.tenant)?;
    }
    let expected = last_number(&tables.events, id.as_bytes())? + 1;
    if !execution.events.is_empty() && execution.first_seq != expected {
        let found = execution.first_seq;
        return Err(StorageError::SequenceGap { execution: id, expected, found }.into());
    }
    if let Some(heap) = &execution.heap {
        check_heap(tables, session, ordinal, heap)?;
    }
    Ok(ordinal)
}

/// The highest ordinal that a session's history has had, as far as its heap can tell: what is
/// removed from a history may be the last of it.
fn last_ordinal(tables: &Tables<'_>, session: SessionId) -> Result<u64, Fault> {
    let listed = last_number(&tables.history, session.as_bytes())?;
    match base(tables, session) {
        Ok(base) => Ok(base.map_or(listed, |base| listed.max(base.ordinal))),
        // Nothing can be changed in that heap, but its session and executions can.
        Err(Fault::Refused(_)) => Ok(listed),
        Err(error) => Err(error),
    }
}

/// The ordinal of an execution that runs: among the last of its session.
fn ordinal_of(
    tables: &Tables<'_>,
    session: SessionId,
    execution: ExecutionId,
) -> Result<u64, Fault> {
    let (first, last) = all_of(session.as_bytes());
    for row in tables.history.range::<&[u8; 24]>(&first..=&last)?.rev() {
        let (key, row) = row?;
        if HistoryRow::decode(row.value())?.execution == execution {
            return Ok(number_of(key.value()));
        }
    }
    let record = Noun::Execution(execution).to_string();
    let detail = "the history of its session does not list it".to_owned();
    Err(StorageError::DamagedRecord { record, detail }.into())
}
