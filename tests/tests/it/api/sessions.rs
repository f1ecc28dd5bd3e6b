//! Sessions: their life, lists and filters.

use crate::harness::Daemon;
use serde_json::{Value, json};

#[test]
fn a_session_is_created_read_listed_and_closed() {
    let daemon = Daemon::start();
    let template = daemon.template();
    let created = daemon.try_session(&template).is(201);
    let id = created["id"].as_str().unwrap();
    let expected = json!({
        "id": id, "vm_id": template, "template_id": template, "workspace_id": "ws",
        "base_commit_oid": "deadbeef", "worktree_path": daemon.folder.path("worktree"),
        "status": "ready", "created_at": created["created_at"], "runtime_meta": created["runtime_meta"],
    });
    assert_eq!(created, expected);
    let detail = daemon.get(&format!("/templates/{template}")).is(200);
    assert_eq!(created["runtime_meta"]["settings"]["limits"], detail["settings"]["limits"]);
    let nothing = json!({"modules": [], "capabilities": []});
    assert_eq!(created["runtime_meta"]["effective"], nothing);
    let path = format!("/sessions/{id}");
    assert_eq!(daemon.get(&path).is(200), created);
    assert_eq!(daemon.get("/sessions").is(200), json!([created]));

    let closed = daemon.request("POST", &format!("{path}/close"), None).is(200);
    assert_eq!(closed["status"], "closed");
    assert!(closed["closed_at"].is_string(), "{closed}");
    // Closing again, either way, changes nothing.
    assert_eq!(daemon.post(&format!("{path}/close"), json!({})).is(200), closed);
    assert_eq!(daemon.delete(&path).is(200), closed);
    assert_eq!(daemon.get(&path).is(200), closed);
    daemon.try_repl(id, "1").refused(409, "SESSION_NOT_READY");
}

#[test]
fn delete_closes_too() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    assert_eq!(daemon.delete(&format!("/sessions/{session}")).is(200)["status"], "closed");
    assert_eq!(daemon.active_sessions(), 0);
}

#[test]
fn the_summary_goes_from_two_to_one_to_none() {
    let daemon = Daemon::start();
    let template = daemon.template();
    let mut ids = vec![daemon.session(&template), daemon.session(&template)];
    ids.sort_unstable();
    let summary = |ids: &[String]| json!({"active_sessions": ids.len(), "active_session_ids": ids});
    assert_eq!(daemon.get("/runtime/summary").is(200), summary(&ids));
    daemon.delete(&format!("/sessions/{}", ids[0])).is(200);
    assert_eq!(daemon.get("/runtime/summary").is(200), summary(&ids[1..]));
    daemon.delete(&format!("/sessions/{}", ids[1])).is(200);
    assert_eq!(daemon.get("/runtime/summary").is(200), summary(&[]));
}

#[test]
fn lists_are_newest_first_and_filtered_by_status_and_template() {
    let daemon = Daemon::start();
    let (one, other) = (daemon.template(), daemon.template());
    let (a, b, c) = (daemon.session(&one), daemon.session(&one), daemon.session(&other));
    daemon.delete(&format!("/sessions/{a}")).is(200);
    daemon
        .post(&format!("/templates/{other}/startup-files"), json!({"path": "missing.js"}))
        .is(201);
    daemon.try_session(&other).refused(404, "FILE_NOT_FOUND");
    let crashed =
        daemon.get("/sessions?status=crashed").is(200)[0]["id"].as_str().unwrap().to_owned();
    let listed = |query: &str| -> Vec<String> {
        let list = daemon.get(&format!("/sessions{query}")).is(200);
        let id = |session: &Value| session["id"].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(id).collect()
    };
    assert_eq!(listed(""), [crashed.as_str(), &c, &b, &a]);
    assert_eq!(listed("?status="), [crashed.as_str(), &c, &b, &a]);
    assert_eq!(listed("?status=ready"), [c.as_str(), &b]);
    assert_eq!(listed("?status=closed"), [a.as_str()]);
    assert_eq!(listed("?status=closed,crashed"), [crashed.as_str(), &a]);
    assert_eq!(listed("?status=starting"), [""; 0]);
    assert_eq!(listed(&format!("?template_id={other}")), [crashed.as_str(), &c]);
    assert_eq!(listed(&format!("?template_id={one}&status=ready")), [b.as_str()]);
    for query in [
        "?status=open",
        "?status=ready,",
        "?template_id=1",
        "?stauts=ready",
        "?status=ready&status=closed",
    ] {
        daemon.get(&format!("/sessions{query}")).refused(400, "VALIDATION_ERROR");
    }
}

