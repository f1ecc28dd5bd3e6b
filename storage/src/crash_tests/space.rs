//! A disk that fills up: no writes before its end is met, reads all the while, and writes again when
//! there is room.

use super::disk::{Disk, Operation};
use super::{session, steady};
use crate::{
    Retention, Session, SessionStatus, Storage, StorageError, StorageOptions, StorageStatus,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// More than any group of this test may want.
const ENOUGH: u64 = 1 << 30;
/// Less than is kept free beside any group.
const LITTLE: u64 = 5 << 20;

/// A store on a disk that has as many bytes free as the number says.
fn open(disk: &Disk, options: StorageOptions) -> (Storage, Arc<AtomicU64>) {
    let free = Arc::new(AtomicU64::new(ENOUGH));
    let left = Arc::clone(&free);
    let source = disk.source(options);
    let source = source.with_space(Box::new(move || Ok(left.load(Ordering::Relaxed))));
    (Storage::open_source(source).unwrap().0, free)
}

async fn is_refused(storage: &Storage, session: Session) -> bool {
    let outcome = storage.put_session(session).await;
    assert!(matches!(outcome, Ok(()) | Err(StorageError::Unavailable { .. })), "{outcome:?}");
    outcome.is_err()
}

#[tokio::test]
async fn a_full_disk_takes_no_writes_until_there_is_room_and_reads_go_on() {
    let disk = Disk::formatted();
    let (storage, free) = open(&disk, steady());
    let (first, second) = (session(), session());
    storage.put_session(first.clone()).await.unwrap();
    assert_eq!(storage.status(), StorageStatus::Ready);

    free.store(LITTLE, Ordering::Relaxed);
    disk.plan(None);
    for _ in 0..3 {
        assert!(is_refused(&storage, second.clone()).await);
        assert_eq!(storage.session(first.id).unwrap(), Some(first.clone()));
        assert_eq!(storage.session(second.id).unwrap(), None);
    }
    let StorageStatus::NoSpace { free_bytes, needed_bytes } = storage.status() else {
        panic!("{:?}", storage.status());
    };
    assert_eq!(free_bytes, LITTLE);
    assert!(needed_bytes > LITTLE);
    assert_eq!(disk.opened(), 1, "nothing failed");

    free.store(needed_bytes, Ordering::Relaxed);
    assert_eq!(storage.status(), StorageStatus::Ready);
    assert!(!is_refused(&storage, second.clone()).await);
    assert_eq!(storage.session(second.id).unwrap(), Some(second));
    assert_eq!(storage.status(), StorageStatus::Ready);
}

#[tokio::test]
async fn what_only_makes_room_is_carried_out_on_a_full_disk_down_to_its_end() {
    let disk = Disk::formatted();
    let (storage, free) = open(&disk, steady());
    let session = session();
    storage.put_session(session.clone()).await.unwrap();
    free.store(LITTLE, Ordering::Relaxed);
    assert!(is_refused(&storage, session.clone()).await);
    let closed = Session { status: SessionStatus::Closed, ..session.clone() };
    storage.put_session(closed).await.unwrap();
    storage.purge_session(session.id).await.unwrap();
    while storage.sweep(Retention::default()).await.unwrap().is_unfinished() {}
    assert_eq!(storage.contents().unwrap().unswept_sessions, 0);
    // It is full all the same, and says so.
    assert!(matches!(storage.status(), StorageStatus::NoSpace { .. }), "{:?}", storage.status());
    free.store(1 << 19, Ordering::Relaxed);
    let swept = storage.sweep(Retention::default()).await;
    assert!(matches!(swept, Err(StorageError::Unavailable { .. })), "{swept:?}");
}

#[tokio::test]
async fn a_large_write_needs_more_room_than_a_small_one() {
    let disk = Disk::formatted();
    let (storage, free) = open(&disk, steady());
    free.store(12 << 20, Ordering::Relaxed);
    let large = Session { workspace_id: "x".repeat(2 << 20), ..session() };
    assert!(is_refused(&storage, large.clone()).await);
    assert!(!is_refused(&storage, session()).await);
    assert_eq!(storage.status(), StorageStatus::Ready);
    free.store(ENOUGH, Ordering::Relaxed);
    assert!(!is_refused(&storage, large).await);
}

#[tokio::test]
async fn a_full_disk_is_not_even_settled() {
    let syncs = |disk: &Disk| disk.log().iter().filter(|kind| **kind == Operation::Sync).count();
    let disk = Disk::formatted();
    let other = disk.copy();
    let storage = open(&other, steady());
    let syncs_of_opening = syncs(&other);
    drop(storage);
    disk.plan(None);

    let at_once = StorageOptions { settle_after: Duration::ZERO, ..steady() };
    let source = disk.source(at_once).with_space(Box::new(|| Ok(LITTLE)));
    let (storage, _) = Storage::open_source(source).unwrap();
    // Between one request and the next the writer would settle what it has just opened.
    for _ in 0..10 {
        assert!(is_refused(&storage, session()).await);
    }
    assert_eq!(syncs(&disk), syncs_of_opening);
}
