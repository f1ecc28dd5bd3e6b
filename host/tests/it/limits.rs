//! Limits end an execution while it runs, and the session goes on as if it had not been.

use crate::harness::{MAX_SESSIONS, TestHost, console, template};
use vm_host::limits::{FUEL_PER_CPU_MS, MAX_INPUT_BYTES};
use vm_host::{Capacity, HostError, Source};
use vm_storage::{
    EventPayload, ExecutionErrorCode, ExecutionStatus, SessionId, SessionStatus, Template,
};

fn limited(change: impl FnOnce(&mut vm_storage::Limits)) -> Template {
    let mut template = template();
    change(&mut template.settings.limits);
    template
}

/// The session is ready, and goes on.
async fn assert_goes_on(test: &TestHost, session: SessionId) {
    let record = test.host.storage().session(session).unwrap().unwrap();
    assert_eq!((record.status, record.last_error), (SessionStatus::Ready, None));
    assert_eq!(test.preview(session, "1 + 1").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_whose_memory_ran_out_while_it_awaits_is_no_success() {
    let test = TestHost::start().await;
    // Where exactly memory ends is a matter of what was there before.
    for padding in 0..16 {
        let template = limited(|limits| (limits.mem_mb, limits.cpu_ms) = (16, 20_000));
        let session = test.session(template).await;
        test.repl(session, &format!("var held = new Uint8Array({padding} * 1_000)")).await;
        let script = "const again = () => Promise.reject(1).finally(again); await again()";
        let execution = test.repl(session, script).await.execution;
        assert_eq!(execution.status, ExecutionStatus::Error, "{padding}: {:?}", execution.result);
        assert_eq!(execution.error.unwrap().message, "InternalError: out of memory", "{padding}");
        assert_goes_on(&test, session).await;
        test.host.close_session(session).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spent_fuel_is_a_timeout() {
    let test = TestHost::start().await;
    for script in ["for (;;);", "for (;;) await 1", "/(a+)+$/.test('a'.repeat(40) + 'b')"] {
        let session = test.session(limited(|limits| limits.cpu_ms = 20)).await;
        let execution = test.repl(session, script).await.execution;
        assert_eq!(execution.status, ExecutionStatus::Timeout, "{script}");
        assert_eq!(execution.error.unwrap().code, Some(ExecutionErrorCode::FuelExhausted));
        assert_eq!(execution.metrics.fuel_used, 20 * FUEL_PER_CPU_MS);
        assert_goes_on(&test, session).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spent_wall_time_is_a_timeout() {
    let test = TestHost::start().await;
    let limits = |limits: &mut vm_storage::Limits| {
        limits.cpu_ms = 3_600_000;
        limits.wall_ms = 30;
    };
    let session = test.session(limited(limits)).await;
    let execution = test.repl(session, "console.log('begun'); for (;;);").await.execution;
    assert_eq!(execution.status, ExecutionStatus::Timeout);
    assert_eq!(execution.error.unwrap().code, Some(ExecutionErrorCode::WallTimeExceeded));
    assert!(execution.metrics.wall_ms >= 30);
    assert_goes_on(&test, session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_events_stop_the_execution_at_the_limit() {
    let test = TestHost::start().await;
    let session = test.session(limited(|limits| limits.max_events = 5)).await;
    let finished = test.repl(session, "for (let i = 0; ; i++) console.log(i)").await;
    let error = finished.execution.error.unwrap();
    assert_eq!(error.code, Some(ExecutionErrorCode::OutputLimitExceeded));
    assert_eq!(finished.execution.status, ExecutionStatus::Error);
    // The echo and four lines, then the host's own word.
    assert_eq!(console(&finished.events), ["0", "1", "2", "3"]);
    assert_eq!(finished.events.len(), 6);
    let last = &finished.events[5].payload;
    assert!(
        matches!(last, EventPayload::System { message, .. } if message.starts_with(&error.message)),
        "{last:?}"
    );
    assert_goes_on(&test, session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_output_stops_the_execution_at_the_limit() {
    let test = TestHost::start().await;
    let session = test.session(limited(|limits| limits.max_output_kb = 1)).await;
    let finished = test.repl(session, "for (;;) console.log('x'.repeat(300))").await;
    assert_eq!(console(&finished.events).len(), 3);
    assert_eq!(finished.execution.metrics.output_bytes, 900);
    let error = finished.execution.error.unwrap();
    assert_eq!(error.code, Some(ExecutionErrorCode::OutputLimitExceeded));
    // A script that catches what `console.log` throws gets no further.
    let session = test.session(limited(|limits| limits.max_output_kb = 1)).await;
    let caught = "for (;;) try { console.log('x'.repeat(300)) } catch {}";
    assert_eq!(test.repl(session, caught).await.execution.error.unwrap().code, error.code);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_record_can_hold_is_an_output_limit_and_the_execution_is_kept() {
    let test = TestHost::start().await;
    let session = test.session(limited(|limits| limits.max_output_kb = 65_536)).await;
    // Each character takes six bytes as JSON.
    let fits = test.repl(session, "console.log('\\0'.repeat(2 << 20))").await.execution;
    assert_eq!(fits.status, ExecutionStatus::Ok);
    let finished = test.repl(session, "console.log('\\0'.repeat((2 << 20) + 1))").await;
    let error = finished.execution.error.clone().unwrap();
    assert_eq!(error.code, Some(ExecutionErrorCode::OutputLimitExceeded));
    let kept = test.host.storage().execution(finished.execution.id).unwrap().unwrap();
    assert_eq!(kept, finished.execution);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_and_running_out_of_it_can_be_caught() {
    let test = TestHost::start().await;
    let session = test.session(limited(|limits| limits.mem_mb = 16)).await;
    let fill = "var all = []; for (;;) all.push(new Uint8Array(65536))";
    let execution = test.repl(session, fill).await.execution;
    assert_eq!(execution.error.unwrap().message, "InternalError: out of memory");
    assert!(execution.metrics.peak_memory_bytes <= 16 << 20);
    assert_eq!(test.preview(session, "all = null; 1 + 1").await, "2");
    let caught = "let why; try { for (const a = [];;) a.push(new Uint8Array(65536)) } catch (e) { why = String(e) } why";
    assert_eq!(test.preview(session, caught).await, "'InternalError: out of memory'");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_larger_than_the_memory_is_out_of_memory_not_a_crash() {
    let test = TestHost::start().await;
    let session = test.session(limited(|limits| limits.mem_mb = 8)).await;
    let execution = test.repl(session, &" ".repeat(7 << 20)).await.execution;
    assert_eq!(execution.error.unwrap().message, "InternalError: out of memory");
    assert_eq!(test.preview(session, "1 + 1").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snippet_that_no_record_can_hold_is_refused() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let source = |len| Source::Repl { input: " ".repeat(len) };
    let error = test.host.execute(session, source(MAX_INPUT_BYTES + 1), None).await.unwrap_err();
    assert!(matches!(error, HostError::InputTooLarge { limit: MAX_INPUT_BYTES, .. }));
    let source = Source::File {
        path: "app.js".to_owned(),
        args: serde_json::Map::new(),
        env: [("K".to_owned(), " ".repeat(MAX_INPUT_BYTES))].into(),
    };
    let error = test.host.execute(session, source, None).await.unwrap_err();
    assert!(matches!(error, HostError::InputTooLarge { .. }));
    assert!(test.executions(session).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_session_rejects_a_second_execution_and_closing_it_cancels_the_first() {
    let test = TestHost::start().await;
    let limits = |limits: &mut vm_storage::Limits| {
        limits.cpu_ms = 3_600_000;
        limits.wall_ms = 3_600_000;
    };
    let session = test.session(limited(limits)).await;
    let running = test.begin(session, "for (;;);").await;
    let second = Source::Repl { input: "1".to_owned() };
    let busy = test.host.execute(session, second, None).await.unwrap_err();
    assert!(matches!(busy, HostError::SessionBusy(id) if id == session));
    let closed = test.host.close_session(session).await.unwrap();
    assert_eq!(closed.status, SessionStatus::Closed);
    let execution = running.finished().await.execution;
    assert_eq!(execution.status, ExecutionStatus::Cancelled);
    assert_eq!(execution.error.unwrap().code, Some(ExecutionErrorCode::Cancelled));
    assert_eq!(test.host.storage().session(session).unwrap().unwrap(), closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_whose_caller_left_is_run_to_its_end_and_kept() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    // Longer than a slice, so that it waits for its next one when it was polled once; then dropped.
    let input = "for (let i = 0; i < 100000; i++); var done = 'kept'; done".to_owned();
    let source = Source::Repl { input };
    let mut execution = Box::pin(test.host.execute(session, source, None));
    assert!(futures_util::poll!(&mut execution).is_pending());
    drop(execution);
    loop {
        match test.host.execute(session, Source::Repl { input: "done".to_owned() }, None).await {
            Ok(finished) => break assert_eq!(finished.execution.result.unwrap().preview, "'kept'"),
            Err(HostError::SessionBusy(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(test.executions(session).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_host_refuses_another_session_until_one_closes() {
    let test = TestHost::start().await;
    let mut sessions = Vec::new();
    for _ in 0..MAX_SESSIONS {
        sessions.push(test.session(template()).await);
    }
    let full = test.try_session(template()).await.unwrap_err();
    let (what, limit) = match full {
        HostError::CapacityExceeded { what, limit, .. } => (what, limit),
        error => panic!("{error}"),
    };
    assert_eq!((what, limit), (Capacity::Sessions, MAX_SESSIONS));
    test.host.close_session(sessions[0]).await.unwrap();
    test.session(template()).await;
}
