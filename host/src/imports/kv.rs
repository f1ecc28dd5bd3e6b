//! The host's side of the `kv` module: the keys of a session's workspace, as one execution sees and
//! changes them.
//!
//! ```text
//! begun ──get, list──▶ reads noted ──put, delete──▶ writes kept ──ended──▶ commit
//!                        │ what was read has changed                        │ it has since
//!                        └──────────────▶ KV_CONFLICT ◀─────────────────────┘
//! ```
//!
//! Invariant: nothing is written before the execution's commit, and then all of it or nothing; what the
//! execution saw was so at one moment, with its own writes over it. Nothing is read or written that the
//! template does not grant, and no read of the store runs on an async worker.

mod transaction;

pub(crate) use transaction::{MAX_WRITES, MAX_WRITTEN_BYTES, Transaction};

use super::Stop;
use super::calls::{Called, Calls};
use crate::capabilities::KvConfig;
use std::sync::Arc;
use std::time::{Duration, Instant};
use transaction::{Done, Ended, Write, stored_version};
use vm_guest::abi::{Operation, kv_flags};
use vm_storage::{
    KvCommit, KvEntry, KvList, KvQuota, MAX_KV_KEY_BYTES, MAX_KV_VALUE_BYTES, Storage, StorageError,
};

/// Bytes of keys and values that a workspace may hold: what several sessions share, not a database.
pub(crate) const MAX_WORKSPACE_BYTES: u64 = 64 << 20;
/// Keys that a workspace may hold.
pub(crate) const MAX_WORKSPACE_KEYS: u64 = 100_000;
/// Keys of one list.
pub(crate) const MAX_LISTED: u32 = 1_000;
/// Bytes of keys and values after which a list ends.
const MAX_LISTED_BYTES: usize = 4 << 20;
/// Bytes of what a call says beside its key: a value behind the version that is expected.
pub(super) const MAX_DATA_BYTES: usize = VERSION_BYTES + MAX_KV_VALUE_BYTES;

/// How long a store is waited for that cannot be read, and how long until it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// Bytes of a version.
const VERSION_BYTES: usize = size_of::<i64>();

/// What a session may do with the keys of its workspace.
#[derive(Clone)]
pub(crate) struct Kv {
    storage: Storage,
    workspace: Arc<str>,
    config: Arc<KvConfig>,
}

/// One call, decoded.
struct Request<'a> {
    operation: Operation,
    flags: u32,
    key: &'a str,
    data: &'a [u8],
}

