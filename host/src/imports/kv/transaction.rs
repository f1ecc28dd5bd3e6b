//! What one execution has done with its workspace's keys, until it is committed.
//!
//! Invariant: what is kept is within the limits of one execution, and its growth is that of its writes.

use super::Refused;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use vm_storage::{KvQuota, KvReads, KvUsage, KvWrites, StorageError};

/// Keys that one execution may write: the store's writer is busy with as many for some 20 milliseconds.
pub(crate) const MAX_WRITES: usize = 4_096;
/// Bytes of keys and values that one execution may write: half of what the store commits at one time.
pub(crate) const MAX_WRITTEN_BYTES: usize = 4 << 20;

/// What an execution has done with them; clones are the same. Each execution has one of its own: a call
/// may come back after the execution that made it was stopped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction(Arc<Mutex<Done>>);

/// What was done in a transaction.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) reads: KvReads,
    pub(super) writes: KvWrites,
    /// Of each key that was written.
    pub(super) written: BTreeMap<String, Written>,
    /// Bytes of keys and values that are written.
    bytes: usize,
    growth: Growth,
    /// It can only end.
    pub(super) ended: Option<Ended>,
}

/// Why a transaction cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// What it saw has changed.
    Conflict,
    /// The store cannot be read.
    Unavailable,
}

/// A write of an execution that is not committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// What stands for a version: below 0, where no version of the store is, and no other write's.
    pub(super) version: i64,
    /// Bytes of the value that was stored when the key was first written.
    before: Option<u64>,
    /// Of the key and its value.
    bytes: usize,
    growth: Growth,
}

/// What is written to a key.
#[derive(Clone, Copy)]
pub(super) struct Write<'a> {
    /// None removes it.
    pub(super) value: Option<&'a [u8]>,
    /// Bytes of the value that is stored.
    pub(super) before: Option<u64>,
    /// What the workspace holds, and what it may.
    pub(super) room: Option<(KvUsage, KvQuota)>,
}

/// By how much a workspace grows.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    bytes: i64,
    keys: i64,
}

impl Transaction {
    pub(super) fn lock(&self) -> MutexGuard<'_, Done> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Done {
    /// Keeps a write, unless it passes a limit.
    pub(super) fn write(&mut self, key: &str, write: Write<'_>) -> Result<(), Refused> {
        let bytes = key.len() + write.value.map_or(0, <[u8]>::len);
        let earlier = self.written.get(key).copied();
        let before = earlier.map_or(write.before, |earlier| earlier.before);
        let growth = Growth::of(key, before, write.value.map(<[u8]>::len));
        let (earlier_bytes, earlier_growth) =
            earlier.map_or_else(Default::default, |earlier| (earlier.bytes, earlier.growth));
        let all_bytes = self.bytes - earlier_bytes + bytes;
        let all_growth = self.growth.and(growth).less(earlier_growth);
        if earlier.is_none() && self.written.len() >= MAX_WRITES {
            return Err(over(&format!("writing {MAX_WRITES} keys")));
        }
        if all_bytes > MAX_WRITTEN_BYTES {
            return Err(over(&format!("writing {MAX_WRITTEN_BYTES} bytes")));
        }
        if let Some((usage, quota)) = write.room {
            let after = all_growth.onto(usage);
            if !after.may_follow(&usage, &quota) {
                let KvQuota { bytes, keys } = quota;
                let reason = format!("the workspace may hold {bytes} bytes in {keys} keys");
                return Err(("EDQUOT", reason));
            }
        }
        let version = own_version();
        self.writes.insert(key.to_owned(), write.value.map(<[u8]>::to_vec));
        self.written.insert(key.to_owned(), Written { version, before, bytes, growth });
        (self.bytes, self.growth) = (all_bytes, all_growth);
        Ok(())
    }

    /// What a script is told of an error of the store's.
    pub(super) fn refused(&mut self, error: StorageError) -> Refused {
        match error {
            StorageError::KvConflict { .. } => {
                self.ended = Some(Ended::Conflict);
                ("ECONFLICT", "what was read has changed".to_owned())
            }
            StorageError::KvTooManyReads { limit } => over(&format!("reading {limit} keys")),
            error => {
                tracing::warn!(%error, "a workspace's keys cannot be read");
                self.ended = Some(Ended::Unavailable);
                ("EIO", "the database cannot be used at present".to_owned())
            }
        }
    }
}

impl Growth {
    /// Of a workspace in which a value takes the place of another.
    fn of(key: &str, before: Option<u64>, after: Option<usize>) -> Self {
        let key = signed(key.len() as u64);
        let bytes = |value: Option<u64>| value.map_or(0, |bytes| key + signed(bytes));
        let after = after.map(|bytes| bytes as u64);
        Self {
            bytes: bytes(after) - bytes(before),
            keys: i64::from(after.is_some()) - i64::from(before.is_some()),
        }
    }

    fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, keys: self.keys + other.keys }
    }

    fn less(self, other: Self) -> Self {
        Self { bytes: self.bytes - other.bytes, keys: self.keys - other.keys }
    }

    fn onto(self, usage: KvUsage) -> KvUsage {
        KvUsage {
            bytes: usage.bytes.saturating_add_signed(self.bytes),
            keys: usage.keys.saturating_add_signed(self.keys),
        }
    }
}

fn over(what: &str) -> Refused {
    ("EDQUOT", format!("the execution's limit of {what} is reached"))
}

/// A number below 0 that no other write of this process has. It begins anywhere, so that one which a
/// script kept is hardly that of another write after a restart.
fn own_version() -> i64 {
    static NEXT: LazyLock<AtomicI64> = LazyLock::new(|| {
        // Without entropy sessions do not start; JavaScript's integers have 53 bits.
        let random = getrandom::u64().unwrap_or_default() >> 12;
        AtomicI64::new(-1 - signed(random))
    });
    NEXT.fetch_sub(1, Ordering::Relaxed)
}

/// A version of the store's, as scripts are told: the database has no room for 2^53 commits.
pub(super) fn stored_version(version: u64) -> i64 {
    signed(version)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
