//! Keys of workspaces: what commits write, what they depend on, and that nothing else matters.

use crate::harness::{
    Place, all_sessions, commit, execution, executions_of, session, with_session,
};
use crate::memory::{Memory, recounted, with};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vm_storage::{
    ExecutionCommit, KvCommit, KvList, KvListed, KvQuota, KvReads, KvUsage, KvWrites,
    MAX_KV_KEY_BYTES, MAX_KV_READS, MAX_KV_VALUE_BYTES, Retention, Session, SessionId,
    SessionStatus, Storage, StorageError, restore, verify,
};

/// A transaction on a workspace's keys, as a host has one.
#[derive(Clone, Debug, Default)]
struct Transaction {
    workspace: String,
    reads: KvReads,
    writes: KvWrites,
    quota: KvQuota,
}

impl Transaction {
    fn on(workspace: &str) -> Self {
        Self { workspace: workspace.to_owned(), ..Self::default() }
    }

    fn get(
        &mut self,
        storage: &Storage,
        key: &str,
    ) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
        let entry = storage.kv_get(&self.workspace, key, &mut self.reads)?;
        Ok(entry.map(|entry| (entry.version, entry.value)))
    }

    fn list(&mut self, storage: &Storage, list: KvList<'_>) -> Result<Vec<KvListed>, StorageError> {
        storage.kv_list(&self.workspace, list, &self.writes, &mut self.reads)
    }

    fn put(mut self, key: &str, value: &str) -> Self {
        self.writes.insert(key.to_owned(), Some(value.into()));
        self
    }

    fn delete(mut self, key: &str) -> Self {
        self.writes.insert(key.to_owned(), None);
        self
    }

    fn within(mut self, bytes: u64, keys: u64) -> Self {
        self.quota = KvQuota { bytes, keys };
        self
    }

    async fn commit(self, storage: &Storage, owner: SessionId) -> Result<u64, StorageError> {
        storage.commit_execution(self.with(commit(&execution(owner), [1]))).await
    }

    fn with(self, commit: ExecutionCommit) -> ExecutionCommit {
        let Self { workspace, reads, writes, quota } = self;
        ExecutionCommit { kv: Some(KvCommit { workspace, reads, writes, quota }), ..commit }
    }
}

/// All keys that begin with something.
fn all(prefix: &str) -> KvList<'_> {
    KvList { prefix, after: None, limit: usize::MAX, max_bytes: usize::MAX }
}

/// What a workspace holds: keys and values.
fn held(storage: &Storage, workspace: &str) -> Vec<(String, String)> {
    let listed = Transaction::on(workspace).list(storage, all("")).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    listed.into_iter().map(|listed| (listed.key, text(listed.value))).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn is_conflict<T>(outcome: &Result<T, StorageError>) -> bool {
    matches!(outcome, Err(StorageError::KvConflict { .. }))
}

#[tokio::test]
async fn what_is_committed_is_read_in_its_workspace_and_no_other_and_outlives_the_process() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let first = Transaction::on("w").put("a", "1").put("b", "2").put("ключ", "");
    first.commit(&storage, session.id).await.unwrap();
    Transaction::on("v").put("a", "other").commit(&storage, session.id).await.unwrap();
    Transaction::on("w").put("b", "3").delete("a").commit(&storage, session.id).await.unwrap();
    let (storage, _) = recounted(&place, storage).await;
    assert_eq!(held(&storage, "w"), owned(&[("b", "3"), ("ключ", "")]));
    assert_eq!(held(&storage, "v"), owned(&[("a", "other")]));
    for other in ["", "W", "ww", "w\0"] {
        assert_eq!(held(&storage, other), []);
    }
    let usage = storage.kv_usage("w", "ключ").unwrap();
    assert_eq!(usage, (KvUsage { bytes: 2 + 8, keys: 2 }, Some(0)));
}

#[tokio::test]
async fn no_version_comes_twice() {
    let place = Place::new();
    let (mut storage, session) = with_session(&place).await;
    let mut seen = BTreeSet::new();
    for round in 0..12 {
        Transaction::on("w").put("a", "same").commit(&storage, session.id).await.unwrap();
        let (version, _) = Transaction::on("w").get(&storage, "a").unwrap().unwrap();
        assert!(version > 0 && seen.insert(version), "{version} again in {round}");
        match round % 3 {
            // The workspace is empty then, and nothing is left of it.
            0 => {
                Transaction::on("w").delete("a").commit(&storage, session.id).await.unwrap();
                assert_eq!(storage.kv_usage("w", "a").unwrap(), (KvUsage::default(), None));
            }
            1 => (storage, _) = recounted(&place, storage).await,
            _ => {}
        }
    }
    assert!(seen.into_iter().collect::<Vec<_>>().is_sorted());
}

