//! The format of the file: its tables, their keys, and how each noun is put into them.
//!
//! ```text
//! table               key (big-endian binary)          value
//! meta                "format"                         u64, FORMAT_VERSION
//! templates           template id (16)                 Template, JSON
//! sessions            session id (16)                  Session, JSON
//! live_sessions       session id (16)                  -
//! executions          execution id (16)                Execution, JSON
//! session_executions  session id (16) ordinal (8)      execution id (16)
//! running_executions  execution id (16)                -
//! events              execution id (16) seq (8)        [ts, {type, payload}], JSON
//! ```
//!
//! Heap pages will be keyed by (session, page), in a table of their own.
//!
//! Invariant: an index row is there exactly when its record says so: `live_sessions` for status
//! starting or ready, `running_executions` for status running, `session_executions` for every
//! execution, with ordinals in the order of first commit, from 1. All tables exist from creation
//! on, so one that is missing means damage.
//!
//! Ids are version 7, so templates and sessions sort by creation. Executions do not rely on that:
//! the writer numbers them, and newest first holds whatever the clock did.

use crate::database::Fault;
use crate::error::StorageError;
use crate::event::{Event, EventPayload};
use crate::id::{ExecutionId, SessionId, TemplateId};
use crate::record::{decode, encode};
use jiff::Timestamp;
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction,
};
use serde::de::DeserializeOwned;
use std::fmt::Display;

/// The format of the file. Any change to this module's table, or to a record's JSON that old
/// records would not decode into, raises it.
pub const FORMAT_VERSION: u64 = 1;

/// The one key of [`META`].
pub(crate) const FORMAT_KEY: &str = "format";

type Id = &'static [u8; 16];
type Numbered = &'static [u8; 24];
type Record = &'static [u8];

pub(crate) const META: TableDefinition<'_, &'static str, u64> = TableDefinition::new("meta");
pub(crate) const TEMPLATES: TableDefinition<'_, Id, Record> = TableDefinition::new("templates");
pub(crate) const SESSIONS: TableDefinition<'_, Id, Record> = TableDefinition::new("sessions");
pub(crate) const LIVE_SESSIONS: TableDefinition<'_, Id, ()> = TableDefinition::new("live_sessions");
pub(crate) const EXECUTIONS: TableDefinition<'_, Id, Record> = TableDefinition::new("executions");
pub(crate) const SESSION_EXECUTIONS: TableDefinition<'_, Numbered, Id> =
    TableDefinition::new("session_executions");
pub(crate) const RUNNING_EXECUTIONS: TableDefinition<'_, Id, ()> =
    TableDefinition::new("running_executions");
pub(crate) const EVENTS: TableDefinition<'_, Numbered, Record> = TableDefinition::new("events");

/// Every table but `meta`, open for writing in one transaction.
pub(crate) struct Tables<'txn> {
    pub(crate) templates: Table<'txn, Id, Record>,
    pub(crate) sessions: Table<'txn, Id, Record>,
    pub(crate) live_sessions: Table<'txn, Id, ()>,
    pub(crate) executions: Table<'txn, Id, Record>,
    pub(crate) session_executions: Table<'txn, Numbered, Id>,
    pub(crate) running_executions: Table<'txn, Id, ()>,
    pub(crate) events: Table<'txn, Numbered, Record>,
}

impl<'txn> Tables<'txn> {
    /// Opens them, creating those that are not there: only a new file has none.
    pub(crate) fn open(txn: &'txn WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            templates: txn.open_table(TEMPLATES)?,
            sessions: txn.open_table(SESSIONS)?,
            live_sessions: txn.open_table(LIVE_SESSIONS)?,
            executions: txn.open_table(EXECUTIONS)?,
            session_executions: txn.open_table(SESSION_EXECUTIONS)?,
            running_executions: txn.open_table(RUNNING_EXECUTIONS)?,
            events: txn.open_table(EVENTS)?,
        })
    }
}

/// Every table but `meta`, as one committed state has it.
pub(crate) struct Snapshot {
    pub(crate) templates: ReadOnlyTable<Id, Record>,
    pub(crate) sessions: ReadOnlyTable<Id, Record>,
    pub(crate) live_sessions: ReadOnlyTable<Id, ()>,
    pub(crate) executions: ReadOnlyTable<Id, Record>,
    pub(crate) session_executions: ReadOnlyTable<Numbered, Id>,
    pub(crate) running_executions: ReadOnlyTable<Id, ()>,
    pub(crate) events: ReadOnlyTable<Numbered, Record>,
}

impl Snapshot {
    /// Opens them; one that is missing is an error.
    pub(crate) fn open(txn: &ReadTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            templates: txn.open_table(TEMPLATES)?,
            sessions: txn.open_table(SESSIONS)?,
            live_sessions: txn.open_table(LIVE_SESSIONS)?,
            executions: txn.open_table(EXECUTIONS)?,
            session_executions: txn.open_table(SESSION_EXECUTIONS)?,
            running_executions: txn.open_table(RUNNING_EXECUTIONS)?,
            events: txn.open_table(EVENTS)?,
        })
    }
}

/// The record of a noun, if there is one.
pub(crate) fn get<T: DeserializeOwned>(
    table: &impl ReadableTable<Id, Record>,
    noun: Noun,
) -> Result<Option<T>, Fault> {
    match table.get(noun.key())? {
        Some(bytes) => Ok(Some(decode(&noun, bytes.value())?)),
        None => Ok(None),
    }
}

/// The key of the `number`th row of an owner.
pub(crate) fn numbered(owner: &[u8; 16], number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(owner);
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number in a key that [`numbered`] made.
pub(crate) fn number_of(key: &[u8; 24]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&key[16..]);
    u64::from_be_bytes(number)
}

/// The highest number that an owner's rows have, or 0.
pub(crate) fn last_number<V: redb::Value + 'static>(
    table: &impl ReadableTable<Numbered, V>,
    owner: &[u8; 16],
) -> Result<u64, Fault> {
    let (first, last) = (numbered(owner, 0), numbered(owner, u64::MAX));
    match table.range::<&[u8; 24]>(&first..=&last)?.next_back() {
        Some(row) => Ok(number_of(row?.0.value())),
        None => Ok(0),
    }
}

/// The value under an event's key: what the key does not say already.
pub(crate) fn encode_event(event: &Event) -> Result<Vec<u8>, StorageError> {
    encode(&event_name(event.execution_id, event.seq), &(event.ts, &event.payload))
}

/// The event of a key and its value.
pub(crate) fn decode_event(
    execution_id: ExecutionId,
    seq: u64,
    bytes: &[u8],
) -> Result<Event, StorageError> {
    let (ts, payload): (Timestamp, EventPayload) = decode(&event_name(execution_id, seq), bytes)?;
    Ok(Event { execution_id, seq, ts, payload })
}

fn event_name(execution_id: ExecutionId, seq: u64) -> impl Display {
    std::fmt::from_fn(move |f| write!(f, "record of event {seq} of execution {execution_id}"))
}

/// A noun with a record under its own id; says which one in errors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Noun {
    Template(TemplateId),
    Session(SessionId),
    Execution(ExecutionId),
}

impl Noun {
    pub(crate) const fn key(&self) -> &[u8; 16] {
        match self {
            Self::Template(id) => id.as_bytes(),
            Self::Session(id) => id.as_bytes(),
            Self::Execution(id) => id.as_bytes(),
        }
    }
}

impl Display for Noun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Template(id) => write!(f, "record of template {id}"),
            Self::Session(id) => write!(f, "record of session {id}"),
            Self::Execution(id) => write!(f, "record of execution {id}"),
        }
    }
}
