//! Heaps: exactly the bytes of the last commit, or an error that says so.

use crate::harness::{Place, commit, execution, executions_of, running, session, with_session};
use crate::memory::{HEAP_PAGES, HEAPS, HISTORY, Memory, PAGES, edit, recounted, with};
use std::time::Duration;
use vm_storage::{
    Bounds, ExecutionCommit, ExecutionStatus, HEAP_PAGE_BYTES, HeapChange, HeapCommit, HeapPage,
    HeapPatch, Retention, Session, SessionStatus, Storage, StorageError,
};

/// Keeps as few executions as possible.
const NONE: Retention = Retention {
    executions: Bounds { max_age: None, max_count: Some(0), max_bytes: None },
    events: Bounds { max_age: None, max_count: None, max_bytes: None },
};

async fn sweep_all(storage: &Storage, retention: Retention) {
    while storage.sweep(retention).await.unwrap().is_unfinished() {}
}

/// Closes the store and opens it again.
async fn reopened(place: &Place, storage: Storage) -> Storage {
    storage.shutdown().await.unwrap();
    place.open()
}

#[tokio::test]
async fn a_heap_is_its_base_and_the_patches_since() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    assert_eq!(storage.heap(session.id).unwrap(), None);
    let mut memory = Memory::new(session.id);
    memory.patch_times(&storage, 20).await;
    memory.check(&storage);
    let (storage, _) = recounted(&place, storage).await;

    // As whole pages, in place of all patches.
    memory.now[2] = [0; HEAP_PAGE_BYTES];
    memory.now[5] = std::array::from_fn(|at| u8::try_from(at * at % 251).unwrap());
    let heap = memory.whole();
    memory.commit(&storage, heap).await;
    memory.check(&storage);
    assert!(storage.heap(session.id).unwrap().unwrap().patches.is_empty());

    // On that base; then some pages replaced, and some back to the image.
    memory.patch_times(&storage, 9).await;
    memory.check(&storage);
    let (storage, before) = recounted(&place, storage).await;
    memory.now[..6].fill([0; HEAP_PAGE_BYTES]);
    let heap = memory.whole();
    memory.commit(&storage, heap).await;
    memory.check(&storage);
    assert_eq!(storage.heap(session.id).unwrap().unwrap().base.len(), 2);
    let (storage, after) = recounted(&place, storage).await;
    assert!(after.heap_bytes < before.heap_bytes, "{before:?} {after:?}");
    memory.patch_times(&storage, 3).await;
    memory.check(&reopened(&place, storage).await);
}

#[tokio::test]
async fn a_session_may_begin_with_a_heap() {
    let place = Place::new();
    let storage = place.open();
    let session = session();
    let mut memory = Memory::new(session.id);
    memory.now[3][7] = 7;
    let (pages, bytes) = (memory.pages(), memory.memory());
    storage.put_session_with_heap(session.clone(), bytes, pages.clone()).await.unwrap();
    memory.check(&storage);
    memory.patch_times(&storage, 3).await;
    let (storage, _) = recounted(&place, storage).await;
    memory.check(&storage);

    let again = storage.put_session_with_heap(session.clone(), bytes, pages).await;
    assert!(matches!(again, Err(StorageError::HeapConflict { expected: 3, .. })), "{again:?}");
    memory.check(&storage);
    storage.put_session(session).await.unwrap();
    memory.check(&storage);
}

#[tokio::test]
async fn a_change_that_does_not_follow_the_last_one_is_refused() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut memory = Memory::new(session.id);
    memory.patch_times(&storage, 3).await;
    // Executions that leave nothing stand between the last change and the next.
    for _ in 0..3 {
        storage.commit_execution(commit(&execution(session.id), [])).await.unwrap();
    }
    let contents = storage.contents().unwrap();
    for follows in [0, 1, 2, 4, 6, 7, u64::MAX] {
        for change in [HeapChange::Patch(HeapPatch::default()), HeapChange::Pages(vec![])] {
            let execution = execution(session.id);
            let heap = HeapCommit { follows, memory: memory.memory(), change };
            let error = storage.commit_execution(with(&execution, heap)).await.unwrap_err();
            assert!(
                matches!(error, StorageError::HeapConflict { session, expected: 3 | 0, found }
                    if session == memory.session && found == follows),
                "{error:?}"
            );
            assert_eq!(storage.execution(execution.id).unwrap(), None);
        }
    }
    assert_eq!(storage.contents().unwrap().executions, contents.executions);
    memory.check(&storage);
    memory.patch_times(&storage, 2).await;
    assert_eq!(memory.at, 8);
    memory.check(&storage);
}

