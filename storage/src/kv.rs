//! Keys and values of workspaces: what an execution saw of them, what it does to them, and how they
//! lie in the file.
//!
//! ```text
//! kv_workspaces   workspace's id             number, revision, bytes, keys
//! kv              number (8, big-endian) key     version (8, big-endian) value
//! ```
//!
//! Every commit that changes a workspace has a number of its own, from one counter for all: the version
//! of what it writes, the revision of the workspace, and of one that it gives its first key the number.
//! So no version comes twice, whatever is deleted and written again. A workspace without keys has no row.
//!
//! Invariant: what [`KvReads`] notes was so at one moment, all of it. A read that finds it otherwise is a
//! conflict, as is a commit.

use crate::database::Fault;
use crate::error::StorageError;
use crate::tables::{Record, Workspace};
use redb::ReadableTable;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Bytes of a key: as many as a path's name twice over, so that many fit a page of the file.
pub const MAX_KV_KEY_BYTES: usize = 512;

/// Bytes of a value: 64 KiB, and one that says what they are. A value is copied whole whenever it is
/// read or written; what is larger is a file.
pub const MAX_KV_VALUE_BYTES: usize = (64 << 10) + 1;

/// Keys that one execution may read or list, each time that it lists them: the writer looks at as many
/// again when somebody else has changed the workspace meanwhile, which takes it some milliseconds.
pub const MAX_KV_READS: usize = 10_000;

/// What one execution does to its workspace, and what that is to depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvCommit {
    /// The workspace's id.
    pub workspace: String,
    /// What has to be so still.
    pub reads: KvReads,
    /// What is written.
    pub writes: KvWrites,
    /// What the workspace may hold for something to be added to it.
    pub quota: KvQuota,
}

/// Values by their keys; a key without one is deleted.
pub type KvWrites = BTreeMap<String, Option<Vec<u8>>>;

/// What a workspace may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvQuota {
    /// Bytes of its keys and values.
    pub bytes: u64,
    /// How many keys.
    pub keys: u64,
}

impl Default for KvQuota {
    /// Whatever it may be.
    fn default() -> Self {
        Self { bytes: u64::MAX, keys: u64::MAX }
    }
}

/// What a workspace holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvUsage {
    /// Bytes of its keys and values.
    pub bytes: u64,
    /// How many keys.
    pub keys: u64,
}

impl KvUsage {
    /// What it is when a value of one size takes the place of one of another; without one there is no key.
    pub fn replace(&mut self, key: &str, before: Option<u64>, after: Option<u64>) {
        let bytes = |value: Option<u64>| value.map_or(0, |bytes| key.len() as u64 + bytes);
        self.bytes = (self.bytes + bytes(after)).saturating_sub(bytes(before));
        self.keys =
            (self.keys + u64::from(after.is_some())).saturating_sub(u64::from(before.is_some()));
    }

    /// Whether it may have become so: what is smaller than it was always may.
    pub fn may_follow(&self, before: &Self, quota: &KvQuota) -> bool {
        (self.bytes <= quota.bytes || self.bytes <= before.bytes)
            && (self.keys <= quota.keys || self.keys <= before.keys)
    }
}

/// A key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvEntry {
    /// Of the commit that wrote it; above 0, and no other value's.
    pub version: u64,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// Which keys are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvList<'a> {
    /// What they begin with.
    pub prefix: &'a str,
    /// A key that they come after.
    pub after: Option<&'a str>,
    /// How many at most.
    pub limit: usize,
    /// Bytes of keys and values after which there are no more.
    pub max_bytes: usize,
}

/// One key of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvListed {
    /// The key.
    pub key: String,
    /// Its value's version; none when the value is among the writes that the list was merged with.
    pub version: Option<u64>,
    /// Its value.
    pub value: Vec<u8>,
}

/// What an execution saw of its workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvReads {
    /// The workspace's revision at the last read, 0 when it had no keys; none before the first.
    revision: Option<u64>,
    /// The version of each key that was read or listed; none for one that was not there.
    keys: BTreeMap<String, Option<u64>>,
    /// What was listed: there was no key in it that is not above.
    ranges: Vec<Range>,
    noted: usize,
}

/// Keys that were listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) prefix: String,
    pub(crate) after: Option<String>,
    /// The last of them; none when there were no more of the prefix.
    pub(crate) through: Option<String>,
}

impl KvReads {
    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    /// How much was read, as [`MAX_KV_READS`] counts.
    pub fn len(&self) -> usize {
        self.noted
    }

    /// Checks that all of it is still so, in a state of the store.
    pub(crate) fn check(
        &self,
        workspace: &Stored<'_>,
        kv: &impl ReadableTable<Record, Record>,
    ) -> Result<(), Fault> {
        if self.revision == Some(workspace.revision) || self.hold(workspace, kv)? {
            return Ok(());
        }
        Err(StorageError::KvConflict { workspace: workspace.id.to_owned() }.into())
    }

    /// The same, to go on reading there.
    pub(crate) fn catch_up(
        &mut self,
        workspace: &Stored<'_>,
        kv: &impl ReadableTable<Record, Record>,
    ) -> Result<(), Fault> {
        self.check(workspace, kv)?;
        self.revision = Some(workspace.revision);
        Ok(())
    }

