//! Events that are kept no longer than their execution: who asks for them is told from where on
//! there are some.

use crate::harness::{Place, commit, event, execution, running, with_session};
use crate::memory::recounted;
use std::time::Duration;
use vm_storage::{
    Bounds, Execution, ExecutionId, Metrics, Retention, SessionId, Storage, StorageError, now,
};

const NO_BOUNDS: Bounds = Bounds { max_age: None, max_count: None, max_bytes: None };

async fn sweep_all(storage: &Storage, events: Bounds) {
    let retention = Retention { events, ..Retention::default() };
    while storage.sweep(retention).await.unwrap().is_unfinished() {}
}

/// An execution that is over and had events up to a number.
fn over(session: SessionId, events: u64) -> Execution {
    Execution { metrics: Metrics { events, ..Metrics::default() }, ..execution(session) }
}

/// The number of the oldest event that is kept, as one is told who asks for those after `seq`.
fn oldest(storage: &Storage, id: ExecutionId, seq: u64) -> u64 {
    match storage.events(id, seq, 50) {
        Err(StorageError::EventsExpired { execution, oldest_seq }) if execution == id => oldest_seq,
        outcome => panic!("{outcome:?}"),
    }
}

fn seqs(storage: &Storage, id: ExecutionId, after: u64) -> Vec<u64> {
    let events = storage.events(id, after, 50).unwrap().unwrap();
    events.into_iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn an_old_cursor_is_told_where_events_begin_and_can_go_on_there() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let (first, second) = (over(session.id, 10), over(session.id, 10));
    storage.commit_execution(commit(&first, 1..=10)).await.unwrap();
    storage.commit_execution(commit(&second, 1..=10)).await.unwrap();
    sweep_all(&storage, Bounds { max_count: Some(13), ..NO_BOUNDS }).await;
    for after in [0, 3, 6] {
        assert_eq!(oldest(&storage, first.id, after), 8);
    }
    assert_eq!(seqs(&storage, first.id, 7), [8, 9, 10]);
    assert_eq!(seqs(&storage, first.id, 10), [0; 0]);
    assert_eq!(seqs(&storage, second.id, 0).len(), 10);
    assert_eq!(storage.events(first.id, 0, 0).unwrap(), Some(vec![]));

    sweep_all(&storage, Bounds { max_count: Some(10), ..NO_BOUNDS }).await;
    for after in [0, 9] {
        assert_eq!(oldest(&storage, first.id, after), 11);
    }
    assert_eq!(seqs(&storage, first.id, 10), [0; 0]);
    assert_eq!(seqs(&storage, first.id, u64::MAX), [0; 0]);
    let (storage, contents) = recounted(&place, storage).await;
    assert_eq!((contents.executions, contents.events), (2, 10));
    assert_eq!(storage.execution(first.id).unwrap(), Some(first));
}

#[tokio::test]
async fn events_of_what_runs_stay_and_those_behind_them_go() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let (runs, ended) = (running(session.id), over(session.id, 4));
    storage.commit_execution(commit(&runs, 1..=5)).await.unwrap();
    storage.commit_execution(commit(&ended, 1..=4)).await.unwrap();
    sweep_all(&storage, Bounds { max_count: Some(0), ..NO_BOUNDS }).await;
    assert_eq!(seqs(&storage, runs.id, 0), [1, 2, 3, 4, 5]);
    assert_eq!(oldest(&storage, ended.id, 0), 5);
    let mut goes_on = commit(&runs, []);
    goes_on.new_events.push(event(&runs, 6));
    storage.commit_execution(goes_on).await.unwrap();
    assert_eq!(seqs(&storage, runs.id, 5), [6]);
}

#[tokio::test]
async fn events_are_kept_up_to_an_age_and_up_to_bytes() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let started_at = now() - Duration::from_hours(48);
    let old = Execution { started_at, ..over(session.id, 3) };
    let (first, second) = (over(session.id, 3), over(session.id, 3));
    for execution in [&old, &first, &second] {
        storage.commit_execution(commit(execution, 1..=3)).await.unwrap();
    }
    let a_day = Some(Duration::from_hours(24));
    sweep_all(&storage, Bounds { max_age: a_day, ..NO_BOUNDS }).await;
    assert_eq!(oldest(&storage, old.id, 0), 4);
    assert_eq!(seqs(&storage, first.id, 0), [1, 2, 3]);
    let max_bytes = Some(storage.contents().unwrap().event_bytes - 1);
    sweep_all(&storage, Bounds { max_bytes, ..NO_BOUNDS }).await;
    assert_eq!(oldest(&storage, first.id, 0), 4);
    assert_eq!(seqs(&storage, second.id, 0), [1, 2, 3]);
    let (_, contents) = recounted(&place, storage).await;
    assert_eq!((contents.executions, contents.events), (3, 3));
}
