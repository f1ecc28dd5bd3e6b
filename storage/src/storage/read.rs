//! Reads: each sees one committed state of the store.
//!
//! Invariant: a read never waits for a commit. It may read the file, so **call it off the async
//! workers** (`spawn_blocking`) wherever that could hurt. Every list is bounded by a constant here
//! or by one that the writer enforces.

use super::Storage;
use crate::database::Fault;
use crate::error::StorageError;
use crate::event::Event;
use crate::execution::Execution;
use crate::id::{ExecutionId, SessionId, TemplateId, TenantId, TokenId};
use crate::record::decode;
use crate::session::{Session, SessionFilter};
use crate::tables::{
    HistoryRow, Id, Noun, Record, Snapshot, all_owned, decode_event, due_key, due_of, get, named,
    number_of, numbered, own_of, owned,
};
use crate::template::Template;
use crate::tenant::{Tenant, Token};
use crate::writer::totals::Totals;
use redb::{ReadableTable, ReadableTableMetadata};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::iter;
use std::ops::Bound;

/// The most templates, sessions or executions of one page of a list: some 2 MB of answer.
pub const MAX_LISTED: usize = 1_000;

/// Rows that one page of a list may look at: a filter that accepts few gets short pages.
const MAX_LOOKED_AT: usize = 20_000;

/// The most events of one read: more than the default `max_events`, so that one read nearly always
/// suffices. Who wants the rest reads on after the last `seq`.
pub const MAX_EVENTS_READ: usize = 65_536;

/// The most live ids of one read.
pub const MAX_LIVE_IDS: usize = 10_000;

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T, C> {
    /// What it holds.
    pub items: Vec<T>,
    /// Where the list goes on; none at its end.
    pub next: Option<C>,
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest<C> {
    /// Items at most; never more than [`MAX_LISTED`].
    pub limit: usize,
    /// The `next` of the page before; none for the first page.
    pub cursor: Option<C>,
}

impl<C> PageRequest<C> {
    /// The first page.
    pub const fn first(limit: usize) -> Self {
        Self { limit, cursor: None }
    }
}

/// What the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Templates.
    pub templates: u64,
    /// Sessions of any status.
    pub sessions: u64,
    /// Sessions that are starting or ready.
    pub live_sessions: u64,
    /// Executions.
    pub executions: u64,
    /// Events.
    pub events: u64,
    /// Bytes of the executions' records.
    pub execution_bytes: u64,
    /// Bytes of the events' records.
    pub event_bytes: u64,
    /// Bytes of the heaps of sessions, compressed.
    pub heap_bytes: u64,
    /// Sessions of which background steps have something left to remove.
    pub unswept_sessions: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes that are free on its file system.
    pub free_bytes: u64,
}

impl Storage {
    /// One template, or `None` where there is none of this id.
    pub fn template(&self, id: TemplateId) -> Result<Option<Template>, StorageError> {
        self.read(|snapshot| get(&snapshot.templates, Noun::Template(id)))
    }

    /// One tenant, or `None` where there is none of this id.
    pub fn tenant(&self, id: TenantId) -> Result<Option<Tenant>, StorageError> {
        self.read(|snapshot| get(&snapshot.tenants, Noun::Tenant(id)))
    }

    /// All tenants, oldest first: at most [`MAX_TENANTS`](crate::MAX_TENANTS).
    pub fn tenants(&self) -> Result<Vec<Tenant>, StorageError> {
        self.read(|snapshot| all(&snapshot.tenants, |id| Noun::Tenant(TenantId::from_bytes(id))))
    }

    /// All tokens of all tenants, oldest first: at most [`MAX_TOKENS`](crate::MAX_TOKENS).
    pub fn tokens(&self) -> Result<Vec<Token>, StorageError> {
        self.read(|snapshot| all(&snapshot.tokens, |id| Noun::Token(TokenId::from_bytes(id))))
    }

    /// Templates that a tenant owns, the oldest of them.
    pub fn owned_templates(
        &self,
        tenant: TenantId,
        limit: usize,
    ) -> Result<Vec<TemplateId>, StorageError> {
        let (first, last) = all_owned(tenant);
        self.read(|snapshot| {
            let own = snapshot.owned_templates.range::<&[u8; 32]>(&first..=&last)?.take(limit);
            own.map(|row| Ok(TemplateId::from_bytes(&own_of(row?.0.value())))).collect()
        })
    }

