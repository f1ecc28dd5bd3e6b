//! What a durable commit costs at least on this machine: redb alone, two-phase, writing the bytes of
//! one `1+1`; beside it the disk's `fdatasync`, and what this crate takes for the same commit, in
//! turns.
//!
//! `cargo run --release -p vm-storage --example commit_floor FOLDER`; one line of JSON, milliseconds.

use redb::{Database, Durability, TableDefinition};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Instant;
use vm_storage::{
    Event, EventPayload, Execution, ExecutionCommit, ExecutionId, ExecutionKind, ExecutionStatus,
    HEAP_PAGE_BYTES, HeapChange, HeapCommit, HeapMemory, HeapPatch, Metrics, Session, SessionId,
    SessionStatus, Storage, StorageOptions, TemplateId, TemplateSnapshot, TenantId, now,
};

/// Commits of each kind.
const ROUNDS: u64 = 1_500;
/// Of which the first are not counted.
const WARM_UP: usize = 100;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// Milliseconds that something took.
fn timed(what: impl FnOnce()) -> f64 {
    let start = Instant::now();
    what();
    start.elapsed().as_secs_f64() * 1e3
}

fn percentile(times: &[f64], share: f64) -> f64 {
    let mut sorted = times[WARM_UP..].to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a few hundred"
    )]
    let index = (sorted.len() as f64 * share) as usize;
    sorted[index.min(sorted.len() - 1)]
}

/// What `1+1` changes: a word in four places of each of ten pages.
fn patch(round: u64) -> HeapPatch {
    let (mut patch, mut after) = (HeapPatch::default(), [0; HEAP_PAGE_BYTES]);
    for at in [64, 1_000, 2_024, 4_000] {
        after[at..at + 8].copy_from_slice(&round.to_le_bytes());
    }
    (800..810).for_each(|page| patch.add(page, &[0; HEAP_PAGE_BYTES], &after));
    patch
}

fn commit(session_id: SessionId, follows: u64) -> ExecutionCommit {
    let execution = Execution {
        id: ExecutionId::new(),
        tenant_id: TenantId::LOCAL,
        session_id,
        kind: ExecutionKind::Repl,
        input: Some("1+1".to_owned()),
        path: None,
        args: serde_json::Map::new(),
        env: BTreeMap::new(),
        status: ExecutionStatus::Ok,
        started_at: now(),
        ended_at: Some(now()),
        result: None,
        error: None,
        metrics: Metrics::default(),
    };
    let event = |seq| Event {
        execution_id: execution.id,
        seq,
        ts: now(),
        payload: EventPayload::InputEcho { text: "1+1".to_owned() },
    };
    let memory = HeapMemory { bytes: 4 << 20, clock_ms: follows };
    let change = HeapChange::Patch(patch(follows + 1));
    ExecutionCommit {
        new_events: (1..=2).map(event).collect(),
        heap: Some(HeapCommit { follows, memory, change }),
        kv: None,
        execution,
        session: None,
    }
}

fn session() -> Session {
    Session {
        id: SessionId::new(),
        tenant_id: TenantId::LOCAL,
        template_id: TemplateId::new(),
        workspace_id: "floor".to_owned(),
        base_commit_oid: "none".to_owned(),
        worktree_path: "/srv/floor".to_owned(),
        status: SessionStatus::Ready,
        created_at: now(),
        closed_at: None,
        last_error: None,
        template: TemplateSnapshot::default(),
        engine: None,
        worktree: None,
    }
}

/// The same bytes, written by redb alone.
struct Bare {
    database: Database,
    rows: Vec<Vec<u8>>,
    number: u64,
}

impl Bare {
    fn new(folder: &std::path::Path) -> Self {
        let database = Database::create(folder.join("bare.redb")).expect("a new database");
        let commit = commit(SessionId::new(), 0);
        let heap = vec![1; 16 + patch(1).bytes()];
        let mut rows = vec![serde_json::to_vec(&commit.execution).expect("JSON"), heap];
        rows.extend(commit.new_events.iter().map(|event| serde_json::to_vec(event).expect("JSON")));
        Self { database, rows, number: 0 }
    }

    fn commit(&mut self) {
        let mut txn = self.database.begin_write().expect("a transaction");
        txn.set_two_phase_commit(true);
        txn.set_durability(Durability::Immediate).expect("a durability");
        {
            let mut table = txn.open_table(TABLE).expect("a table");
            for row in &self.rows {
                self.number += 1;
                table.insert(&self.number.to_be_bytes()[..], row.as_slice()).expect("a row");
            }
        }
        txn.commit().expect("a commit");
    }
}

fn main() {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: commit_floor FOLDER");
        std::process::exit(2);
    };
    let folder = tempfile::tempdir_in(folder).expect("the folder is writable");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let path = folder.path().join("store.redb");
    let (storage, _) = Storage::open(&path, StorageOptions::default()).expect("a new database");
    let session = session();
    let id = session.id;
    runtime.block_on(storage.put_session(session)).expect("a session");
    let mut bare = Bare::new(folder.path());
    let mut file = File::create(folder.path().join("file")).expect("a file");
    file.set_len(64 << 20).expect("room");
    file.sync_all().expect("synced");
    let (mut syncs, mut bares, mut stores) = (Vec::new(), Vec::new(), Vec::new());
    let mut follows = 0;
    for round in 0..ROUNDS {
        syncs.push(timed(|| {
            file.seek(SeekFrom::Start((round % 16_384) << 12)).expect("a place");
            file.write_all(&[1; 4_096]).expect("a write");
            file.sync_data().expect("synced");
        }));
        bares.push(timed(|| bare.commit()));
        let commit = commit(id, follows);
        stores.push(timed(|| {
            follows = runtime.block_on(storage.commit_execution(commit)).expect("a commit");
        }));
    }
    runtime.block_on(storage.shutdown()).expect("it closes");
    let figures = |times: &[f64]| serde_json::json!({"p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99)});
    let mut told = figures(&bares);
    told["fdatasync"] = figures(&syncs);
    told["store"] = figures(&stores);
    println!("{told}");
}
