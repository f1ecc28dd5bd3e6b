//! What an execution answered is in the store, and many sessions share commits.

use crate::harness::{TestHost, template};
use vm_host::Source;
use vm_storage::ExecutionStatus;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_what_the_store_has() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    for input in ["console.log('one'); ({ a: 1 })", "throw new Error('two')"] {
        let finished = test.repl(session, input).await;
        let id = finished.execution.id;
        let storage = test.host.storage();
        assert_eq!(storage.execution(id).unwrap().unwrap(), finished.execution);
        assert_eq!(test.events(id), finished.events);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_takes_long_is_kept_once_and_whole() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let script = "console.log('early'); const end = Date.now() + 120; while (Date.now() < end);
        console.log('late'); 'value'";
    let finished = test.repl(session, script).await;
    assert_eq!(finished.execution.status, ExecutionStatus::Ok);
    assert_eq!(test.events(finished.execution.id), finished.events);
    assert_eq!(test.executions(session), [finished.execution]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_execution_is_seen_running_before_it_ends() {
    let test = TestHost::start().await;
    let mut template = template();
    template.settings.limits.wall_ms = 60_000;
    template.settings.limits.cpu_ms = 60_000;
    let session = test.session(template).await;
    let host = test.host.clone();
    let source = Source::Repl { input: "console.log('begun'); for (;;);".to_owned() };
    let running = tokio::spawn(async move { host.execute(session, source, None).await });
    let execution = loop {
        if let Some(execution) = test.executions(session).pop() {
            break execution;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(execution.status, ExecutionStatus::Running);
    assert_eq!(test.events(execution.id).len(), 2);
    test.host.close_session(session).await.unwrap();
    let finished = running.await.unwrap().unwrap();
    assert_eq!(finished.execution.id, execution.id);
    // The echo, the line, and that it was cancelled: nothing lost, nothing twice.
    assert_eq!(test.events(execution.id).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_sessions_share_commits() {
    const SESSIONS: usize = 16;
    const EXECUTIONS: usize = 20;
    let test = TestHost::start().await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(test.session(template()).await);
    }
    let before = test.host.storage().stats();
    let tasks: Vec<_> = sessions
        .into_iter()
        .map(|session| {
            let host = test.host.clone();
            tokio::spawn(async move {
                for _ in 0..EXECUTIONS {
                    let source = Source::Repl { input: "1+1".to_owned() };
                    host.execute(session, source, None).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let after = test.host.storage().stats();
    let requests = after.requests - before.requests;
    let commits = after.commits - before.commits;
    assert_eq!(requests, (SESSIONS * EXECUTIONS) as u64);
    assert!(commits < requests, "{commits} commits of {requests} requests");
}