    /// The template of a tenant that has a unique name, or `None` where none has it.
    pub fn template_of_name(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Option<Template>, StorageError> {
        self.read(|snapshot| {
            let Some(id) = snapshot.template_names.get(named(tenant, name).as_slice())? else {
                return Ok(None);
            };
            get(&snapshot.templates, Noun::Template(TemplateId::from_bytes(id.value())))
        })
    }

    /// Templates of a tenant, and those that are shared, oldest first.
    pub fn templates(
        &self,
        tenant: TenantId,
        page: PageRequest<TemplateId>,
    ) -> Result<Page<Template, TemplateId>, StorageError> {
        let after = page.cursor.map_or(Bound::Unbounded, |id| Bound::Excluded(*id.as_bytes()));
        self.read(|snapshot| {
            let (first, last) = all_owned(tenant);
            let from = match after {
                Bound::Excluded(id) => Bound::Excluded(owned(tenant, &id)),
                Bound::Included(_) | Bound::Unbounded => Bound::Included(first),
            };
            let own = (from, Bound::Included(last));
            let own = snapshot.owned_templates.range::<&[u8; 32]>(as_refs(&own))?;
            let own = own.map(|row| Ok(own_of(row?.0.value())));
            let shared = (after.as_ref(), Bound::Unbounded);
            let shared = snapshot.shared_templates.range::<&[u8; 16]>(shared)?;
            let shared = shared.map(|row| Ok(*row?.0.value()));
            let rows =
                merged(own, shared, |own, shared| own < shared).map(|id: Result<_, Fault>| {
                    let id = TemplateId::from_bytes(&id?);
                    Ok((id, get(&snapshot.templates, Noun::Template(id))?))
                });
            paged(rows, page.limit)
        })
    }

    /// One session, or `None` where there is none of this id.
    pub fn session(&self, id: SessionId) -> Result<Option<Session>, StorageError> {
        self.read(|snapshot| get(&snapshot.sessions, Noun::Session(id)))
    }

    /// Sessions of a tenant, newest first. A filter for live sessions walks only those.
    pub fn sessions(
        &self,
        tenant: TenantId,
        filter: &SessionFilter,
        page: PageRequest<SessionId>,
    ) -> Result<Page<Session, SessionId>, StorageError> {
        let before = page.cursor.map_or(Bound::Unbounded, |id| Bound::Excluded(*id.as_bytes()));
        let (first, last) = all_owned(tenant);
        let to = match before {
            Bound::Excluded(id) => Bound::Excluded(owned(tenant, &id)),
            Bound::Included(_) | Bound::Unbounded => Bound::Included(last),
        };
        let range = (Bound::Included(first), to);
        self.read(|snapshot| {
            let accepted = |id: Result<[u8; 16], Fault>| {
                let id = SessionId::from_bytes(&id?);
                let session: Option<Session> = get(&snapshot.sessions, Noun::Session(id))?;
                Ok((id, session.filter(|found| filter.accepts(found))))
            };
            let active = snapshot.active_sessions.range::<&[u8; 32]>(as_refs(&range))?.rev();
            let active = active.map(|row| Ok(own_of(row?.0.value())));
            if filter.is_for_live_ones() {
                return paged(active.map(accepted), page.limit);
            }
            let ended = snapshot.ended_sessions.range::<&[u8; 32]>(as_refs(&range))?.rev();
            let ended = ended.map(|row| Ok(own_of(row?.0.value())));
            let all = merged(active, ended, |active, ended| active > ended);
            paged(all.map(accepted), page.limit)
        })
    }

    /// How many sessions are `starting` or `ready`, of all tenants; costs the same however many there are.
    pub fn live_session_count(&self) -> Result<u64, StorageError> {
        self.read(|snapshot| Ok(snapshot.active_sessions.len()?))
    }

    /// How many sessions of a tenant are `starting` or `ready`, and which, sorted; the first
    /// [`MAX_LIVE_IDS`] of them.
    pub fn live_session_ids(
        &self,
        tenant: TenantId,
    ) -> Result<(u64, Vec<SessionId>), StorageError> {
        let (first, last) = all_owned(tenant);
        self.read(|snapshot| {
            let (mut count, mut ids) = (0, Vec::new());
            for row in snapshot.active_sessions.range::<&[u8; 32]>(&first..=&last)? {
                count += 1;
                if ids.len() < MAX_LIVE_IDS {
                    ids.push(SessionId::from_bytes(&own_of(row?.0.value())));
                }
            }
            Ok((count, ids))
        })
    }

    /// The images that sessions which are `starting` or `ready` began with, of all tenants, by their
    /// hashes.
    pub fn images_in_use(&self) -> Result<HashSet<String>, StorageError> {
        self.read(|snapshot| {
            let mut images = HashSet::new();
            for row in snapshot.active_sessions.iter()? {
                let id = SessionId::from_bytes(&own_of(row?.0.value()));
                let session: Option<Session> = get(&snapshot.sessions, Noun::Session(id))?;
                images.extend(session.and_then(|session| Some(session.engine?.image)));
            }
            Ok(images)
        })
    }

    /// Executions that run and sessions that start, by the store; at most `limit` of each, oldest
    /// first.
    pub fn unfinished(
        &self,
        limit: usize,
    ) -> Result<(Vec<ExecutionId>, Vec<SessionId>), StorageError> {
        self.read(|snapshot| {
            let running = snapshot.running_executions.iter()?.take(limit);
            let running = running.map(|row| Ok(ExecutionId::from_bytes(row?.0.value())));
            let starting = snapshot.starting_sessions.iter()?.take(limit);
            let starting = starting.map(|row| Ok(SessionId::from_bytes(row?.0.value())));
            Ok((running.collect::<Result<_, Fault>>()?, starting.collect::<Result<_, Fault>>()?))
        })
    }

    /// Live sessions whose template's TTL has them looked at by `now_ms`, with the time that each
    /// was due; at most `limit`. They may have been used since they were made.
    pub fn due_sessions(
        &self,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, SessionId)>, StorageError> {
        let last = due_key(now_ms, &[u8::MAX; 16]);
        self.read(|snapshot| {
            let rows = snapshot.expiring_sessions.range::<&[u8; 24]>(..=&last)?.take(limit);
            rows.map(|row| Ok(due_of(row?.0.value()))).collect()
        })
    }

    /// One execution, or `None` where there is none of this id.
    pub fn execution(&self, id: ExecutionId) -> Result<Option<Execution>, StorageError> {
        self.read(|snapshot| execution(snapshot, id))
    }

    /// Executions of a session, newest first. Empty for a session that is not there.
    pub fn executions(
        &self,
        session_id: SessionId,
        page: PageRequest<u64>,
    ) -> Result<Page<Execution, u64>, StorageError> {
        let owner = session_id.as_bytes();
        let (first, last) = (numbered(owner, 0), numbered(owner, page.cursor.unwrap_or(u64::MAX)));
        self.read(|snapshot| {
            if snapshot.sessions.get(owner)?.is_none() {
                return Ok(Page { items: Vec::new(), next: None });
            }
            let rows = snapshot.history.range::<&[u8; 24]>(&first..&last)?.rev().map(|row| {
                let (key, row) = row?;
                let row = HistoryRow::decode(row.value())?;
                let noun = Noun::Execution(row.execution);
                let execution = get(&snapshot.executions, noun)?;
                if execution.is_none() && row.patch.is_none() {
                    return Err(dangling(row.execution));
                }
                Ok((number_of(key.value()), execution))
            });
            paged(rows, page.limit)
        })
    }

    /// Events of an execution with a `seq` above `after_seq`, in order: at most `limit`, and at
    /// most [`MAX_EVENTS_READ`]. `None` for an execution that is not there.
    ///
    /// # Errors
    /// As [`Storage::events_page`].
    pub fn events(
        &self,
        execution_id: ExecutionId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Option<Vec<Event>>, StorageError> {
        let page = PageRequest { limit, cursor: Some(after_seq) };
        Ok(self.events_page(execution_id, page, usize::MAX, |_| true)?.map(|page| page.items))
    }

    /// Events of an execution behind the one of the cursor, in order. A page ends with the event that
    /// makes its records have so many bytes; events are as large as scripts like. `None` for an execution
    /// that is not there, and for one that `is_wanted` does not want.
    ///
    /// # Errors
    /// [`StorageError::EventsExpired`] when some of them are not kept any more, or the states of
    /// the store.
    pub fn events_page(
        &self,
        execution_id: ExecutionId,
        page: PageRequest<u64>,
        max_bytes: usize,
        is_wanted: impl FnOnce(&Execution) -> bool,
    ) -> Result<Option<Page<Event, u64>>, StorageError> {
        let (after_seq, limit) = (page.cursor.unwrap_or(0), page.limit.min(MAX_EVENTS_READ));
        let owner = execution_id.as_bytes();
        self.read(|snapshot| {
            let Some(execution) = execution(snapshot, execution_id)?.filter(is_wanted) else {
                return Ok(None);
            };
            let Some(first) = after_seq.checked_add(1) else {
                return Ok(Some(Page { items: Vec::new(), next: None }));
            };
            let (first_key, last_key) = (numbered(owner, first), numbered(owner, u64::MAX));
            let rows = snapshot.events.range::<&[u8; 24]>(&first_key..=&last_key)?;
            let (mut events, mut read) = (Vec::new(), 0);
            for row in rows.take(limit) {
                let (key, bytes) = row?;
                events.push(decode_event(execution_id, number_of(key.value()), bytes.value())?);
                read += bytes.value().len();
                if read >= max_bytes {
                    break;
                }
            }
            // Events go from the first on, and only those of executions that are over.
            let last = execution.metrics.events;
            let oldest = match events.first() {
                Some(event) => event.seq,
                None if execution.status.is_over() => last.max(after_seq) + 1,
                None => first,
            };
            if oldest > first && limit > 0 {
                let oldest_seq = oldest;
                return Err(
                    StorageError::EventsExpired { execution: execution_id, oldest_seq }.into()
                );
            }
            let is_full = events.len() == limit || read >= max_bytes;
            let next = events.last().filter(|_| is_full).map(|event| event.seq);
            Ok(Some(Page { items: events, next }))
        })
    }

    /// What the store holds. Costs the same however much that is.
    pub fn contents(&self) -> Result<Contents, StorageError> {
        let source = self.slot.source();
        let file_bytes = std::fs::metadata(source.path()).map_or(0, |file| file.len());
        let free_bytes = source.free_bytes().unwrap_or(0);
        self.read(|snapshot| {
            let totals = Totals::read(&snapshot.totals)?;
            Ok(Contents {
                templates: snapshot.templates.len()?,
                sessions: snapshot.sessions.len()?,
                live_sessions: snapshot.active_sessions.len()?,
                executions: snapshot.executions.len()?,
                events: snapshot.events.len()?,
                execution_bytes: totals.executions.0,
                event_bytes: totals.events.0,
                heap_bytes: totals.heaps.0,
                unswept_sessions: snapshot.doomed_heaps.len()?.max(snapshot.purged_sessions.len()?),
                file_bytes,
                free_bytes,
            })
        })
    }

    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Snapshot) -> Result<T, Fault>,
    ) -> Result<T, StorageError> {
        let outcome = self.slot.read(read);
        if let Err(StorageError::Unavailable { .. }) = outcome {
            self.queue.wake();
        }
        outcome
    }
}

