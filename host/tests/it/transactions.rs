//! An execution is a transaction on its session's heap: one that does not come to its end leaves
//! no trace in it. Every test runs with the kernel's page tracking and by comparison.

use crate::harness::{TestHost, template, with_startup};
use vm_host::PageTracking;
use vm_storage::{
    Execution, ExecutionErrorCode, ExecutionStatus, SessionId, SessionStatus, Template,
};

const TRACKINGS: [PageTracking; 2] = [PageTracking::Kernel, PageTracking::Comparison];

async fn hosts() -> Vec<TestHost> {
    let mut hosts = Vec::new();
    for tracking in TRACKINGS {
        let test = TestHost::with(|options| options.page_tracking = tracking).await;
        assert_eq!(test.host.stats().page_tracking, tracking, "this kernel offers both");
        hosts.push(test);
    }
    hosts
}

fn small() -> Template {
    let mut template = template();
    let limits = &mut template.settings.limits;
    (limits.cpu_ms, limits.max_events, limits.max_output_kb) = (50, 100, 64);
    template
}

fn code(execution: &Execution) -> Option<ExecutionErrorCode> {
    execution.error.as_ref().and_then(|error| error.code)
}

/// Fills a session with state of many kinds, and says what it is.
const FILL: &str = "
    var list = [1, 2, 3], map = new Map([['k', { deep: [list] }]]);
    function* count() { for (let i = 0; ; i++) yield i; }
    const generator = count(); generator.next();
    let closure = (hidden => () => ++hidden)(10);
    globalThis.big = new Uint8Array(3 << 20).fill(7);
";
const STATE: &str = "JSON.stringify([list, [...map], big.length, big[0], big[big.length - 1], \
    typeof sneaked, Object.keys(globalThis).length])";

