//! The format of the file: its tables, their keys, and how each noun is put into them.
//!
//! ```text
//! table               key (big-endian binary)          value
//! meta                "format"                         u64, FORMAT_VERSION
//! tenants             tenant id (16)                   Tenant, JSON
//! tokens              token id (16)                    Token, JSON
//! templates           template id (16)                 Template, JSON
//! owned_templates     tenant id (16) template id (16)  -
//! shared_templates    template id (16)                 -
//! template_names      tenant id (16) name              template id (16)
//! sessions            session id (16)                  Session, JSON
//! active_sessions     tenant id (16) session id (16)   -
//! ended_sessions      tenant id (16) session id (16)   -
//! starting_sessions   session id (16)                  -
//! expiring_sessions   Unix ms (8) session id (16)      -
//! executions          execution id (16)                Execution, JSON
//! history             session id (16) ordinal (8)      execution id (16), heap patch or nothing
//! running_executions  execution id (16)                -
//! events              execution id (16) seq (8)        [ts, {type, payload}], JSON
//! heaps               session id (16)                  base of the heap
//! heap_pages          session id (16) page (8)         page
//! doomed_heaps        session id (16)                  -
//! purged_sessions     session id (16)                  -
//! totals              name                             u64
//! kv_workspaces       workspace                        number, revision, bytes, keys
//! kv                  number (8) key                   version (8) value
//! ```
//!
//! The rows of heaps are those of `heap/codec.rs`, those of workspaces' keys are drawn in `kv.rs`. What an execution changed in its session's heap
//! stands in the row that lists the execution, so that a commit touches no page of the file more.
//!
//! Invariant: an index row is there exactly when its record says so: `owned_templates` for every
//! template, `shared_templates` for shared ones, `template_names` for those of a unique name, `active_sessions` for status starting or ready,
//! `ended_sessions` for the others, `starting_sessions` for starting, `running_executions` for running,
//! `history` for every execution, with ordinals in the order of first commit. A row of `history`
//! whose execution is gone stays as long as its patch is needed. `doomed_heaps` and
//! `purged_sessions` name what background steps have yet to remove; nobody reads it any more. All
//! tables exist from creation on, so one that is missing means damage.
//!
//! Ids are version 7, so templates, sessions and executions sort by creation; nothing but the order
//! of lists and of removal relies on that. The writer numbers a session's executions, and newest
//! first holds whatever the clock did.

use crate::database::Fault;
use crate::error::StorageError;
use crate::event::{Event, EventPayload};
use crate::id::{ExecutionId, SessionId, TemplateId, TenantId, TokenId};
use crate::record::{decode, encode};
use jiff::Timestamp;
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction,
};
use serde::de::DeserializeOwned;
use std::fmt::Display;

/// The format of the file. Any change to this module's table, or to a record that old records would
/// not decode into, raises it and adds a step to `database/migrate.rs`.
pub const FORMAT_VERSION: u64 = 4;

/// The one key of [`META`].
pub(crate) const FORMAT_KEY: &str = "format";

pub(crate) type Id = &'static [u8; 16];
pub(crate) type Numbered = &'static [u8; 24];
/// A tenant, and what it owns.
pub(crate) type Owned = &'static [u8; 32];
pub(crate) type Record = &'static [u8];
/// Number, revision, bytes, keys.
pub(crate) type Workspace = (u64, u64, u64, u64);

pub(crate) const META: TableDefinition<'_, &'static str, u64> = TableDefinition::new("meta");

macro_rules! tables {
    ($($field:ident $definition:ident: $key:ty => $value:ty;)+) => {
        $(pub(crate) const $definition: TableDefinition<'_, $key, $value> =
            TableDefinition::new(stringify!($field));)+

        /// Every table but `meta`, open for writing in one transaction.
        pub(crate) struct Tables<'txn> {
            $(pub(crate) $field: Table<'txn, $key, $value>,)+
        }

        impl<'txn> Tables<'txn> {
            /// Opens them, creating those that are not there: only a new file has none.
            pub(crate) fn open(txn: &'txn WriteTransaction) -> Result<Self, redb::TableError> {
                Ok(Self { $($field: txn.open_table($definition)?,)+ })
            }
        }

        /// Every table but `meta`, as one committed state has it.
        pub(crate) struct Snapshot {
            $(pub(crate) $field: ReadOnlyTable<$key, $value>,)+
        }

        impl Snapshot {
            /// Opens them; one that is missing is an error.
            pub(crate) fn open(txn: &ReadTransaction) -> Result<Self, redb::TableError> {
                Ok(Self { $($field: txn.open_table($definition)?,)+ })
            }

            /// Copies every table but `meta`, each by itself.
            pub(crate) fn copy(&self, copy: &mut impl CopyTable) -> Result<(), Fault> {
                $(copy.copy(&self.$field, $definition)?;)+
                Ok(())
            }
        }
    };
}

/// What copies a table into another database.
pub(crate) trait CopyTable {
    fn copy<K: redb::Key + 'static, V: redb::Value + 'static>(
        &mut self,
        from: &ReadOnlyTable<K, V>,
        to: TableDefinition<'_, K, V>,
    ) -> Result<(), Fault>;
}

