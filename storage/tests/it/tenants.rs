//! Tenants: what belongs to one is in no list of another, and one that goes leaves nothing.

use crate::harness::{Place, commit, execution, session, template};
use vm_storage::{
    ExecutionCommit, KvCommit, KvReads, MAX_LISTED, PageRequest, Scope, Session, SessionFilter,
    SessionId, SessionStatus, Storage, StorageError, Template, TemplateId, Tenant, TenantId,
    TenantStatus, Token, TokenId, now,
};

async fn tenants(storage: &Storage) -> [TenantId; 2] {
    let pair = [Tenant::new("one"), Tenant::new("two")];
    for tenant in &pair {
        storage.create_tenant(tenant.clone()).await.unwrap();
    }
    pair.map(|tenant| tenant.id)
}

fn token(tenant_id: TenantId) -> Token {
    Token {
        id: TokenId::new(),
        tenant_id,
        name: "a token".to_owned(),
        hash: "00".repeat(32),
        scopes: vec![Scope::Read],
        created_at: now(),
        expires_at: None,
    }
}

fn templates(storage: &Storage, tenant: TenantId) -> Vec<TemplateId> {
    let page = storage.templates(tenant, PageRequest::first(MAX_LISTED)).unwrap();
    page.items.into_iter().map(|template| template.id).collect()
}

/// A tenant's sessions, in pages of this size.
fn sessions(storage: &Storage, tenant: TenantId, limit: usize) -> Vec<SessionId> {
    let (mut all, mut page) = (Vec::new(), PageRequest::first(limit));
    loop {
        let found = storage.sessions(tenant, &SessionFilter::default(), page).unwrap();
        all.extend(found.items.into_iter().map(|session| session.id));
        let Some(next) = found.next else { return all };
        page = PageRequest { cursor: Some(next), ..page };
    }
}