async fn fill(test: &TestHost, session: SessionId) -> String {
    test.repl(session, FILL).await;
    test.preview(session, STATE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_leaves_no_trace_in_the_heap() {
    let changes = "var sneaked = 1; list.push(4); map.clear(); big.fill(9); closure(); \
        generator.next(); Array.prototype.map = null; delete globalThis.JSON;";
    let stopped = [
        ("for (;;);", ExecutionErrorCode::FuelExhausted),
        ("for (;;) console.log(1)", ExecutionErrorCode::OutputLimitExceeded),
        ("console.log('x'.repeat(70000))", ExecutionErrorCode::OutputLimitExceeded),
        (
            "const a = []; for (;;) { a.push(new Uint8Array(99999)); for (let i = 0; i < 1e5; i++); }",
            ExecutionErrorCode::FuelExhausted,
        ),
    ];
    for test in hosts().await {
        let session = test.session(small()).await;
        let before = fill(&test, session).await;
        for (end, expected) in stopped {
            let execution = test.repl(session, &format!("{changes} {end}")).await.execution;
            assert_eq!(code(&execution), Some(expected), "{end}");
            assert_eq!(test.preview(session, STATE).await, before, "{end}");
        }
        // What is not plain data went back too, and goes on.
        assert_eq!(test.preview(session, "[closure(), generator.next().value]").await, "[ 11, 1 ]");
        assert_eq!(test.preview(session, "[closure(), generator.next().value]").await, "[ 12, 2 ]");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_thrown_keeps_its_effects() {
    for test in hosts().await {
        let session = test.session(small()).await;
        fill(&test, session).await;
        let execution = test.repl(session, "list.push('kept'); throw new Error('no')").await;
        assert_eq!(execution.execution.status, ExecutionStatus::Error);
        test.repl(session, "for (;;);").await;
        assert_eq!(test.preview(session, "list").await, "[ 1, 2, 3, 'kept' ]");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_that_was_caught_keeps_its_effects() {
    for test in hosts().await {
        let mut template = small();
        (template.settings.limits.mem_mb, template.settings.limits.cpu_ms) = (16, 1_000);
        let session = test.session(template).await;
        let greedy = "var kept = []; try { for (;;) kept.push(new Uint8Array(1 << 20)) } catch {} kept.length > 3";
        assert_eq!(test.preview(session, greedy).await, "true");
        let count = test.preview(session, "kept.length").await;
        assert_eq!(code(&test.repl(session, "kept = 0; for (;;);").await.execution), {
            Some(ExecutionErrorCode::FuelExhausted)
        });
        assert_eq!(test.preview(session, "kept.length").await, count);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_first_execution_is_stopped_is_as_it_was_made() {
    for test in hosts().await {
        test.file("startup.js", "var made = { by: 'startup' }; console = undefined;");
        let mut template = with_startup(&[("startup.js", 0)]);
        template.settings.limits.cpu_ms = 50;
        let session = test.session(template).await;
        test.repl(session, "made = null; for (;;);").await;
        assert_eq!(
            test.preview(session, "[made, console]").await,
            "[ { by: 'startup' }, undefined ]"
        );
        // Without a startup file there is nothing to go back to but the image.
        let mut template = small();
        template.settings.runtime.console = false;
        let session = test.session(template).await;
        test.repl(session, "var x = 1; for (;;);").await;
        assert_eq!(
            test.preview(session, "[typeof x, typeof console]").await,
            "[ 'undefined', 'undefined' ]"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_was_loaded_is_still_there_after_a_roll_back() {
    for test in hosts().await {
        test.library("greet-1.0.0", "var greet = name => 'Hello, ' + name");
        let session =
            test.session(Template { libraries: vec!["greet-1.0.0".to_owned()], ..small() }).await;
        test.repl(session, "greet = 0; for (;;);").await;
        assert_eq!(test.preview(session, "greet('you')").await, "'Hello, you'");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_numbers_do_not_repeat_after_a_roll_back() {
    let test = TestHost::start().await;
    let session = test.session(small()).await;
    test.repl(session, "var committed = 1").await;
    let mut drawn = Vec::new();
    for _ in 0..4 {
        let events = test.repl(session, "console.log(Math.random()); for (;;);").await.events;
        drawn.extend(crate::harness::console(&events));
    }
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn.len(), 4, "{drawn:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_script_uses_the_same_fuel_every_time() {
    let script = "let s = 0; for (let i = 0; i < 1e4; i++) s += Math.sqrt(i); JSON.stringify([s, 'x'.repeat(99)])";
    let mut used = Vec::new();
    for test in hosts().await {
        for _ in 0..2 {
            let session = test.session(small()).await;
            used.push(test.repl(session, script).await.execution.metrics.fuel_used);
        }
    }
    assert!(used[0] > 0 && used.iter().all(|fuel| *fuel == used[0]), "{used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_execution_leaves_no_trace_and_its_session_ready() {
    for test in hosts().await {
        let mut template = template();
        (template.settings.limits.cpu_ms, template.settings.limits.wall_ms) =
            (3_600_000, 3_600_000);
        let session = test.session(template).await;
        let before = fill(&test, session).await;
        let running = test.begin(session, "var sneaked = 1; big.fill(1); for (;;);").await;
        let cancelled = test.host.cancel_execution(running.id).await.unwrap();
        assert_eq!(cancelled.status, ExecutionStatus::Cancelled);
        assert_eq!(code(&cancelled), Some(ExecutionErrorCode::Cancelled));
        assert_eq!(running.finished().await.execution, cancelled);
        // One that is over stays as it is.
        assert_eq!(test.host.cancel_execution(cancelled.id).await.unwrap(), cancelled);
        assert_eq!(test.preview(session, STATE).await, before);
        let record = test.host.session(session).await.unwrap();
        assert_eq!((record.status, record.last_error), (SessionStatus::Ready, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_waits_for_its_start_can_be_cancelled() {
    let test = TestHost::with(|options| {
        (options.concurrency.started, options.concurrency.waiting) = (1, 1);
    })
    .await;
    let mut template = template();
    (template.settings.limits.cpu_ms, template.settings.limits.wall_ms) = (3_600_000, 3_600_000);
    let first = test.session(template).await;
    let second = test.session(small()).await;
    let endless = test.begin_until(first, "console.log(1); for (;;);", 2).await;
    let waits = test.begin(second, "var ran = 1").await;
    let cancelled = test.host.cancel_execution(waits.id).await.unwrap();
    assert_eq!(cancelled.status, ExecutionStatus::Cancelled);
    assert_eq!(cancelled.metrics.fuel_used, 0);
    test.host.cancel_execution(endless.id).await.unwrap();
    endless.finished().await;
    assert_eq!(test.preview(second, "typeof ran").await, "'undefined'");
}