/// The first items of the rows, with the place of the last row that was looked at when there are
/// more.
fn paged<T, C: Copy>(
    rows: impl Iterator<Item = Result<(C, Option<T>), Fault>>,
    limit: usize,
) -> Result<Page<T, C>, Fault> {
    let limit = limit.min(MAX_LISTED);
    let (mut items, mut place) = (Vec::new(), None);
    for (looked_at, row) in rows.enumerate() {
        if items.len() >= limit || looked_at >= MAX_LOOKED_AT {
            return Ok(Page { items, next: place });
        }
        let (at, item) = row?;
        place = Some(at);
        items.extend(item);
    }
    Ok(Page { items, next: None })
}

/// All records of a table.
fn all<T: DeserializeOwned>(
    table: &impl ReadableTable<Id, Record>,
    noun: impl Fn(&[u8; 16]) -> Noun,
) -> Result<Vec<T>, Fault> {
    let rows = table.iter()?.map(|row| {
        let (key, record) = row?;
        Ok(decode(&noun(key.value()), record.value())?)
    });
    rows.collect()
}

/// The items of two iterators that are each in an order, in that order; one that both have once.
fn merged<T: PartialEq, E>(
    one: impl Iterator<Item = Result<T, E>>,
    other: impl Iterator<Item = Result<T, E>>,
    comes_before: impl Fn(&T, &T) -> bool,
) -> impl Iterator<Item = Result<T, E>> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(Ok(first)), Some(Ok(second))) => {
            if first == second {
                other.next();
                one.next()
            } else if comes_before(first, second) {
                one.next()
            } else {
                other.next()
            }
        }
        (Some(_), Some(Ok(_)) | None) => one.next(),
        (_, _) => other.next(),
    })
}

fn as_refs<T>((from, to): &(Bound<T>, Bound<T>)) -> (Bound<&T>, Bound<&T>) {
    (from.as_ref(), to.as_ref())
}

/// An execution whose session was not purged.
fn execution(snapshot: &Snapshot, id: ExecutionId) -> Result<Option<Execution>, Fault> {
    let Some(execution) = get::<Execution>(&snapshot.executions, Noun::Execution(id))? else {
        return Ok(None);
    };
    let session = snapshot.sessions.get(execution.session_id.as_bytes())?;
    Ok(session.is_some().then_some(execution))
}

fn dangling(id: ExecutionId) -> Fault {
    Fault::Refused(StorageError::DamagedRecord {
        record: Noun::Execution(id).to_string(),
        detail: "its session names it and it is not there".to_owned(),
    })
}
