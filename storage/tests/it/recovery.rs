//! What a start puts right after a process that did not end in order.

use crate::harness::{Place, commit, execution, running, session, with_session};
use vm_storage::{
    ConsoleLevel, EventPayload, ExecutionErrorCode, ExecutionStatus, Recovery, Session,
    SessionFilter, SessionStatus, StorageError,
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
    assert_eq!(recovery, Recovery { executions_stopped: 2, sessions_closed: 1 });
    for (id, last) in [(ran.id, 4), (silent.id, 1)] {
        let stopped = storage.execution(id).unwrap().unwrap();
        assert_eq!(stopped.status, ExecutionStatus::Error);
        assert_eq!(stopped.error.unwrap().code, Some(ExecutionErrorCode::HostStopped));
        assert_eq!(stopped.metrics.events, last);
        let events = storage.events(id, last - 1, 50).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].seq, Some(events[0].ts)), (last, stopped.ended_at));
        let is_error =
            matches!(events[0].payload, EventPayload::System { level: ConsoleLevel::Error, .. });
        assert!(is_error, "{events:?}");
    }
    assert_eq!(storage.execution(over.id).unwrap(), Some(over.clone()));
    assert_eq!(storage.events(over.id, 2, 50).unwrap(), []);
    let error = storage.commit_execution(commit(&ran, [5])).await.unwrap_err();
    assert!(matches!(error, StorageError::ExecutionOver(id) if id == ran.id), "{error:?}");
}

#[tokio::test]
async fn a_live_session_ends_as_closed_and_says_why() {
    let place = Place::new();
    let storage = place.open();
    let statuses = [SessionStatus::Starting, SessionStatus::Ready, SessionStatus::Crashed];
    let sessions = statuses.map(|status| Session { status, ..session() });
    for session in &sessions {
        storage.put_session(session.clone()).await.unwrap();
    }
    storage.shutdown().await.unwrap();

    let (storage, recovery) = place.try_open().unwrap();
    assert_eq!(recovery, Recovery { executions_stopped: 0, sessions_closed: 2 });
    for session in &sessions[..2] {
        let closed = storage.session(session.id).unwrap().unwrap();
        assert_eq!(closed.status, SessionStatus::Closed);
        assert!(closed.closed_at.is_some());
        assert!(closed.last_error.unwrap().contains("the host stopped"));
    }
    assert_eq!(storage.session(sessions[2].id).unwrap(), Some(sessions[2].clone()));
    assert_eq!(storage.live_session_count().unwrap(), 0);
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
    assert_eq!(storage.sessions(&SessionFilter::default(), 50).unwrap().len(), 1);
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
    assert_eq!(place.open().executions(session.id, 50).unwrap().len(), 20);
}
