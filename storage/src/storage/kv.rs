//! Reads of workspaces' keys, each noted for the commit that is to depend on it.
//!
//! Invariant: what one [`KvReads`] was given was so at one moment: a read that finds that what was read
//! before has changed gives nothing but the conflict. Like all reads, these may read the file.

use super::Storage;
use crate::error::StorageError;
use crate::kv::{KvEntry, KvList, KvListed, KvReads, KvUsage, KvWrites, Range, Row, Stored};
use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};

impl Storage {
    /// The value of a key of a workspace, which is noted in `reads`.
    ///
    /// # Errors
    /// `KvConflict`, `KvTooManyReads`, and the states of the store.
    pub fn kv_get(
        &self,
        workspace: &str,
        key: &str,
        reads: &mut KvReads,
    ) -> Result<Option<KvEntry>, StorageError> {
        self.read(|snapshot| {
            let workspace = Stored::find(&snapshot.kv_workspaces, workspace)?;
            reads.catch_up(&workspace, &snapshot.kv)?;
            let entry = |row: Row<'_>| KvEntry { version: row.version, value: row.value.to_vec() };
            let entry = workspace.read(&snapshot.kv, key, entry)?;
            reads.note(key, entry.as_ref().map(|entry| entry.version))?;
            Ok(entry)
        })
    }

    /// Keys of a workspace in the order of their bytes, as they are with `writes`. What is not among
    /// those is noted in `reads`. The list may be shorter than its limit; where nothing comes any more,
    /// it is empty.
    ///
    /// # Errors
    /// `KvConflict`, `KvTooManyReads`, and the states of the store.
    pub fn kv_list(
        &self,
        workspace: &str,
        list: KvList<'_>,
        writes: &KvWrites,
        reads: &mut KvReads,
    ) -> Result<Vec<KvListed>, StorageError> {
        if list.limit == 0 {
            return Ok(Vec::new());
        }
        self.read(|snapshot| {
            let workspace = Stored::find(&snapshot.kv_workspaces, workspace)?;
            reads.catch_up(&workspace, &snapshot.kv)?;
            let mut range = Range {
                prefix: list.prefix.to_owned(),
                after: list.after.map(str::to_owned),
                through: None,
            };
            let mut merged = Merged::new(list, writes);
            range.walk(&workspace, &snapshot.kv, |key, row| {
                if merged.go_on_to(Some(key)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                reads.note(key, Some(row.version))?;
                Ok(merged.stored(key, row))
            })?;
            if !merged.is_full() {
                let _ = merged.go_on_to(None);
            }
            if merged.is_full() {
                range.through = merged.listed.last().map(|last| last.key.clone());
            }
            reads.note_range(range)?;
            Ok(merged.listed)
        })
    }

    /// What a workspace holds, and the bytes of a key's value. Nothing of it is noted.
    ///
    /// # Errors
    /// The states of the store.
    pub fn kv_usage(
        &self,
        workspace: &str,
        key: &str,
    ) -> Result<(KvUsage, Option<u64>), StorageError> {
        self.read(|snapshot| {
            let workspace = Stored::find(&snapshot.kv_workspaces, workspace)?;
            let bytes = workspace.read(&snapshot.kv, key, |row| row.value.len() as u64)?;
            Ok((workspace.usage, bytes))
        })
    }
}

/// A list that is being made of what is stored and what is written.
struct Merged<'a> {
    list: KvList<'a>,
    writes: Peekable<btree_map::Range<'a, String, Option<Vec<u8>>>>,
    listed: Vec<KvListed>,
    bytes: usize,
}

impl<'a> Merged<'a> {
    fn new(list: KvList<'a>, writes: &'a KvWrites) -> Self {
        let from = match list.after.filter(|after| *after >= list.prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(list.prefix),
        };
        let writes = writes.range::<str, _>((from, Bound::Unbounded)).peekable();
        Self { list, writes, listed: Vec::new(), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.listed.len() >= self.list.limit || self.bytes >= self.list.max_bytes
    }

    /// Lists what is written before a key that is stored, or all that is left of it.
    fn go_on_to(&mut self, key: Option<&str>) -> ControlFlow<()> {
        while !self.is_full() {
            let due = |(written, _): &(&String, _)| {
                written.starts_with(self.list.prefix)
                    && key.is_none_or(|key| written.as_str() < key)
            };
            let Some((written, value)) = self.writes.next_if(due) else {
                return ControlFlow::Continue(());
            };
            if let Some(value) = value {
                self.add(written, None, value);
            }
        }
        ControlFlow::Break(())
    }

    /// Lists a key that is stored, unless it is written.
    fn stored(&mut self, key: &str, row: Row<'_>) -> ControlFlow<()> {
        match self.writes.next_if(|(written, _)| written.as_str() == key) {
            Some((written, Some(value))) => self.add(written, None, value),
            Some((_, None)) => {}
            None => self.add(key, Some(row.version), row.value),
        }
        if self.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn add(&mut self, key: &str, version: Option<u64>, value: &[u8]) {
        self.bytes += key.len() + value.len();
        self.listed.push(KvListed { key: key.to_owned(), version, value: value.to_vec() });
    }
}