tables! {
    tenants TENANTS: Id => Record;
    tokens TOKENS: Id => Record;
    templates TEMPLATES: Id => Record;
    owned_templates OWNED_TEMPLATES: Owned => ();
    shared_templates SHARED_TEMPLATES: Id => ();
    template_names TEMPLATE_NAMES: Record => Id;
    sessions SESSIONS: Id => Record;
    active_sessions ACTIVE_SESSIONS: Owned => ();
    ended_sessions ENDED_SESSIONS: Owned => ();
    starting_sessions STARTING_SESSIONS: Id => ();
    expiring_sessions EXPIRING_SESSIONS: Numbered => ();
    executions EXECUTIONS: Id => Record;
    history HISTORY: Numbered => Record;
    running_executions RUNNING_EXECUTIONS: Id => ();
    events EVENTS: Numbered => Record;
    heaps HEAPS: Id => Record;
    heap_pages HEAP_PAGES: Numbered => Record;
    doomed_heaps DOOMED_HEAPS: Id => ();
    purged_sessions PURGED_SESSIONS: Id => ();
    totals TOTALS: &'static str => u64;
    kv KV: Record => Record;
    kv_workspaces KV_WORKSPACES: &'static str => Workspace;
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

/// The key of what a tenant owns.
pub(crate) fn owned(tenant: TenantId, own: &[u8; 16]) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(tenant.as_bytes());
    key[16..].copy_from_slice(own);
    key
}

/// The key of a unique name of a tenant's.
pub(crate) fn named(tenant: TenantId, name: &str) -> Vec<u8> {
    [tenant.as_bytes(), name.as_bytes()].concat()
}

/// The keys of all that a tenant owns, first and last.
pub(crate) fn all_owned(tenant: TenantId) -> ([u8; 32], [u8; 32]) {
    (owned(tenant, &[0; 16]), owned(tenant, &[u8::MAX; 16]))
}

/// What a key that [`owned`] made says is owned.
pub(crate) fn own_of(key: &[u8; 32]) -> [u8; 16] {
    let mut own = [0; 16];
    own.copy_from_slice(&key[16..]);
    own
}

/// The key of the `number`th row of an owner.
pub(crate) fn numbered(owner: &[u8; 16], number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(owner);
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The key of a session that is due at a time, in milliseconds since 1970.
pub(crate) fn due_key(at_ms: u64, session: &[u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&at_ms.to_be_bytes());
    key[8..].copy_from_slice(session);
    key
}

/// The time and the session of a key that [`due_key`] made.
pub(crate) fn due_of(key: &[u8; 24]) -> (u64, SessionId) {
    let (mut at_ms, mut id) = ([0; 8], [0; 16]);
    at_ms.copy_from_slice(&key[..8]);
    id.copy_from_slice(&key[8..]);
    (u64::from_be_bytes(at_ms), SessionId::from_bytes(&id))
}

/// The number in a key that [`numbered`] made.
pub(crate) fn number_of(key: &[u8; 24]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&key[16..]);
    u64::from_be_bytes(number)
}

/// The keys of all of an owner's rows, first and last.
pub(crate) fn all_of(owner: &[u8; 16]) -> ([u8; 24], [u8; 24]) {
    (numbered(owner, 0), numbered(owner, u64::MAX))
}

/// The highest number that an owner's rows have, or 0.
pub(crate) fn last_number<V: redb::Value + 'static>(
    table: &impl ReadableTable<Numbered, V>,
    owner: &[u8; 16],
) -> Result<u64, Fault> {
    let (first, last) = all_of(owner);
    match table.range::<&[u8; 24]>(&first..=&last)?.next_back() {
        Some(row) => Ok(number_of(row?.0.value())),
        None => Ok(0),
    }
}

/// A row of `history`: the execution, and the patch that it left.
#[derive(Clone, Copy)]
pub(crate) struct HistoryRow<'a> {
    pub(crate) execution: ExecutionId,
    pub(crate) patch: Option<&'a [u8]>,
}

impl<'a> HistoryRow<'a> {
    pub(crate) fn decode(row: &'a [u8]) -> Result<Self, StorageError> {
        let Some((id, patch)) = row.split_first_chunk() else {
            let record = "a row of a session's history".to_owned();
            return Err(StorageError::DamagedRecord { record, detail: "it is cut short".into() });
        };
        let patch = Some(patch).filter(|patch| !patch.is_empty());
        Ok(Self { execution: ExecutionId::from_bytes(id), patch })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.execution.as_bytes()[..], self.patch.unwrap_or_default()].concat()
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
    Tenant(TenantId),
    Token(TokenId),
    Template(TemplateId),
    Session(SessionId),
    Execution(ExecutionId),
}

impl Noun {
    pub(crate) const fn key(&self) -> &[u8; 16] {
        match self {
            Self::Tenant(id) => id.as_bytes(),
            Self::Token(id) => id.as_bytes(),
            Self::Template(id) => id.as_bytes(),
            Self::Session(id) => id.as_bytes(),
            Self::Execution(id) => id.as_bytes(),
        }
    }
}

impl Display for Noun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tenant(id) => write!(f, "record of tenant {id}"),
            Self::Token(id) => write!(f, "record of token {id}"),
            Self::Template(id) => write!(f, "record of template {id}"),
            Self::Session(id) => write!(f, "record of session {id}"),
            Self::Execution(id) => write!(f, "record of execution {id}"),
        }
    }
}