#[tokio::test]
async fn a_commit_is_refused_when_a_key_that_it_read_has_changed_and_leaves_nothing() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let owner = session.id;
    Transaction::on("w").put("there", "1").commit(&storage, owner).await.unwrap();
    let change = |key: &str| Transaction::on("w").put(key, "changed");
    for (read, changed) in [
        ("there", change("there")),
        ("there", Transaction::on("w").put("there", "changed")),
        ("there", Transaction::on("w").delete("there")),
        ("absent", change("absent")),
    ] {
        let mut late = Transaction::on("w").put("written", "by the late one");
        late.get(&storage, read).unwrap();
        changed.commit(&storage, owner).await.unwrap();
        let mut memory = Memory::new(owner);
        let heap = memory.patch(1, 0, 7);
        let late_execution = execution(owner);
        let refused = storage.commit_execution(late.with(with(&late_execution, heap))).await;
        assert!(is_conflict(&refused), "{read}: {refused:?}");
        assert_eq!(storage.execution(late_execution.id).unwrap(), None);
        assert_eq!(storage.events(late_execution.id, 0, 10).unwrap(), None);
        assert_eq!(storage.heap(owner).unwrap(), None);
        assert!(held(&storage, "w").iter().all(|(key, _)| key != "written"));
        // The same without its keys is committed.
        storage.commit_execution(commit(&late_execution, [1])).await.unwrap();
        Transaction::on("w")
            .put("there", "1")
            .delete("absent")
            .commit(&storage, owner)
            .await
            .unwrap();
    }
    recounted(&place, storage).await;
}

#[tokio::test]
async fn other_keys_other_workspaces_and_what_was_not_read_do_not_matter() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let owner = session.id;
    Transaction::on("w").put("read", "1").put("other", "1").commit(&storage, owner).await.unwrap();
    let mut late = Transaction::on("w").put("blind", "late");
    late.get(&storage, "read").unwrap();
    late.get(&storage, "absent").unwrap();
    late.list(&storage, all("list/")).unwrap();
    Transaction::on("w")
        .put("other", "2")
        .put("blind", "early")
        .commit(&storage, owner)
        .await
        .unwrap();
    Transaction::on("w").put("list", "no slash").commit(&storage, owner).await.unwrap();
    Transaction::on("v").put("read", "2").put("list/x", "").commit(&storage, owner).await.unwrap();
    late.commit(&storage, owner).await.unwrap();
    let expected = [("blind", "late"), ("list", "no slash"), ("other", "2"), ("read", "1")];
    assert_eq!(held(&storage, "w"), owned(&expected));
}

#[tokio::test]
async fn a_list_that_would_be_another_is_a_conflict_and_only_as_far_as_it_went() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let owner = session.id;
    let start = ["p/b", "p/d", "p/f", "q"].into_iter();
    let start = start.fold(Transaction::on("w"), |all, key| all.put(key, "1"));
    start.clone().commit(&storage, owner).await.unwrap();
    let some = |after, limit| KvList { after, limit, ..all("p/") };
    for (list, changed, conflicts) in [
        (some(None, 9), "p/c", true),
        (some(None, 9), "p/a", true),
        (some(None, 9), "p/z", true),
        (some(None, 9), "p/b", true),
        (some(None, 9), "q", false),
        (some(None, 9), "p", false),
        (some(None, 2), "p/d", true),
        (some(None, 2), "p/c", true),
        // It ended with d: whatever comes behind was not seen.
        (some(None, 2), "p/e", false),
        (some(None, 2), "p/f", false),
        (some(Some("p/b"), 1), "p/b", false),
        (some(Some("p/b"), 1), "p/bb", true),
        (some(Some("p/b"), 1), "p/e", false),
        (some(Some("p/f"), 1), "p/z", true),
        (some(Some("p/z"), 1), "p/y", false),
        (some(Some("p/z"), 1), "p/zz", true),
        (some(Some("a"), 9), "p/a", true),
        (some(Some("x"), 9), "p/a", false),
    ] {
        for deletes in [false, true] {
            let there = held(&storage, "w").iter().any(|(key, _)| key == changed);
            let mut late = Transaction::on("w").put("late", "1");
            late.list(&storage, list).unwrap();
            let change = Transaction::on("w");
            let change = if deletes { change.delete(changed) } else { change.put(changed, "2") };
            change.commit(&storage, owner).await.unwrap();
            let outcome = late.commit(&storage, owner).await;
            let conflicts = conflicts && (there || !deletes);
            assert_eq!(is_conflict(&outcome), conflicts, "{list:?} {changed} {deletes}");
        }
        let others = held(&storage, "w").into_iter().map(|(key, _)| key);
        let clean = others.fold(Transaction::on("w"), |all, key| all.delete(&key));
        clean.commit(&storage, owner).await.unwrap();
        start.clone().commit(&storage, owner).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_read_was_so_at_one_moment_or_is_a_conflict_at_once() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let both = |value: &str| Transaction::on("w").put("x", value).put("y", value);
    both("1").commit(&storage, session.id).await.unwrap();
    let mut reader = Transaction::on("w");
    reader.get(&storage, "x").unwrap();
    // What it did not read may change, and is read as it is then.
    Transaction::on("w").put("y", "2").commit(&storage, session.id).await.unwrap();
    assert_eq!(reader.get(&storage, "y").unwrap().unwrap().1, b"2");
    both("3").commit(&storage, session.id).await.unwrap();
    assert!(is_conflict(&reader.get(&storage, "y")));
    assert!(is_conflict(&reader.get(&storage, "another")));
    assert!(is_conflict(&reader.list(&storage, all("another"))));
    assert!(is_conflict(&reader.commit(&storage, session.id).await));
}

