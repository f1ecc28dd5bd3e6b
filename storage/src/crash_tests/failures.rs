//! I/O errors: `Unavailable` for who was waiting, and a store that works again afterwards.

use super::disk::{Disk, Operation};
use super::{commit, over, running, session, steady};
use crate::tables::{FORMAT_KEY, FORMAT_VERSION, META};
use crate::{PageRequest, Session, Storage, StorageError, StorageOptions};
use futures_util::future::join_all;
use std::time::Duration;

fn options() -> StorageOptions {
    // No cache, so that every read is one of the disk; no pause, so that no test waits.
    StorageOptions { cache_bytes: 0, reopen_pause: Duration::ZERO, ..steady() }
}

async fn with_session(disk: &Disk, options: StorageOptions) -> (Storage, Session) {
    let (storage, _) = Storage::open_source(disk.source(options)).unwrap();
    let session = session();
    storage.put_session(session.clone()).await.unwrap();
    (storage, session)
}

fn is_unavailable<T>(outcome: &Result<T, StorageError>) -> bool {
    matches!(outcome, Err(StorageError::Unavailable { .. }))
}

#[tokio::test]
async fn a_failed_commit_is_unavailable_and_the_next_one_works() {
    let formatted = Disk::formatted();
    for (operation, after) in
        [(Operation::Sync, 0), (Operation::Sync, 1), (Operation::Write, 0), (Operation::Write, 3)]
    {
        let disk = formatted.copy();
        let (storage, session) = with_session(&disk, options()).await;
        let (before, failed, later) = (running(session.id), over(session.id), over(session.id));
        storage.commit_execution(commit(&before, 1..=3)).await.unwrap();

        // To the end of the commit: one failure of an early write may be made good by redb itself.
        disk.fail(operation, after, u64::MAX);
        let outcome = storage.commit_execution(commit(&failed, 1..=3)).await;
        assert!(is_unavailable(&outcome), "{operation:?} {after}: {outcome:?}");
        disk.heal();

        storage.commit_execution(commit(&later, 1..=3)).await.unwrap();
        assert_eq!(storage.stats().reopens, 1);
        assert_eq!(storage.events(later.id, 0, 50).unwrap().unwrap().len(), 3);
        // The process still owns its session and what runs in it.
        assert_eq!(storage.session(session.id).unwrap(), Some(session));
        assert_eq!(storage.execution(before.id).unwrap(), Some(before));
        // Whole or not at all; which of them, nobody was told.
        let is_there = storage.execution(failed.id).unwrap().is_some();
        let events = storage.events(failed.id, 0, 50).unwrap().map(|events| events.len());
        assert_eq!(events, is_there.then_some(3));
    }
}

#[tokio::test]
async fn a_disk_that_failed_once_is_reopened_at_once() {
    let disk = Disk::formatted();
    let an_hour = StorageOptions { reopen_pause: Duration::from_hours(1), ..options() };
    let (storage, session) = with_session(&disk, an_hour).await;
    disk.fail(Operation::Sync, 0, 1);
    assert!(is_unavailable(&storage.put_session(session.clone()).await));
    storage.put_session(session.clone()).await.unwrap();
    assert_eq!(disk.opened(), 2);
}

