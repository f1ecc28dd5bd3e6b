//! A session's memory as a host would keep it, and what a store has of it.
//!
//! Invariant: the image is all zero, so that a page that is not stored is a zero page.

use crate::harness::{Place, commit, execution};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::BTreeMap;
use vm_storage::{
    Contents, Execution, ExecutionCommit, HEAP_PAGE_BYTES, HeapChange, HeapCommit, HeapMemory,
    HeapPage, HeapPatch, PageWrite, SessionId, Storage, StoredHeap,
};

/// Pages of the memory.
pub(crate) const PAGES: usize = 8;

pub(crate) type Pages = Vec<HeapPage>;
pub(crate) type Rows<const KEY: usize> =
    TableDefinition<'static, &'static [u8; KEY], &'static [u8]>;

pub(crate) const EXECUTIONS: Rows<16> = TableDefinition::new("executions");
pub(crate) const EVENTS: Rows<24> = TableDefinition::new("events");
pub(crate) const HISTORY: Rows<24> = TableDefinition::new("history");
pub(crate) const HEAPS: Rows<16> = TableDefinition::new("heaps");
pub(crate) const HEAP_PAGES: Rows<24> = TableDefinition::new("heap_pages");

pub(crate) struct Memory {
    pub(crate) session: SessionId,
    pub(crate) now: Pages,
    base: Pages,
    /// The ordinal of the last change.
    pub(crate) at: u64,
    clock_ms: u64,
}

impl Memory {
    pub(crate) fn new(session: SessionId) -> Self {
        let zero = vec![[0; HEAP_PAGE_BYTES]; PAGES];
        Self { session, now: zero.clone(), base: zero, at: 0, clock_ms: 0 }
    }

    pub(crate) fn memory(&self) -> HeapMemory {
        HeapMemory { bytes: (PAGES * HEAP_PAGE_BYTES) as u64, clock_ms: self.clock_ms }
    }

    /// Fills some bytes of a page; gives the change as a patch.
    pub(crate) fn patch(&mut self, page: usize, at: usize, value: u8) -> HeapCommit {
        let before = self.now[page];
        self.now[page][at..at + 20].fill(value);
        self.clock_ms += 1;
        let mut patch = HeapPatch::default();
        patch.add(u32::try_from(page).unwrap(), &before, &self.now[page]);
        HeapCommit { follows: self.at, memory: self.memory(), change: HeapChange::Patch(patch) }
    }

    /// The pages that differ from the base, whole.
    pub(crate) fn whole(&mut self) -> HeapCommit {
        self.clock_ms += 1;
        let pages = self.pages();
        self.base.clone_from(&self.now);
        HeapCommit { follows: self.at, memory: self.memory(), change: HeapChange::Pages(pages) }
    }

    pub(crate) fn pages(&self) -> Vec<(u32, PageWrite)> {
        let differ = (0_u32..).zip(self.now.iter().zip(&self.base));
        let differ = differ.filter(|(_, (now, base))| now != base);
        differ.map(|(number, (now, _))| (number, written(now))).collect()
    }

    /// Commits an execution that made a change.
    pub(crate) async fn commit(&mut self, storage: &Storage, heap: HeapCommit) -> Execution {
        let execution = execution(self.session);
        self.at = storage.commit_execution(with(&execution, heap)).await.unwrap();
        execution
    }

    /// Commits so many executions, each with a patch.
    pub(crate) async fn patch_times(&mut self, storage: &Storage, times: u8) -> Vec<Execution> {
        let mut executions = Vec::new();
        for value in 1..=times {
            let heap = self.patch(usize::from(value) % PAGES, usize::from(value) * 8, value);
            executions.push(self.commit(storage, heap).await);
        }
        executions
    }

    /// Checks that the store has exactly this memory.
    pub(crate) fn check(&self, storage: &Storage) {
        let stored = storage.heap(self.session).unwrap().expect("something was committed");
        assert_eq!((stored.at, stored.memory), (self.at, self.memory()));
        assert!(pages_of(&stored) == self.now, "other bytes");
    }
}

