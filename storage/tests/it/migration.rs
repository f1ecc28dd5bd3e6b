//! Files of older formats are brought to this one, whole.
//!
//! `fixtures/databases` holds a file of each format there was, made by the release that wrote it.

use crate::harness::{
    Place, all_sessions, all_templates, commit, events_of, execution, executions_of,
};
use crate::memory::recounted;
use flate2::read::GzDecoder;
use redb::{Database, TableDefinition};
use std::fs;
use std::io::Read;
use vm_storage::{
    EventPayload, ExecutionCommit, ExecutionErrorCode, ExecutionStatus, KvCommit, KvReads,
    Recovery, Session, SessionId, SessionStatus, Storage, StorageError, StorageOptions, TenantId,
    restore,
};

const WAS_READY: &str = "01a20980-e265-7268-9926-9281df096b96";
const WAS_RUNNING: &str = "01a20980-e269-709d-872e-6196fe6fc5f8";
const WAS_CLOSED: &str = "01a20980-e267-7122-82bd-e4d0e8d941ea";

fn id(text: &str) -> SessionId {
    text.parse().unwrap()
}

fn unpack(place: &Place) {
    unpack_format(place, 1);
}

fn unpack_format(place: &Place, format: u64) {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/databases");
    let packed = format!("{fixtures}/format-{format}.redb.gz");
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(packed).unwrap()).read_to_end(&mut bytes).unwrap();
    fs::write(place.path(), bytes).unwrap();
}

fn get(storage: &Storage, session: &str) -> Session {
    storage.session(id(session)).unwrap().expect("it was in the file")
}

#[tokio::test]
async fn a_file_of_format_1_keeps_what_it_held() {
    let place = Place::new();
    unpack(&place);
    let (storage, recovery) = place.try_open().unwrap();
    assert_eq!(recovery, Recovery { executions_stopped: 1, sessions_crashed: 0 });
    assert_eq!(all_templates(&storage).len(), 1);
    assert_eq!(all_sessions(&storage).len(), 3);
    for session in [WAS_READY, WAS_RUNNING] {
        let session = get(&storage, session);
        assert_eq!(session.status, SessionStatus::Closed);
        assert!(session.closed_at.is_some());
        assert!(session.last_error.unwrap().contains("before this version"));
        assert_eq!(session.template_id, all_templates(&storage)[0].id);
    }
    assert_eq!(get(&storage, WAS_CLOSED).status, SessionStatus::Closed);
    assert_eq!(get(&storage, WAS_CLOSED).last_error, None);
    assert_eq!(storage.live_session_count().unwrap(), 0);

    let executions = executions_of(&storage, id(WAS_READY), 50);
    assert_eq!(executions.len(), 5);
    assert!(executions.is_sorted_by_key(|each| std::cmp::Reverse(each.started_at)));
    for execution in &executions {
        let events = events_of(&storage, execution.id, 0);
        let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=execution.metrics.events).collect::<Vec<_>>());
        assert!(!seqs.is_empty());
    }
    check_stopped(&storage);
    let (_, contents) = recounted(&place, storage).await;
    assert_eq!((contents.templates, contents.sessions, contents.live_sessions), (1, 3, 0));
    assert_eq!((contents.heap_bytes, contents.unswept_sessions), (0, 0));
    assert!(contents.execution_bytes > 0 && contents.event_bytes > 0, "{contents:?}");
}

fn check_stopped(storage: &Storage) {
    let stopped = executions_of(storage, id(WAS_RUNNING), 50).remove(0);
    assert_eq!(stopped.status, ExecutionStatus::Error);
    assert_eq!(stopped.error.unwrap().code, Some(ExecutionErrorCode::HostStopped));
    let events = events_of(storage, stopped.id, 0);
    assert!(matches!(events.last().unwrap().payload, EventPayload::System { .. }), "{events:?}");
}

#[tokio::test]
async fn a_migrated_file_is_used_like_any_other_and_not_migrated_again() {
    let place = Place::new();
    unpack(&place);
    let storage = place.open();
    let session = get(&storage, WAS_READY);
    storage.shutdown().await.unwrap();
    let (storage, recovery) = place.try_open().unwrap();
    assert_eq!(recovery, Recovery::default());
    // Its time of closing would be a later one.
    assert_eq!(get(&storage, WAS_READY), session);
    let ordinal = storage.commit_execution(commit(&execution(session.id), [1])).await.unwrap();
    assert_eq!(ordinal, 6);
    assert_eq!(executions_of(&storage, session.id, 50).len(), 6);
    let contents = storage.contents().unwrap();
    storage.purge_session(session.id).await.unwrap();
    while storage.sweep(vm_storage::Retention::default()).await.unwrap().is_unfinished() {}
    let (_, after) = recounted(&place, storage).await;
    assert_eq!((after.sessions, after.executions), (2, contents.executions - 6));
}

#[tokio::test]
async fn a_backup_of_an_older_format_is_restored_as_this_one() {
    let (place, elsewhere) = (Place::new(), Place::new());
    unpack(&place);
    let before = fs::read(place.path()).unwrap();
    restore(&place.path(), &elsewhere.path()).unwrap();
    assert_eq!(fs::read(place.path()).unwrap(), before);
    check_stopped(&elsewhere.open());
}

