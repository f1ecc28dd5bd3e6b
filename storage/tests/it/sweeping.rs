//! What is removed in the background: in steps, the oldest first, and nothing that is needed.

use crate::harness::{
    Place, all_sessions, event, execution, executions_of, running, session, with_session,
};
use crate::memory::{Memory, recounted};
use std::time::Duration;
use vm_storage::{
    Bounds, Execution, ExecutionCommit, Metrics, Retention, Session, SessionId, SessionStatus,
    Storage, StorageError, Swept, now,
};

/// Rows of one step, and the one that lists the last execution.
const MOST_ROWS: u64 = 513;

const NO_BOUNDS: Bounds = Bounds { max_age: None, max_count: None, max_bytes: None };

fn of_executions(bounds: Bounds) -> Retention {
    Retention { executions: bounds, events: NO_BOUNDS }
}

fn count(max: u64) -> Bounds {
    Bounds { max_count: Some(max), ..NO_BOUNDS }
}

fn age(max: Duration) -> Bounds {
    Bounds { max_age: Some(max), ..NO_BOUNDS }
}

/// Takes steps until there is nothing to remove; gives their number and what they removed.
async fn sweep_all(storage: &Storage, retention: Retention) -> (u64, Swept) {
    let (mut steps, mut all) = (0, Swept::default());
    loop {
        let swept = storage.sweep(retention).await.unwrap();
        assert!(swept.rows <= MOST_ROWS, "{swept:?}");
        if !swept.is_unfinished() {
            return (steps, all);
        }
        steps += 1;
        all.rows += swept.rows;
        all.executions += swept.executions;
        all.events += swept.events;
    }
}

/// Commits an execution with so many events.
async fn put(storage: &Storage, execution: Execution, events: u64) -> Execution {
    let metrics = Metrics { events, ..Metrics::default() };
    let execution = Execution { metrics, ..execution };
    let new_events = (1..=events).map(|seq| event(&execution, seq)).collect();
    let commit = ExecutionCommit {
        execution: execution.clone(),
        new_events,
        session: None,
        heap: None,
        kv: None,
    };
    storage.commit_execution(commit).await.unwrap();
    execution
}

/// Commits so many executions of each session in turn, with so many events each.
async fn put_many(
    storage: &Storage,
    sessions: &[SessionId],
    each: usize,
    events: u64,
) -> Vec<Execution> {
    let mut executions = Vec::new();
    for _ in 0..each {
        for session in sessions {
            executions.push(put(storage, execution(*session), events).await);
        }
    }
    executions
}

fn is_there(storage: &Storage, execution: &Execution) -> bool {
    storage.execution(execution.id).unwrap().is_some()
}

#[tokio::test]
async fn there_is_nothing_to_sweep_unless_something_is_asked_for() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    put_many(&storage, &[session.id], 3, 2).await;
    let commits = storage.stats().commits;
    assert_eq!(sweep_all(&storage, Retention::default()).await, (0, Swept::default()));
    let loose = of_executions(Bounds { max_bytes: Some(1 << 30), ..count(100) });
    assert_eq!(sweep_all(&storage, loose).await, (0, Swept::default()));
    assert_eq!(storage.stats().commits, commits);
}

#[tokio::test]
async fn the_heap_of_a_session_that_is_over_goes_and_its_history_stays() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut memory = Memory::new(session.id);
    memory.now[1][1] = 1;
    let heap = memory.whole();
    memory.commit(&storage, heap).await;
    memory.patch_times(&storage, 5).await;
    let closed = Session { status: SessionStatus::Closed, ..session.clone() };
    storage.put_session(closed.clone()).await.unwrap();
    assert_eq!(storage.contents().unwrap().unswept_sessions, 1);
    let (steps, _) = sweep_all(&storage, Retention::default()).await;
    assert_eq!(steps, 1);
    let (storage, contents) = recounted(&place, storage).await;
    assert_eq!((contents.unswept_sessions, contents.heap_bytes), (0, 0));
    assert_eq!(storage.heap(session.id).unwrap(), None);
    assert_eq!(storage.session(session.id).unwrap(), Some(closed));
    assert_eq!(executions_of(&storage, session.id, 50).len(), 6);
}

#[tokio::test]
async fn a_heap_of_many_patches_goes_in_steps() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut memory = Memory::new(session.id);
    for _ in 0..5 {
        memory.patch_times(&storage, 120).await;
    }
    let closed = Session { status: SessionStatus::Closed, ..session.clone() };
    storage.put_session(closed).await.unwrap();
    assert_eq!(sweep_all(&storage, Retention::default()).await.0, 2);
    recounted(&place, storage).await;
}

