//! Every code of the API, once: its status, its envelope, and what comes with it.
//!
//! A new code has no row, and then a test here fails.

use crate::harness::{Daemon, Reply, raw, reply_of};
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use ureq::http::{HeaderMap, Request};
use vm_api::ErrorCode;

/// An id that nothing has.
const UNKNOWN: &str = "0198c0de-0000-7000-8000-000000000000";

type Row = (ErrorCode, fn() -> Reply);

const ROWS: &[Row] = &[
    (ErrorCode::Validation, || Daemon::start().post("/templates", json!({"name": ""}))),
    (ErrorCode::InvalidRequest, || {
        Daemon::start().post_text("/templates", br#"{"name":"a","name":"b"}"#)
    }),
    (ErrorCode::RouteNotFound, || Daemon::start().get("/nowhere")),
    (ErrorCode::MethodNotAllowed, || Daemon::start().request("PUT", "/templates", None)),
    (ErrorCode::PayloadTooLarge, || {
        Daemon::with(&["--max-body-kb", "1"]).post("/templates", json!({"name": "x".repeat(1_024)}))
    }),
    (ErrorCode::RequestTimeout, || {
        let daemon = Daemon::with(&["--body-timeout-s", "1"]);
        let answer = raw(
            daemon.address,
            b"POST /api/v1/templates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        );
        let (status, body) = reply_of(&answer);
        Reply { status, headers: HeaderMap::new(), body }
    }),
    (ErrorCode::UnsupportedMediaType, || {
        let daemon = Daemon::start();
        let request =
            Request::post(daemon.url("/api/v1/templates")).header("content-type", "text/plain");
        daemon.send(request.body(b"{}".to_vec()).unwrap())
    }),
    (ErrorCode::Unauthenticated, || Daemon::with_auth(&[]).0.get("/templates")),
    (ErrorCode::Forbidden, || {
        let (daemon, token) = Daemon::with_auth(&[]);
        let tenant = daemon.as_(&token).made("/tenants", json!({"name": "a"}));
        let reader = daemon.as_(&token).token_of(&tenant, &["read"]);
        daemon.as_(&reader).post("/templates", json!({"name": "a"}))
    }),
    (ErrorCode::TemplateExists, || {
        let daemon = Daemon::start();
        daemon.post("/templates", json!({"name": "a", "unique": true})).is(201);
        daemon.post("/templates", json!({"name": "a", "unique": true}))
    }),
    (ErrorCode::VersionMismatch, || {
        let daemon = Daemon::start();
        let uri = daemon.url(&format!("/api/v1/templates/{}", daemon.template()));
        daemon.send(Request::delete(uri).header("if-match", "\"2\"").body(Vec::new()).unwrap())
    }),
    (ErrorCode::TenantNotFound, || Daemon::start().get(&format!("/tenants/{UNKNOWN}"))),
    (ErrorCode::TenantExists, || Daemon::start().post("/tenants", json!({"name": "local"}))),
    (ErrorCode::TokenNotFound, || Daemon::start().delete(&format!("/tokens/{UNKNOWN}"))),
    (ErrorCode::TemplateNotFound, || Daemon::start().get(&format!("/templates/{UNKNOWN}"))),
    (ErrorCode::SessionNotFound, || Daemon::start().get(&format!("/sessions/{UNKNOWN}"))),
    (ErrorCode::ExecutionNotFound, || {
        Daemon::start().get(&format!("/executions/{UNKNOWN}/events"))
    }),
    (ErrorCode::FileNotFound, || {
        let daemon = Daemon::start();
        daemon.try_run_file(&daemon.any_session(), "missing.js")
    }),
    (ErrorCode::SessionNotReady, || {
        let daemon = Daemon::start();
        let session = daemon.any_session();
        daemon.delete(&format!("/sessions/{session}")).is(200);
        daemon.try_repl(&session, "1")
    }),
    (ErrorCode::SessionBusy, || {
        let daemon = Daemon::start();
        let limits = json!({"cpu_ms": 3_600_000, "wall_ms": 3_600_000});
        let session = daemon.session(&daemon.template_with_limits(&limits));
        std::thread::scope(|scope| {
            scope.spawn(|| daemon.try_repl(&session, "for (;;);"));
            daemon.wait_until_running(&session);
            let reply = daemon.try_repl(&session, "1");
            daemon.delete(&format!("/sessions/{session}")).is(200);
            reply
        })
    }),
    (ErrorCode::InvalidPath, || {
        let daemon = Daemon::start();
        daemon.try_run_file(&daemon.any_session(), "../etc/passwd")
    }),
    (ErrorCode::OutputLimitExceeded, || {
        let daemon = Daemon::start();
        let template = daemon.template_with_limits(&json!({"max_events": 1}));
        daemon.try_repl(&daemon.session(&template), "1")
    }),
    (ErrorCode::StartupModeUnsupported, || {
        let daemon = Daemon::start();
        let path = format!("/templates/{}/startup-files", daemon.template());
        daemon.post(&path, json!({"path": "a.js", "mode": "import"}))
    }),
    (ErrorCode::ModuleNotAllowed, || {
        let daemon = Daemon::start();
        daemon.post(&format!("/templates/{}/modules", daemon.template()), json!({"name": "JSON"}))
    }),
    (ErrorCode::EngineUnsupported, || {
        Daemon::start().post("/templates", json!({"name": "a", "engine": "node"}))
    }),
    (ErrorCode::LibraryNotAvailable, || {
        let daemon = Daemon::start();
        let template = daemon.template();
        daemon
            .post(&format!("/templates/{template}/libraries"), json!({"name": "absent-1.0.0"}))
            .is(201);
        daemon.try_session(&template)
    }),
    (ErrorCode::StartupFailed, || {
        let daemon = Daemon::start();
        daemon.folder.file("worktree/throws.js", "throw new Error('no')");
        let template = daemon.template();
        daemon
            .post(&format!("/templates/{template}/startup-files"), json!({"path": "throws.js"}))
            .is(201);
        daemon.try_session(&template)
    }),
    (ErrorCode::CapacityExceeded, || {
        let daemon = Daemon::with(&["--max-sessions", "1"]);
        daemon.any_session();
        daemon.try_session(&daemon.template())
    }),
    (ErrorCode::StorageUnavailable, || {
        let daemon = Daemon::start();
        let template = daemon.template();
        // From now on the kernel lets the daemon write to no file.
        let none = Rlimit { current: Some(0), maximum: None };
        let before = prlimit(Some(daemon.pid()), Resource::Fsize, none).unwrap();
        let reply = daemon.post("/templates", json!({"name": "b"}));
        // What could not be written is not there, and once it can be, all goes on.
        prlimit(Some(daemon.pid()), Resource::Fsize, before).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while daemon.post("/templates", json!({"name": "c"})).status != 201 {
            assert!(std::time::Instant::now() < deadline, "{}", daemon.log());
            std::thread::yield_now();
        }
        let templates = daemon.get("/templates").is(200);
        let names: Vec<_> = templates.as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["test", "c"]);
        assert_eq!(templates[0]["id"], template);
        reply
    }),
    (ErrorCode::WorktreeUnavailable, || {
        let daemon = Daemon::start();
        let session = daemon.any_session();
        let folder = daemon.kill();
        std::fs::remove_dir(folder.path("worktree")).unwrap();
        std::fs::write(folder.path("worktree"), "a file").unwrap();
        // Its message names a path of its own in each run: only the head of it is compared.
        let mut reply = Daemon::in_folder(folder, &[]).try_repl(&session, "1");
        let message = reply.body["error"]["message"].as_str().unwrap().to_owned();
        let (head, _) = message.split_once(": ").unwrap();
        reply.body["error"]["message"] = head.into();
        reply
    }),
    (ErrorCode::GuestUnavailable, || {
        let daemon = Daemon::start();
        let session = daemon.any_session();
        let folder = daemon.kill();
        let database = folder.path("vm-system.redb");
        super::restart::rebind(&database, &session, &"0".repeat(64));
        Daemon::in_folder(folder, &[]).try_repl(&session, "1")
    }),
    (ErrorCode::ArtifactNotFound, || {
        let daemon = Daemon::start();
        let template = daemon.template();
        daemon.get(&format!("/templates/{template}/artifacts/0"))
    }),
    (ErrorCode::BackupExists, || {
        let daemon = Daemon::start();
        daemon.post("/ops/backup", json!({"name": "one"})).is(201);
        daemon.post("/ops/backup", json!({"name": "one"}))
    }),
    (ErrorCode::CursorExpired, || {
        let daemon = Daemon::with(&["--retain-events", "1"]);
        let session = daemon.any_session();
        let execution = daemon.repl(&session, "1");
        let path = format!("/executions/{}/events", execution["id"].as_str().unwrap());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let reply = daemon.get(&path);
            if reply.status != 200 {
                return reply;
            }
            assert!(std::time::Instant::now() < deadline, "nothing is removed");
            std::thread::yield_now();
        }
    }),
    (ErrorCode::ForbiddenOrigin, || {
        let daemon = Daemon::start();
        let request =
            Request::get(daemon.url("/api/v1/health")).header("origin", "http://evil.example");
        daemon.send(request.body(Vec::new()).unwrap())
    }),
    (ErrorCode::Internal, || {
        let daemon = Daemon::start();
        let libraries = daemon.folder.path("libraries");
        std::fs::remove_dir(&libraries).unwrap();
        std::fs::write(&libraries, "not a folder").unwrap();
        let reply = daemon.get("/metadata/libraries");
        // The log says what the client is not told.
        assert!(!reply.body.to_string().contains("libraries"), "{}", reply.body);
        let id = reply.headers["x-request-id"].to_str().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let log = daemon.log();
            if log.lines().any(|line| line.contains(id) && line.contains("not a directory")) {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{log}");
            std::thread::yield_now();
        }
        reply
    }),
];

