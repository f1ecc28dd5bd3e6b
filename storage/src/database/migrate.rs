//! Bringing a file of an older format to this one.
//!
//! ```text
//! 1   sessions lived in their process: session_executions, no heaps
//! 2   sessions outlive it: history, heaps and what removes them in the background
//! 3   workspaces have keys: kv, kv_workspaces
//! 4   everything belongs to a tenant: tenants, tokens, and indexes by tenant instead of live_sessions
//! ```
//!
//! Invariant: all steps are one transaction, so that a crash leaves the file as it was, for the next
//! start to migrate. A file of every format there was is among the tests' fixtures.

use super::create::add_local;
use super::{Fault, fault};
use crate::error::StorageError;
use crate::id::{ExecutionId, SessionId, TenantId};
use crate::record::{decode, encode};
use crate::session::{Session, SessionStatus};
use crate::tables::{
    DOOMED_HEAPS, EVENTS, EXECUTIONS, EXPIRING_SESSIONS, FORMAT_KEY, FORMAT_VERSION, HEAP_PAGES,
    HEAPS, HISTORY, HistoryRow, Id, KV, KV_WORKSPACES, META, Noun, Numbered, PURGED_SESSIONS,
    RUNNING_EXECUTIONS, SESSIONS, STARTING_SESSIONS, TEMPLATES, TOTALS, Tables, get, owned,
};
use crate::time::now;
use crate::writer::durable_write;
use crate::writer::totals::Totals;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::path::Path;

/// The oldest format that can be brought to this one.
const OLDEST: u64 = 1;

/// What format 1 had instead of `history`.
const SESSION_EXECUTIONS: TableDefinition<'_, Numbered, Id> =
    TableDefinition::new("session_executions");

/// What formats 1 to 3 had instead of `active_sessions`.
pub(crate) const LIVE_SESSIONS: TableDefinition<'_, Id, ()> = TableDefinition::new("live_sessions");

const CLOSED: &str = "the session was live before this version could store its heap";

/// Brings a database from an older format to this one.
pub(super) fn migrate(path: &Path, database: &Database, found: u64) -> Result<(), StorageError> {
    if found < OLDEST {
        let (path, supported) = (path.to_owned(), FORMAT_VERSION);
        return Err(StorageError::OlderFormat { path, found, supported });
    }
    tracing::info!(path = %path.display(), from = found, to = FORMAT_VERSION, "migrating");
    let migrate = || -> Result<(), Fault> {
        check_tables(database, found)?;
        let txn = durable_write(database)?;
        // It makes those that are new.
        let mut tables = Tables::open(&txn)?;
        if found < 2 {
            one_to_two(&txn, &mut tables)?;
        }
        three_to_four(&txn, &mut tables)?;
        drop(tables);
        txn.open_table(META)?.insert(FORMAT_KEY, FORMAT_VERSION)?;
        txn.commit()?;
        Ok(())
    };
    migrate().map_err(|error| match error {
        Fault::Engine(error) => fault::of_creating(path, error),
        Fault::Refused(error) => {
            StorageError::Damaged { path: path.to_owned(), detail: error.to_string() }
        }
    })
}

/// Opening a table for writing makes it: one that is missing is to be damage.
fn check_tables(database: &Database, found: u64) -> Result<(), Fault> {
    let txn = database.begin_read()?;
    for table in [TEMPLATES, SESSIONS, EXECUTIONS] {
        txn.open_table(table)?;
    }
    for table in [LIVE_SESSIONS, RUNNING_EXECUTIONS] {
        txn.open_table(table)?;
    }
    txn.open_table(EVENTS)?;
    if found < 2 {
        txn.open_table(SESSION_EXECUTIONS)?;
        return Ok(());
    }
    for table in [STARTING_SESSIONS, DOOMED_HEAPS, PURGED_SESSIONS] {
        txn.open_table(table)?;
    }
    for table in [HISTORY, HEAP_PAGES] {
        txn.open_table(table)?;
    }
    txn.open_table(EXPIRING_SESSIONS)?;
    txn.open_table(HEAPS)?;
    txn.open_table(TOTALS)?;
    if found >= 3 {
        txn.open_table(KV)?;
        txn.open_table(KV_WORKSPACES)?;
    }
    Ok(())
}

fn one_to_two(txn: &WriteTransaction, tables: &mut Tables<'_>) -> Result<(), Fault> {
    let old = txn.open_table(SESSION_EXECUTIONS)?;
    for row in old.iter()? {
        let (key, id) = row?;
        let row = HistoryRow { execution: ExecutionId::from_bytes(id.value()), patch: None };
        tables.history.insert(key.value(), row.encode().as_slice())?;
    }
    drop(old);
    txn.delete_table(SESSION_EXECUTIONS)?;
    let mut live = Vec::new();
    for row in txn.open_table(LIVE_SESSIONS)?.iter()? {
        live.push(SessionId::from_bytes(row?.0.value()));
    }
    for id in live {
        close(tables, id)?;
    }
    let mut totals = Totals::default();
    for row in tables.executions.iter()? {
        totals.executions.replace(0, row?.1.value().len());
    }
    for row in tables.events.iter()? {
        totals.events.replace(0, row?.1.value().len());
    }
    totals.write(tables)
}

/// Has everything belong to the local tenant.
fn three_to_four(txn: &WriteTransaction, tables: &mut Tables<'_>) -> Result<(), Fault> {
    txn.delete_table(LIVE_SESSIONS)?;
    add_local(tables).map_err(Fault::Engine)?;
    for row in tables.templates.iter()? {
        tables.owned_templates.insert(&owned(TenantId::LOCAL, row?.0.value()), ())?;
    }
    for row in tables.sessions.iter()? {
        let (key, record) = row?;
        let noun = Noun::Session(SessionId::from_bytes(key.value()));
        let session: Session = decode(&noun, record.value())?;
        let index = if session.status.is_live() {
            &mut tables.active_sessions
        } else {
            &mut tables.ended_sessions
        };
        index.insert(&owned(TenantId::LOCAL, key.value()), ())?;
    }
    Ok(())
}

/// Closes a session whose heap was never stored.
fn close(tables: &mut Tables<'_>, id: SessionId) -> Result<(), Fault> {
    let noun = Noun::Session(id);
    if let Some(mut session) = get::<Session>(&tables.sessions, noun)? {
        session.status = SessionStatus::Closed;
        session.closed_at = Some(now());
        session.last_error = Some(CLOSED.to_owned());
        tables.sessions.insert(id.as_bytes(), encode(&noun, &session)?.as_slice())?;
    }
    Ok(())
}
