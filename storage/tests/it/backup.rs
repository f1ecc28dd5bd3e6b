//! Backups: one committed state, made while others write, put where no database is.

use crate::harness::{
    Place, all_sessions, commit, events_of, execution, executions_of, full_template, with_session,
};
use crate::memory::{Memory, recounted};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vm_storage::{Storage, StorageError, StorageOptions, restore, verify};

fn problem(error: &StorageError) -> &str {
    match error {
        StorageError::Backup { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_while_others_write_is_one_committed_state() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    storage.create_template(full_template()).await.unwrap();
    let mut memory = Memory::new(session.id);
    memory.patch_times(&storage, 3).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write_until(storage.clone(), memory, Arc::clone(&stop)));
    let target = place.path().with_file_name("copy");
    for round in 0..4_u64 {
        let source = storage.clone();
        let copy = target.with_extension(round.to_string());
        let at = copy.clone();
        let bytes = tokio::task::spawn_blocking(move || source.backup(&at)).await.unwrap().unwrap();
        assert_eq!(fs::metadata(&copy).unwrap().len(), bytes);
    }
    stop.store(true, Ordering::Relaxed);
    let (history, memory) = writer.await.unwrap();
    memory.check(&storage);
    for round in 0..4_u64 {
        let copied = Place::new();
        fs::rename(target.with_extension(round.to_string()), copied.path()).unwrap();
        verify(&copied.path()).unwrap();
        let (copy, recovery) = copied.try_open().unwrap();
        assert_eq!(recovery, vm_storage::Recovery::default());
        // Each commit has an execution, its event and a change of the heap, or none of them.
        let heap = copy.heap(session.id).unwrap().unwrap();
        let executions = executions_of(&copy, session.id, usize::MAX);
        assert_eq!(heap.at, executions.len() as u64);
        assert!(crate::memory::pages_of(&heap) == history[executions.len() - 3]);
        assert!(executions.iter().all(|each| events_of(&copy, each.id, 0).len() == 1));
        recounted(&copied, copy).await;
    }
    assert_eq!(place.files(), ["vm.redb"], "no draft is left");
}

/// Commits until it is told to stop; gives the pages after each commit.
async fn write_until(
    storage: Storage,
    mut memory: Memory,
    stop: Arc<AtomicBool>,
) -> (Vec<crate::memory::Pages>, Memory) {
    let mut history = vec![memory.now.clone()];
    for value in 0_u8..=250 {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let patch = memory.patch(usize::from(value) % 8, usize::from(value) * 4, value);
        let heap = if value % 16 == 15 { memory.whole() } else { patch };
        memory.commit(&storage, heap).await;
        history.push(memory.now.clone());
    }
    (history, memory)
}

#[tokio::test]
async fn a_backup_writes_over_nothing() {
    let place = Place::new();
    let (storage, _) = with_session(&place).await;
    let target = place.path().with_file_name("copy");
    fs::write(&target, "precious").unwrap();
    let error = storage.backup(&target).unwrap_err();
    assert_eq!(problem(&error), "exists already");
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    let own = storage.backup(&place.path()).unwrap_err();
    assert_eq!(problem(&own), "exists already");
    let nowhere = storage.backup(&place.path().join("copy")).unwrap_err();
    assert_eq!(problem(&nowhere), "has no folder to be in");
    assert_eq!(storage.status(), vm_storage::StorageStatus::Ready);
}

#[tokio::test]
async fn a_backup_is_restored_where_no_database_is() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let (storage, session) = with_session(&place).await;
    let run = execution(session.id);
    storage.commit_execution(commit(&run, 1..=3)).await.unwrap();
    let backup = place.path().with_file_name("copy");
    storage.backup(&backup).unwrap();
    let before = fs::read(&backup).unwrap();
    let mut read_only = fs::metadata(&backup).unwrap().permissions();
    read_only.set_readonly(true);
    fs::set_permissions(&backup, read_only).unwrap();

    restore(&backup, &elsewhere.path()).unwrap();
    assert_eq!(elsewhere.files(), ["vm.redb"]);
    assert!(!fs::metadata(elsewhere.path()).unwrap().permissions().readonly());
    let restored = elsewhere.open();
    assert_eq!(all_sessions(&restored), [session]);
    assert_eq!(events_of(&restored, run.id, 0).len(), 3);
    restored.shutdown().await.unwrap();
    assert_eq!(fs::read(&backup).unwrap(), before);

    let database = fs::read(elsewhere.path()).unwrap();
    let error = restore(&backup, &elsewhere.path()).unwrap_err();
    assert!(problem(&error).contains("exists already"), "{error}");
    assert_eq!(fs::read(elsewhere.path()).unwrap(), database);
}

#[tokio::test]
async fn a_damaged_backup_is_not_restored() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let (storage, session) = with_session(&place).await;
    storage.commit_execution(commit(&execution(session.id), 1..=3)).await.unwrap();
    let backup = place.path().with_file_name("copy");
    storage.backup(&backup).unwrap();
    let whole = fs::read(&backup).unwrap();
    let mut flipped = whole.clone();
    let at = whole.windows(7).rposition(|text| text == b"event 2").unwrap();
    flipped[at] ^= 1;
    for bytes in [&flipped[..], &whole[..whole.len() / 2], b"no database", b""] {
        fs::write(&backup, bytes).unwrap();
        let error = restore(&backup, &elsewhere.path()).unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains(&backup.display().to_string()), "{error}");
        assert_eq!(elsewhere.files(), [""; 0]);
        let error = verify(&backup).unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{error:?}");
    }
    let missing = place.path().with_file_name("missing");
    let error = restore(&missing, &elsewhere.path()).unwrap_err();
    assert!(problem(&error).contains("cannot be copied"), "{error}");
    assert_eq!(elsewhere.files(), [""; 0]);
}

#[tokio::test]
async fn a_database_that_is_open_is_not_verified() {
    let place = Place::new();
    let (storage, _) = with_session(&place).await;
    let error = verify(&place.path()).unwrap_err();
    assert!(matches!(error, StorageError::OpenElsewhere { .. }), "{error:?}");
    storage.shutdown().await.unwrap();
    verify(&place.path()).unwrap();
    Storage::open(&place.path(), StorageOptions::default()).unwrap();
}