#[test]
fn every_code_has_a_row() {
    for code in ErrorCode::ALL {
        let rows = ROWS.iter().filter(|(of, _)| of == code).count();
        assert_eq!(rows, 1, "{code} has {rows} rows");
    }
}

#[test]
fn every_code_comes_with_its_status_and_its_envelope() {
    let mut seen = BTreeMap::new();
    for (code, provoke) in ROWS {
        let reply = provoke();
        assert_eq!(reply.status, code.status().as_u16(), "{code}: {}", reply.body);
        assert_eq!(reply.body["error"]["code"], code.as_str(), "{}", reply.body);
        let headers: BTreeMap<_, _> = ["allow", "retry-after", "connection", "www-authenticate"]
            .into_iter()
            .filter_map(|name| Some((name, reply.headers.get(name)?.to_str().unwrap().to_owned())))
            .collect();
        let mut body = reply.body;
        hide_ids(&mut body);
        seen.insert(
            code.as_str(),
            json!({"status": reply.status, "headers": headers, "body": body}),
        );
    }
    insta::assert_json_snapshot!("envelopes", seen);
}

/// Replaces what differs from run to run.
fn hide_ids(value: &mut Value) {
    match value {
        Value::String(text) => *text = hidden(text),
        Value::Array(items) => items.iter_mut().for_each(hide_ids),
        Value::Object(members) => members.values_mut().for_each(hide_ids),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn hidden(text: &str) -> String {
    let word = |word: &str| {
        let is_id = word.len() == 36 && word.matches('-').count() == 4 && word != UNKNOWN;
        if is_id { "[id]".to_owned() } else { word.to_owned() }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