#[tokio::test]
async fn an_execution_that_began_before_the_base_cannot_change_it() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut memory = Memory::new(session.id);
    let early = running(session.id);
    assert_eq!(storage.commit_execution(commit(&early, [])).await.unwrap(), 1);
    let (bytes, pages) = (memory.memory(), memory.pages());
    storage.put_session_with_heap(session.clone(), bytes, pages).await.unwrap();
    memory.at = 1;
    let heap = memory.patch(0, 0, 1);
    // A patch in its row would not be read.
    let error = storage.commit_execution(with(&early, heap)).await.unwrap_err();
    assert!(matches!(error, StorageError::HeapConflict { expected: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn what_an_execution_left_while_it_ran_is_replaced_by_what_it_leaves() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut memory = Memory::new(session.id);
    memory.patch_times(&storage, 1).await;
    let (mut first, mut second) = (running(session.id), running(session.id));
    let heap = memory.patch(0, 0, 9);
    storage.commit_execution(with(&first, heap)).await.unwrap();
    let heap = memory.patch(0, 100, 8);
    first.status = ExecutionStatus::Ok;
    let last = ExecutionCommit { heap: Some(heap), ..commit(&first, [2]) };
    assert_eq!(storage.commit_execution(last).await.unwrap(), 2);
    memory.at = 2;
    memory.now[0][..20].fill(0);
    memory.check(&storage);
    let discarded = Memory::new(session.id).patch(4, 0, 1);
    let discarded = HeapCommit { follows: 2, ..discarded };
    storage.commit_execution(with(&second, discarded)).await.unwrap();
    second.status = ExecutionStatus::Error;
    storage.commit_execution(commit(&second, [2])).await.unwrap();
    memory.check(&storage);
    recounted(&place, storage).await;
}

#[tokio::test]
async fn ordinals_go_on_after_the_last_of_the_history_was_removed() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut memory = Memory::new(session.id);
    memory.patch_times(&storage, 4).await;
    let heap = memory.whole();
    memory.commit(&storage, heap).await;
    sweep_all(&storage, NONE).await;
    assert_eq!(executions_of(&storage, session.id, 50), []);
    memory.check(&storage);
    assert_eq!(memory.at, 5);
    memory.patch_times(&storage, 1).await;
    assert_eq!(memory.at, 6);
    let (storage, _) = recounted(&place, storage).await;
    memory.check(&storage);
}

#[tokio::test]
async fn patches_outlive_their_executions_and_go_with_the_next_base() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut memory = Memory::new(session.id);
    let gone = memory.patch_times(&storage, 6).await;
    let an_hour = Bounds { max_age: Some(Duration::from_hours(1)), ..Bounds::default() };
    sweep_all(&storage, Retention { executions: an_hour, ..Retention::default() }).await;
    memory.check(&storage);
    assert_eq!(executions_of(&storage, session.id, 50).len(), 6);
    sweep_all(&storage, NONE).await;
    assert_eq!(executions_of(&storage, session.id, 50), []);
    assert_eq!(storage.execution(gone[0].id).unwrap(), None);
    memory.check(&storage);
    let (storage, _) = recounted(&place, storage).await;
    memory.check(&storage);
    memory.patch_times(&storage, 2).await;
    memory.check(&storage);
    assert_eq!(executions_of(&storage, session.id, 50).len(), 2);
    let heap = memory.whole();
    memory.commit(&storage, heap).await;
    let (storage, _) = recounted(&place, storage).await;
    memory.check(&storage);
    assert_eq!(executions_of(&storage, session.id, 50).len(), 3);
}

