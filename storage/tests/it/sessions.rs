//! Sessions: listed newest first, filtered, and the live ones known by index.

use crate::harness::{Place, session};
use futures_util::future::join_all;
use vm_storage::{
    MAX_LISTED, PageRequest, Session, SessionFilter, SessionId, SessionStatus, Storage, TemplateId,
    TenantId,
};

const ALL: [SessionStatus; 4] =
    [SessionStatus::Starting, SessionStatus::Ready, SessionStatus::Crashed, SessionStatus::Closed];

async fn with_one_of_each(place: &Place) -> (Storage, [SessionId; 4]) {
    let storage = place.open();
    let sessions = ALL.map(|status| Session { status, ..session() });
    for session in &sessions {
        storage.put_session(session.clone()).await.unwrap();
    }
    (storage, sessions.map(|session| session.id))
}

fn list(storage: &Storage, filter: &SessionFilter, limit: usize) -> Vec<SessionId> {
    let sessions =
        storage.sessions(TenantId::LOCAL, filter, PageRequest::first(limit)).unwrap().items;
    sessions.into_iter().map(|session| session.id).collect()
}

#[tokio::test]
async fn sessions_are_listed_newest_first_up_to_the_limit() {
    let place = Place::new();
    let (storage, [first, second, third, fourth]) = with_one_of_each(&place).await;
    let all = SessionFilter::default();
    assert_eq!(list(&storage, &all, 50), [fourth, third, second, first]);
    assert_eq!(list(&storage, &all, 2), [fourth, third]);
    assert_eq!(list(&storage, &all, 0), []);
}

#[tokio::test]
async fn a_filter_names_statuses_and_a_template() {
    let place = Place::new();
    let (storage, [starting, ready, crashed, closed]) = with_one_of_each(&place).await;
    let of = |statuses: &[SessionStatus]| SessionFilter {
        statuses: statuses.to_vec(),
        template_id: None,
    };
    assert_eq!(list(&storage, &of(&[SessionStatus::Ready]), 50), [ready]);
    assert_eq!(list(&storage, &of(&ALL[..2]), 50), [ready, starting]);
    assert_eq!(list(&storage, &of(&ALL[..2]), 1), [ready]);
    assert_eq!(list(&storage, &of(&ALL[1..3]), 50), [crashed, ready]);
    assert_eq!(list(&storage, &of(&[SessionStatus::Closed]), 50), [closed]);
    let template_id = storage.session(crashed).unwrap().unwrap().template_id;
    let filter = SessionFilter { template_id: Some(template_id), ..of(&[]) };
    assert_eq!(list(&storage, &filter, 50), [crashed]);
    let filter = SessionFilter { template_id: Some(TemplateId::new()), ..of(&[]) };
    assert_eq!(list(&storage, &filter, 50), []);
    let filter = SessionFilter { template_id: Some(template_id), ..of(&ALL[..2]) };
    assert_eq!(list(&storage, &filter, 50), []);
}

#[tokio::test]
async fn the_live_index_follows_the_status() {
    let place = Place::new();
    let (storage, [starting, ready, crashed, _]) = with_one_of_each(&place).await;
    assert_eq!(storage.live_session_ids(TenantId::LOCAL).unwrap().1, [starting, ready]);
    assert_eq!(storage.live_session_count().unwrap(), 2);
    let mut session = storage.session(starting).unwrap().unwrap();
    session.status = SessionStatus::Closed;
    storage.put_session(session).await.unwrap();
    let mut session = storage.session(crashed).unwrap().unwrap();
    session.status = SessionStatus::Ready;
    storage.put_session(session).await.unwrap();
    assert_eq!(storage.live_session_ids(TenantId::LOCAL).unwrap().1, [ready, crashed]);
    assert_eq!(storage.live_session_count().unwrap(), 2);
}

#[tokio::test]
async fn a_list_of_sessions_ends_at_its_bound() {
    let place = Place::new();
    let storage = place.open();
    let puts = (0..=MAX_LISTED).map(|_| storage.put_session(session()));
    for outcome in join_all(puts).await {
        outcome.unwrap();
    }
    let all = list(&storage, &SessionFilter::default(), usize::MAX);
    assert_eq!(all.len(), MAX_LISTED);
    let live = SessionFilter { statuses: vec![SessionStatus::Ready], template_id: None };
    assert_eq!(list(&storage, &live, usize::MAX), all);
}