#[tokio::test]
async fn lists_are_a_tenants_own_in_every_order_and_page() {
    let place = Place::new();
    let storage = place.open();
    let [one, two] = tenants(&storage).await;
    let mut expected = [Vec::new(), Vec::new()];
    for round in 0..24 {
        let (at, tenant_id) = if round % 3 == 0 { (0, one) } else { (1, two) };
        let status = if round % 4 == 0 { SessionStatus::Closed } else { SessionStatus::Ready };
        let session = Session { tenant_id, status, ..session() };
        storage.put_session(session.clone()).await.unwrap();
        expected[at].insert(0, session.id);
    }
    for limit in [1, 2, 5, 50] {
        assert_eq!(sessions(&storage, one, limit), expected[0], "{limit}");
        assert_eq!(sessions(&storage, two, limit), expected[1], "{limit}");
        assert_eq!(sessions(&storage, TenantId::LOCAL, limit), []);
    }
    let (count, live) = storage.live_session_ids(one).unwrap();
    assert_eq!((count, live.len()), (6, 6));
    assert!(live.iter().all(|id| expected[0].contains(id)));
    assert_eq!(storage.live_session_count().unwrap(), 18);
    storage.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_shared_template_is_listed_for_everyone_once_and_stays_its_owners() {
    let place = Place::new();
    let storage = place.open();
    let [one, two] = tenants(&storage).await;
    let made: Vec<_> =
        [one, two, one].into_iter().map(|tenant_id| Template { tenant_id, ..template() }).collect();
    for template in &made {
        storage.create_template(template.clone()).await.unwrap();
    }
    let ids: Vec<_> = made.iter().map(|template| template.id).collect();
    assert_eq!(templates(&storage, one), [ids[0], ids[2]]);
    assert_eq!(templates(&storage, two), [ids[1]]);
    let share = |is_shared: bool| {
        storage.update_template(ids[0], move |template: &mut Template| {
            template.is_shared = is_shared;
            Ok::<_, StorageError>(())
        })
    };
    share(true).await.unwrap();
    assert_eq!(templates(&storage, one), [ids[0], ids[2]]);
    assert_eq!(templates(&storage, two), [ids[0], ids[1]]);
    let moved = storage.update_template(ids[0], move |template: &mut Template| {
        template.tenant_id = two;
        Ok::<_, StorageError>(())
    });
    assert!(matches!(moved.await.unwrap_err(), StorageError::TemplateRenamed(_)));
    share(false).await.unwrap();
    assert_eq!(templates(&storage, two), [ids[1]]);
    share(true).await.unwrap();
    storage.delete_template(ids[0], None).await.unwrap();
    assert_eq!(templates(&storage, two), [ids[1]]);
}

#[tokio::test]
async fn names_differ_and_the_local_tenant_stays() {
    let place = Place::new();
    let storage = place.open();
    let [one, _] = tenants(&storage).await;
    let taken = storage.create_tenant(Tenant::new("two")).await.unwrap_err();
    assert!(matches!(taken, StorageError::TenantNameTaken { .. }), "{taken:?}");
    let rename = storage.update_tenant(one, |tenant: &mut Tenant| {
        "local".clone_into(&mut tenant.name);
        Ok::<_, StorageError>(())
    });
    let taken = rename.await.unwrap_err();
    assert!(matches!(taken, StorageError::TenantNameTaken { .. }), "{taken:?}");
    assert_eq!(storage.tenant(one).unwrap().unwrap().name, "one");
    let suspend = |id| {
        storage.update_tenant(id, |tenant: &mut Tenant| {
            tenant.status = TenantStatus::Suspended;
            Ok::<_, StorageError>(())
        })
    };
    suspend(one).await.unwrap();
    assert_eq!(storage.tenant(one).unwrap().unwrap().status, TenantStatus::Suspended);
    assert!(matches!(suspend(TenantId::LOCAL).await, Err(StorageError::LocalTenant)));
    let deleted = storage.delete_tenant(TenantId::LOCAL).await;
    assert!(matches!(deleted, Err(StorageError::LocalTenant)));
}

#[tokio::test]
async fn a_tenant_goes_with_its_tokens_and_keys_once_it_owns_nothing() {
    let place = Place::new();
    let storage = place.open();
    let [one, two] = tenants(&storage).await;
    let [gone, kept] = [token(one), token(two)];
    storage.create_token(gone).await.unwrap();
    storage.create_token(kept.clone()).await.unwrap();
    let session = Session { tenant_id: one, ..session() };
    storage.put_session(session.clone()).await.unwrap();
    // More rows than one step removes, in two workspaces, beside another tenant's of the same name.
    for (workspace, keys) in [(one.workspace("a"), 700), (one.workspace("b"), 3)] {
        let writes = (0..keys).map(|key| (format!("k{key}"), Some(b"v".to_vec())));
        let kv = KvCommit {
            workspace: workspace.into_owned(),
            writes: writes.collect(),
            ..KvCommit::default()
        };
        let commit = commit(&execution(session.id), [1]);
        storage.commit_execution(ExecutionCommit { kv: Some(kv), ..commit }).await.unwrap();
    }
    let theirs = KvCommit {
        workspace: two.workspace("a").into_owned(),
        writes: [("k1".to_owned(), Some(b"theirs".to_vec()))].into(),
        ..KvCommit::default()
    };
    let commit = crate::harness::commit(&execution(session.id), [1]);
    storage.commit_execution(ExecutionCommit { kv: Some(theirs), ..commit }).await.unwrap();

    let refused = storage.delete_tenant(one).await.unwrap_err();
    assert!(matches!(refused, StorageError::TenantNotEmpty(id) if id == one), "{refused:?}");
    assert_eq!(storage.tokens().unwrap().len(), 2);
    storage
        .put_session(Session { status: SessionStatus::Closed, ..session.clone() })
        .await
        .unwrap();
    storage.purge_session(session.id).await.unwrap();
    storage.delete_tenant(one).await.unwrap();
    assert_eq!(storage.tenant(one).unwrap(), None);
    assert_eq!(storage.tokens().unwrap(), [kept]);
    let read = |workspace: &str, key: &str| {
        storage.kv_get(workspace, key, &mut KvReads::default()).unwrap().map(|entry| entry.value)
    };
    assert_eq!(read(&one.workspace("a"), "k1"), None);
    assert_eq!(read(&one.workspace("b"), "k1"), None);
    assert_eq!(read(&two.workspace("a"), "k1"), Some(b"theirs".to_vec()));

    // Nothing is made for one that is gone.
    let unknown =
        |error: StorageError| matches!(error, StorageError::UnknownTenant(id) if id == one);
    assert!(unknown(storage.create_token(token(one)).await.unwrap_err()));
    let template = Template { tenant_id: one, ..template() };
    assert!(unknown(storage.create_template(template).await.unwrap_err()));
    for status in [SessionStatus::Ready, SessionStatus::Crashed] {
        let session = Session { tenant_id: one, status, ..crate::harness::session() };
        assert!(unknown(storage.put_session(session.clone()).await.unwrap_err()));
        let commit = crate::harness::commit(&execution(session.id), [1]);
        let commit = ExecutionCommit { session: Some(session), ..commit };
        assert!(unknown(storage.commit_execution(commit).await.unwrap_err()));
    }
    assert!(unknown(storage.delete_tenant(one).await.unwrap_err()));
}

#[test]
fn workspaces_of_two_tenants_never_share_their_keys() {
    let (one, two) = (TenantId::new(), TenantId::new());
    let names = ["", "a", "\0", "\0a", &format!("\0{one}\0a"), &format!("\0\0{two}\0")];
    let mut all: Vec<_> = names
        .iter()
        .flat_map(|name| [TenantId::LOCAL, one, two].map(|tenant| tenant.workspace(name)))
        .collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count);
}
