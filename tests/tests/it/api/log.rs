//! The log: a line for each request, that no request can forge.

use crate::harness::Daemon;
use serde_json::{Value, json};
use ureq::http::Request;

/// The log's lines once the daemon has ended.
fn lines(daemon: Daemon) -> Vec<Value> {
    daemon.signal(rustix::process::Signal::TERM);
    let (_, log) = daemon.wait();
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

#[test]
fn each_request_is_a_line_with_its_ids_status_code_and_duration() {
    let daemon = Daemon::with(&["--log-format", "json"]);
    let template = daemon.template();
    let session = daemon.session(&template);
    let execution = daemon.repl(&session, "1")["id"].clone();
    daemon.get(&format!("/executions/{}", execution.as_str().unwrap())).is(200);
    let request = Request::get(daemon.url("/api/v1/sessions/1")).header("x-request-id", "mine");
    daemon.send(request.body(Vec::new()).unwrap()).refused(400, "VALIDATION_ERROR");
    let lines = lines(daemon);
    let of = |method: &str, path: &str| {
        let found =
            |line: &&Value| line["method"] == method && line["path"] == format!("\"{path}\"");
        lines.iter().find(found).unwrap_or_else(|| panic!("{method} {path} in {lines:#?}"))
    };
    assert_eq!(of("POST", "/api/v1/templates")["template_id"], template);
    let created = of("POST", "/api/v1/sessions");
    assert_eq!(
        (&created["session_id"], &created["template_id"]),
        (&json!(session), &json!(template))
    );
    assert_eq!(created["status"], 201);
    let ran = of("POST", "/api/v1/executions/repl");
    assert_eq!((&ran["session_id"], &ran["execution_id"]), (&json!(session), &execution));
    assert!(ran["duration_us"].as_u64().unwrap() > 0 && ran["request_id"].is_string(), "{ran}");
    let refused = of("GET", "/api/v1/sessions/1");
    assert_eq!(
        (&refused["status"], &refused["code"], &refused["request_id"]),
        (&json!(400), &json!("VALIDATION_ERROR"), &json!("mine"))
    );
}

#[test]
fn what_clients_and_scripts_choose_cannot_forge_a_line() {
    let daemon = Daemon::start();
    let hostile = "a\n2026-01-01T00:00:00Z ERROR forged\u{1b}[31m\r\u{9b}";
    daemon
        .post("/templates", json!({"name": hostile, "engine": hostile}))
        .refused(422, "ENGINE_UNSUPPORTED");
    let session = daemon.any_session();
    daemon.repl(&session, "throw '\\n2026 ERROR forged\\x1b[31m'");
    daemon.try_run_file(&session, hostile).refused(404, "FILE_NOT_FOUND");
    daemon.get("/%0aforged%1b[31m").refused(404, "ROUTE_NOT_FOUND");
    let path = daemon.folder.path(hostile);
    std::fs::create_dir(&path).unwrap();
    daemon.signal(rustix::process::Signal::TERM);
    let (_, log) = daemon.wait();
    for line in log.lines() {
        assert!(line.starts_with("20") && line.contains("Z "), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(!line.contains(" ERROR "), "{line:?}");
    }
}

#[test]
fn the_log_can_be_turned_down() {
    let daemon = Daemon::with(&["--log", "off"]);
    daemon.get("/nowhere").refused(404, "ROUTE_NOT_FOUND");
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.wait().1, "");
}
