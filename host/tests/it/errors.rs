//! What goes wrong in a script is in its execution, with the user's file and line.

use crate::harness::{TestHost, template};
use vm_host::HostError;
use vm_storage::{EventPayload, ExecutionStatus, SessionId, SessionStatus};

/// Message and stack of what a snippet throws, the same in the event and in the execution.
async fn thrown(test: &TestHost, session: SessionId, input: &str) -> (String, Option<String>) {
    let finished = test.repl(session, input).await;
    assert_eq!(finished.execution.status, ExecutionStatus::Error, "{input}");
    let error = finished.execution.error.unwrap();
    assert_eq!(error.code, None);
    let exception =
        EventPayload::Exception { message: error.message.clone(), stack: error.stack.clone() };
    assert_eq!(finished.events.last().unwrap().payload, exception, "{input}");
    (error.message, error.stack)
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_have_their_message_and_the_users_positions() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let input =
        "function inner() {\n  return missing\n}\nfunction outer() { return inner() }\nouter()";
    let (message, stack) = thrown(&test, session, input).await;
    assert_eq!(message, "ReferenceError: missing is not defined");
    let stack = stack.unwrap();
    let lines: Vec<_> = stack.lines().collect();
    assert_eq!(lines[0], message);
    assert!(lines[1].starts_with("    at inner (<repl>:2:"), "{stack}");
    assert!(lines[2].starts_with("    at outer (<repl>:4:"), "{stack}");
    assert!(lines[3].starts_with("    at <eval> (<repl>:5:"), "{stack}");
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_may_be_thrown() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    for (input, message) in [
        ("throw 'text'", "text"),
        ("throw { code: 7 }", "{ code: 7 }"),
        ("throw null", "null"),
        ("throw undefined", "undefined"),
        ("throw 1n", "1n"),
        ("throw new class Mine extends Error { name = 'Mine' }('own')", "Mine: own"),
        ("await Promise.reject(new TypeError('awaited'))", "TypeError: awaited"),
        ("Promise.reject(new RangeError('last value'))", "RangeError: last value"),
        ("throw new Proxy({}, { get() { throw 'trap' } })", "{}"),
    ] {
        assert_eq!(thrown(&test, session, input).await.0, message, "{input}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_that_nothing_handles_fails_the_execution() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let (message, _) = thrown(&test, session, "Promise.reject(new Error('lost')); 1").await;
    assert_eq!(message, "Error: lost");
    let handled = "const p = Promise.reject(1); p.catch(() => {}); 'fine'";
    assert_eq!(test.preview(session, handled).await, "'fine'");
}

#[tokio::test(flavor = "multi_thread")]
async fn syntax_errors_name_file_and_line_and_leave_the_session_ready() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let (message, stack) = thrown(&test, session, "let ok = 1\nlet let = 2").await;
    assert!(message.starts_with("SyntaxError: "), "{message}");
    assert!(stack.unwrap().contains("<repl>:2:"));
    let (message, _) = thrown(&test, session, "await )").await;
    assert!(message.starts_with("SyntaxError: "), "{message}");
    test.file("broken.js", "1;\n2;\n(]");
    let finished = test.run_file(session, "broken.js").await.unwrap();
    assert!(finished.execution.error.unwrap().stack.unwrap().contains("broken.js:3:"));
    assert_eq!(test.preview(session, "1 + 1").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_the_template_lacks_is_invalid() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    for name in ["fs", "node:fs", "os", "", "../fs"] {
        let (message, _) = thrown(&test, session, &format!("require({name:?})")).await;
        assert!(message.contains("Invalid module"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_or_unknown_session_runs_nothing() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let closed = test.host.close_session(session).await.unwrap();
    assert_eq!(closed.status, SessionStatus::Closed);
    assert_eq!(test.host.close_session(session).await.unwrap(), closed);
    let source = || vm_host::Source::Repl { input: "1".to_owned() };
    let error = test.host.execute(session, source(), None).await.unwrap_err();
    let status = SessionStatus::Closed;
    assert!(matches!(error, HostError::SessionNotReady { status: found, .. } if found == status));
    let unknown = SessionId::new();
    let error = test.host.execute(unknown, source(), None).await.unwrap_err();
    assert!(matches!(error, HostError::SessionNotFound(id) if id == unknown));
    let error = test.host.close_session(unknown).await.unwrap_err();
    assert!(matches!(error, HostError::SessionNotFound(id) if id == unknown));
}