#[tokio::test]
async fn a_quota_holds_for_commits_that_did_not_know_of_each_other() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let owner = session.id;
    let write = |key: &str, bytes: usize| Transaction::on("w").put(key, &"x".repeat(bytes));
    write("a", 9).within(20, 3).commit(&storage, owner).await.unwrap();
    let (left, right) = (write("b", 9).within(20, 3), write("c", 9).within(20, 3));
    let (left, right) = tokio::join!(left.commit(&storage, owner), right.commit(&storage, owner));
    let (won, refused) = if left.is_ok() { (left, right) } else { (right, left) };
    won.unwrap();
    let Err(StorageError::KvQuotaExceeded { after, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(after, KvUsage { bytes: 30, keys: 3 });
    // Keys are bounded too, and what makes room is taken whatever the quota has become.
    let keys = ["d", "e"].into_iter().fold(Transaction::on("w"), |all, key| all.put(key, ""));
    let refused = keys.within(100, 3).commit(&storage, owner).await;
    assert!(matches!(refused, Err(StorageError::KvQuotaExceeded { .. })), "{refused:?}");
    write("a", 8).within(1, 0).commit(&storage, owner).await.unwrap();
    assert!(write("a", 9).within(1, 0).commit(&storage, owner).await.is_err());
    Transaction::on("w").delete("a").within(1, 0).commit(&storage, owner).await.unwrap();
    assert_eq!(storage.kv_usage("w", "a").unwrap().0, KvUsage { bytes: 10, keys: 1 });
    recounted(&place, storage).await;
}

#[tokio::test]
async fn keys_values_and_reads_are_bounded() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let owner = session.id;
    let (key, value) = ("k".repeat(MAX_KV_KEY_BYTES), "v".repeat(MAX_KV_VALUE_BYTES));
    Transaction::on("w").put(&key, &value).commit(&storage, owner).await.unwrap();
    assert_eq!(held(&storage, "w"), owned(&[(&key, &value)]));
    for (key, value) in [(format!("{key}k"), String::new()), ("k".to_owned(), value + "v")] {
        let refused = Transaction::on("w").put(&key, &value).commit(&storage, owner).await;
        assert!(matches!(refused, Err(StorageError::RecordTooLarge { .. })), "{refused:?}");
    }
    let mut reader = Transaction::on("w");
    for _ in 0..MAX_KV_READS {
        reader.get(&storage, "k").unwrap();
    }
    let too_many = |refused| matches!(refused, Err(StorageError::KvTooManyReads { .. }));
    assert!(too_many(reader.get(&storage, "k").map(drop)));
    assert!(too_many(reader.list(&storage, all("")).map(drop)));
    reader.commit(&storage, owner).await.unwrap();
}

