//! Files that must not be opened: each is refused by name, left as it was, and never opened empty.

use crate::harness::{
    Place, all_sessions, commit, events_of, execution, executions_of, full_template, with_session,
};
use redb::{Database, TableDefinition};
use std::fs;
use std::path::Path;
use vm_storage::{
    FORMAT_VERSION, PageRequest, Session, SessionStatus, Storage, StorageError, StorageOptions,
    Template, TenantId, Verification,
};

type Records = TableDefinition<'static, &'static [u8; 16], &'static [u8]>;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const TEMPLATES: Records = TableDefinition::new("templates");
const SESSIONS: Records = TableDefinition::new("sessions");

/// A place with a database that holds a template, a session and an execution.
async fn filled() -> (Place, Template, Session) {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let template = full_template();
    storage.create_template(template.clone()).await.unwrap();
    storage.commit_execution(commit(&execution(session.id), 1..=3)).await.unwrap();
    storage.shutdown().await.unwrap();
    (place, template, session)
}

/// Checks that the file at `path` is refused, with a sentence that names it, and not touched.
fn check(path: &Path, expected: &str) -> StorageError {
    let before = fs::read(path).ok();
    let error = Storage::open(path, StorageOptions::default()).unwrap_err();
    let sentence = error.to_string();
    assert!(sentence.contains(&path.display().to_string()), "{sentence}");
    assert!(sentence.contains(expected), "{sentence}");
    assert_eq!(fs::read(path).ok(), before);
    error
}