#[test]
fn a_file_of_format_1_without_one_of_its_tables_is_damaged() {
    const EVENTS: TableDefinition<'_, &[u8; 24], &[u8]> = TableDefinition::new("events");
    const TEMPLATES: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("templates");
    let place = Place::new();
    for table in ["events", "templates", "session_executions"] {
        unpack(&place);
        let database = Database::open(place.path()).unwrap();
        let txn = database.begin_write().unwrap();
        let was_there = match table {
            "events" => txn.delete_table(EVENTS),
            "templates" => txn.delete_table(TEMPLATES),
            _ => txn.delete_table(TableDefinition::<&[u8; 24], &[u8; 16]>::new(table)),
        };
        assert!(was_there.unwrap());
        txn.commit().unwrap();
        database.close().unwrap();
        let error = Storage::open(&place.path(), StorageOptions::default()).unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{table}: {error:?}");
    }
}

#[tokio::test]
async fn a_file_of_format_2_keeps_its_sessions_and_takes_keys() {
    let place = Place::new();
    unpack_format(&place, 2);
    let (storage, recovery) = place.try_open().unwrap();
    assert_eq!(recovery, Recovery { executions_stopped: 1, sessions_crashed: 0 });
    let sessions = all_sessions(&storage);
    let ready = sessions.iter().filter(|session| session.status == SessionStatus::Ready);
    let ready: Vec<_> = ready.map(|session| session.id).collect();
    assert_eq!((sessions.len(), ready.len()), (4, 3));
    assert!(ready.iter().all(|id| storage.heap(*id).unwrap().is_some()));
    let kv = KvCommit {
        workspace: "w".to_owned(),
        writes: [("a".to_owned(), Some(b"1".to_vec()))].into(),
        ..KvCommit::default()
    };
    let commit = commit(&execution(ready[0]), [1]);
    storage.commit_execution(ExecutionCommit { kv: Some(kv), ..commit }).await.unwrap();
    let (storage, _) = recounted(&place, storage).await;
    let entry = storage.kv_get("w", "a", &mut KvReads::default()).unwrap().unwrap();
    assert_eq!((entry.version, entry.value), (1, b"1".to_vec()));
}

#[tokio::test]
async fn all_of_a_file_of_format_3_belongs_to_the_local_tenant() {
    let place = Place::new();
    unpack_format(&place, 3);
    let (storage, recovery) = place.try_open().unwrap();
    assert_eq!(recovery, Recovery { executions_stopped: 1, sessions_crashed: 0 });
    let tenants = storage.tenants().unwrap();
    assert_eq!(tenants.len(), 1);
    assert_eq!((tenants[0].id, tenants[0].name.as_str()), (TenantId::LOCAL, "local"));
    let sessions = all_sessions(&storage);
    let (live, ids) = storage.live_session_ids(TenantId::LOCAL).unwrap();
    assert_eq!((all_templates(&storage).len(), sessions.len(), live, ids.len()), (1, 3, 2, 2));
    assert!(sessions.iter().all(|session| session.tenant_id == TenantId::LOCAL));
    let entry = storage.kv_get("w", "count", &mut KvReads::default()).unwrap().unwrap();
    assert!(entry.value.ends_with(b"2"));
    // Both have left the index that names them when they are over.
    for id in ids {
        storage.put_session(closed(storage.session(id).unwrap().unwrap())).await.unwrap();
    }
    storage.delete_template(sessions[0].template_id, None).await.unwrap();
    assert_eq!(storage.live_session_ids(TenantId::LOCAL).unwrap(), (0, vec![]));
    assert_eq!((all_templates(&storage).len(), all_sessions(&storage).len()), (0, 3));
    recounted(&place, storage).await;
}

fn closed(session: Session) -> Session {
    Session { status: SessionStatus::Closed, ..session }
}

#[test]
fn a_file_of_format_2_without_one_of_its_tables_is_damaged() {
    type Rows<K, V> = TableDefinition<'static, K, V>;
    const IDS: [&str; 6] = [
        "live_sessions",
        "starting_sessions",
        "running_executions",
        "doomed_heaps",
        "purged_sessions",
        "expiring_sessions",
    ];
    const RECORDS: [&str; 7] =
        ["templates", "sessions", "executions", "heaps", "history", "events", "heap_pages"];
    let place = Place::new();
    for table in IDS.into_iter().chain(RECORDS).chain(["totals"]) {
        unpack_format(&place, 2);
        let database = Database::open(place.path()).unwrap();
        let txn = database.begin_write().unwrap();
        let was_there = match table {
            "totals" => txn.delete_table(Rows::<&str, u64>::new(table)),
            "expiring_sessions" => txn.delete_table(Rows::<&[u8; 24], ()>::new(table)),
            "history" | "events" | "heap_pages" => {
                txn.delete_table(Rows::<&[u8; 24], &[u8]>::new(table))
            }
            _ if IDS.contains(&table) => txn.delete_table(Rows::<&[u8; 16], ()>::new(table)),
            _ => txn.delete_table(Rows::<&[u8; 16], &[u8]>::new(table)),
        };
        assert!(was_there.unwrap(), "{table}");
        txn.commit().unwrap();
        database.close().unwrap();
        let error = Storage::open(&place.path(), StorageOptions::default()).unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{table}: {error:?}");
    }
}
