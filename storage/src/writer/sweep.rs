//! Background removal, in steps: heaps of sessions that are over, what belonged to purged sessions,
//! and what retention does not keep.
//!
//! ```text
//! doomed heaps ─▶ purged sessions ─▶ executions past their bounds ─▶ events past theirs
//! ```
//!
//! Invariant: a step removes at most [`MAX_ROWS`] rows, and the one that lists the last execution of
//! them, and leaves a state that readers may see: an execution's events go oldest first, and before
//! itself.

use super::heap::{base, drop_patches};
use super::totals::{Bytes, Totals};
use crate::database::Fault;
use crate::execution::Execution;
use crate::id::{ExecutionId, SessionId};
use crate::retention::{Bounds, Retention};
use crate::tables::{HistoryRow, Noun, Numbered, Record, Tables, all_of, get, number_of, numbered};
use crate::time::now;
use redb::{ReadableTable, ReadableTableMetadata, Table};

/// Rows that one step removes: some milliseconds of the writer's time.
const MAX_ROWS: u64 = 512;

/// Executions that run, looked past in one step to find older ones that do not.
const MAX_SKIPPED: usize = 256;

/// What a step removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows of any kind.
    pub rows: u64,
    /// Executions.
    pub executions: u64,
    /// Events, with those of the executions.
    pub events: u64,
}

impl Swept {
    /// Whether there may be more to remove.
    pub fn is_unfinished(&self) -> bool {
        self.rows > 0
    }

    pub(super) fn room(&self) -> u64 {
        MAX_ROWS.saturating_sub(self.rows)
    }
}

/// Removes as much as one step may.
pub(super) fn sweep(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    retention: &Retention,
) -> Result<Swept, Fault> {
    let mut swept = Swept::default();
    match sweep_all(tables, totals, retention, &mut swept) {
        // What is in the way says so in a step of its own, so that this one is not half refused.
        Err(Fault::Refused(_)) if swept.rows > 0 => Ok(swept),
        outcome => outcome.map(|()| swept),
    }
}

fn sweep_all(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    retention: &Retention,
    swept: &mut Swept,
) -> Result<(), Fault> {
    while swept.room() > 0 && sweep_heap(tables, totals, swept)? {}
    while swept.room() > 0 && sweep_purged(tables, totals, swept)? {}
    while swept.room() > 0 && sweep_execution(tables, totals, &retention.executions, swept)? {}
    while swept.room() > 0 && sweep_events(tables, totals, &retention.events, swept)? {}
    Ok(())
}

/// Removes rows of the first heap that nobody needs; gives whether there was one.
fn sweep_heap(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    swept: &mut Swept,
) -> Result<bool, Fault> {
    let Some(session) = first(&tables.doomed_heaps)? else {
        return Ok(false);
    };
    let owner = session.as_bytes();
    swept.rows += remove_first(&mut tables.heap_pages, &mut totals.heaps, owner, swept.room())?;
    if swept.room() == 0 {
        return Ok(true);
    }
    let after = match base(tables, session) {
        Ok(base) => base.map_or(0, |base| base.ordinal),
        // A base that cannot be read goes like any other.
        Err(Fault::Refused(_)) => 0,
        Err(error) => return Err(error),
    };
    let room = usize::try_from(swept.room()).unwrap_or(usize::MAX);
    swept.rows += drop_patches(tables, totals, session, after, u64::MAX, room)?;
    if swept.room() == 0 {
        return Ok(true);
    }
    tables.heaps.remove(owner)?;
    tables.doomed_heaps.remove(owner)?;
    swept.rows += 1;
    Ok(true)
}

/// Removes rows of the first session that was purged; gives whether there was one.
fn sweep_purged(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    swept: &mut Swept,
) -> Result<bool, Fault> {
    let Some(session) = first(&tables.purged_sessions)? else {
        return Ok(false);
    };
    let (first, last) = all_of(session.as_bytes());
    let next = match tables.history.range::<&[u8; 24]>(&first..=&last)?.next() {
        Some(row) => {
            let (key, row) = row?;
            Some((*key.value(), HistoryRow::decode(row.value())?.execution))
        }
        None => None,
    };
    if let Some((key, execution)) = next {
        if remove_execution(tables, totals, execution, swept)? {
            tables.history.remove(&key)?;
            swept.rows += 1;
        }
    } else {
        tables.purged_sessions.remove(session.as_bytes())?;
        swept.rows += 1;
    }
    Ok(true)
}

/// Removes the oldest execution that has ended, if it passes a bound; gives whether it did.
fn sweep_execution(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    bounds: &Bounds,
    swept: &mut Swept,
) -> Result<bool, Fault> {
    if bounds.is_unbounded() {
        return Ok(false);
    }
    let bytes = totals.executions.0 + totals.events.0;
    let too_many = passes(bounds, tables.executions.len()?, bytes);
    let Some(execution) = oldest_over(tables)? else {
        return Ok(false);
    };
    if !too_many && !is_too_old(bounds, &execution) {
        return Ok(false);
    }
    let Execution { id, session_id, .. } = execution;
    if remove_execution(tables, totals, id, swept)? {
        remove_from_history(tables, session_id, id)?;
    }
    Ok(true)
}

