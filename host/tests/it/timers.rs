//! Timers, and when an execution that has some is over.

use crate::harness::{TestHost, console, template, with_startup};
use std::time::Duration;
use vm_storage::{ExecutionErrorCode, ExecutionStatus, Limits, Template};

fn with_wall_ms(wall_ms: u64) -> Template {
    let mut template = template();
    template.settings.limits = Limits { wall_ms, ..template.settings.limits };
    template
}

#[tokio::test]
async fn callbacks_come_in_nodes_order_and_jobs_between_them() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let script = "const order = []; let turns = 0;
        const say = text => () => { order.push(text); Promise.resolve().then(() => order.push('job of ' + text)) };
        setTimeout(say('second'), 20); setTimeout(say('first'), 10); setTimeout(say('same time'), 20);
        setImmediate(say('immediate')); queueMicrotask(say('microtask'));
        const stopped = setTimeout(say('stopped'), 1); clearTimeout(stopped);
        const byNumber = setTimeout(say('stopped'), 1); clearTimeout(+byNumber);
        clearImmediate(setImmediate(say('stopped')));
        clearTimeout(undefined); clearTimeout(null); clearTimeout({}); clearTimeout('nonsense'); clearInterval(NaN);
        const interval = setInterval((a, b) => { order.push(a + b + turns); if (++turns === 2) clearInterval(interval) }, 30, 'x', 'y');
        await new Promise(resolve => setTimeout(resolve, 200));
        order.join()";
    let expected = "'microtask,job of microtask,immediate,job of immediate,first,job of first,\
                    second,job of second,same time,job of same time,xy0,xy1'";
    assert_eq!(test.preview(session, script).await, expected);
}

#[tokio::test]
async fn an_execution_waits_for_its_timers_but_not_for_those_unreferenced() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let script = "setTimeout(() => console.log('came'), 5);
        setTimeout(() => console.log('never'), 60_000).unref();
        setInterval(() => {}, 60_000).unref().hasRef()";
    let finished = test.repl(session, script).await;
    assert_eq!(finished.execution.status, ExecutionStatus::Ok);
    assert_eq!(console(&finished.events), ["came"]);
    assert_eq!(finished.execution.result.unwrap().preview, "false");
    // They do not come in the next one either.
    let next = test.repl(session, "setTimeout(() => console.log('alone'), 1); 0").await;
    assert_eq!(console(&next.events), ["alone"]);
}

#[tokio::test]
async fn what_a_callback_throws_ends_the_execution_with_the_users_frames_alone() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let script = "setTimeout(() => console.log('too late'), 20);
setTimeout(function later() { missing }, 1); 5";
    let finished = test.repl(session, script).await;
    assert_eq!(finished.execution.status, ExecutionStatus::Error);
    let error = finished.execution.error.unwrap();
    assert_eq!(error.message, "ReferenceError: missing is not defined");
    let stack = error.stack.unwrap();
    assert!(stack.ends_with("\n    at later (<repl>:2:31)"), "{stack}");
    assert!(console(&finished.events).is_empty());
    for failing in
        ["Promise.reject(new Error('no'))", "queueMicrotask(() => { throw Error('no') })"]
    {
        let script = format!("setTimeout(() => {{ {failing} }}, 1); setInterval(() => {{}}, 1); 5");
        let finished = test.repl(session, &script).await;
        assert_eq!(finished.execution.error.unwrap().message, "Error: no", "{failing}");
    }
    let refused = "let stack; try { setTimeout('text') } catch (error) { stack = error.code + error.stack } stack";
    let shown = test.preview(session, refused).await;
    assert_eq!(shown, r"'ERR_INVALID_ARG_TYPE    at <eval> (<repl>:1:18)\n'");
}

#[tokio::test]
async fn a_timer_past_the_wall_time_is_a_timeout_that_leaves_nothing() {
    let test = TestHost::start().await;
    let session = test.session(with_wall_ms(100)).await;
    for forever in ["setTimeout(() => {}, 60_000)", "setInterval(() => { n++ }, 1)"] {
        let finished = test.repl(session, &format!("var n = 1; {forever}; 0")).await;
        assert_eq!(finished.execution.status, ExecutionStatus::Timeout, "{forever}");
        let code = finished.execution.error.unwrap().code;
        assert_eq!(code, Some(ExecutionErrorCode::WallTimeExceeded));
        assert_eq!(test.preview(session, "typeof n").await, "'undefined'");
    }
}

#[tokio::test]
async fn a_waiting_execution_can_be_cancelled_and_holds_no_processor_slot() {
    let test = TestHost::with(|options| options.concurrency.cpu_slots = 1).await;
    let session = test.session(with_wall_ms(60_000)).await;
    let other = test.session(template()).await;
    let waiting =
        test.begin_until(session, "console.log('waits'); setTimeout(() => {}, 50_000)", 2).await;
    assert_eq!(test.preview(other, "1 + 1").await, "2");
    test.host.cancel_execution(waiting.id).await.unwrap();
    let finished = tokio::time::timeout(Duration::from_secs(20), waiting.finished()).await.unwrap();
    assert_eq!(finished.execution.status, ExecutionStatus::Cancelled);
}

#[tokio::test]
async fn a_startup_that_waits_is_waited_for_and_a_librarys_time_does_not_pass() {
    let test = TestHost::start().await;
    test.library("slow-1.0.0", "var order = []; setTimeout(() => order.push(2), 60_000); setTimeout(() => order.push(1), 30_000);");
    test.file("init.js", "setTimeout(() => order.push('started'), 5)");
    let template =
        Template { libraries: vec!["slow-1.0.0".to_owned()], ..with_startup(&[("init.js", 0)]) };
    let session = test.session(template.clone()).await;
    assert_eq!(test.preview(session, "order.join()").await, "'1,2,started'");
    let second = test.another(&template).await.unwrap();
    assert_eq!(test.preview(second, "order.join()").await, "'1,2,started'");
}

#[tokio::test]
async fn a_hundred_thousand_timers_are_started_stopped_and_called() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let script = "let called = 0; const timers = [];
        for (let i = 0; i < 50_000; i++) timers.push(setTimeout(() => called++, 1_000 + i % 7));
        for (const timer of timers) clearTimeout(timer);
        for (let i = 0; i < 50_000; i++) setTimeout(() => called++, i % 3);
        await new Promise(resolve => setTimeout(resolve, 10)); called";
    assert_eq!(test.preview(session, script).await, "50000");
}