#[test]
fn an_empty_file_is_damaged() {
    let place = Place::new();
    fs::write(place.path(), b"").unwrap();
    let error = check(&place.path(), "is damaged");
    assert!(matches!(error, StorageError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_file_of_garbage_is_damaged() {
    let place = Place::new();
    for (byte, length) in [(b'{', 2), (0, 4_096), (0xff, 100_000), (b'x', 1_000_000)] {
        fs::write(place.path(), vec![byte; length]).unwrap();
        let error = check(&place.path(), "is damaged");
        assert!(matches!(error, StorageError::Damaged { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_truncated_file_is_damaged() {
    let (place, ..) = filled().await;
    let whole = fs::read(place.path()).unwrap();
    for length in [1, 9, 100, 511, 4096, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1]
    {
        fs::write(place.path(), &whole[..length]).unwrap();
        let error = check(&place.path(), "is damaged");
        assert!(matches!(error, StorageError::Damaged { .. }), "{length}: {error:?}");
    }
}

#[test]
fn a_database_of_someone_else_is_damaged() {
    let place = Place::new();
    let other = Database::create(place.path()).unwrap();
    let txn = other.begin_write().unwrap();
    txn.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap().insert(1, 1).unwrap();
    txn.commit().unwrap();
    drop(other);
    let error = Storage::open(&place.path(), StorageOptions::default()).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_database_without_its_tables_is_damaged() {
    let place = Place::new();
    write_format(&place, FORMAT_VERSION);
    let error = Storage::open(&place.path(), StorageOptions::default()).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let (place, ..) = filled().await;
    write_format(&place, FORMAT_VERSION + 1);
    let error = Storage::open(&place.path(), StorageOptions::default()).unwrap_err();
    assert!(
        matches!(error, StorageError::NewerFormat { found, supported: FORMAT_VERSION, .. }
            if found == FORMAT_VERSION + 1),
        "{error:?}"
    );
    assert!(error.to_string().contains("newer"), "{error}");
}

#[tokio::test]
async fn an_older_format_is_refused() {
    let (place, ..) = filled().await;
    write_format(&place, 0);
    let error = Storage::open(&place.path(), StorageOptions::default()).unwrap_err();
    assert!(
        matches!(error, StorageError::OlderFormat { found: 0, supported: FORMAT_VERSION, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("older"), "{error}");
}

fn write_format(place: &Place, version: u64) {
    let database = Database::create(place.path()).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(META).unwrap().insert("format", version).unwrap();
    txn.commit().unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_decoded_is_named() {
    let (place, template, session) = filled().await;
    write_record(&place, TEMPLATES, template.id.as_uuid().as_bytes());
    let storage = place.open();
    let read = storage.template(template.id).unwrap_err();
    let list = storage.templates(TenantId::LOCAL, PageRequest::first(50)).unwrap_err();
    let id = template.id;
    let write = storage.update_template(id, |_| Ok::<_, StorageError>(())).await.unwrap_err();
    for error in [read, list, write] {
        assert!(
            matches!(error, StorageError::DamagedRecord { ref record, .. }
                if record.contains(&id.to_string())),
            "{error:?}"
        );
    }
    assert!(storage.session(session.id).unwrap().is_some(), "the others are of use");
}

#[tokio::test]
async fn a_damaged_record_that_recovery_needs_refuses_the_file() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let starting = Session { status: SessionStatus::Starting, ..session.clone() };
    storage.put_session(starting).await.unwrap();
    storage.shutdown().await.unwrap();
    write_record(&place, SESSIONS, session.id.as_uuid().as_bytes());
    let error = Storage::open(&place.path(), StorageOptions::default()).unwrap_err();
    assert!(
        matches!(error, StorageError::Damaged { ref detail, .. }
            if detail.contains(&session.id.to_string())),
        "{error:?}"
    );
}

/// Puts something that is no record under a key.
fn write_record(place: &Place, table: Records, key: &[u8; 16]) {
    let database = Database::create(place.path()).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(table).unwrap().insert(key, &b"{\"id\":1}"[..]).unwrap();
    txn.commit().unwrap();
}

#[test]
fn a_database_that_is_open_is_refused_until_it_is_closed() {
    let place = Place::new();
    let storage = place.open();
    let error = check(&place.path(), "is open elsewhere");
    assert!(matches!(error, StorageError::OpenElsewhere { .. }), "{error:?}");
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(storage.shutdown())
        .unwrap();
    place.open();
}

#[test]
fn a_missing_folder_is_named() {
    let place = Place::new();
    let path = place.path().join("vm.redb");
    let error = check(&path, "does not exist");
    assert!(matches!(error, StorageError::MissingFolder { .. }), "{error:?}");
}

#[test]
fn a_folder_in_place_of_the_file_is_refused() {
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    let error = check(&place.path(), "cannot be opened for reading and writing");
    assert!(matches!(error, StorageError::NotWritable { .. }), "{error:?}");
}

#[test]
fn a_folder_that_takes_no_files_is_refused() {
    // The kernel's own folder refuses new files even to root, under whom tests may run.
    let error = check(Path::new("/proc/vm.redb"), "cannot be opened for reading and writing");
    assert!(matches!(error, StorageError::NotWritable { .. }), "{error:?}");
}

#[test]
fn a_new_database_leaves_no_draft_beside_it() {
    let place = Place::new();
    let draft_of_a_crash = place.path().with_file_name(".vm.redb.0123.draft");
    fs::write(&draft_of_a_crash, b"half").unwrap();
    let storage = place.open();
    assert_eq!(place.files(), ["vm.redb"]);
    drop(storage);
}

#[tokio::test]
async fn no_flipped_byte_gives_a_panic_or_an_empty_store() {
    let (place, template, session) = filled().await;
    let whole = fs::read(place.path()).unwrap();
    let copy = Place::new();
    let full = StorageOptions { verification: Verification::Full, ..StorageOptions::default() };
    let (mut refused, mut intact) = (0, 0);
    for (offset, flips) in bytes_worth_flipping(&whole) {
        for flip in flips {
            let mut bytes = whole.clone();
            bytes[offset] ^= flip;
            fs::write(copy.path(), &bytes).unwrap();
            match copy.try_open_with(full) {
                Err(StorageError::Damaged { .. }) => refused += 1,
                Err(error) => panic!("byte {offset} flipped by {flip:#x}: {error}"),
                Ok((storage, _)) => {
                    let what = format!("byte {offset} flipped by {flip:#x}");
                    let found = storage.template(template.id).unwrap();
                    assert_eq!(found.as_ref(), Some(&template), "{what}");
                    let sessions = all_sessions(&storage);
                    assert_eq!(sessions.len(), 1, "{what}");
                    let executions = executions_of(&storage, session.id, 50);
                    let events = events_of(&storage, executions[0].id, 0);
                    assert_eq!(events.len(), 3, "{what}");
                    storage.shutdown().await.unwrap();
                    intact += 1;
                }
            }
        }
    }
    assert!(refused > 100 && intact > 10, "refused {refused}, intact {intact}");
}

/// Every second byte of the header, twice, and a sample of those that are not zero further on:
/// pages in use, or once so.
fn bytes_worth_flipping(whole: &[u8]) -> Vec<(usize, &'static [u8])> {
    const HEADER: usize = 320;
    const SAMPLE: usize = 200;
    let used: Vec<usize> = (HEADER..whole.len()).filter(|offset| whole[*offset] != 0).collect();
    let step = used.len().div_ceil(SAMPLE).max(1);
    let header = (0..HEADER).step_by(2).map(|offset| (offset, &[0x01, 0x80][..]));
    header.chain(used.into_iter().step_by(step).map(|offset| (offset, &[0xff][..]))).collect()
}

#[tokio::test]
async fn a_quick_opening_of_a_file_closed_in_order_reads_little_of_it() {
    let (place, template, session) = filled().await;
    let mut bytes = fs::read(place.path()).unwrap();
    // In a leaf that neither the header nor the tables' list holds: the text of an event.
    let offset = bytes.windows(7).rposition(|text| text == b"event 2").unwrap();
    bytes[offset] ^= 1;
    fs::write(place.path(), &bytes).unwrap();
    let full = StorageOptions { verification: Verification::Full, ..StorageOptions::default() };
    let error = place.try_open_with(full).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error:?}");
    let quick = StorageOptions { verification: Verification::Quick, ..full };
    let (storage, _) = place.try_open_with(quick).unwrap();
    assert_eq!(storage.template(template.id).unwrap(), Some(template));
    assert_eq!(storage.session(session.id).unwrap(), Some(session));
}
