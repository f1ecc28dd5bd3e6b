//! What one durable commit costs: an execution with 3 events alone, and 16 at once.

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use vm_storage::{
    ConsoleLevel, Event, EventPayload, Execution, ExecutionCommit, ExecutionId, ExecutionKind,
    ExecutionStatus, Metrics, Session, SessionId, SessionStatus, Storage, StorageOptions,
    TemplateId, TemplateSnapshot, now,
};

fn session() -> Session {
    Session {
        id: SessionId::new(),
        template_id: TemplateId::new(),
        workspace_id: "bench".to_owned(),
        base_commit_oid: "deadbeef".to_owned(),
        worktree_path: "/srv/bench".to_owned(),
        status: SessionStatus::Ready,
        created_at: now(),
        closed_at: None,
        last_error: None,
        template: TemplateSnapshot::default(),
    }
}

fn commit(session_id: SessionId) -> ExecutionCommit {
    let execution = Execution {
        id: ExecutionId::new(),
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
    ExecutionCommit { new_events: (1..=3).map(event).collect(), execution, session: None }
}

fn benchmark(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the benchmark");
    let path = folder.path().join("bench.redb");
    let (storage, _) = Storage::open(&path, StorageOptions::default()).expect("a new database");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let session = session();
    let id = session.id;
    runtime.block_on(storage.put_session(session)).expect("a session");

    criterion.bench_function("one execution with 3 events", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            storage.commit_execution(commit(id)).await.expect("a commit");
        });
    });
    criterion.bench_function("16 executions with 3 events at once", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let all = join_all((0..16).map(|_| storage.commit_execution(commit(id)))).await;
            assert!(all.iter().all(Result::is_ok));
        });
    });
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