/// Removes the oldest events, if they pass a bound; gives whether they did.
fn sweep_events(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    bounds: &Bounds,
    swept: &mut Swept,
) -> Result<bool, Fault> {
    if bounds.is_unbounded() {
        return Ok(false);
    }
    let count = tables.events.len()?;
    let too_many = passes(bounds, count, totals.events.0);
    let Some(execution) = oldest_with_events(tables)? else {
        return Ok(false);
    };
    if !too_many && !is_too_old(bounds, &execution) {
        return Ok(false);
    }
    // No more than what is too many, unless all of them are too old.
    let surplus = match bounds.max_count {
        Some(max) if count > max && !is_too_old(bounds, &execution) => count - max,
        Some(_) | None => u64::MAX,
    };
    remove_events(tables, totals, execution.id, surplus, swept)?;
    Ok(true)
}

fn passes(bounds: &Bounds, count: u64, bytes: u64) -> bool {
    bounds.max_count.is_some_and(|max| count > max)
        || bounds.max_bytes.is_some_and(|max| bytes > max)
}

fn is_too_old(bounds: &Bounds, execution: &Execution) -> bool {
    let age = now().duration_since(execution.started_at).unsigned_abs();
    bounds.max_age.is_some_and(|max| execution.started_at < now() && age > max)
}

/// The oldest execution that is over.
fn oldest_over(tables: &Tables<'_>) -> Result<Option<Execution>, Fault> {
    let mut oldest = None;
    for row in tables.executions.iter()?.take(MAX_SKIPPED) {
        let id = ExecutionId::from_bytes(row?.0.value());
        if tables.running_executions.get(id.as_bytes())?.is_none() {
            oldest = get(&tables.executions, Noun::Execution(id))?;
            break;
        }
    }
    Ok(oldest)
}

/// The oldest execution that is over and has events.
fn oldest_with_events(tables: &Tables<'_>) -> Result<Option<Execution>, Fault> {
    let mut from = [0; 24];
    for _ in 0..MAX_SKIPPED {
        let Some(row) = tables.events.range::<&[u8; 24]>(&from..)?.next() else {
            return Ok(None);
        };
        let key = *row?.0.value();
        let owner: &[u8; 16] = key.first_chunk().expect("checked by the type: a key has 24 bytes");
        let id = ExecutionId::from_bytes(owner);
        if tables.running_executions.get(owner)?.is_none() {
            return get(&tables.executions, Noun::Execution(id));
        }
        from = numbered(owner, u64::MAX);
    }
    Ok(None)
}

/// Removes an execution's events and then itself, as far as the step has room; gives whether it is
/// gone.
fn remove_execution(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    id: ExecutionId,
    swept: &mut Swept,
) -> Result<bool, Fault> {
    remove_events(tables, totals, id, u64::MAX, swept)?;
    if swept.room() == 0 {
        return Ok(false);
    }
    if let Some(record) = tables.executions.remove(id.as_bytes())? {
        totals.executions.replace(record.value().len(), 0);
        swept.executions += 1;
        swept.rows += 1;
    }
    tables.running_executions.remove(id.as_bytes())?;
    Ok(true)
}

/// Removes an execution's first events: at most `most`, and as the step has room.
fn remove_events(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    id: ExecutionId,
    most: u64,
    swept: &mut Swept,
) -> Result<(), Fault> {
    let most = swept.room().min(most);
    let removed = remove_first(&mut tables.events, &mut totals.events, id.as_bytes(), most)?;
    swept.events += removed;
    swept.rows += removed;
    Ok(())
}

/// Removes the first rows of an owner, at most so many; gives how many.
fn remove_first(
    table: &mut Table<'_, Numbered, Record>,
    total: &mut Bytes,
    owner: &[u8; 16],
    most: u64,
) -> Result<u64, Fault> {
    let (first, last) = all_of(owner);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut keys = Vec::new();
    for row in table.range::<&[u8; 24]>(&first..=&last)?.take(most) {
        keys.push(*row?.0.value());
    }
    for key in &keys {
        let bytes = table.remove(key)?.map_or(0, |row| row.value().len());
        total.replace(bytes, 0);
    }
    Ok(keys.len() as u64)
}

/// Takes a removed execution out of its session's history, unless its row has a patch that the heap
/// needs. It is among the first rows: those before it are such rows.
fn remove_from_history(
    tables: &mut Tables<'_>,
    session: SessionId,
    id: ExecutionId,
) -> Result<(), Fault> {
    let (first, last) = all_of(session.as_bytes());
    let mut found = None;
    for row in tables.history.range::<&[u8; 24]>(&first..=&last)? {
        let (key, row) = row?;
        let row = HistoryRow::decode(row.value())?;
        if row.execution == id {
            found = Some((number_of(key.value()), row.patch.is_some()));
            break;
        }
    }
    match found {
        Some((_, true)) | None => Ok(()),
        Some((ordinal, false)) => {
            tables.history.remove(&numbered(session.as_bytes(), ordinal))?;
            Ok(())
        }
    }
}

/// The first of the sessions that are to be swept.
fn first(table: &impl ReadableTable<&'static [u8; 16], ()>) -> Result<Option<SessionId>, Fault> {
    match table.first()? {
        Some((key, _)) => Ok(Some(SessionId::from_bytes(key.value()))),
        None => Ok(None),
    }
}