#[tokio::test]
async fn keys_stay_when_the_sessions_that_wrote_them_are_purged_and_are_in_backups() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    Transaction::on("w").put("a", "1").commit(&storage, session.id).await.unwrap();
    let closed = Session { status: SessionStatus::Closed, ..session.clone() };
    storage.put_session(closed).await.unwrap();
    storage.purge_session(session.id).await.unwrap();
    while storage.sweep(Retention::default()).await.unwrap().is_unfinished() {}
    assert_eq!(all_sessions(&storage), []);
    storage.compact().await.unwrap();
    assert_eq!(held(&storage, "w"), owned(&[("a", "1")]));
    let (backup, elsewhere) = (Place::new(), Place::new());
    storage.backup(&backup.path()).unwrap();
    storage.shutdown().await.unwrap();
    verify(&backup.path()).unwrap();
    restore(&backup.path(), &elsewhere.path()).unwrap();
    let restored = elsewhere.open();
    assert_eq!(held(&restored, "w"), owned(&[("a", "1")]));
    // Versions go on from where they were.
    let before = Transaction::on("w").get(&restored, "a").unwrap().unwrap().0;
    let owner = crate::harness::session();
    restored.put_session(owner.clone()).await.unwrap();
    Transaction::on("w").put("a", "2").commit(&restored, owner.id).await.unwrap();
    assert!(Transaction::on("w").get(&restored, "a").unwrap().unwrap().0 > before);
    recounted(&elsewhere, restored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_counter_that_many_increment_is_the_number_of_commits_that_were_not_refused() {
    const WORKERS: u64 = 8;
    const TRIES: u64 = 40;
    let place = Place::new();
    let (storage, _) = with_session(&place).await;
    let (succeeded, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (storage, owner) = (storage.clone(), session());
            let (succeeded, refused) = (Arc::clone(&succeeded), Arc::clone(&refused));
            tokio::spawn(async move {
                storage.put_session(owner.clone()).await.unwrap();
                for _ in 0..TRIES {
                    let mut increment = Transaction::on("w");
                    let count = increment.get(&storage, "n").unwrap();
                    let count = count.map_or(0, |(_, value)| {
                        String::from_utf8(value).unwrap().parse::<u64>().unwrap()
                    });
                    tokio::task::yield_now().await;
                    let increment = increment.put("n", &(count + 1).to_string());
                    match increment.commit(&storage, owner.id).await {
                        Ok(_) => succeeded.fetch_add(1, Ordering::Relaxed),
                        Err(StorageError::KvConflict { .. }) => {
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        Err(error) => panic!("{error}"),
                    };
                }
                executions_of(&storage, owner.id, 1_000).len() as u64
            })
        })
        .collect();
    let mut executions = 0;
    for worker in workers {
        executions += worker.await.unwrap();
    }
    let (succeeded, refused) = (succeeded.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    assert_eq!(held(&storage, "w"), owned(&[("n", &succeeded.to_string())]));
    assert_eq!((executions, succeeded + refused), (succeeded, WORKERS * TRIES));
    assert!(refused > 0, "nothing raced");
}

/// What a workspace is by the book.
type Model = BTreeMap<String, (u64, String)>;

/// A transaction, and what it saw by the book.
struct Modelled {
    real: Transaction,
    read: Vec<(String, Option<u64>)>,
    listed: Vec<(Range, Vec<(String, u64)>)>,
    written: BTreeMap<String, Option<String>>,
}

#[derive(Clone)]
struct Range {
    prefix: String,
    after: Bound<String>,
    through: Bound<String>,
}

impl Range {
    fn of(&self, model: &Model) -> Vec<(String, u64)> {
        let within = model.iter().filter(|(key, _)| {
            let past = match &self.after {
                Bound::Excluded(after) => *key > after,
                _ => true,
            };
            let before = match &self.through {
                Bound::Included(through) => *key <= through,
                _ => true,
            };
            past && before && key.starts_with(&self.prefix)
        });
        within.map(|(key, (version, _))| (key.clone(), *version)).collect()
    }
}

impl Modelled {
    fn begin() -> Self {
        let real = Transaction::on("w");
        Self { real, read: Vec::new(), listed: Vec::new(), written: BTreeMap::new() }
    }

    fn holds(&self, model: &Model) -> bool {
        let version = |key: &String| model.get(key).map(|(version, _)| *version);
        self.read.iter().all(|(key, seen)| version(key) == *seen)
            && self.listed.iter().all(|(range, seen)| range.of(model) == *seen)
    }

    fn get(&mut self, storage: &Storage, model: &Model, key: &str) -> bool {
        let outcome = self.real.get(storage, key);
        if !self.holds(model) {
            assert!(is_conflict(&outcome), "{outcome:?}");
            return false;
        }
        let expected = model.get(key).map(|(version, value)| (*version, value.clone().into()));
        assert_eq!(outcome.unwrap(), expected);
        self.read.push((key.to_owned(), expected.map(|(version, _)| version)));
        true
    }

    fn list(&mut self, storage: &Storage, model: &Model, list: KvList<'_>) -> bool {
        let outcome = self.real.list(storage, list);
        if !self.holds(model) {
            assert!(is_conflict(&outcome), "{outcome:?}");
            return false;
        }
        let mut merged: BTreeMap<&String, (Option<u64>, &String)> =
            model.iter().map(|(key, (version, value))| (key, (Some(*version), value))).collect();
        for (key, value) in &self.written {
            match value {
                Some(value) => drop(merged.insert(key, (None, value))),
                None => drop(merged.remove(key)),
            }
        }
        let after = list.after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_owned()));
        merged.retain(|key, _| {
            key.starts_with(list.prefix) && list.after.is_none_or(|after| key.as_str() > after)
        });
        let expected: Vec<_> = merged
            .into_iter()
            .take(list.limit)
            .map(|(key, (version, value))| KvListed {
                key: key.clone(),
                version,
                value: value.clone().into(),
            })
            .collect();
        assert_eq!(outcome.unwrap(), expected);
        let is_full = expected.len() == list.limit;
        let through = expected.last().filter(|_| is_full).map(|last| last.key.clone());
        let through = through.map_or(Bound::Unbounded, Bound::Included);
        let range = Range { prefix: list.prefix.to_owned(), after, through };
        let seen = range.of(model);
        self.listed.push((range, seen));
        true
    }

    fn write(&mut self, key: &str, value: Option<String>) {
        self.real.writes.insert(key.to_owned(), value.clone().map(String::into_bytes));
        self.written.insert(key.to_owned(), value);
    }
}