fn written(page: &HeapPage) -> PageWrite {
    if page.iter().all(|byte| *byte == 0) { PageWrite::Image } else { PageWrite::of(page) }
}

/// An execution with one event and a change of the heap.
pub(crate) fn with(execution: &Execution, heap: HeapCommit) -> ExecutionCommit {
    ExecutionCommit { heap: Some(heap), ..commit(execution, [1]) }
}

/// The pages of a stored heap.
pub(crate) fn pages_of(stored: &StoredHeap) -> Pages {
    let mut pages = vec![[0; HEAP_PAGE_BYTES]; PAGES];
    for (number, page) in &stored.base {
        pages[*number as usize] = **page;
    }
    for patch in stored.patches.iter().flat_map(HeapPatch::pages) {
        patch.apply(&mut pages[patch.page as usize]);
    }
    pages
}

/// Closes the store, counts what its file holds, checks it against the totals, and opens it again.
pub(crate) async fn recounted(place: &Place, storage: Storage) -> (Storage, Contents) {
    let contents = storage.contents().unwrap();
    storage.shutdown().await.unwrap();
    let database = Database::open(place.path()).unwrap();
    let txn = database.begin_read().unwrap();
    let bytes = |table: Rows<24>, beside: usize| -> u64 {
        let rows = txn.open_table(table).unwrap();
        rows.iter().unwrap().map(|row| (row.unwrap().1.value().len() - beside) as u64).sum()
    };
    let executions = txn.open_table(EXECUTIONS).unwrap();
    let executions = executions.iter().unwrap().map(|row| row.unwrap().1.value().len() as u64);
    let counted = Contents {
        execution_bytes: executions.sum(),
        event_bytes: bytes(EVENTS, 0),
        heap_bytes: bytes(HEAP_PAGES, 0) + bytes(HISTORY, 16),
        ..contents
    };
    assert_eq!(contents, counted);
    check_workspaces(&txn);
    drop(txn);
    database.close().unwrap();
    (place.open(), contents)
}

/// Checks that what the rows of workspaces say is what their keys come to.
fn check_workspaces(txn: &ReadTransaction) {
    const KV: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("kv");
    const WORKSPACES: TableDefinition<'_, &str, (u64, u64, u64, u64)> =
        TableDefinition::new("kv_workspaces");
    let mut counted = BTreeMap::<u64, (u64, u64, u64)>::new();
    for row in txn.open_table(KV).unwrap().iter().unwrap() {
        let (key, row) = row.unwrap();
        let (number, key) = key.value().split_first_chunk().unwrap();
        let (version, value) = row.value().split_first_chunk().unwrap();
        let (newest, bytes, keys) = counted.entry(u64::from_be_bytes(*number)).or_default();
        *newest = u64::from_be_bytes(*version).max(*newest);
        *bytes += (key.len() + value.len()) as u64;
        *keys += 1;
    }
    for row in txn.open_table(WORKSPACES).unwrap().iter().unwrap() {
        let (number, revision, bytes, keys) = row.unwrap().1.value();
        let (newest, counted_bytes, counted_keys) = counted.remove(&number).expect("it has keys");
        assert_eq!((bytes, keys), (counted_bytes, counted_keys));
        assert!(newest <= revision && number <= revision, "{newest} {number} {revision}");
    }
    assert!(counted.is_empty(), "keys of no workspace: {counted:?}");
}

/// Changes the value of the nth row of a table, or removes the row, past the store.
pub(crate) fn edit<const KEY: usize>(
    place: &Place,
    table: Rows<KEY>,
    nth: usize,
    change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>,
) {
    let database = Database::open(place.path()).unwrap();
    let txn = database.begin_write().unwrap();
    let mut rows = txn.open_table(table).unwrap();
    let (key, value) = {
        let (key, value) = rows.iter().unwrap().nth(nth).unwrap().unwrap();
        (*key.value(), value.value().to_vec())
    };
    match change(value) {
        Some(value) => drop(rows.insert(&key, value.as_slice()).unwrap()),
        None => drop(rows.remove(&key).unwrap()),
    }
    drop(rows);
    txn.commit().unwrap();
    database.close().unwrap();
}
