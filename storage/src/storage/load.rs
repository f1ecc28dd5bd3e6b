//! Loading a session's heap.
//!
//! Invariant: what is given is the state that the last committed change left, every row of it
//! checked; a row that is missing, damaged or of another heap is an error.

use super::Storage;
use crate::database::Fault;
use crate::error::StorageError;
use crate::heap::codec::{decode_base, decode_page, decode_patch};
use crate::heap::{HeapMemory, StoredHeap};
use crate::id::SessionId;
use crate::tables::{HistoryRow, Snapshot, all_of, number_of, numbered};

impl Storage {
    /// The heap of a session, every row of it checked; `None` when nothing was committed to it.
    ///
    /// # Errors
    /// [`StorageError::DamagedHeap`], or the states of the store.
    pub fn heap(&self, session: SessionId) -> Result<Option<StoredHeap>, StorageError> {
        self.read(|snapshot| heap(snapshot, session))
    }
}

fn heap(snapshot: &Snapshot, session: SessionId) -> Result<Option<StoredHeap>, Fault> {
    let damaged = |detail: String| Fault::Refused(StorageError::DamagedHeap { session, detail });
    let owner = session.as_bytes();
    let base_row = match snapshot.heaps.get(owner)? {
        Some(row) => Some(decode_base(row.value()).map_err(damaged)?),
        None => None,
    };
    let mut base = Vec::new();
    let (first, last) = all_of(owner);
    if let Some(row) = &base_row {
        for row in snapshot.heap_pages.range::<&[u8; 24]>(&first..=&last)? {
            let (key, row) = row?;
            let number = u32::try_from(number_of(key.value()));
            let number = number.map_err(|_| damaged("a page has no such number".to_owned()))?;
            base.push((number, decode_page(row.value()).map_err(damaged)?));
        }
        if base.len() as u64 != row.pages {
            return Err(damaged(format!("it has {} pages and not {}", base.len(), row.pages)));
        }
    } else if snapshot.heap_pages.range::<&[u8; 24]>(&first..=&last)?.next().is_some() {
        return Err(damaged("it has pages and no base".to_owned()));
    }
    let mut at = base_row.map_or(0, |row| row.ordinal);
    let mut memory = base_row.map_or_else(HeapMemory::default, |row| HeapMemory {
        bytes: row.memory_bytes,
        clock_ms: row.clock_ms,
    });
    let mut patches = Vec::new();
    let (first, last) = (numbered(owner, at + 1), numbered(owner, u64::MAX));
    for row in snapshot.history.range::<&[u8; 24]>(&first..=&last)? {
        let (key, row) = row?;
        let Some(patch) = HistoryRow::decode(row.value())?.patch else {
            continue;
        };
        let patch = decode_patch(patch).map_err(damaged)?;
        if patch.follows != at {
            return Err(damaged(format!("change {} follows {at}", patch.follows)));
        }
        at = number_of(key.value());
        memory = HeapMemory { bytes: patch.memory_bytes, clock_ms: patch.clock_ms };
        patches.push(patch.pages.into());
    }
    let is_empty = base_row.is_none() && patches.is_empty();
    Ok((!is_empty).then_some(StoredHeap { at, memory, base, patches }))
}