#[tokio::test]
async fn a_session_that_is_over_gets_no_heap_any_more() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut memory = Memory::new(session.id);
    memory.patch_times(&storage, 2).await;
    let closed = Session { status: SessionStatus::Closed, ..session.clone() };
    storage.put_session(closed.clone()).await.unwrap();
    sweep_all(&storage, Retention::default()).await;
    assert_eq!(storage.heap(session.id).unwrap(), None);
    memory.at = 0;
    let heap = memory.patch(1, 1, 1);
    memory.commit(&storage, heap).await;
    let (bytes, pages) = (memory.memory(), memory.pages());
    let other = Session { id: vm_storage::SessionId::new(), ..closed };
    storage.put_session_with_heap(other, bytes, pages).await.unwrap();
    assert_eq!(storage.contents().unwrap().heap_bytes, 0);
    recounted(&place, storage).await;
}

#[tokio::test]
async fn a_patch_past_its_bound_is_refused() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let page: HeapPage = std::array::from_fn(|at| u8::try_from(at % 251).unwrap());
    let mut patch = HeapPatch::default();
    (0..257).for_each(|number| patch.add(number, &[0; HEAP_PAGE_BYTES], &page));
    let memory = Memory::new(session.id).memory();
    let heap = HeapCommit { follows: 0, memory, change: HeapChange::Patch(patch) };
    let error = storage.commit_execution(with(&execution(session.id), heap)).await.unwrap_err();
    assert!(matches!(error, StorageError::RecordTooLarge { .. }), "{error:?}");
}

/// A store whose heap has a base of two pages and four patches, closed.
async fn filled() -> (Place, Memory) {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut memory = Memory::new(session.id);
    memory.now[1][0] = 1;
    memory.now[PAGES - 1][9] = 1;
    let heap = memory.whole();
    memory.commit(&storage, heap).await;
    memory.patch_times(&storage, 4).await;
    storage.shutdown().await.unwrap();
    (place, memory)
}

#[tokio::test]
async fn a_row_that_is_missing_or_another_is_a_damaged_heap() {
    type Change = fn(Vec<u8>) -> Option<Vec<u8>>;
    let flipped: Change = |mut row| {
        *row.last_mut().unwrap() ^= 1;
        Some(row)
    };
    let gone: Change = |_| None;
    let without_patch: Change = |row| Some(row[..16].to_vec());
    for change in [flipped, gone] {
        check_damage(|place| edit(place, HEAPS, 0, change), "").await;
        check_damage(|place| edit(place, HEAP_PAGES, 1, change), "").await;
    }
    check_damage(|place| edit(place, HISTORY, 2, flipped), "checksum").await;
    check_damage(|place| edit(place, HISTORY, 2, gone), "follows 2").await;
    check_damage(|place| edit(place, HISTORY, 1, without_patch), "follows 1").await;
    // The patch of another execution.
    let swap = |place: &Place| {
        let mut row = Vec::new();
        edit(place, HISTORY, 2, |found| Some(found).inspect(|found| row.clone_from(found)));
        edit(place, HISTORY, 3, |_| Some(row));
    };
    check_damage(swap, "follows").await;
}

async fn check_damage(damage: impl FnOnce(&Place), detail: &str) {
    let (place, memory) = filled().await;
    damage(&place);
    let storage = place.open();
    let error = storage.heap(memory.session).unwrap_err();
    assert!(
        matches!(error, StorageError::DamagedHeap { session, .. } if session == memory.session),
        "{error:?}"
    );
    assert!(error.to_string().contains(detail), "{error}");
    // It goes like any other once its session is over.
    let mut session = storage.session(memory.session).unwrap().unwrap();
    session.status = SessionStatus::Crashed;
    storage.put_session(session).await.unwrap();
    sweep_all(&storage, Retention::default()).await;
    assert_eq!(storage.contents().unwrap().unswept_sessions, 0);
}

#[tokio::test]
async fn a_base_that_is_lost_is_not_taken_for_none() {
    let (place, memory) = filled().await;
    edit(&place, HEAPS, 0, |_| None);
    for row in 1..5 {
        edit(&place, HISTORY, row, |row| Some(row[..16].to_vec()));
    }
    let storage = place.open();
    let error = storage.heap(memory.session).unwrap_err();
    assert!(error.to_string().contains("no base"), "{error}");
}
