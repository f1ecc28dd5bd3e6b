//! Executions and events: whole or not at all, in order, never changed once over.

use crate::harness::{
    Place, commit, event, execution, executions_of, running, session, with_session,
};
use futures_util::future::join_all;
use vm_storage::{
    Event, Execution, ExecutionCommit, ExecutionId, ExecutionStatus, MAX_EVENTS_READ, MAX_LISTED,
    PageRequest, Session, SessionStatus, Storage, StorageError,
};

fn seqs(storage: &Storage, id: ExecutionId, after_seq: u64, limit: usize) -> Vec<u64> {
    let events = storage.events(id, after_seq, limit).unwrap().unwrap();
    events.into_iter().map(|event: Event| event.seq).collect()
}

/// Commits something that must be refused, and must leave nothing.
async fn refused(storage: &Storage, commit: ExecutionCommit) -> StorageError {
    let id = commit.execution.id;
    let before = (storage.execution(id).unwrap(), storage.events(id, 0, 50).unwrap());
    let commits = storage.stats().commits;
    let error = storage.commit_execution(commit).await.unwrap_err();
    assert_eq!((storage.execution(id).unwrap(), storage.events(id, 0, 50).unwrap()), before);
    assert_eq!(storage.stats().commits, commits);
    error
}

#[tokio::test]
async fn executions_are_newest_first_whatever_the_clock_did() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let mut executions: Vec<Execution> = (0..300).map(|_| execution(session.id)).collect();
    executions.reverse(); // The ids of a clock that runs backwards.
    for group in executions.chunks(20) {
        // So few are polled in order, and so queued in order.
        let commits = group.iter().map(|each| storage.commit_execution(commit(each, 1..=1)));
        for outcome in join_all(commits).await {
            outcome.unwrap();
        }
    }
    executions.reverse();
    assert_eq!(executions_of(&storage, session.id, usize::MAX), executions);
    assert_eq!(executions_of(&storage, session.id, 2), executions[..2]);
}

#[tokio::test]
async fn a_running_execution_keeps_its_place_when_it_ends() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let (mut first, second) = (running(session.id), execution(session.id));
    storage.commit_execution(commit(&first, 1..=2)).await.unwrap();
    storage.commit_execution(commit(&second, 1..=1)).await.unwrap();
    first.status = ExecutionStatus::Ok;
    storage.commit_execution(commit(&first, 3..=3)).await.unwrap();
    assert_eq!(executions_of(&storage, session.id, 50), [second, first.clone()]);
    assert_eq!(seqs(&storage, first.id, 0, 50), [1, 2, 3]);
}

#[tokio::test]
async fn the_executions_of_a_session_are_its_own() {
    let place = Place::new();
    let (storage, session_a) = with_session(&place).await;
    let session_b = session();
    let (a, b) = (execution(session_a.id), execution(session_b.id));
    storage.commit_execution(commit(&a, [])).await.unwrap();
    let with_its_session = ExecutionCommit { session: Some(session_b.clone()), ..commit(&b, []) };
    storage.commit_execution(with_its_session).await.unwrap();
    assert_eq!(executions_of(&storage, session_a.id, 50), [a]);
    assert_eq!(executions_of(&storage, session_b.id, 50), [b]);
    assert_eq!(storage.session(session_b.id).unwrap(), Some(session_b));
}

#[tokio::test]
async fn events_are_read_after_a_number_and_up_to_a_limit() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let execution = execution(session.id);
    storage.commit_execution(commit(&execution, 1..=300)).await.unwrap();
    assert_eq!(seqs(&storage, execution.id, 0, 3), [1, 2, 3]);
    assert_eq!(seqs(&storage, execution.id, 254, 4), [255, 256, 257, 258]);
    assert_eq!(seqs(&storage, execution.id, 299, 50), [300]);
    assert_eq!(seqs(&storage, execution.id, 300, 50), [0; 0]);
    assert_eq!(seqs(&storage, execution.id, u64::MAX, 50), [0; 0]);
}

#[tokio::test]
async fn one_read_gives_events_up_to_its_bound() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let execution = execution(session.id);
    let last = MAX_EVENTS_READ as u64 + 1;
    storage.commit_execution(commit(&execution, 1..=last)).await.unwrap();
    assert_eq!(seqs(&storage, execution.id, 0, usize::MAX).len(), MAX_EVENTS_READ);
    assert_eq!(seqs(&storage, execution.id, last - 1, usize::MAX), [last]);
}

#[tokio::test]
async fn a_page_of_events_ends_at_its_bytes_and_the_pages_have_all() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let execution = execution(session.id);
    storage.commit_execution(commit(&execution, 1..=100)).await.unwrap();
    let all = storage.events(execution.id, 0, 1_000).unwrap().unwrap();
    for max_bytes in [0, 1, 300, 5_000, usize::MAX] {
        let (mut all_paged, mut next, mut pages) = (Vec::new(), Some(0), 0);
        while let Some(after) = next {
            let page = PageRequest { limit: 1_000, cursor: Some(after) };
            let page =
                storage.events_page(execution.id, page, max_bytes, |_| true).unwrap().unwrap();
            all_paged.extend(page.items);
            (next, pages) = (page.next, pages + 1);
        }
        assert_eq!(all_paged, all);
        // The last page of one event each is empty.
        let expected = match max_bytes {
            0 | 1 => 101..=101,
            usize::MAX => 1..=1,
            _ => 2..=99,
        };
        assert!(expected.contains(&pages), "{max_bytes}: {pages}");
    }
}