    /// Notes a key's version.
    pub(crate) fn note(&mut self, key: &str, version: Option<u64>) -> Result<(), StorageError> {
        self.count()?;
        self.keys.insert(key.to_owned(), version);
        Ok(())
    }

    /// Notes that a range holds no other keys than those noted.
    pub(crate) fn note_range(&mut self, range: Range) -> Result<(), StorageError> {
        self.count()?;
        self.ranges.push(range);
        Ok(())
    }

    fn count(&mut self) -> Result<(), StorageError> {
        if self.noted >= MAX_KV_READS {
            return Err(StorageError::KvTooManyReads { limit: MAX_KV_READS });
        }
        self.noted += 1;
        Ok(())
    }

    fn hold(
        &self,
        workspace: &Stored<'_>,
        kv: &impl ReadableTable<Record, Record>,
    ) -> Result<bool, Fault> {
        for (key, seen) in &self.keys {
            if workspace.read(kv, key, |row| row.version)? != *seen {
                return Ok(false);
            }
        }
        // Of the keys that were seen, all are there: it takes another one to make a difference.
        for range in &self.ranges {
            let mut only_seen = true;
            range.walk(workspace, kv, |key, _| {
                only_seen = matches!(self.keys.get(key), Some(Some(_)));
                Ok(if only_seen { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            if !only_seen {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Range {
    /// Visits the keys that a state of the store has in it, in order, until `visit` has enough.
    pub(crate) fn walk(
        &self,
        workspace: &Stored<'_>,
        kv: &impl ReadableTable<Record, Record>,
        mut visit: impl FnMut(&str, Row<'_>) -> Result<ControlFlow<()>, StorageError>,
    ) -> Result<(), Fault> {
        let Some(number) = workspace.number else { return Ok(()) };
        let row_key = |key: &str| row_key(number, key);
        let all = row_key(&self.prefix);
        let after = self.after.as_deref().filter(|after| *after >= self.prefix.as_str());
        let after = after.map(row_key);
        let through = self.through.as_deref().map(row_key);
        let from = after.as_deref().map_or(Bound::Included(all.as_slice()), Bound::Excluded);
        let to = through.as_deref().map_or(Bound::Unbounded, Bound::Included);
        if after.as_deref().zip(through.as_deref()).is_some_and(|(after, through)| after >= through)
        {
            return Ok(());
        }
        for row in kv.range::<&[u8]>((from, to))? {
            let (key, row) = row?;
            let Some(rest) = key.value().strip_prefix(all.as_slice()) else { break };
            let Ok(rest) = std::str::from_utf8(rest) else {
                return Err(damaged("a key is not UTF-8").into());
            };
            let key = [&self.prefix, rest].concat();
            if visit(&key, Row::decode(row.value())?)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The key of a row: those of a workspace stand together, in the order of their keys' bytes.
pub(crate) fn row_key(number: u64, key: &str) -> Vec<u8> {
    [&number.to_be_bytes(), key.as_bytes()].concat()
}

/// Bytes of a row that are neither of its key nor of its value: its workspace's number, its version.
pub(crate) const ROW_OVERHEAD: usize = 16;

/// A row of `kv`.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) version: u64,
    pub(crate) value: &'a [u8],
}

impl<'a> Row<'a> {
    pub(crate) fn decode(row: &'a [u8]) -> Result<Self, StorageError> {
        let (version, value) =
            row.split_first_chunk().ok_or_else(|| damaged("a value is cut short"))?;
        Ok(Self { version: u64::from_be_bytes(*version), value })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.version.to_be_bytes(), self.value].concat()
    }
}

/// A workspace, as a state of the store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    pub(crate) id: &'a str,
    /// Under which its keys stand; none when it has no keys.
    pub(crate) number: Option<u64>,
    pub(crate) revision: u64,
    pub(crate) usage: KvUsage,
}

impl<'a> Stored<'a> {
    pub(crate) fn find(
        workspaces: &impl ReadableTable<&'static str, Workspace>,
        id: &'a str,
    ) -> Result<Self, Fault> {
        let row = workspaces.get(id)?.map(|row| row.value());
        let (number, revision, bytes, keys) = row.unwrap_or_default();
        let usage = KvUsage { bytes, keys };
        Ok(Self { id, number: row.map(|_| number), revision, usage })
    }

    /// Reads one of its keys.
    pub(crate) fn read<T>(
        &self,
        kv: &impl ReadableTable<Record, Record>,
        key: &str,
        read: impl FnOnce(Row<'_>) -> T,
    ) -> Result<Option<T>, Fault> {
        let Some(number) = self.number else { return Ok(None) };
        match kv.get(row_key(number, key).as_slice())? {
            Some(row) => Ok(Some(read(Row::decode(row.value())?))),
            None => Ok(None),
        }
    }
}

fn damaged(detail: &str) -> StorageError {
    StorageError::DamagedRecord { record: "row of a key".to_owned(), detail: detail.to_owned() }
}
