//! Executions that are told to end.

use crate::harness::Daemon;
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::{Value, json};

/// Limits that end nothing within a test.
fn endless() -> Value {
    json!({"cpu_ms": 3_600_000, "wall_ms": 3_600_000})
}

fn cancel(daemon: &Daemon, execution: &Value) -> Value {
    let id = execution["id"].as_str().unwrap();
    daemon.request("POST", &format!("/executions/{id}/cancel"), None).is(200)
}

#[test]
fn an_execution_is_cancelled_and_its_session_is_as_it_was() {
    let daemon = Daemon::start();
    let session = daemon.session(&daemon.template_with_limits(&endless()));
    daemon.repl(&session, "var list = [1]");
    for loops in ["for (;;);", "for (;;) { try { for (;;); } catch {} }", "for (;;) await 1"] {
        std::thread::scope(|scope| {
            let input = format!("list.push(2); console.log('begun'); {loops}");
            let running = scope.spawn({
                let (daemon, session) = (&daemon, &session);
                move || daemon.try_repl(session, &input).is(201)
            });
            let cancelled = cancel(&daemon, &daemon.wait_until_running(&session));
            assert_eq!(cancelled["status"], "cancelled");
            assert_eq!(cancelled["error"]["code"], "CANCELLED");
            assert_eq!(cancelled["error"]["message"], "the execution was cancelled");
            // Who waited for it is answered the same, with its events.
            let mut answered = running.join().unwrap();
            let events = answered.as_object_mut().unwrap().remove("events").unwrap();
            assert_eq!(answered, cancelled);
            let types: Vec<_> = events.as_array().unwrap().iter().map(|e| &e["type"]).collect();
            assert_eq!(types, ["input_echo", "console", "system"], "{events}");
        });
        assert_eq!(daemon.preview(&session, "list"), "[ 1 ]");
        let record = daemon.get(&format!("/sessions/{session}")).is(200);
        assert_eq!((&record["status"], &record["last_error"]), (&json!("ready"), &Value::Null));
    }
}

#[test]
fn cancelling_what_is_over_changes_nothing() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    for input in ["1 + 1", "throw 1"] {
        let mut execution = daemon.repl(&session, input);
        execution.as_object_mut().unwrap().remove("events");
        assert_eq!(cancel(&daemon, &execution), execution);
        assert_eq!(cancel(&daemon, &execution), execution);
    }
    daemon.delete(&format!("/sessions/{session}")).is(200);
    let path = |id: &str| format!("/executions/{id}/cancel");
    let unknown = path("0198c0de-0000-7000-8000-000000000000");
    daemon.request("POST", &unknown, None).refused(404, "EXECUTION_NOT_FOUND");
    daemon.request("POST", &path("x"), None).refused(400, "VALIDATION_ERROR");
    daemon.get(&unknown).refused(405, "METHOD_NOT_ALLOWED");
}

#[test]
fn a_startup_file_that_runs_can_be_cancelled() {
    let daemon = Daemon::start();
    daemon.folder.file("worktree/startup.js", "for (;;);");
    let template = daemon.template_with_limits(&endless());
    let path = format!("/templates/{template}/startup-files");
    daemon.post(&path, json!({"path": "startup.js"})).is(201);
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| daemon.try_session(&template));
        let session = loop {
            let sessions = daemon.get("/sessions?status=starting").is(200);
            if let Some(id) = sessions[0]["id"].as_str() {
                break id.to_owned();
            }
            std::thread::yield_now();
        };
        cancel(&daemon, &daemon.wait_until_running(&session));
        let error = starting.join().unwrap().refused(422, "STARTUP_FAILED");
        assert_eq!(error["details"]["reason"], "CANCELLED");
        let record = daemon.get(&format!("/sessions/{session}")).is(200);
        assert_eq!(record["status"], "crashed");
    });
}

#[test]
fn limits_leave_the_session_as_it_was() {
    let daemon = Daemon::start();
    let limits = json!({"cpu_ms": 100, "mem_mb": 16, "max_events": 20, "max_output_kb": 8});
    let session = daemon.session(&daemon.template_with_limits(&limits));
    daemon.repl(&session, "var n = 1, list = [n]");
    for (input, status, code) in [
        ("for (;;);", 201, "FUEL_EXHAUSTED"),
        ("for (;;) console.log(1)", 422, "OUTPUT_LIMIT_EXCEEDED"),
        ("console.log('x'.repeat(100000))", 422, "OUTPUT_LIMIT_EXCEEDED"),
    ] {
        let reply = daemon.try_repl(&session, &format!("n = 2; list.push(n); {input}"));
        assert_eq!(reply.status, status, "{}", reply.body);
        assert_eq!(reply.body["error"]["code"], code, "{}", reply.body);
        assert_eq!(daemon.preview(&session, "[n, list]"), "[ 1, [ 1 ] ]");
    }
    let events = daemon.repl(&session, "for (;;);")["events"].clone();
    let said = events[1]["payload"]["message"].as_str().unwrap();
    assert_eq!(said, "cpu_ms is used up; the session is as it was before this execution");
}

#[test]
fn what_cannot_be_committed_leaves_the_session_as_it_was() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    daemon.repl(&session, "var n = 1");
    let busy = daemon.session(&daemon.template_with_limits(&endless()));
    daemon.repl(&busy, "var n = 1");
    std::thread::scope(|scope| {
        let running = scope.spawn(|| daemon.try_repl(&busy, "n = 2; for (;;);"));
        daemon.wait_until_running(&busy);
        // From now on the kernel lets the daemon write to no file.
        let none = Rlimit { current: Some(0), maximum: None };
        let before = prlimit(Some(daemon.pid()), Resource::Fsize, none).unwrap();
        daemon.try_repl(&session, "n = 2").refused(503, "STORAGE_UNAVAILABLE");
        daemon.delete(&format!("/sessions/{session}")).refused(503, "STORAGE_UNAVAILABLE");
        // Nor does closing a session in which something runs take its state away.
        daemon.delete(&format!("/sessions/{busy}")).refused(503, "STORAGE_UNAVAILABLE");
        running.join().unwrap().refused(503, "STORAGE_UNAVAILABLE");
        prlimit(Some(daemon.pid()), Resource::Fsize, before).unwrap();
    });
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let reply = loop {
        let reply = daemon.try_repl(&session, "n");
        if reply.status != 503 {
            break reply.is(201);
        }
        assert!(std::time::Instant::now() < deadline, "{}", daemon.log());
        std::thread::yield_now();
    };
    assert_eq!(reply["result"]["preview"], "1");
    assert_eq!(daemon.preview(&busy, "n"), "1");
    let executions = daemon.get(&format!("/executions?session_id={session}")).is(200);
    assert_eq!(executions.as_array().unwrap().len(), 2, "{executions}");
    assert_eq!(daemon.delete(&format!("/sessions/{session}")).is(200)["status"], "closed");
}
