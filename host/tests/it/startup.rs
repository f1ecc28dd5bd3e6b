//! Libraries and startup files: order, events, failure, and that a second session compiles nothing.

use crate::harness::{MAX_SESSIONS, TestHost, console, template, with_startup};
use vm_host::{FileError, HostError, LibraryError, PathError};
use vm_storage::{
    EventPayload, Execution, ExecutionErrorCode, ExecutionKind, ExecutionStatus, PageRequest,
    Session, SessionFilter, SessionId, SessionStatus, Template, TenantId,
};

/// The executions of a session, oldest first.
fn executions(test: &TestHost, session: SessionId) -> Vec<Execution> {
    let mut executions = test.executions(session);
    executions.reverse();
    executions
}

/// The one session there is.
fn only_session(test: &TestHost) -> Session {
    let all = PageRequest::first(10);
    let mut sessions = test
        .host
        .storage()
        .sessions(TenantId::LOCAL, &SessionFilter::default(), all)
        .unwrap()
        .items;
    assert_eq!(sessions.len(), 1);
    sessions.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn startup_files_run_in_order_each_an_execution_with_its_events() {
    let test = TestHost::start().await;
    test.file("a.js", "order.push('a'); console.log('in a'); 'no value event'");
    test.file("b.js", "var order = ['b']; let shared = 'from b'");
    test.file("c.js", "order.push(await Promise.resolve('c'))");
    let session = test.session(with_startup(&[("a.js", 2), ("c.js", 2), ("b.js", -1)])).await;
    assert_eq!(test.preview(session, "order.join() + shared").await, "'b,a,cfrom b'");
    let executions = executions(&test, session);
    let startup: Vec<_> = executions
        .iter()
        .filter(|execution| execution.kind == ExecutionKind::Startup)
        .map(|execution| (execution.path.as_deref().unwrap(), execution.status))
        .collect();
    let ok = ExecutionStatus::Ok;
    assert_eq!(startup, [("b.js", ok), ("a.js", ok), ("c.js", ok)]);
    let events = test.events(executions[1].id);
    assert_eq!(events[0].payload, EventPayload::InputEcho { text: "a.js".to_owned() });
    assert_eq!(console(&events), ["in a"]);
    assert_eq!(events.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn stacks_of_startup_files_name_them() {
    let test = TestHost::start().await;
    test.file("init.js", "function fail() {\n  throw new Error('later')\n}");
    let session = test.session(with_startup(&[("init.js", 0)])).await;
    let error = test.repl(session, "fail()").await.execution.error.unwrap();
    assert!(error.stack.unwrap().contains("at fail (init.js:2:"));
    // Compiled scripts keep their source, too.
    assert_eq!(test.preview(session, "fail.toString().length").await, "46");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_session_compiles_nothing_and_changed_content_does() {
    let test = TestHost::start().await;
    test.file("init.js", "var version = 1");
    test.session(with_startup(&[("init.js", 0)])).await;
    assert_eq!(test.host.stats().template_modules_compiled, 1);
    let session = test.session(with_startup(&[("init.js", 0)])).await;
    assert_eq!(test.host.stats().template_modules_compiled, 1);
    assert_eq!(test.preview(session, "version").await, "1");
    test.file("init.js", "var version = 2");
    let session = test.session(with_startup(&[("init.js", 0)])).await;
    assert_eq!(test.host.stats().template_modules_compiled, 2);
    assert_eq!(test.preview(session, "version").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_first_sessions_compile_once() {
    let test = TestHost::start().await;
    test.file("init.js", format!("var text = `{}`", "x".repeat(100_000)));
    let start = || test.session(with_startup(&[("init.js", 0)]));
    tokio::join!(start(), start(), start(), start());
    assert_eq!(test.host.stats().template_modules_compiled, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_file_that_throws_leaves_the_session_crashed() {
    let test = TestHost::start().await;
    test.file("good.js", "1");
    test.file("bad.js", "throw new Error('no')");
    test.file("never.js", "1");
    let template = with_startup(&[("good.js", 0), ("bad.js", 1), ("never.js", 2)]);
    let error = test.try_session(template).await.unwrap_err();
    let session = only_session(&test);
    assert_eq!(session.status, SessionStatus::Crashed);
    assert_eq!(session.last_error.as_deref(), Some("bad.js: Error: no"));
    let executions = executions(&test, session.id);
    let statuses: Vec<_> = executions.iter().map(|execution| execution.status).collect();
    assert_eq!(statuses, [ExecutionStatus::Ok, ExecutionStatus::Error]);
    match error {
        HostError::StartupFailed { session: id, execution, code: None, message } => {
            assert_eq!((id, execution), (session.id, Some(executions[1].id)));
            assert_eq!(message, "bad.js: Error: no");
        }
        error => panic!("{error}"),
    }
    assert_eq!(test.host.stats().live_sessions, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_file_with_a_syntax_error_fails_after_those_before_it_ran() {
    let test = TestHost::start().await;
    test.file("good.js", "console.log('ran')");
    test.file("bad.js", "1;\nlet let");
    test.try_session(with_startup(&[("good.js", 0), ("bad.js", 1)])).await.unwrap_err();
    let executions = executions(&test, only_session(&test).id);
    assert_eq!(executions[0].status, ExecutionStatus::Ok);
    let error = executions[1].error.as_ref().unwrap();
    assert!(error.message.starts_with("SyntaxError"), "{error:?}");
    assert!(error.stack.as_ref().unwrap().contains("bad.js:2:"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_file_that_passes_a_limit_leaves_the_session_crashed() {
    let test = TestHost::start().await;
    test.file("endless.js", "for (;;);");
    let mut template = with_startup(&[("endless.js", 0)]);
    template.settings.limits.cpu_ms = 20;
    let error = test.try_session(template).await.unwrap_err();
    let fuel = Some(ExecutionErrorCode::FuelExhausted);
    assert!(matches!(error, HostError::StartupFailed { code, .. } if code == fuel));
    assert_eq!(only_session(&test).last_error.as_deref(), Some("endless.js: cpu_ms is used up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_file_that_is_missing_or_outside_leaves_the_session_crashed() {
    let test = TestHost::start().await;
    let error = test.try_session(with_startup(&[("missing.js", 0)])).await.unwrap_err();
    let HostError::StartupFile { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, HostError::File { source: FileError::NotFound, .. }));
    assert_eq!(only_session(&test).status, SessionStatus::Crashed);

    let test = TestHost::start().await;
    let error = test.try_session(with_startup(&[("../outside.js", 0)])).await.unwrap_err();
    let HostError::StartupFile { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, HostError::InvalidPath { source: PathError::ParentDir, .. }));
    assert_eq!(only_session(&test).status, SessionStatus::Crashed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_startup_mode_is_refused() {
    let test = TestHost::start().await;
    test.file("init.js", "1");
    let mut template = with_startup(&[("init.js", 0)]);
    template.startup_files[0].mode = "worker".to_owned();
    let error = test.try_session(template).await.unwrap_err();
    assert!(matches!(error, HostError::StartupMode { mode, .. } if mode == "worker"));
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_load_before_startup_files_and_leave_no_execution() {
    let test = TestHost::start().await;
    test.library("lib-1.0.0", "globalThis.lib = { version: '1.0.0' }; console.log('unseen')");
    test.file("init.js", "var seen = lib.version");
    let libraries = vec!["lib-1.0.0".to_owned()];
    let session = test.session(Template { libraries, ..with_startup(&[("init.js", 0)]) }).await;
    assert_eq!(test.preview(session, "seen").await, "'1.0.0'");
    assert_eq!(executions(&test, session).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_cannot_be_loaded_leaves_the_session_crashed() {
    let with_library = |name: &str| Template { libraries: vec![name.to_owned()], ..template() };
    let test = TestHost::start().await;
    let error = test.try_session(with_library("absent-1.0.0")).await.unwrap_err();
    assert!(
        matches!(error, HostError::Library { source: LibraryError::NotInstalled { .. }, .. }),
        "{error:?}"
    );
    let last_error = only_session(&test).last_error.unwrap();
    assert!(last_error.starts_with("failed to load libraries"), "{last_error}");

    let test = TestHost::start().await;
    test.library("bad-1.0.0", "throw new TypeError('broken')");
    let error = test.try_session(with_library("bad-1.0.0")).await.unwrap_err();
    assert!(matches!(error, HostError::StartupFailed { execution: None, .. }));
    let last_error = only_session(&test).last_error.unwrap();
    assert_eq!(last_error, "failed to load libraries: bad-1.0.0: TypeError: broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_may_have_no_console_and_strict_scripts() {
    let test = TestHost::start().await;
    let mut template = template();
    template.settings.runtime.console = false;
    template.settings.runtime.strict = true;
    let session = test.session(template).await;
    assert_eq!(test.preview(session, "typeof console").await, "'undefined'");
    let error = test.repl(session, "undeclared = 1").await.execution.error.unwrap();
    assert_eq!(error.message, "ReferenceError: undeclared is not defined");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_host_of_first_sessions_compiles_them_all() {
    let test = TestHost::start().await;
    let start = async |index: u32| {
        let path = format!("init-{index}.js");
        test.file(&path, format!("var text = `{}`, index = {index}", "x".repeat(100_000)));
        test.session(with_startup(&[(path.as_str(), 0)])).await
    };
    let sessions = futures_util::future::join_all((0..MAX_SESSIONS).map(start)).await;
    for (index, session) in (0..MAX_SESSIONS).zip(sessions) {
        assert_eq!(test.preview(session, "index").await, index.to_string());
    }
}
