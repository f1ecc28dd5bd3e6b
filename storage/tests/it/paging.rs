//! Lists in pages: each item once, whatever the size of a page and whatever comes meanwhile.

use crate::harness::{Place, commit, execution, session, template, walk, with_session};
use futures_util::future::join_all;
use vm_storage::{
    PageRequest, Session, SessionFilter, SessionId, SessionStatus, Storage, StorageError,
    TemplateId, TenantId,
};

const SIZES: [usize; 5] = [1, 2, 7, 23, 1_000];

async fn put_sessions(storage: &Storage, sessions: &[Session]) {
    for outcome in join_all(sessions.iter().map(|each| storage.put_session(each.clone()))).await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn sessions_are_walked_newest_first_in_pages_of_any_size() {
    let place = Place::new();
    let storage = place.open();
    let mut sessions: Vec<Session> = (0..23).map(|_| session()).collect();
    sessions.iter_mut().step_by(3).for_each(|session| session.status = SessionStatus::Closed);
    put_sessions(&storage, &sessions).await;
    sessions.reverse();
    for statuses in [vec![], vec![SessionStatus::Ready], vec![SessionStatus::Closed]] {
        let filter = SessionFilter { statuses, template_id: None };
        let expected: Vec<Session> =
            sessions.iter().filter(|session| filter.accepts(session)).cloned().collect();
        for size in SIZES {
            let walked =
                walk(size, |page| storage.sessions(TenantId::LOCAL, &filter, page).unwrap());
            assert_eq!(walked, expected, "{size} {filter:?}");
        }
    }
}

#[tokio::test]
async fn templates_and_executions_are_walked_in_pages_of_any_size() {
    let place = Place::new();
    let (storage, owner) = with_session(&place).await;
    let templates: Vec<_> = (0..23).map(|_| template()).collect();
    let mut executions: Vec<_> = (0..23).map(|_| execution(owner.id)).collect();
    for (template, execution) in templates.iter().zip(&executions) {
        storage.create_template(template.clone()).await.unwrap();
        storage.commit_execution(commit(execution, [1])).await.unwrap();
    }
    executions.reverse();
    for size in SIZES {
        assert_eq!(
            walk(size, |page| storage.templates(TenantId::LOCAL, page).unwrap()),
            templates,
            "{size}"
        );
        let walked = walk(size, |page| storage.executions(owner.id, page).unwrap());
        assert_eq!(walked, executions, "{size}");
    }
}

#[tokio::test]
async fn a_page_that_holds_the_last_item_says_that_it_is_the_end() {
    let place = Place::new();
    let storage = place.open();
    put_sessions(&storage, &[session(), session()]).await;
    let all = SessionFilter::default();
    assert!(storage.sessions(TenantId::LOCAL, &all, PageRequest::first(1)).unwrap().next.is_some());
    assert_eq!(storage.sessions(TenantId::LOCAL, &all, PageRequest::first(2)).unwrap().next, None);
    let none = PageRequest { limit: 2, cursor: Some(SessionId::from_uuid(uuid::Uuid::nil())) };
    let page = storage.sessions(TenantId::LOCAL, &all, none).unwrap();
    assert_eq!((page.items, page.next), (vec![], None));
    let page = storage.executions(SessionId::new(), PageRequest { limit: 2, cursor: Some(0) });
    assert_eq!(page.unwrap().items, []);
}

#[tokio::test]
async fn what_comes_while_a_list_is_walked_neither_hides_nor_repeats_an_item() {
    let place = Place::new();
    let (storage, owner) = with_session(&place).await;
    let (mut sessions, mut executions, mut templates) = (vec![owner.clone()], vec![], vec![]);
    let (mut at_session, mut at_execution, mut at_template) = (None, None, None);
    let (mut seen_sessions, mut seen_executions, mut seen_templates) = (vec![], vec![], vec![]);
    for round in 0..40 {
        if round < 20 {
            // Newer than any cursor: in no later page of lists that go back in time.
            let (new, ran, made) = (session(), execution(owner.id), template());
            storage.put_session(new.clone()).await.unwrap();
            storage.commit_execution(commit(&ran, [])).await.unwrap();
            storage.create_template(made.clone()).await.unwrap();
            if round < 10 {
                sessions.push(new);
                executions.push(ran);
            }
            templates.push(made);
        }
        if round < 9 {
            continue;
        }
        let all = SessionFilter::default();
        if round == 9 || at_session.is_some() {
            let page = PageRequest { limit: 1, cursor: at_session };
            let page = storage.sessions(TenantId::LOCAL, &all, page).unwrap();
            seen_sessions.extend(page.items);
            at_session = page.next;
            let page = PageRequest { limit: 1, cursor: at_execution };
            let page = storage.executions(owner.id, page).unwrap();
            seen_executions.extend(page.items);
            at_execution = page.next.or(Some(0));
        }
        let page = PageRequest { limit: 1, cursor: at_template };
        let page = storage.templates(TenantId::LOCAL, page).unwrap();
        at_template = page.items.last().map_or(at_template, |last| Some(last.id));
        seen_templates.extend(page.items);
    }
    sessions.reverse();
    executions.reverse();
    assert_eq!(seen_sessions, sessions);
    assert_eq!(seen_executions, executions);
    assert_eq!(seen_templates, templates);
}

#[tokio::test]
async fn a_cursor_outlives_the_item_it_names() {
    let place = Place::new();
    let storage = place.open();
    let templates: Vec<_> = (0..3).map(|_| template()).collect();
    for template in &templates {
        storage.create_template(template.clone()).await.unwrap();
    }
    let first = storage.templates(TenantId::LOCAL, PageRequest::first(1)).unwrap();
    let cursor: Option<TemplateId> = first.next;
    storage.delete_template(cursor.unwrap(), None).await.unwrap();
    let rest = storage.templates(TenantId::LOCAL, PageRequest { limit: 5, cursor }).unwrap();
    assert_eq!((rest.items, rest.next), (templates[1..].to_vec(), None));
}

#[tokio::test]
async fn a_filter_that_accepts_few_gives_short_pages_and_ends() -> Result<(), StorageError> {
    const LOOKED_AT: usize = 20_000;
    let place = Place::new();
    let storage = place.open();
    let closed = Session { status: SessionStatus::Closed, ..session() };
    let rare = Session { id: SessionId::new(), ..closed.clone() };
    let template_id = TemplateId::new();
    let many: Vec<Session> = (0..=LOOKED_AT)
        .map(|_| Session { id: SessionId::new(), template_id, ..closed.clone() })
        .collect();
    storage.put_session(rare.clone()).await?;
    put_sessions(&storage, &many).await;
    let filter = SessionFilter { statuses: vec![], template_id: Some(rare.template_id) };
    let page = storage.sessions(TenantId::LOCAL, &filter, PageRequest::first(5))?;
    assert_eq!(page.items, []);
    assert!(page.next.is_some());
    let page =
        storage.sessions(TenantId::LOCAL, &filter, PageRequest { limit: 5, cursor: page.next })?;
    assert_eq!((page.items, page.next), (vec![rare.clone()], None));
    assert_eq!(walk(5, |page| storage.sessions(TenantId::LOCAL, &filter, page).unwrap()), [rare]);
    Ok(())
}
