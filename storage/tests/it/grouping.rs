//! One commit for many callers, bounded in requests and in bytes.
//!
//! Each test holds the writer inside a change of a template until everything else is queued, so
//! that what the next group takes does not depend on the speed of the disk.

use crate::harness::{
    Place, commit, events_of, execution, executions_of, session, template, with_session,
};
use std::future::Future;
use std::sync::mpsc;
use tokio::task::JoinHandle;
use vm_storage::{
    Execution, ExecutionCommit, KvCommit, KvReads, Session, SessionStatus, Storage, StorageError,
};

/// A writer that waits in a change until it is let go.
struct HeldWriter {
    storage: Storage,
    let_go: mpsc::Sender<()>,
    change: JoinHandle<Result<(), StorageError>>,
}

impl HeldWriter {
    async fn hold(storage: Storage) -> Self {
        let template = template();
        let id = template.id;
        storage.create_template(template).await.unwrap();
        let (let_go, go) = mpsc::channel::<()>();
        let (entered, inside) = tokio::sync::oneshot::channel();
        let clone = storage.clone();
        let change = tokio::spawn(async move {
            clone
                .update_template(id, move |_| {
                    entered.send(()).unwrap();
                    go.recv().unwrap();
                    Ok(())
                })
                .await
        });
        inside.await.unwrap();
        Self { storage, let_go, change }
    }

    /// Queues writes, lets the writer go, and counts the commits that the writes took.
    async fn commits_of<F>(self, writes: Vec<F>) -> u64
    where
        F: Future<Output = Result<(), StorageError>> + Send + 'static,
    {
        let (outcomes, commits) = self.outcomes_of(writes).await;
        for outcome in outcomes {
            outcome.unwrap();
        }
        commits
    }

    /// The same, and what became of each write.
    async fn outcomes_of<F>(self, writes: Vec<F>) -> (Vec<Result<(), StorageError>>, u64)
    where
        F: Future<Output = Result<(), StorageError>> + Send + 'static,
    {
        let before = self.storage.stats();
        let writes: Vec<_> = writes.into_iter().map(tokio::spawn).collect();
        let count = writes.len() as u64;
        // The runtime has one thread and its queue is fair: each task runs as far as it can.
        for _ in 0..count {
            tokio::task::yield_now().await;
        }
        self.let_go.send(()).unwrap();
        self.change.await.unwrap().unwrap();
        let mut outcomes = Vec::new();
        for write in writes {
            outcomes.push(write.await.unwrap());
        }
        let after = self.storage.stats();
        assert_eq!(after.requests - before.requests, count);
        // The change itself is one commit more.
        (outcomes, after.commits - before.commits - 1)
    }
}

fn commit_later(
    storage: &Storage,
    commit: ExecutionCommit,
) -> impl Future<Output = Result<(), StorageError>> + Send + 'static {
    let storage = storage.clone();
    async move { storage.commit_execution(commit).await.map(drop) }
}

#[tokio::test]
async fn sixteen_writers_that_wait_share_one_commit() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let executions: Vec<Execution> = (0..16).map(|_| execution(session.id)).collect();
    let writes =
        executions.iter().map(|each| commit_later(&storage, commit(each, 1..=3))).collect();
    let commits = HeldWriter::hold(storage.clone()).await.commits_of(writes).await;
    assert_eq!(commits, 1);
    for execution in executions {
        assert_eq!(events_of(&storage, execution.id, 0).len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_busy_writers_need_fewer_commits_than_requests() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (storage, id) = (storage.clone(), session.id);
            tokio::spawn(async move {
                for _ in 0..8 {
                    storage.commit_execution(commit(&execution(id), 1..=3)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let stats = storage.stats();
    assert_eq!(stats.requests, 129);
    assert!(stats.commits < 100, "{stats:?}");
    assert_eq!(executions_of(&storage, session.id, 500).len(), 128);
}

#[tokio::test]
async fn a_group_takes_so_many_requests_and_no_more() {
    let place = Place::new();
    let storage = place.open();
    let writes = (0..=256)
        .map(|_| {
            let storage = storage.clone();
            async move { storage.put_session(session()).await }
        })
        .collect();
    let commits = HeldWriter::hold(storage.clone()).await.commits_of(writes).await;
    assert_eq!(commits, 2);
}

#[tokio::test]
async fn a_group_takes_so_many_bytes_and_no_more() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let writes = (0..3)
        .map(|_| {
            let input = Some("x".repeat(5 * 1024 * 1024));
            let large = Execution { input, ..execution(session.id) };
            commit_later(&storage, commit(&large, []))
        })
        .collect();
    let commits = HeldWriter::hold(storage.clone()).await.commits_of(writes).await;
    assert_eq!(commits, 2);
}

#[tokio::test]
async fn a_refused_request_leaves_nothing_in_the_commit_it_shares() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let crashed = Session { status: SessionStatus::Crashed, ..session.clone() };
    let (good, bad) = (execution(session.id), execution(session.id));
    let refused = ExecutionCommit { session: Some(crashed), ..commit(&bad, [2]) };
    let writes = [commit(&good, [1]), refused, commit(&good, [2])]
        .map(|commit| commit_later(&storage, commit))
        .into();
    let (outcomes, commits) = HeldWriter::hold(storage.clone()).await.outcomes_of(writes).await;
    assert_eq!(commits, 1);
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert!(matches!(outcomes[1], Err(StorageError::SequenceGap { .. })), "{outcomes:?}");
    assert!(matches!(outcomes[2], Err(StorageError::ExecutionOver(_))), "{outcomes:?}");
    assert_eq!(storage.session(session.id).unwrap(), Some(session.clone()));
    assert_eq!(executions_of(&storage, session.id, 50), [good]);
    assert_eq!(storage.execution(bad.id).unwrap(), None);
    assert_eq!(storage.events(bad.id, 0, 50).unwrap(), None);
}

#[tokio::test]
async fn of_those_that_share_a_commit_one_that_read_what_another_writes_is_refused_alone() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let executions: Vec<Execution> = (0..4).map(|_| execution(session.id)).collect();
    let writes = executions.iter().enumerate().map(|(index, execution)| {
        let mut reads = KvReads::default();
        // The last of them reads nothing.
        if index < 3 {
            assert_eq!(storage.kv_get("w", "n", &mut reads).unwrap(), None);
        }
        let kv = KvCommit {
            workspace: "w".to_owned(),
            reads,
            writes: [("n".to_owned(), Some(vec![u8::try_from(index).unwrap()]))].into(),
            ..KvCommit::default()
        };
        commit_later(&storage, ExecutionCommit { kv: Some(kv), ..commit(execution, 1..=2) })
    });
    let writes = writes.collect();
    let (outcomes, commits) = HeldWriter::hold(storage.clone()).await.outcomes_of(writes).await;
    assert_eq!(commits, 1);
    let conflicts: Vec<_> = outcomes
        .iter()
        .map(|outcome| matches!(outcome, Err(StorageError::KvConflict { .. })))
        .collect();
    assert_eq!(conflicts, [false, true, true, false], "{outcomes:?}");
    assert!(outcomes[0].is_ok() && outcomes[3].is_ok(), "{outcomes:?}");
    let value = storage.kv_get("w", "n", &mut KvReads::default()).unwrap().unwrap().value;
    assert_eq!(value, [3]);
    assert_eq!(executions_of(&storage, session.id, 50).len(), 2);
}