#[test]
fn every_field_of_a_new_session_is_required() {
    let daemon = Daemon::start();
    let good = daemon.session_body(&daemon.template());
    for field in ["template_id", "workspace_id", "base_commit_oid", "worktree_path"] {
        for wrong in [None, Some(json!("")), Some(Value::Null)] {
            let mut body = good.clone();
            match wrong {
                Some(value) => body[field] = value,
                None => drop(body.as_object_mut().unwrap().remove(field)),
            }
            let error = daemon.post("/sessions", body).refused(400, "VALIDATION_ERROR");
            assert_eq!(error["details"]["field"], field);
        }
    }
    daemon.folder.file("worktree/file", "");
    for path in ["relative", "/no/such/folder", "nul\u{0}"] {
        let mut body = good.clone();
        body["worktree_path"] = path.into();
        daemon.post("/sessions", body).refused(400, "VALIDATION_ERROR");
    }
    let mut body = good.clone();
    body["worktree_path"] = daemon.folder.path("worktree/file").to_str().unwrap().into();
    daemon.post("/sessions", body).refused(400, "VALIDATION_ERROR");
    let mut body = good;
    body["template_id"] = "0198c0de-0000-7000-8000-000000000000".into();
    daemon.post("/sessions", body).refused(404, "TEMPLATE_NOT_FOUND");
    assert_eq!(daemon.get("/sessions").is(200), json!([]));
}

#[test]
fn worktrees_lie_in_the_roots_that_the_daemon_was_given() {
    let daemon = Daemon::with(&["--worktree-root", "worktree"]);
    daemon.folder.file("worktree/project/app.js", "1");
    daemon.folder.file("outside/app.js", "1");
    let link = daemon.folder.path("worktree/link");
    std::os::unix::fs::symlink(daemon.folder.path("outside"), link).unwrap();
    let template = daemon.template();
    let create = |name: &str| {
        let mut body = daemon.session_body(&template);
        body["worktree_path"] = daemon.folder.path(name).to_str().unwrap().into();
        daemon.post("/sessions", body)
    };
    create("worktree").is(201);
    create("worktree/project").is(201);
    for outside in ["outside", "worktree/link", "worktree/../outside", "."] {
        create(outside).refused(422, "INVALID_PATH");
    }
    create("worktree/missing").refused(400, "VALIDATION_ERROR");
}

#[test]
fn a_session_keeps_the_template_that_it_was_made_from() {
    let daemon = Daemon::start();
    let template = daemon.template();
    let session = daemon.session(&template);
    let before = daemon.get(&format!("/sessions/{session}")).is(200);
    let path = format!("/templates/{template}");
    daemon.patch(&path, json!({"settings": {"limits": {"cpu_ms": 1}}})).is(200);
    daemon.delete(&path).is(200);
    assert_eq!(daemon.get(&format!("/sessions/{session}")).is(200), before);
    assert_eq!(daemon.preview(&session, "6 * 7"), "42");
}

#[test]
fn a_session_that_cannot_start_stays_crashed_and_says_why() {
    let daemon = Daemon::start();
    daemon.folder.file("worktree/throws.js", "console.log('before');\nthrow new TypeError('no')");
    daemon.folder.file("worktree/loops.js", "for (;;);");
    for (file, status, code, reason) in [
        ("throws.js", 422, "STARTUP_FAILED", "TypeError: no"),
        ("loops.js", 422, "STARTUP_FAILED", "cpu_ms"),
        ("missing.js", 404, "FILE_NOT_FOUND", "no such file"),
    ] {
        let template = daemon.template_with_limits(&json!({"cpu_ms": 50}));
        daemon.post(&format!("/templates/{template}/startup-files"), json!({"path": file})).is(201);
        let error = daemon.try_session(&template).refused(status, code);
        let session = error["details"]["session_id"].as_str().unwrap();
        assert_eq!(error["details"]["template_id"], json!(template));
        let session = daemon.get(&format!("/sessions/{session}")).is(200);
        assert_eq!(session["status"], "crashed");
        assert!(session["last_error"].as_str().unwrap().contains(reason), "{session}");
        let id = session["id"].as_str().unwrap();
        daemon.try_repl(id, "1").refused(409, "SESSION_NOT_READY");
        // Closing one that crashed closes it, and keeps why it crashed.
        let closed = daemon.delete(&format!("/sessions/{id}")).is(200);
        assert_eq!(
            (&closed["status"], &closed["last_error"]),
            (&json!("closed"), &session["last_error"])
        );
    }
    assert_eq!(daemon.active_sessions(), 0);
}