/// Why a call failed: a code and a reason.
type Refused = (&'static str, String);

/// A version and a value.
type Found = (i64, Vec<u8>);

impl Kv {
    pub(crate) fn new(storage: Storage, workspace: &str, config: KvConfig) -> Self {
        Self { storage, workspace: workspace.into(), config: Arc::new(config) }
    }

    /// Makes one call of a transaction; an error is a code and a reason with a newline between them. A
    /// conflict ends the execution, as does a store that cannot be read: a script that went on without
    /// would commit half of what it meant to.
    pub(super) async fn call(
        &self,
        calls: &Calls,
        transaction: &Transaction,
        operation: Operation,
        flags: u32,
        (key, data): (&str, Vec<u8>),
    ) -> Result<Called, Stop> {
        let (kv, done, key) = (self.clone(), transaction.clone(), key.to_owned());
        let blocking = move || {
            let request = Request { operation, flags, key: &key, data: &data };
            let answer = kv.blocking(&mut done.lock(), &request);
            answer.map_err(|(code, reason)| format!("{code}\n{reason}"))
        };
        let answer = calls.make(blocking).await;
        match transaction.lock().ended {
            None => Ok(answer),
            Some(Ended::Conflict) => Err(Stop::KvConflict),
            Some(Ended::Unavailable) => Err(Stop::KvUnavailable),
        }
    }

    /// What an execution that has ended commits, if it is anything.
    pub(crate) fn commit(&self, transaction: &Transaction) -> Option<KvCommit> {
        let Done { reads, writes, .. } = std::mem::take(&mut *transaction.lock());
        let is_something = !reads.is_empty() || !writes.is_empty();
        let (workspace, quota) = (self.workspace.to_string(), self.quota());
        is_something.then_some(KvCommit { workspace, reads, writes, quota })
    }

    fn quota(&self) -> KvQuota {
        let bytes = self.config.quota_bytes.unwrap_or(u64::MAX).min(MAX_WORKSPACE_BYTES);
        KvQuota { bytes, keys: MAX_WORKSPACE_KEYS }
    }

    fn blocking(&self, done: &mut Done, request: &Request<'_>) -> Result<Vec<u8>, Refused> {
        let Request { operation, flags, key, data } = request;
        self.check_key(*operation, key)?;
        let is_done = |done: bool| vec![u8::from(done)];
        match operation {
            Operation::KvGet => Ok(self.get(done, key)?.map(told).unwrap_or_default()),
            Operation::KvPut => self.put(done, *flags, key, data).map(is_done),
            Operation::KvDelete => self.delete(done, key).map(is_done),
            Operation::KvList => self.list(done, key, data),
            _ => Err(("ENOSYS", "function not implemented".to_owned())),
        }
    }

    /// Refuses a key that is none, or that the template does not grant; of a list it is a prefix.
    fn check_key(&self, operation: Operation, key: &str) -> Result<(), Refused> {
        let lists = operation == Operation::KvList;
        if key.len() > MAX_KV_KEY_BYTES || key.contains('\0') || (key.is_empty() && !lists) {
            let reason = format!("a key has 1 to {MAX_KV_KEY_BYTES} bytes and no NUL");
            return Err(("EINVAL", reason));
        }
        let prefixes = self.config.prefixes.as_deref();
        if prefixes.is_some_and(|some| !some.iter().any(|prefix| key.starts_with(prefix))) {
            return Err(("EACCES", "the template does not grant this key".to_owned()));
        }
        let writes = matches!(operation, Operation::KvPut | Operation::KvDelete);
        if writes && self.config.read_only {
            return Err(("EACCES", "the template does not grant writing".to_owned()));
        }
        Ok(())
    }

    fn get(&self, done: &mut Done, key: &str) -> Result<Option<Found>, Refused> {
        if let Some((value, written)) = done.writes.get(key).zip(done.written.get(key)) {
            return Ok(value.clone().map(|value| (written.version, value)));
        }
        let found = patiently(|| self.storage.kv_get(&self.workspace, key, &mut done.reads));
        let found = found.map_err(|error| done.refused(error))?;
        Ok(found.map(|KvEntry { version, value }| (stored_version(version), value)))
    }

    /// Writes a value, unless the key has another version than the one that is expected; gives whether.
    fn put(&self, done: &mut Done, flags: u32, key: &str, data: &[u8]) -> Result<bool, Refused> {
        let malformed = || ("EINVAL", "the call is malformed".to_owned());
        let (expected, value) = data.split_first_chunk().ok_or_else(malformed)?;
        if value.len() > MAX_KV_VALUE_BYTES {
            let limit = MAX_KV_VALUE_BYTES - 1;
            return Err(("EFBIG", format!("a value has {limit} bytes at most")));
        }
        if flags & (kv_flags::COMPARE | kv_flags::ABSENT) != 0 {
            let found = self.get(done, key)?.map(|(version, _)| version);
            let expects_none = flags & kv_flags::ABSENT != 0;
            let expected = (!expects_none).then_some(i64::from_le_bytes(*expected));
            if found != expected {
                return Ok(false);
            }
        }
        let stored = patiently(|| self.storage.kv_usage(&self.workspace, key));
        let (usage, before) = stored.map_err(|error| done.refused(error))?;
        let room = Some((usage, self.quota()));
        done.write(key, Write { value: Some(value), before, room })?;
        Ok(true)
    }

    /// Removes a key; gives whether it was there.
    fn delete(&self, done: &mut Done, key: &str) -> Result<bool, Refused> {
        let Some((_, value)) = self.get(done, key)? else { return Ok(false) };
        let before = Some(value.len() as u64);
        done.write(key, Write { value: None, before, room: None })?;
        Ok(true)
    }

    fn list(&self, done: &mut Done, prefix: &str, data: &[u8]) -> Result<Vec<u8>, Refused> {
        let malformed = || ("EINVAL", "the call is malformed".to_owned());
        let (limit, after) = data.split_first_chunk().ok_or_else(malformed)?;
        let limit = u32::from_le_bytes(*limit);
        if !(1..=MAX_LISTED).contains(&limit) {
            return Err(("EINVAL", format!("the limit must be from 1 to {MAX_LISTED}")));
        }
        let after = std::str::from_utf8(after).map_err(|_| malformed())?;
        if after.len() > MAX_KV_KEY_BYTES {
            return Err(("EINVAL", format!("a key has {MAX_KV_KEY_BYTES} bytes at most")));
        }
        let list = KvList {
            prefix,
            after: Some(after).filter(|after| !after.is_empty()),
            limit: limit as usize,
            max_bytes: MAX_LISTED_BYTES,
        };
        let Done { reads, writes, .. } = done;
        let listed = patiently(|| self.storage.kv_list(&self.workspace, list, writes, reads));
        let mut answer = Vec::new();
        for listed in listed.map_err(|error| done.refused(error))? {
            let own = || done.written.get(&listed.key).map_or(0, |written| written.version);
            let version = listed.version.map_or_else(own, stored_version);
            answer.extend_from_slice(&length(listed.key.len()));
            answer.extend_from_slice(&length(VERSION_BYTES + listed.value.len()));
            answer.extend_from_slice(listed.key.as_bytes());
            answer.extend_from_slice(&told((version, listed.value)));
        }
        Ok(answer)
    }
}

/// Reads the store, and waits a while where it cannot be read: it is compacted, or opened again. This is
/// not an async worker.
fn patiently<T>(mut read: impl FnMut() -> Result<T, StorageError>) -> Result<T, StorageError> {
    let since = Instant::now();
    loop {
        match read() {
            Err(StorageError::Unavailable { .. }) if since.elapsed() < PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            read => return read,
        }
    }
}

fn told((version, value): Found) -> Vec<u8> {
    [&version.to_le_bytes()[..], &value].concat()
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("checked by the bounds of keys and values").to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_storage::StorageOptions;

    #[test]
    fn a_guest_that_sends_nonsense_is_refused_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vm.redb");
        let (storage, _) = Storage::open(&path, StorageOptions::default()).unwrap();
        let kv = Kv::new(storage, "w", KvConfig::default());
        let mut done = Done::default();
        let mut ask = |operation, flags, key: &str, data: &[u8]| {
            kv.blocking(&mut done, &Request { operation, flags, key, data })
                .map_err(|(code, _)| code)
        };
        for (operation, key, data) in [
            (Operation::KvPut, "k", &[][..]),
            (Operation::KvPut, "k", &[0; 7]),
            (Operation::KvPut, "", &[0; 9]),
            (Operation::KvPut, "a\0b", &[0; 9]),
            (Operation::KvList, "", &[]),
            (Operation::KvList, "", &[1, 0, 0]),
            (Operation::KvList, "", &[0, 0, 0, 0]),
            (Operation::KvList, "", &[255, 255, 255, 255]),
            (Operation::KvList, "", &[1, 0, 0, 0, 0xff]),
            (Operation::KvList, "a\0", &[1, 0, 0, 0]),
            (Operation::KvDelete, "", &[]),
        ] {
            for flags in [0, kv_flags::COMPARE, kv_flags::ABSENT, u32::MAX] {
                assert_eq!(
                    ask(operation, flags, key, data),
                    Err("EINVAL"),
                    "{operation:?} {data:?}"
                );
            }
        }
        let too_long = vec![0; MAX_DATA_BYTES + 1];
        assert_eq!(ask(Operation::KvPut, 0, "k", &too_long), Err("EFBIG"));
        assert_eq!(ask(Operation::FsRead, 0, "k", &[]), Err("ENOSYS"));
        // A value without any byte is one, and no version that could be sent is that of no key.
        assert_eq!(ask(Operation::KvPut, kv_flags::COMPARE, "k", &[0; 8]), Ok(vec![0]));
        assert_eq!(ask(Operation::KvPut, 0, "k", &[0; 8]), Ok(vec![1]));
        assert_eq!(ask(Operation::KvGet, 0, "k", &[]).map(|found| found.len()), Ok(8));
    }
}