/// Numbers that look random and are the same in each run (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

#[tokio::test]
async fn transactions_that_overlap_see_and_leave_what_a_plain_model_says() {
    const KEYS: [&str; 8] = ["a", "a/1", "a/2", "a/2/x", "ab", "b/1", "b/1\u{10ffff}", "ü"];
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut dice = Dice(7);
    let mut model = Model::new();
    let mut open: Vec<Modelled> = (0..3).map(|_| Modelled::begin()).collect();
    let (mut commits, mut conflicts) = (0, 0);
    for step in 0..6_000_usize {
        let which = dice.below(open.len());
        let key = KEYS[dice.below(KEYS.len())];
        let goes_on = match dice.below(10) {
            0..=2 => open[which].get(&storage, &model, key),
            3 | 4 => {
                let prefix = ["", "a", "a/", "b", "ü"][dice.below(5)];
                let after = (dice.below(2) == 0).then_some(key);
                let limit = 1 + dice.below(4);
                let list = KvList { prefix, after, limit, max_bytes: usize::MAX };
                open[which].list(&storage, &model, list)
            }
            5 | 6 => {
                open[which].write(key, Some(step.to_string()));
                true
            }
            7 => {
                open[which].write(key, None);
                true
            }
            _ => {
                let ended = std::mem::replace(&mut open[which], Modelled::begin());
                let is_valid = ended.holds(&model);
                let outcome = ended.real.commit(&storage, session.id).await;
                assert_eq!(outcome.is_ok(), is_valid, "{step}: {outcome:?}");
                if is_valid {
                    commits += 1;
                    follow(&storage, &mut model, ended.written);
                } else {
                    assert!(is_conflict(&outcome));
                    conflicts += 1;
                }
                true
            }
        };
        if !goes_on {
            conflicts += 1;
            open[which] = Modelled::begin();
        }
    }
    assert!(commits > 300 && conflicts > 300, "{commits} {conflicts}");
    recounted(&place, storage).await;
}

/// Has the model become what a commit made of the store, which is compared with it.
fn follow(storage: &Storage, model: &mut Model, written: BTreeMap<String, Option<String>>) {
    let newest = model.values().map(|(version, _)| *version).max().unwrap_or(0);
    let stored = Transaction::on("w").list(storage, all("")).unwrap();
    for (key, value) in written {
        let Some(value) = value else {
            model.remove(&key);
            continue;
        };
        let there = stored.iter().find(|listed| listed.key == key).expect("it was written");
        let version = there.version.expect("it is stored");
        assert!(version > newest, "{version} {newest}");
        model.insert(key, (version, value));
    }
    let expected = model.iter().map(|(key, (version, value))| KvListed {
        key: key.clone(),
        version: Some(*version),
        value: value.clone().into(),
    });
    assert_eq!(stored, expected.collect::<Vec<_>>());
}