#[test]
fn libraries_and_startup_files_are_there_when_a_session_is_ready() {
    let daemon = Daemon::start();
    daemon.folder.file("libraries/mine-1.0.0.js", "var mine = {answer: 40}");
    daemon.folder.file("worktree/init.js", "globalThis.two = 2; console.log('startup')");
    let template = daemon.template();
    daemon.post(&format!("/templates/{template}/libraries"), json!({"name": "mine-1.0.0"})).is(201);
    daemon
        .post(&format!("/templates/{template}/startup-files"), json!({"path": "init.js"}))
        .is(201);
    let session = daemon.session(&template);
    assert_eq!(daemon.preview(&session, "mine.answer + two"), "42");
    let executions = daemon.get(&format!("/executions?session_id={session}")).is(200);
    let kinds: Vec<_> =
        executions.as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["repl", "startup"]);

    daemon
        .post(&format!("/templates/{template}/libraries"), json!({"name": "absent-1.0.0"}))
        .is(201);
    let error = daemon.try_session(&template).refused(422, "LIBRARY_NOT_AVAILABLE");
    assert!(error["message"].as_str().unwrap().contains("failed to load libraries"), "{error}");
    let crashed = daemon
        .get(&format!("/sessions/{}", error["details"]["session_id"].as_str().unwrap()))
        .is(200);
    assert!(
        crashed["last_error"].as_str().unwrap().starts_with("failed to load libraries"),
        "{crashed}"
    );
}

#[test]
fn a_full_host_refuses_and_says_when_to_try_again() {
    let daemon = Daemon::with(&["--max-sessions", "1"]);
    let template = daemon.template();
    let session = daemon.session(&template);
    let refused = daemon.try_session(&template);
    assert_eq!(refused.headers["retry-after"], "1");
    refused.refused(503, "CAPACITY_EXCEEDED");
    daemon.delete(&format!("/sessions/{session}")).is(200);
    daemon.session(&template);
}

#[test]
fn a_session_that_is_starting_is_listed_and_can_be_closed() {
    let daemon = Daemon::start();
    daemon.folder.file("worktree/slow.js", "for (;;);");
    daemon.folder.file("libraries/slow-1.0.0.js", "for (;;);");
    for part in ["startup file", "library"] {
        let limits = json!({"cpu_ms": 3_600_000, "wall_ms": 3_600_000});
        let template = daemon.template_with_limits(&limits);
        let (list, body) = match part {
            "library" => ("libraries", json!({"name": "slow-1.0.0"})),
            _ => ("startup-files", json!({"path": "slow.js"})),
        };
        daemon.post(&format!("/templates/{template}/{list}"), body).is(201);
        std::thread::scope(|scope| {
            let starting = scope.spawn(|| daemon.try_session(&template));
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
            let session = loop {
                let list = daemon.get("/sessions?status=starting").is(200);
                if let Some(session) = list.get(0) {
                    break session.clone();
                }
                assert!(std::time::Instant::now() < deadline, "nothing starts");
                std::thread::yield_now();
            };
            let id = session["id"].as_str().unwrap();
            let path = format!("/sessions/{id}");
            assert_eq!(daemon.get(&path).is(200)["status"], "starting");
            assert_eq!(daemon.active_sessions(), 1);
            daemon.try_repl(id, "1").refused(409, "SESSION_NOT_READY");
            assert_eq!(daemon.delete(&path).is(200)["status"], "closed");
            let error = starting.join().unwrap().refused(422, "STARTUP_FAILED");
            assert_eq!(error["details"]["reason"], "CANCELLED");
            assert_eq!(daemon.get(&path).is(200)["status"], "closed");
            assert_eq!(daemon.active_sessions(), 0);
        });
    }
}
