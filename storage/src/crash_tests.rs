//! The store on a disk that loses power and fails, as redb's `StorageBackend` lets one simulate.
//!
//! Inside the crate, because a backend is a redb type and those stay out of the public surface.

mod disk;
mod exhaustive;
mod failures;
mod migrating;
mod power;
mod script;
mod space;
mod view;

use crate::{
    ConsoleLevel, Event, EventPayload, Execution, ExecutionCommit, ExecutionId, ExecutionKind,
    ExecutionStatus, Metrics, Session, SessionId, SessionStatus, StorageOptions, TemplateId,
    TemplateSnapshot, TenantId, now,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Options under which the same requests give the same operations of the disk: nothing is settled
/// by the clock.
fn steady() -> StorageOptions {
    StorageOptions { settle_after: Duration::from_hours(1), ..StorageOptions::default() }
}

fn session() -> Session {
    Session {
        id: SessionId::new(),
        tenant_id: TenantId::LOCAL,
        template_id: TemplateId::new(),
        workspace_id: "w".to_owned(),
        base_commit_oid: "deadbeef".to_owned(),
        worktree_path: "/srv/w".to_owned(),
        status: SessionStatus::Ready,
        created_at: now(),
        closed_at: None,
        last_error: None,
        template: TemplateSnapshot::default(),
        engine: None,
        worktree: None,
    }
}

fn running(session_id: SessionId) -> Execution {
    Execution {
        id: ExecutionId::new(),
        tenant_id: TenantId::LOCAL,
        session_id,
        kind: ExecutionKind::Repl,
        input: Some("1+1".to_owned()),
        path: None,
        args: serde_json::Map::new(),
        env: BTreeMap::new(),
        status: ExecutionStatus::Running,
        started_at: now(),
        ended_at: None,
        result: None,
        error: None,
        metrics: Metrics::default(),
    }
}

fn over(session_id: SessionId) -> Execution {
    Execution { status: ExecutionStatus::Ok, ..running(session_id) }
}

/// An execution with events of these numbers, each some hundred bytes long.
fn commit(execution: &Execution, seqs: std::ops::RangeInclusive<u64>) -> ExecutionCommit {
    let event = |seq| Event {
        execution_id: execution.id,
        seq,
        ts: now(),
        payload: EventPayload::Console { level: ConsoleLevel::Log, text: "text ".repeat(100) },
    };
    ExecutionCommit {
        execution: execution.clone(),
        new_events: seqs.map(event).collect(),
        session: None,
        heap: None,
        kv: None,
    }
}
