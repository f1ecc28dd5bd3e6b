//! Executions and their events.

use crate::harness::Daemon;
use serde_json::{Value, json};

fn types(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn a_snippet_gives_its_value_and_its_events() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    let execution = daemon.repl(&session, "console.log('hi', {a: 1}); [1, 2]");
    let id = &execution["id"];
    let value = json!({"type": "array", "preview": "[ 1, 2 ]", "json": [1, 2]});
    let payloads: Vec<_> = execution["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["payload"].clone())
        .collect();
    let expected = [
        json!({"text": "console.log('hi', {a: 1}); [1, 2]"}),
        json!({"level": "log", "text": "hi { a: 1 }"}),
        value.clone(),
    ];
    assert_eq!(payloads, expected);
    assert_eq!(types(&execution["events"]), ["input_echo", "console", "value"]);
    for (event, seq) in execution["events"].as_array().unwrap().iter().zip(1..) {
        assert_eq!((&event["execution_id"], &event["seq"]), (id, &json!(seq)));
        assert!(event["ts"].as_str().unwrap().ends_with('Z'), "{event}");
    }
    for field in ["fuel_used", "wall_ms", "peak_memory_bytes", "events", "output_bytes"] {
        assert!(execution["metrics"][field].is_u64(), "{field} of {}", execution["metrics"]);
    }
    let expected = json!({
        "id": id, "session_id": session, "kind": "repl",
        "input": "console.log('hi', {a: 1}); [1, 2]", "args": {}, "env": {}, "status": "ok",
        "started_at": execution["started_at"], "ended_at": execution["ended_at"],
        "result": value, "metrics": execution["metrics"], "events": execution["events"],
    });
    assert_eq!(execution, expected);

    // Read again it has no events; they have a route of their own.
    let mut without = execution.clone();
    let events = without.as_object_mut().unwrap().remove("events").unwrap();
    let path = format!("/executions/{}", id.as_str().unwrap());
    assert_eq!(daemon.get(&path).is(200), without);
    assert_eq!(daemon.get(&format!("{path}/events")).is(200), events);
    assert_eq!(daemon.get(&format!("/executions?session_id={session}")).is(200), json!([without]));
}

#[test]
fn events_are_read_after_a_seq() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    let execution = daemon.repl(&session, "for (let i = 0; i < 5; i++) console.log(i)");
    let path = format!("/executions/{}/events", execution["id"].as_str().unwrap());
    let seqs = |query: &str| -> Vec<u64> {
        let events = daemon.get(&format!("{path}{query}")).is(200);
        events.as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(seqs(""), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(seqs("?after_seq=0"), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(seqs("?after_seq="), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(seqs("?after_seq=5"), [6, 7]);
    assert_eq!(seqs("?after_seq=7"), [0; 0]);
    assert_eq!(seqs("?after_seq=18446744073709551615"), [0; 0]);
    for wrong in ["-1", "x", "1.5", "+1", "18446744073709551616"] {
        daemon.get(&format!("{path}?after_seq={wrong}")).refused(400, "VALIDATION_ERROR");
    }
}

#[test]
fn a_long_list_of_events_comes_whole() {
    let daemon = Daemon::start();
    let template = daemon.template_with_limits(&json!({"max_output_kb": 1024}));
    let session = daemon.session(&template);
    // One page exactly, one more, several pages: the echo, the lines and the value.
    for lines in [4_094, 4_095, 10_000] {
        let execution =
            daemon.repl(&session, &format!("for (let i = 0; i < {lines}; i++) console.log(i); 0"));
        let path = format!("/executions/{}/events", execution["id"].as_str().unwrap());
        assert_eq!(daemon.get(&path).is(200), execution["events"], "{lines}");
    }
}

#[test]
fn state_goes_on_from_snippet_to_snippet_and_to_files() {
    let daemon = Daemon::start();
    daemon.folder.file(
        "worktree/lib/app.js",
        "counter += __ARGS__.by; [counter, __ENV__.NAME, process.env.NAME]",
    );
    let session = daemon.any_session();
    daemon.repl(&session, "var counter = 40; function twice(n) { return 2 * n }");
    assert_eq!(daemon.preview(&session, "twice(counter)"), "80");
    let body = json!({"session_id": session, "path": "lib/app.js", "args": {"by": 2}, "env": {"NAME": "v"}});
    let execution = daemon.post("/executions/run-file", body).is(201);
    assert_eq!(execution["result"]["json"], json!([42, "v", "v"]));
    let known = [&execution["kind"], &execution["path"], &execution["args"], &execution["env"]];
    assert_eq!(
        known,
        [&json!("run_file"), &json!("lib/app.js"), &json!({"by": 2}), &json!({"NAME": "v"})]
    );
    assert_eq!(execution["events"][0]["payload"], json!({"text": "lib/app.js"}));
    assert!(execution.get("input").is_none(), "{execution}");
    assert_eq!(daemon.preview(&session, "counter"), "42");
}

#[test]
fn what_is_thrown_is_a_result_not_a_refusal() {
    let daemon = Daemon::start();
    daemon.folder.file("worktree/app.js", "let a = 1;\nundefined_name;\n");
    let session = daemon.any_session();
    let execution = daemon.try_run_file(&session, "app.js").is(201);
    assert_eq!(execution["status"], "error");
    assert_eq!(types(&execution["events"]), ["input_echo", "exception"]);
    let exception = &execution["events"][1]["payload"];
    assert_eq!(exception["message"], "ReferenceError: undefined_name is not defined");
    assert!(exception["stack"].as_str().unwrap().contains("app.js:2"), "{exception}");
    assert_eq!(execution["error"]["message"], exception["message"]);
    assert!(execution.get("result").is_none(), "{execution}");
    assert_eq!(daemon.repl(&session, "throw 1")["status"], "error");
    assert_eq!(daemon.preview(&session, "'alive'"), "'alive'");
}

#[test]
fn time_and_fuel_that_are_spent_are_a_timeout() {
    let daemon = Daemon::start();
    for (limits, code) in [
        (json!({"cpu_ms": 20}), "FUEL_EXHAUSTED"),
        (json!({"wall_ms": 20, "cpu_ms": 3_600_000}), "WALL_TIME_EXCEEDED"),
    ] {
        let session = daemon.session(&daemon.template_with_limits(&limits));
        let execution = daemon.repl(&session, "for (;;);");
        assert_eq!(
            (&execution["status"], &execution["error"]["code"]),
            (&json!("timeout"), &json!(code))
        );
    }
}

#[test]
fn too_much_output_is_refused_and_kept() {
    let daemon = Daemon::start();
    for (limits, input, kept) in [
        (json!({"max_events": 1, "max_output_kb": 1}), "1+1", vec!["input_echo", "system"]),
        (
            json!({"max_output_kb": 1}),
            "console.log('x'); console.log('x'.repeat(2000))",
            vec!["input_echo", "console", "system"],
        ),
    ] {
        let session = daemon.session(&daemon.template_with_limits(&limits));
        let error = daemon.try_repl(&session, input).refused(422, "OUTPUT_LIMIT_EXCEEDED");
        assert_eq!(error["details"]["session_id"], json!(session));
        let path = format!("/executions/{}", error["details"]["execution_id"].as_str().unwrap());
        let execution = daemon.get(&path).is(200);
        assert_eq!(
            (&execution["status"], &execution["error"]["code"]),
            (&json!("error"), &json!("OUTPUT_LIMIT_EXCEEDED"))
        );
        assert_eq!(types(&daemon.get(&format!("{path}/events")).is(200)), kept);
    }
}

#[test]
fn lists_are_newest_first_and_limited() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    let ids: Vec<_> =
        (0..52).map(|n| daemon.repl(&session, &n.to_string())["id"].clone()).collect();
    let ids: Vec<_> = ids.into_iter().rev().collect();
    let listed = |query: &str| -> Vec<Value> {
        let list = daemon.get(&format!("/executions?session_id={session}{query}")).is(200);
        list.as_array().unwrap().iter().map(|execution| execution["id"].clone()).collect()
    };
    assert_eq!(listed(""), ids[..50]);
    assert_eq!(listed("&limit=3"), ids[..3]);
    assert_eq!(listed("&limit=1000"), ids);
    for wrong in ["0", "-1", "1001", "x", "1e1"] {
        daemon
            .get(&format!("/executions?session_id={session}&limit={wrong}"))
            .refused(400, "VALIDATION_ERROR");
    }
    daemon.get("/executions").refused(400, "VALIDATION_ERROR");
    daemon.get("/executions?session_id=").refused(400, "VALIDATION_ERROR");
    daemon
        .get("/executions?session_id=0198c0de-0000-7000-8000-000000000000")
        .refused(404, "SESSION_NOT_FOUND");
}

#[test]
fn every_field_of_a_run_is_checked() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    for (path, body) in [
        ("repl", json!({"session_id": session})),
        ("repl", json!({"session_id": session, "input": ""})),
        ("repl", json!({"input": "1"})),
        ("repl", json!({"session_id": "1", "input": "1"})),
        ("repl", json!({"session_id": session.replace('-', ""), "input": "1"})),
        ("run-file", json!({"session_id": session})),
        ("run-file", json!({"session_id": session, "path": ""})),
    ] {
        daemon.post(&format!("/executions/{path}"), body).refused(400, "VALIDATION_ERROR");
    }
    for (path, body) in [
        ("repl", json!({"session_id": session, "input": 1})),
        ("repl", json!({"session_id": session, "input": "1", "path": "a"})),
        ("run-file", json!({"session_id": session, "path": "a", "args": []})),
        ("run-file", json!({"session_id": session, "path": "a", "env": {"A": 1}})),
    ] {
        daemon.post(&format!("/executions/{path}"), body).refused(400, "INVALID_REQUEST");
    }
    let unknown = "0198c0de-0000-7000-8000-000000000000";
    daemon.try_repl(unknown, "1").refused(404, "SESSION_NOT_FOUND");
    daemon.get(&format!("/executions/{unknown}")).refused(404, "EXECUTION_NOT_FOUND");
    daemon.get(&format!("/executions/{unknown}/events")).refused(404, "EXECUTION_NOT_FOUND");
    assert_eq!(daemon.get(&format!("/executions?session_id={session}")).is(200), json!([]));
}

#[test]
fn values_of_every_type_are_named_as_javascript_names_them() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    for (input, value_type, preview) in [
        ("1.5", "number", "1.5"),
        ("'a'", "string", "'a'"),
        ("true", "boolean", "true"),
        ("10n", "bigint", "10n"),
        ("undefined", "undefined", "undefined"),
        ("null", "null", "null"),
        ("Symbol('s')", "symbol", "Symbol(s)"),
        ("(function f() {})", "function", "[Function: f]"),
        ("[1]", "array", "[ 1 ]"),
        ("({a: 1})", "object", "{ a: 1 }"),
        ("new Date(0)", "date", "1970-01-01T00:00:00.000Z"),
        ("new Map([[1, 2]])", "map", "Map(1) { 1 => 2 }"),
        ("new Set([1])", "set", "Set(1) { 1 }"),
        ("new Promise(() => {})", "promise", "Promise { <pending> }"),
    ] {
        let result = daemon.repl(&session, input)["result"].clone();
        assert_eq!(
            (&result["type"], &result["preview"]),
            (&json!(value_type), &json!(preview)),
            "{input}"
        );
    }
    assert_eq!(daemon.repl(&session, "new RangeError('x')")["result"]["type"], "error");
    assert_eq!(daemon.repl(&session, "null")["result"]["json"], Value::Null);
    assert!(daemon.repl(&session, "undefined")["result"].get("json").is_none());
}

#[test]
fn an_execution_that_runs_is_read_and_listed() {
    let daemon = Daemon::start();
    let session = daemon
        .session(&daemon.template_with_limits(&json!({"cpu_ms": 3_600_000, "wall_ms": 3_600_000})));
    std::thread::scope(|scope| {
        let running =
            scope.spawn(|| daemon.try_repl(&session, "console.log('begun'); for (;;);").is(201));
        let listed = daemon.wait_until_running(&session);
        let path = format!("/executions/{}", listed["id"].as_str().unwrap());
        let read = daemon.get(&path).is(200);
        assert_eq!((&read["status"], &read["id"]), (&json!("running"), &listed["id"]));
        daemon.get(&format!("{path}/events")).is(200);
        daemon.try_repl(&session, "1").refused(409, "SESSION_BUSY");
        daemon.delete(&format!("/sessions/{session}")).is(200);
        let cancelled = running.join().unwrap();
        assert_eq!((&cancelled["status"], &cancelled["id"]), (&json!("cancelled"), &listed["id"]));
        assert_eq!(daemon.get(&path).is(200)["status"], "cancelled");
    });
}
