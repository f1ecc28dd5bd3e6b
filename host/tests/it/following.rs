//! Events as they become durable, executions that are begun and left, and those that queue.

use crate::harness::{TestHost, template};
use std::time::Duration;
use vm_host::{EventFeed, HostError, Manner, OnBusy, Source};
use vm_storage::{Event, ExecutionStatus, SessionId, SessionStatus, Template};

/// Longer than any test takes: what waits for this fails.
const PATIENCE: Duration = Duration::from_mins(2);

fn patient() -> Template {
    let mut template = template();
    template.settings.limits.wall_ms = 60_000;
    template.modules = vec!["fs".to_owned()];
    template
}

fn snippet(input: &str) -> Source {
    Source::Repl { input: input.to_owned() }
}

fn queued() -> Manner {
    Manner { on_busy: OnBusy::Queue, ..Manner::default() }
}

/// Waits until a file is there, with a text for the console before and after.
const GATED: &str = "const fs = require('fs'); console.log('before');
    while (!fs.existsSync('go')) await new Promise(done => setTimeout(done, 1));
    console.log('after')";

/// All that a feed gives from now on.
async fn rest(feed: &mut EventFeed) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        all.extend(feed.now().await.unwrap());
        if !tokio::time::timeout(PATIENCE, feed.more()).await.unwrap() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_was_begun_is_durable_and_its_events_come_while_it_runs() {
    let test = TestHost::start().await;
    let session = test.session(patient()).await;
    let begun = test.host.begin(session, snippet(GATED), Manner::default()).await.unwrap();
    assert_eq!(begun.status, ExecutionStatus::Running);
    assert_eq!(test.host.storage().execution(begun.id).unwrap(), Some(begun.clone()));
    let mut feed = test.host.follow(begun.id, 0);
    let mut seen = feed.now().await.unwrap();
    while seen.len() < 2 {
        assert!(tokio::time::timeout(PATIENCE, feed.more()).await.unwrap());
        seen.extend(feed.now().await.unwrap());
    }
    // It waits for this, so it runs still; and what was seen is in the store.
    assert_eq!(test.events(begun.id)[..2], seen[..2]);
    assert_eq!(test.host.execution(begun.id).await.unwrap().status, ExecutionStatus::Running);
    test.file("go", "");
    seen.extend(rest(&mut feed).await);
    let ended = test.host.execution_ended(begun.id).await.unwrap();
    assert_eq!(ended.status, ExecutionStatus::Ok);
    assert_eq!(seen, test.events(begun.id));
    let numbers: Vec<_> = seen.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=seen.len() as u64).collect::<Vec<_>>());
    // From any event on, also when it is over.
    for after in 0..=seen.len() {
        let mut feed = test.host.follow(begun.id, after as u64);
        assert_eq!(rest(&mut feed).await, seen[after..]);
    }
    assert!(matches!(
        test.host.follow(vm_storage::ExecutionId::new(), 0).now().await,
        Err(HostError::ExecutionNotFound(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_come_and_go_miss_nothing_of_what_is_printed_meanwhile() {
    let test = TestHost::start().await;
    let session = test.session(patient()).await;
    let script = "for (let i = 0; i < 300; i++) {
        console.log(i);
        if (i % 3 === 0) await new Promise(done => setTimeout(done, 1));
    }";
    let begun = test.host.begin(session, snippet(script), Manner::default()).await.unwrap();
    let readers: Vec<_> = (1..=8)
        .map(|reader: u64| {
            let host = test.host.clone();
            tokio::spawn(async move {
                let mut seen: Vec<Event> = Vec::new();
                loop {
                    let after = seen.last().map_or(0, |last| last.seq);
                    let mut feed = host.follow(begun.id, after);
                    // Each is cut off after another number of reads.
                    for _ in 0..reader {
                        seen.extend(feed.now().await.unwrap());
                        if !tokio::time::timeout(PATIENCE, feed.more()).await.unwrap() {
                            return seen;
                        }
                    }
                }
            })
        })
        .collect();
    let ended = test.host.execution_ended(begun.id).await.unwrap();
    assert_eq!(ended.status, ExecutionStatus::Ok);
    let all = test.events(begun.id);
    assert_eq!(all.len() as u64, ended.metrics.events);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_queues_runs_in_order_and_within_a_bound() {
    let test = TestHost::start().await;
    let session = test.session(patient()).await;
    test.repl(session, "var order = []").await;
    let first = test.begin_until(session, GATED, 2).await;
    let mut waiting = Vec::new();
    for number in 0..64 {
        let host = test.host.clone();
        let source = snippet(&format!("order.push({number})"));
        let mut execution =
            Box::pin(async move { host.execute_with(session, source, queued()).await });
        // It asks for its turn when it is first polled.
        assert!(futures_util::poll!(execution.as_mut()).is_pending());
        waiting.push(tokio::spawn(execution));
    }
    let one_more = test.host.execute_with(session, snippet("1"), queued()).await;
    assert!(matches!(one_more, Err(HostError::SessionBusy(_))), "{one_more:?}");
    let refused = test.host.execute(session, snippet("1"), None).await;
    assert!(matches!(refused, Err(HostError::SessionBusy(_))), "{refused:?}");
    // One that goes away leaves its place.
    waiting.remove(63).abort();
    test.file("go", "");
    assert_eq!(first.finished().await.execution.status, ExecutionStatus::Ok);
    for execution in waiting {
        assert_eq!(execution.await.unwrap().unwrap().execution.status, ExecutionStatus::Ok);
    }
    let in_order = "order.length + ' ' + order.every((number, at) => number === at)";
    assert_eq!(test.preview(session, in_order).await, "'63 true'");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_queues_for_a_session_that_is_closed_is_told_so() {
    let test = TestHost::start().await;
    let session: SessionId = test.session(patient()).await;
    let first = test.begin_until(session, GATED, 2).await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let host = test.host.clone();
        let mut execution =
            Box::pin(async move { host.execute_with(session, snippet("1"), queued()).await });
        assert!(futures_util::poll!(execution.as_mut()).is_pending());
        waiting.push(tokio::spawn(execution));
    }
    test.host.close_session(session).await.unwrap();
    assert_eq!(first.finished().await.execution.status, ExecutionStatus::Cancelled);
    for execution in waiting {
        let refused = execution.await.unwrap();
        let closed = |error: &HostError| {
            matches!(error, HostError::SessionNotReady { status: SessionStatus::Closed, .. })
        };
        assert!(refused.as_ref().is_err_and(closed), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_as_soon_as_it_was_begun_is_kept_as_that() {
    // Each waits for its first slice behind another that never ends.
    let test = TestHost::with(|options| options.concurrency.cpu_slots = 1).await;
    let (busy, session) = (test.session(patient()).await, test.session(patient()).await);
    let endless = test.begin_until(busy, "console.log(1); for (;;);", 2).await;
    for _ in 0..30 {
        let begun = test.host.begin(session, snippet("1 + 1"), Manner::default()).await.unwrap();
        let ended = test.host.cancel_execution(begun.id).await.unwrap();
        assert!(ended.status.is_over());
        assert_eq!(test.host.execution(begun.id).await.unwrap(), ended);
        let seqs: Vec<_> = test.events(begun.id).iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=ended.metrics.events).collect::<Vec<_>>());
    }
    test.host.cancel_execution(endless.id).await.unwrap();
}
