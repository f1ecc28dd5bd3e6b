//! What one durable commit costs: an execution with 3 events and the ten pages that `1+1` changes in
//! its session's heap, alone and 16 at once; and beside them, in the same run, what they are made of:
//! a bare two-phase commit of the same bytes, and the disk's own `fdatasync`.

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use redb::{Database, Durability, TableDefinition};
use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use vm_storage::{
    ConsoleLevel, Event, EventPayload, Execution, ExecutionCommit, ExecutionId, ExecutionKind,
    ExecutionStatus, HEAP_PAGE_BYTES, HeapChange, HeapCommit, HeapMemory, HeapPatch, Metrics,
    Session, SessionId, SessionStatus, Storage, StorageOptions, TemplateId, TemplateSnapshot,
    TenantId, now,
};

fn session() -> Session {
    Session {
        id: SessionId::new(),
        tenant_id: TenantId::LOCAL,
        template_id: TemplateId::new(),
        workspace_id: "bench".to_owned(),
        base_commit_oid: "deadbeef".to_owned(),
        worktree_path: "/srv/bench".to_owned(),
        status: SessionStatus::Ready,
        created_at: now(),
        closed_at: None,
        last_error: None,
        template: TemplateSnapshot::default(),
        engine: None,
        worktree: None,
    }
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

/// A session with a heap of its own.
struct Owner {
    id: SessionId,
    /// The ordinal of its last commit.
    last: AtomicU64,
}

impl Owner {
    async fn commit(&self, storage: &Storage) {
        let follows = self.last.load(Ordering::Relaxed);
        let memory = HeapMemory { bytes: 4 << 20, clock_ms: follows };
        let change = HeapChange::Patch(patch(follows + 1));
        let heap = Some(HeapCommit { follows, memory, change });
        let commit = ExecutionCommit { heap, ..commit(self.id) };
        let ordinal = storage.commit_execution(commit).await.expect("a commit");
        self.last.store(ordinal, Ordering::Relaxed);
    }
}

fn commit(session_id: SessionId) -> ExecutionCommit {
    let execution = Execution {
        id: ExecutionId::new(),
        tenant_id: TenantId::LOCAL,
        session_id,
        kind: ExecutionKind::Repl,
        input: Some("console.log('a line of output'); 1 + 1".to_owned()),
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
        payload: EventPayload::Console {
            level: ConsoleLevel::Log,
            text: "a line of output".to_owned(),
        },
    };
    ExecutionCommit {
        new_events: (1..=3).map(event).collect(),
        execution,
        session: None,
        heap: None,
        kv: None,
    }
}

fn benchmark(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("bench.redb");
    let (storage, _) = Storage::open(&path, StorageOptions::default()).expect("a new database");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut owners = Vec::new();
    for _ in 0..16 {
        let session = session();
        owners.push(Owner { id: session.id, last: AtomicU64::new(0) });
        runtime.block_on(storage.put_session(session)).expect("a session");
    }
    criterion.bench_function("one execution with 3 events", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            storage.commit_execution(commit(owners[1].id)).await.expect("a commit");
        });
    });
    criterion.bench_function("one execution with 3 events and its heap", |bencher| {
        bencher.to_async(&runtime).iter(|| owners[0].commit(&storage));
    });
    criterion.bench_function("16 executions with 3 events and their heaps at once", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            join_all(owners.iter().map(|owner| owner.commit(&storage))).await;
        });
    });
}

/// The same bytes, written by redb alone: the execution, its row in its session's history with what
/// it changed in the heap, and its events.
fn bare(criterion: &mut Criterion) {
    const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let database = Database::create(folder.path().join("bare.redb")).expect("a new database");
    let commit = commit(SessionId::new());
    let heap = vec![1; 16 + patch(1).bytes()];
    let mut rows = vec![serde_json::to_vec(&commit.execution).expect("JSON"), heap];
    rows.extend(commit.new_events.iter().map(|event| serde_json::to_vec(event).expect("JSON")));
    let mut number = 0_u64;
    criterion.bench_function("bare two-phase commit of the same bytes", |bencher| {
        bencher.iter(|| {
            let mut txn = database.begin_write().expect("a transaction");
            txn.set_two_phase_commit(true);
            txn.set_durability(Durability::Immediate).expect("a durability");
            {
                let mut table = txn.open_table(TABLE).expect("a table");
                for row in &rows {
                    number += 1;
                    table.insert(&number.to_be_bytes()[..], row.as_slice()).expect("a row");
                }
            }
            txn.commit().expect("a commit");
        });
    });

    let mut file = std::fs::File::create(folder.path().join("file")).expect("a file");
    file.set_len(64 << 20).expect("room");
    file.sync_all().expect("synced");
    criterion.bench_function("write of 4 KiB and fdatasync", |bencher| {
        bencher.iter(|| {
            number += 1;
            file.seek(SeekFrom::Start((number % 16_384) << 12)).expect("a place");
            file.write_all(&[1; 4_096]).expect("a write");
            file.sync_data().expect("synced");
        });
    });
}

criterion_group!(benches, benchmark, bare);
criterion_main!(benches);
