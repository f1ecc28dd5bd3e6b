//! What a start puts right after a process that did not end in order.

use crate::harness::{
    Place, all_sessions, commit, events_of, execution, executions_of, running, session,
    with_session,
};
use vm_storage::{
    ConsoleLevel, EventPayload, ExecutionErrorCode, ExecutionStatus, Recovery, Session,
    SessionStatus, StorageError, TenantId,
};

#[tokio::test]
async fn a_running_execution_ends_as_host_stopped_with_one_event_more() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let (ran, silent, over) = (running(session.id), running(session.id), execution(session.id));
    storage.commit_execution(commit(&ran, 1..=3)).await.unwrap();
    storage.commit_execution(commit(&silent, [])).await.unwrap();
    storage.commit_execution(commit(&over, 1..=2)).await.unwrap();
    storage.shutdown().await.unwrap();

    let (storage, recovery) = place.try_open().unwrap();
    assert_eq!(recovery, Recovery { executions_stopped: 2, sessions_crashed: 0 });
    for (id, last) in [(ran.id, 4), (silent.id, 1)] {
        let stopped = storage.execution(id).unwrap().unwrap();
        assert_eq!(stopped.status, ExecutionStatus::Error);
        assert_eq!(stopped.error.unwrap().code, Some(ExecutionErrorCode::HostStopped));
        assert_eq!(stopped.metrics.events, last);
        let events = events_of(&storage, id, last - 1);
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].seq, Some(events[0].ts)), (last, stopped.ended_at));
        let is_error =
            matches!(events[0].payload, EventPayload::System { level: ConsoleLevel::Error, .. });
        assert!(is_error, "{events:?}");
    }
    assert_eq!(storage.execution(over.id).unwrap(), Some(over.clone()));
    assert_eq!(events_of(&storage, over.id, 2), []);
    let error = storage.commit_execution(commit(&ran, [5])).await.unwrap_err();
    assert!(matches!(error, StorageError::ExecutionOver(id) if id == ran.id), "{error:?}");
}

#[tokio::test]
async fn a_starting_session_crashes_and_says_why_and_a_ready_one_stays() {
    let place = Place::new();
    let storage = place.open();
    let statuses = [SessionStatus::Starting, SessionStatus::Ready, SessionStatus::Crashed];
    let [starting, ready, crashed] = statuses.map(|status| Session { status, ..session() });
    for session in [&starting, &ready, &crashed] {
        storage.put_session(session.clone()).await.unwrap();
    }
    storage.shutdown().await.unwrap();

    let (storage, recovery) = place.try_open().unwrap();
    assert_eq!(recovery, Recovery { executions_stopped: 0, sessions_crashed: 1 });
    let now_crashed = storage.session(starting.id).unwrap().unwrap();
    assert_eq!(now_crashed.status, SessionStatus::Crashed);
    assert!(now_crashed.last_error.unwrap().contains("the host stopped"));
    assert_eq!(storage.session(ready.id).unwrap(), Some(ready.clone()));
    assert_eq!(storage.session(crashed.id).unwrap(), Some(crashed));
    assert_eq!(storage.live_session_ids(TenantId::LOCAL).unwrap().1, [ready.id]);
}

#[tokio::test]
async fn a_second_start_has_nothing_to_put_right() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    storage.commit_execution(commit(&running(session.id), [1])).await.unwrap();
    storage.shutdown().await.unwrap();
    place.open().shutdown().await.unwrap();
    let (storage, recovery) = place.try_open().unwrap();
    assert_eq!(recovery, Recovery::default());
    assert_eq!(all_sessions(&storage).len(), 1);
}

#[tokio::test]
async fn a_shut_down_store_refuses_everything_and_opens_again_at_once() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let clone = storage.clone();
    storage.shutdown().await.unwrap();
    let read = clone.session(session.id).unwrap_err();
    assert!(matches!(read, StorageError::Closed { .. }), "{read:?}");
    let write = clone.put_session(session.clone()).await.unwrap_err();
    assert!(matches!(write, StorageError::Closed { .. }), "{write:?}");
    let again = clone.shutdown().await.unwrap_err();
    assert!(matches!(again, StorageError::Closed { .. }), "{again:?}");
    place.open();
}

#[tokio::test]
async fn writes_asked_for_before_a_shutdown_are_kept() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let executions: Vec<_> = (0..20).map(|_| execution(session.id)).collect();
    let commits = executions.iter().map(|each| storage.commit_execution(commit(each, [1])));
    let all = futures_util::future::join_all(commits);
    let (outcomes, stopped) = futures_util::future::join(all, storage.clone().shutdown()).await;
    for outcome in outcomes {
        outcome.unwrap();
    }
    stopped.unwrap();
    assert_eq!(executions_of(&place.open(), session.id, 50).len(), 20);
}
