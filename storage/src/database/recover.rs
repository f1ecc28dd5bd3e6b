//! What a start has to put right: executions that were running and sessions that were starting when
//! the process before ended. A session that was ready is ready: its heap is that of its last
//! committed execution.
//!
//! ```text
//! execution running   -> error, HOST_STOPPED, one system event more
//! session starting    -> crashed, last_error says why
//! ```
//!
//! Invariant: walks the two index tables, nothing else, in one transaction; a crash in it leaves
//! the next start to do the same. Not run when a failed file is opened again by a process that
//! still owns its sessions.

use super::{Fault, Source, fault};
use crate::error::StorageError;
use crate::event::{ConsoleLevel, Event, EventPayload};
use crate::execution::{Execution, ExecutionError, ExecutionErrorCode, ExecutionStatus};
use crate::id::{ExecutionId, SessionId};
use crate::record::encode;
use crate::session::{Session, SessionStatus};
use crate::storage::Recovery;
use crate::tables::{Noun, Snapshot, Tables, encode_event, get, last_number, numbered, owned};
use crate::time::now;
use crate::writer::durable_write;
use crate::writer::totals::Totals;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use std::panic::{AssertUnwindSafe, catch_unwind};

const STOPPED: &str = "the host stopped while the execution ran";
const CRASHED: &str = "the host stopped while the session started";

/// Puts right what the process before left, if anything.
pub(crate) fn stop_what_ran(
    source: &Source,
    database: &Database,
) -> Result<Recovery, StorageError> {
    let path = source.path();
    match catch_unwind(AssertUnwindSafe(|| recover(database))) {
        Ok(Ok(recovery)) => Ok(recovery),
        Ok(Err(Fault::Engine(error))) => Err(fault::of_creating(path, error)),
        // A record that recovery needs and cannot use means that the file is damaged.
        Ok(Err(Fault::Refused(error))) => {
            Err(StorageError::Damaged { path: path.to_owned(), detail: error.to_string() })
        }
        Err(panic) => Err(fault::of_panic(path, &*panic)),
    }
}

fn recover(database: &Database) -> Result<Recovery, Fault> {
    let before = Snapshot::open(&database.begin_read()?)?;
    if before.running_executions.is_empty()? && before.starting_sessions.is_empty()? {
        return Ok(Recovery::default());
    }
    let txn = durable_write(database)?;
    let mut tables = Tables::open(&txn)?;
    let mut totals = Totals::read(&tables.totals)?;
    let mut recovery = Recovery::default();
    for row in before.running_executions.iter()? {
        stop(&mut tables, &mut totals, ExecutionId::from_bytes(row?.0.value()))?;
        recovery.executions_stopped += 1;
    }
    for row in before.starting_sessions.iter()? {
        crash(&mut tables, SessionId::from_bytes(row?.0.value()))?;
        recovery.sessions_crashed += 1;
    }
    totals.write(&mut tables)?;
    drop(tables);
    txn.commit()?;
    Ok(recovery)
}

/// Ends an execution that nobody runs any more.
pub(crate) fn stop(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    id: ExecutionId,
) -> Result<(), Fault> {
    let noun = Noun::Execution(id);
    let mut execution: Execution = get(&tables.executions, noun)?.ok_or_else(|| missing(noun))?;
    let event = Event {
        execution_id: id,
        seq: last_number(&tables.events, id.as_bytes())? + 1,
        ts: now(),
        payload: EventPayload::System { message: STOPPED.to_owned(), level: ConsoleLevel::Error },
    };
    execution.status = ExecutionStatus::Error;
    execution.ended_at = Some(event.ts);
    execution.error = Some(ExecutionError {
        message: STOPPED.to_owned(),
        stack: None,
        code: Some(ExecutionErrorCode::HostStopped),
    });
    execution.metrics.events = event.seq;
    let key = numbered(id.as_bytes(), event.seq);
    let row = encode_event(&event)?;
    tables.events.insert(&key, row.as_slice())?;
    totals.events.replace(0, row.len());
    let record = encode(&noun, &execution)?;
    let before = tables.executions.insert(id.as_bytes(), record.as_slice())?;
    totals.executions.replace(before.map_or(0, |row| row.value().len()), record.len());
    tables.running_executions.remove(id.as_bytes())?;
    Ok(())
}

/// Ends a session that nobody starts any more.
pub(crate) fn crash(tables: &mut Tables<'_>, id: SessionId) -> Result<(), Fault> {
    let noun = Noun::Session(id);
    let mut session: Session = get(&tables.sessions, noun)?.ok_or_else(|| missing(noun))?;
    session.status = SessionStatus::Crashed;
    session.last_error = Some(CRASHED.to_owned());
    tables.sessions.insert(id.as_bytes(), encode(&noun, &session)?.as_slice())?;
    let owned = owned(session.tenant_id, id.as_bytes());
    tables.active_sessions.remove(&owned)?;
    tables.ended_sessions.insert(&owned, ())?;
    tables.starting_sessions.remove(id.as_bytes())?;
    tables.doomed_heaps.insert(id.as_bytes(), ())?;
    Ok(())
}

fn missing(noun: Noun) -> StorageError {
    StorageError::DamagedRecord {
        record: noun.to_string(),
        detail: "an index names it and it is not there".to_owned(),
    }
}