#[tokio::test]
async fn a_session_that_lives_again_keeps_its_heap() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut memory = Memory::new(session.id);
    memory.patch_times(&storage, 2).await;
    for status in [SessionStatus::Crashed, SessionStatus::Ready] {
        storage.put_session(Session { status, ..session.clone() }).await.unwrap();
    }
    sweep_all(&storage, Retention::default()).await;
    memory.check(&storage);
}

#[tokio::test]
async fn a_purged_session_is_unknown_at_once_and_its_rows_go_in_steps() {
    let place = Place::new();
    let (storage, gone) = with_session(&place).await;
    let stays = session();
    storage.put_session(stays.clone()).await.unwrap();
    let error = storage.purge_session(gone.id).await.unwrap_err();
    assert!(matches!(error, StorageError::SessionLive(id) if id == gone.id), "{error:?}");
    let executions = put_many(&storage, &[gone.id, stays.id], 4, 300).await;
    let closed = Session { status: SessionStatus::Closed, ..gone.clone() };
    storage.put_session(closed.clone()).await.unwrap();
    storage.purge_session(gone.id).await.unwrap();
    for _ in 0..2 {
        let purged = executions.iter().filter(|execution| execution.session_id == gone.id);
        for execution in purged {
            assert!(!is_there(&storage, execution));
            assert_eq!(storage.events(execution.id, 0, 50).unwrap(), None);
        }
        assert_eq!(executions_of(&storage, gone.id, 50), []);
        assert_eq!(all_sessions(&storage), std::slice::from_ref(&stays));
        assert_eq!(storage.session(gone.id).unwrap(), None);
        storage.sweep(Retention::default()).await.unwrap();
    }
    // Nor does what comes late bring it back.
    let late = ExecutionCommit {
        execution: running(gone.id),
        new_events: vec![],
        session: Some(closed.clone()),
        heap: None,
        kv: None,
    };
    let late = storage.commit_execution(late).await.unwrap_err();
    let again = storage.put_session(closed).await.unwrap_err();
    let twice = storage.purge_session(gone.id).await.unwrap_err();
    for error in [late, again, twice] {
        assert!(matches!(error, StorageError::UnknownSession(id) if id == gone.id), "{error:?}");
    }
    assert_eq!(sweep_all(&storage, Retention::default()).await.0, 1);
    let (storage, contents) = recounted(&place, storage).await;
    assert_eq!((contents.sessions, contents.executions, contents.events), (1, 4, 1_200));
    assert_eq!(contents.unswept_sessions, 0);
    assert_eq!(executions_of(&storage, stays.id, 50).len(), 4);
}

#[tokio::test]
async fn so_many_executions_are_kept_the_newest_of_all_sessions() {
    let place = Place::new();
    let (storage, first) = with_session(&place).await;
    let second = session();
    storage.put_session(second.clone()).await.unwrap();
    let runs = put(&storage, running(first.id), 1).await;
    let executions = put_many(&storage, &[first.id, second.id], 200, 3).await;
    let (steps, swept) = sweep_all(&storage, of_executions(count(100))).await;
    assert!(steps > 1, "{steps}");
    // The one that runs counts, and stays.
    assert_eq!((swept.executions, swept.events), (301, 903));
    assert!(is_there(&storage, &runs));
    let left: Vec<bool> = executions.iter().map(|each| is_there(&storage, each)).collect();
    assert_eq!(left, (0..400).map(|number| number > 300).collect::<Vec<_>>());
    let (storage, _) = recounted(&place, storage).await;
    assert_eq!(executions_of(&storage, second.id, 500).len(), 50);
}

#[tokio::test]
async fn executions_are_kept_up_to_an_age_and_up_to_bytes() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let long_ago = now() - Duration::from_hours(48);
    let old = Execution { started_at: long_ago, ..execution(session.id) };
    let old = put(&storage, old, 3).await;
    let executions = put_many(&storage, &[session.id], 10, 10).await;
    let (_, swept) = sweep_all(&storage, of_executions(age(Duration::from_hours(24)))).await;
    assert_eq!((swept.executions, swept.events), (1, 3));
    assert!(!is_there(&storage, &old));

    let contents = storage.contents().unwrap();
    let bytes = contents.execution_bytes + contents.event_bytes;
    let max_bytes = Some(bytes - 1);
    sweep_all(&storage, of_executions(Bounds { max_bytes, ..NO_BOUNDS })).await;
    assert!(!is_there(&storage, &executions[0]));
    assert_eq!(executions_of(&storage, session.id, 50).len(), 9);
    recounted(&place, storage).await;
}
