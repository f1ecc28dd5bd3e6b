//! What each request does to the tables.
//!
//! Invariant: a request is checked in full before its first row is written, so that one that is
//! refused leaves nothing in a transaction that others share.

use super::request::{PreparedExecution, PreparedSession, TemplateChange, Work};
use crate::database::Fault;
use crate::error::StorageError;
use crate::execution::Execution;
use crate::id::TemplateId;
use crate::record::encode;
use crate::tables::{Noun, Tables, get, last_number, numbered};
use crate::template::Template;
use redb::{ReadableTable, ReadableTableMetadata};

/// How many templates there may be: they are made by people, and a list gives all of them.
pub const MAX_TEMPLATES: u64 = 10_000;

/// Whether a request changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Written,
    Nothing,
}

/// Does what one request asks for.
pub(crate) fn apply(tables: &mut Tables<'_>, work: Work) -> Result<Effect, Fault> {
    match work {
        Work::CreateTemplate { id, record } => create_template(tables, id, &record),
        Work::UpdateTemplate { id, change } => update_template(tables, id, change),
        Work::DeleteTemplate { id } => delete_template(tables, id),
        Work::PutSession(session) => put_session(tables, &session),
        Work::CommitExecution(execution) => commit_execution(tables, &execution),
    }
}

fn create_template(
    tables: &mut Tables<'_>,
    id: TemplateId,
    record: &[u8],
) -> Result<Effect, Fault> {
    if tables.templates.get(id.as_bytes())?.is_some() {
        return Err(StorageError::DuplicateTemplate(id).into());
    }
    if tables.templates.len()? >= MAX_TEMPLATES {
        return Err(StorageError::TooManyTemplates { limit: MAX_TEMPLATES }.into());
    }
    tables.templates.insert(id.as_bytes(), record)?;
    Ok(Effect::Written)
}

fn update_template(
    tables: &mut Tables<'_>,
    id: TemplateId,
    change: TemplateChange,
) -> Result<Effect, Fault> {
    let noun = Noun::Template(id);
    let mut template: Template =
        get(&tables.templates, noun)?.ok_or(StorageError::UnknownTemplate(id))?;
    if !change(&mut template) {
        return Ok(Effect::Nothing);
    }
    if template.id != id {
        return Err(StorageError::TemplateRenamed(id).into());
    }
    tables.templates.insert(id.as_bytes(), encode(&noun, &template)?.as_slice())?;
    Ok(Effect::Written)
}

fn delete_template(tables: &mut Tables<'_>, id: TemplateId) -> Result<Effect, Fault> {
    match tables.templates.remove(id.as_bytes())? {
        Some(_) => Ok(Effect::Written),
        None => Err(StorageError::UnknownTemplate(id).into()),
    }
}

fn put_session(tables: &mut Tables<'_>, session: &PreparedSession) -> Result<Effect, Fault> {
    let id = session.id.as_bytes();
    tables.sessions.insert(id, session.record.as_slice())?;
    if session.is_live {
        tables.live_sessions.insert(id, ())?;
    } else {
        tables.live_sessions.remove(id)?;
    }
    Ok(Effect::Written)
}

fn commit_execution(
    tables: &mut Tables<'_>,
    execution: &PreparedExecution,
) -> Result<Effect, Fault> {
    let id = execution.id.as_bytes();
    let is_new = check_execution(tables, execution)?;
    if let Some(session) = &execution.session {
        put_session(tables, session)?;
    }
    if is_new {
        let owner = execution.session_id.as_bytes();
        let ordinal = last_number(&tables.session_executions, owner)? + 1;
        tables.session_executions.insert(&numbered(owner, ordinal), id)?;
    }
    tables.executions.insert(id, execution.record.as_slice())?;
    if execution.is_over {
        tables.running_executions.remove(id)?;
    } else {
        tables.running_executions.insert(id, ())?;
    }
    for (event, seq) in execution.events.iter().zip(execution.first_seq..) {
        tables.events.insert(&numbered(id, seq), event.as_slice())?;
    }
    Ok(Effect::Written)
}

/// Whether an execution that may be committed is a new one.
fn check_execution(tables: &Tables<'_>, execution: &PreparedExecution) -> Result<bool, Fault> {
    let id = execution.id;
    let before: Option<Execution> = get(&tables.executions, Noun::Execution(id))?;
    match &before {
        Some(before) if before.status.is_over() => {
            return Err(StorageError::ExecutionOver(id).into());
        }
        Some(before) if before.session_id != execution.session_id => {
            let (expected, found) = (before.session_id, execution.session_id);
            return Err(StorageError::ForeignSession { execution: id, expected, found }.into());
        }
        Some(_) => {}
        None => {
            let session = execution.session_id;
            let comes_along = execution.session.is_some();
            if !comes_along && tables.sessions.get(session.as_bytes())?.is_none() {
                return Err(StorageError::UnknownSession(session).into());
            }
        }
    }
    let expected = last_number(&tables.events, id.as_bytes())? + 1;
    if !execution.events.is_empty() && execution.first_seq != expected {
        let found = execution.first_seq;
        return Err(StorageError::SequenceGap { execution: id, expected, found }.into());
    }
    Ok(before.is_none())
}