#[tokio::test]
async fn a_failed_commit_fails_its_whole_group() {
    let disk = Disk::formatted();
    let (storage, session) = with_session(&disk, options()).await;
    disk.fail(Operation::Sync, 0, u64::MAX);
    let commits = (0..3).map(|_| storage.commit_execution(commit(&over(session.id), 1..=3)));
    let outcomes = join_all(commits).await;
    assert!(outcomes.iter().all(is_unavailable), "{outcomes:?}");
    disk.heal();
    storage.commit_execution(commit(&over(session.id), 1..=3)).await.unwrap();
    assert_eq!(storage.executions(session.id, PageRequest::first(50)).unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_failed_read_is_unavailable_and_has_the_file_reopened() {
    let disk = Disk::formatted();
    let (storage, session) = with_session(&disk, options()).await;
    disk.fail(Operation::Read, 0, 1);
    let outcome = storage.session(session.id);
    assert!(is_unavailable(&outcome), "{outcome:?}");
    // A write queues behind the reopening that the read asked for.
    storage.put_session(session.clone()).await.unwrap();
    assert_eq!(storage.session(session.id).unwrap(), Some(session));
    assert_eq!(storage.stats().reopens, 1);
}

#[tokio::test]
async fn a_disk_that_stays_bad_is_unavailable_until_it_heals() {
    let disk = Disk::formatted();
    let (storage, session) = with_session(&disk, options()).await;
    disk.fail(Operation::Read, 0, u64::MAX);
    for _ in 0..3 {
        let write = storage.put_session(session.clone()).await;
        assert!(is_unavailable(&write), "{write:?}");
        let read = storage.session(session.id);
        assert!(is_unavailable(&read), "{read:?}");
    }
    disk.heal();
    storage.put_session(session.clone()).await.unwrap();
    assert_eq!(storage.session(session.id).unwrap(), Some(session));
    assert_eq!(storage.stats().reopens, 1);
}

#[tokio::test]
async fn a_file_that_could_not_be_reopened_is_left_alone_for_the_pause() {
    let disk = Disk::formatted();
    let an_hour = StorageOptions { reopen_pause: Duration::from_hours(1), ..options() };
    let (storage, session) = with_session(&disk, an_hour).await;
    disk.fail(Operation::Read, 0, u64::MAX);
    assert!(is_unavailable(&storage.put_session(session.clone()).await));
    assert!(is_unavailable(&storage.put_session(session.clone()).await));
    let opened = disk.opened();
    assert_eq!(opened, 2, "at start, and once after the failure");
    disk.heal();
    for _ in 0..3 {
        assert!(is_unavailable(&storage.put_session(session.clone()).await));
    }
    assert_eq!(disk.opened(), opened);
}

#[tokio::test]
async fn a_file_that_became_another_while_it_failed_is_not_taken() {
    let (disk, newer) = (Disk::formatted(), Disk::formatted());
    let database = newer.database();
    let txn = database.begin_write().unwrap();
    txn.open_table(META).unwrap().insert(FORMAT_KEY, FORMAT_VERSION + 1).unwrap();
    txn.commit().unwrap();
    drop(database);

    let (storage, session) = with_session(&disk, options()).await;
    disk.fail(Operation::Sync, 0, u64::MAX);
    assert!(is_unavailable(&storage.put_session(session.clone()).await));
    // Answered after its own try to reopen the file, and with nothing to follow.
    assert!(is_unavailable(&storage.put_session(session.clone()).await));
    disk.replace(&newer);
    disk.heal();
    let error = storage.put_session(session.clone()).await.unwrap_err();
    assert!(error.to_string().contains("newer"), "{error}");
}

#[tokio::test]
async fn closing_a_store_that_is_down_is_in_order() {
    let disk = Disk::formatted();
    let (storage, session) = with_session(&disk, options()).await;
    disk.fail(Operation::Read, 0, u64::MAX);
    assert!(is_unavailable(&storage.put_session(session.clone()).await));
    storage.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_execution_that_runs_is_not_kept_waiting_by_the_disk() {
    let disk = Disk::formatted();
    let (storage, session) = with_session(&disk, options()).await;
    let me = Some(std::thread::current().id());
    let over = over(session.id);
    storage.commit_execution(commit(&over, 1..=3)).await.unwrap();
    assert_eq!(disk.synced_by(), me, "one that is over is committed by who asks");
    let running = running(session.id);
    storage.commit_execution(commit(&running, 1..=3)).await.unwrap();
    assert_ne!(disk.synced_by(), me);
    assert_eq!(storage.execution(running.id).unwrap(), Some(running));
}
