//! What a commit does to its session's heap.
//!
//! Invariant: a patch stands in the row of the execution that made it and names the change before
//! it; when whole pages are written, no patch up to them is left.

use super::request::{HeapRows, PreparedHeap};
use super::totals::Totals;
use crate::database::Fault;
use crate::error::StorageError;
use crate::heap::PageWrite;
use crate::heap::codec::{BaseRow, decode_base, encode_base};
use crate::id::SessionId;
use crate::tables::{HistoryRow, Tables, number_of, numbered};
use redb::ReadableTable;

/// Refuses a change that does not follow the last one: somebody else changed the heap, or a commit
/// came twice. Looks at the executions since the one it names: each is looked at once, because the
/// next change names a later one.
pub(super) fn check_heap(
    tables: &Tables<'_>,
    session: SessionId,
    ordinal: u64,
    heap: &PreparedHeap,
) -> Result<(), Fault> {
    let found = heap.follows;
    let conflict = |expected| Err(StorageError::HeapConflict { session, expected, found }.into());
    let owner = session.as_bytes();
    let base = base(tables, session)?.map_or(0, |base| base.ordinal);
    // That also refuses an execution which began before the base was written: its row is not read.
    if found < base || found >= ordinal {
        return conflict(base);
    }
    let (first, last) = (numbered(owner, found), numbered(owner, u64::MAX));
    let mut latest = base;
    for row in tables.history.range::<&[u8; 24]>(&first..=&last)? {
        let (key, row) = row?;
        let at = number_of(key.value());
        let is_patch = HistoryRow::decode(row.value())?.patch.is_some();
        // What the execution itself left while it ran is replaced.
        if is_patch && at > base && at != ordinal {
            latest = at;
        }
    }
    if latest == found { Ok(()) } else { conflict(latest) }
}

/// Writes a change that was checked; gives the patch for the row of the execution.
pub(super) fn change_heap(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    session: SessionId,
    ordinal: u64,
    heap: PreparedHeap,
) -> Result<Option<Vec<u8>>, Fault> {
    let PreparedHeap { follows: _, memory, rows } = heap;
    let pages = match rows {
        HeapRows::Patch(patch) => {
            totals.heaps.replace(0, patch.len());
            return Ok(Some(patch));
        }
        HeapRows::Pages(pages) => pages,
    };
    let before = base(tables, session)?;
    let mut count = before.map_or(0, |base| base.pages);
    let owner = session.as_bytes();
    for (number, page) in pages {
        let key = numbered(owner, u64::from(number));
        match page {
            PageWrite::Encoded(row) => {
                let replaced = tables.heap_pages.insert(&key, row.as_slice())?;
                let replaced = replaced.map(|row| row.value().len());
                count += u64::from(replaced.is_none());
                totals.heaps.replace(replaced.unwrap_or(0), row.len());
            }
            PageWrite::Image => {
                if let Some(removed) = tables.heap_pages.remove(&key)? {
                    count -= 1;
                    totals.heaps.replace(removed.value().len(), 0);
                }
            }
        }
    }
    let after = before.map_or(0, |base| base.ordinal);
    drop_patches(tables, totals, session, after, ordinal, usize::MAX)?;
    let base =
        BaseRow { ordinal, memory_bytes: memory.bytes, clock_ms: memory.clock_ms, pages: count };
    tables.heaps.insert(owner, encode_base(&base).as_slice())?;
    Ok(None)
}

/// Takes the patches out of the history after one ordinal and before another: the first of them, at
/// most `most`. Gives how many.
pub(super) fn drop_patches(
    tables: &mut Tables<'_>,
    totals: &mut Totals,
    session: SessionId,
    after: u64,
    before: u64,
    most: usize,
) -> Result<u64, Fault> {
    let owner = session.as_bytes();
    let (first, last) = (numbered(owner, after.saturating_add(1)), numbered(owner, before));
    let mut patched = Vec::new();
    if first < last {
        for row in tables.history.range::<&[u8; 24]>(&first..&last)? {
            let (key, row) = row?;
            let row = HistoryRow::decode(row.value())?;
            if patched.len() >= most {
                break;
            }
            if let Some(patch) = row.patch {
                patched.push((number_of(key.value()), row.execution, patch.len()));
            }
        }
    }
    for (ordinal, execution, bytes) in &patched {
        let key = numbered(owner, *ordinal);
        totals.heaps.replace(*bytes, 0);
        if tables.executions.get(execution.as_bytes())?.is_some() {
            let row = HistoryRow { execution: *execution, patch: None };
            tables.history.insert(&key, row.encode().as_slice())?;
        } else {
            // The execution was removed before; its row was there for the patch alone.
            tables.history.remove(&key)?;
        }
    }
    Ok(patched.len() as u64)
}

/// The row of a heap's base.
pub(super) fn base(tables: &Tables<'_>, session: SessionId) -> Result<Option<BaseRow>, Fault> {
    let Some(row) = tables.heaps.get(session.as_bytes())? else {
        return Ok(None);
    };
    let base = decode_base(row.value());
    Ok(Some(base.map_err(|detail| StorageError::DamagedHeap { session, detail })?))
}
