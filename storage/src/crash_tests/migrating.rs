//! Power cuts and failures at each operation that bringing a file to this format takes.

use super::disk::{Dice, Disk, Failure, Operation};
use super::view::{View, check_inside};
use super::{commit, over, session, steady};
use crate::database::migrate::LIVE_SESSIONS;
use crate::tables::{
    ACTIVE_SESSIONS, ENDED_SESSIONS, FORMAT_KEY, KV, KV_WORKSPACES, META, OWNED_TEMPLATES,
    SHARED_TEMPLATES, TEMPLATE_NAMES, TENANTS, TOKENS,
};
use crate::{Recovery, Storage, StorageError};
use flate2::read::GzDecoder;
use std::io::Read;

const FORMAT_1: &[u8] = include_bytes!("../../../fixtures/databases/format-1.redb.gz");
const FORMAT_3: &[u8] = include_bytes!("../../../fixtures/databases/format-3.redb.gz");

fn unpacked(packed: &[u8]) -> Disk {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    Disk::of(bytes)
}

/// What a release of format 2 would have left of such a life.
async fn format_2() -> Disk {
    let disk = Disk::formatted();
    let (storage, _) = open(&disk).unwrap();
    let session = session();
    storage.put_session(session.clone()).await.unwrap();
    storage.commit_execution(commit(&over(session.id), 1..=3)).await.unwrap();
    storage.shutdown().await.unwrap();
    let database = disk.database();
    let txn = database.begin_write().unwrap();
    txn.open_table(LIVE_SESSIONS).unwrap().insert(session.id.as_bytes(), ()).unwrap();
    assert!(txn.delete_table(TENANTS).unwrap() && txn.delete_table(TOKENS).unwrap());
    assert!(
        txn.delete_table(ACTIVE_SESSIONS).unwrap() && txn.delete_table(ENDED_SESSIONS).unwrap()
    );
    assert!(txn.delete_table(OWNED_TEMPLATES).unwrap());
    assert!(txn.delete_table(SHARED_TEMPLATES).unwrap());
    assert!(txn.delete_table(TEMPLATE_NAMES).unwrap());
    assert!(txn.delete_table(KV).unwrap() && txn.delete_table(KV_WORKSPACES).unwrap());
    txn.open_table(META).unwrap().insert(FORMAT_KEY, 2).unwrap();
    txn.commit().unwrap();
    database.close().unwrap();
    disk.copy()
}

fn open(disk: &Disk) -> Result<(Storage, Recovery), StorageError> {
    Storage::open_source(disk.source(steady()))
}

/// What is the same in each migration: not the time at which it closed sessions.
async fn seen(disk: &Disk) -> View {
    let (storage, _) = open(disk).unwrap();
    let view = View::of(&storage).unwrap().without_closing_times();
    storage.shutdown().await.unwrap();
    check_inside(disk);
    view
}

#[tokio::test]
async fn a_migration_that_is_cut_off_anywhere_is_made_at_the_next_start() {
    for start in [unpacked(FORMAT_1), format_2().await, unpacked(FORMAT_3)] {
        cut_off_anywhere(&start).await;
    }
}

async fn cut_off_anywhere(start: &Disk) {
    let disk = start.copy();
    disk.plan(None);
    let expected = seen(&disk).await;
    let log = disk.log();
    assert!(log.iter().filter(|operation| **operation == Operation::Sync).count() > 3);
    for (at, operation) in log.iter().enumerate() {
        // What fails in the middle of a read leaves the file as the write before it did.
        if *operation == Operation::Read && at % 5 != 0 {
            continue;
        }
        for torn in [false, true] {
            let disk = start.copy();
            disk.plan(Some((at, Failure::PowerCut)));
            if let Ok((storage, _)) = open(&disk) {
                drop(storage.shutdown().await);
            }
            if torn {
                disk.power_on(&mut Dice(at as u64));
            } else {
                disk.power_on_losing_all();
            }
            assert!(seen(&disk).await == expected, "operation {at}, {operation:?}, {torn}");
        }
    }
}