#[tokio::test]
async fn a_list_of_executions_ends_at_its_bound() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let commits =
        (0..=MAX_LISTED).map(|_| storage.commit_execution(commit(&execution(session.id), [])));
    for outcome in join_all(commits).await {
        outcome.unwrap();
    }
    let listed = executions_of(&storage, session.id, usize::MAX);
    assert_eq!(listed.len(), MAX_LISTED);
}

#[tokio::test]
async fn a_gap_in_the_numbers_is_refused() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let fresh = running(session.id);
    let cases: [(&[u64], u64, u64); 4] =
        [(&[2], 1, 2), (&[0], 1, 0), (&[1, 3], 2, 3), (&[1, 1], 2, 1)];
    for (numbers, next, came) in cases {
        let error = refused(&storage, commit(&fresh, numbers.iter().copied())).await;
        assert!(
            matches!(error, StorageError::SequenceGap { execution, expected, found }
                if execution == fresh.id && expected == next && found == came),
            "{error:?}"
        );
    }
    storage.commit_execution(commit(&fresh, 1..=3)).await.unwrap();
    for (first, came) in [(3, 3), (5, 5)] {
        let error = refused(&storage, commit(&fresh, [first])).await;
        assert!(
            matches!(error, StorageError::SequenceGap { expected: 4, found, .. } if found == came),
            "{error:?}"
        );
    }
    storage.commit_execution(commit(&fresh, [4])).await.unwrap();
    assert_eq!(seqs(&storage, fresh.id, 0, 50), [1, 2, 3, 4]);
}

#[tokio::test]
async fn an_event_of_another_execution_is_refused() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let (own, other) = (execution(session.id), execution(session.id));
    let mut commit = commit(&own, [1]);
    commit.new_events.push(event(&other, 2));
    let error = refused(&storage, commit).await;
    assert!(
        matches!(error, StorageError::ForeignEvent { execution, found }
            if execution == own.id && found == other.id),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_execution_that_is_over_is_never_changed() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    for status in [
        ExecutionStatus::Ok,
        ExecutionStatus::Error,
        ExecutionStatus::Timeout,
        ExecutionStatus::Cancelled,
    ] {
        let over = Execution { status, ..execution(session.id) };
        storage.commit_execution(commit(&over, [1])).await.unwrap();
        let error = refused(&storage, commit(&over, [2])).await;
        assert!(matches!(error, StorageError::ExecutionOver(id) if id == over.id), "{error:?}");
    }
}

#[tokio::test]
async fn an_execution_needs_its_session() {
    let place = Place::new();
    let (storage, session_a) = with_session(&place).await;
    let stranger = session();
    let error = refused(&storage, commit(&execution(stranger.id), [1])).await;
    assert!(matches!(error, StorageError::UnknownSession(id) if id == stranger.id), "{error:?}");

    let own = running(session_a.id);
    let with_other = ExecutionCommit { session: Some(stranger.clone()), ..commit(&own, [1]) };
    let error = refused(&storage, with_other).await;
    assert!(
        matches!(error, StorageError::ForeignSession { execution, expected, found }
            if execution == own.id && expected == session_a.id && found == stranger.id),
        "{error:?}"
    );
    assert_eq!(storage.session(stranger.id).unwrap(), None);

    storage.commit_execution(commit(&own, [1])).await.unwrap();
    let moved = Execution { session_id: stranger.id, ..own.clone() };
    let error = refused(&storage, commit(&moved, [2])).await;
    assert!(
        matches!(error, StorageError::ForeignSession { execution, expected, found }
            if execution == own.id && expected == session_a.id && found == stranger.id),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_session_changes_with_its_execution_or_not_at_all() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let crashed = Session { status: SessionStatus::Crashed, ..session.clone() };
    let (good, bad) = (execution(session.id), execution(session.id));
    let refused_one = ExecutionCommit { session: Some(crashed.clone()), ..commit(&bad, [2]) };
    refused(&storage, refused_one).await;
    assert_eq!(storage.session(session.id).unwrap(), Some(session.clone()));
    let kept = ExecutionCommit { session: Some(crashed.clone()), ..commit(&good, [1]) };
    storage.commit_execution(kept).await.unwrap();
    assert_eq!(storage.session(session.id).unwrap(), Some(crashed));
    assert_eq!(storage.live_session_count().unwrap(), 0);
}

#[tokio::test]
async fn json_nested_too_deep_to_be_read_back_is_refused() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let deep = (0..200).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    let mut over = execution(session.id);
    over.args.insert("deep".to_owned(), deep);
    let error = refused(&storage, commit(&over, [1])).await;
    assert!(matches!(error, StorageError::RecordTooDeep { depth: 202, .. }), "{error:?}");
}
