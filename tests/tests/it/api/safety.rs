//! Paths that lead out of the worktree, in every form, and limits that hold.

use crate::harness::{Daemon, raw, reply_of};
use serde_json::json;
use std::os::unix::fs::symlink;

/// A daemon with a secret beside its worktree and links to it.
fn with_a_secret() -> Daemon {
    let daemon = Daemon::start();
    daemon.folder.file("secret.js", "'SECRET'");
    daemon.folder.file("outside/secret.js", "'SECRET'");
    daemon.folder.file("worktree/sub/app.js", "'inside'");
    let worktree = |name: &str| daemon.folder.path("worktree").join(name);
    symlink(daemon.folder.path("secret.js"), worktree("absolute.js")).unwrap();
    symlink("../secret.js", worktree("relative.js")).unwrap();
    symlink("../outside", worktree("folder")).unwrap();
    symlink("relative.js", worktree("chain.js")).unwrap();
    symlink("sub/app.js", worktree("inside.js")).unwrap();
    symlink("loop.js", worktree("loop.js")).unwrap();
    daemon
}

#[test]
fn no_path_leads_out_of_the_worktree() {
    let daemon = with_a_secret();
    let session = daemon.any_session();
    let absolute = daemon.folder.path("secret.js").display().to_string();
    let inside = daemon.folder.path("worktree/sub/app.js").display().to_string();
    for path in [
        "../secret.js",
        "sub/../../secret.js",
        "./../secret.js",
        "..",
        "sub/..",
        &absolute,
        &inside,
        "/etc/passwd",
        "//etc/passwd",
        "absolute.js",
        "relative.js",
        "chain.js",
        "folder/secret.js",
        "sub/app.js\u{0}",
        "\u{0}",
        "loop.js",
        &"a/".repeat(3_000),
        &"n".repeat(300),
        "sub",
        ".",
    ] {
        let error = daemon.try_run_file(&session, path).refused(422, "INVALID_PATH");
        assert!(!error.to_string().contains("SECRET"), "{path}: {error}");
    }
    // Encoded dots and slashes are characters of a name that no file has.
    for path in [
        "%2e%2e/secret.js",
        "..%2fsecret.js",
        "%2e%2e%2fsecret.js",
        "..\\secret.js",
        "....//secret.js",
        "sub/app.js/x",
        "\u{ff0e}\u{ff0e}/secret.js",
    ] {
        daemon.try_run_file(&session, path).refused(404, "FILE_NOT_FOUND");
    }
    for path in ["sub/app.js", "./sub//app.js", "inside.js"] {
        let execution = daemon.try_run_file(&session, path).is(201);
        assert_eq!(execution["result"]["json"], "inside", "{path}");
    }
}

#[test]
fn no_startup_file_leads_out_of_the_worktree() {
    let daemon = with_a_secret();
    let template = daemon.template();
    let path = format!("/templates/{template}/startup-files");
    for bad in
        ["../secret.js", "sub/../../secret.js", "/etc/passwd", "a\u{0}.js", &"a/".repeat(2_049)]
    {
        daemon.post(&path, json!({"path": bad})).refused(422, "INVALID_PATH");
    }
    assert_eq!(daemon.get(&path).is(200), json!([]));
    // A link can only be judged where it lies: when a session starts.
    for link in ["relative.js", "absolute.js", "folder/secret.js"] {
        let template = daemon.template();
        daemon.post(&format!("/templates/{template}/startup-files"), json!({"path": link})).is(201);
        let error = daemon.try_session(&template).refused(422, "INVALID_PATH");
        let session = error["details"]["session_id"].as_str().unwrap();
        let session = daemon.get(&format!("/sessions/{session}")).is(200);
        assert_eq!(session["status"], "crashed");
        assert!(session["last_error"].is_string(), "{session}");
    }
}

#[test]
fn no_url_leads_anywhere_but_to_a_route() {
    let daemon = with_a_secret();
    for target in [
        "/api/v1/../../etc/passwd",
        "/../../../../etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/templates/..%2f..%2fetc",
        "/api/v1/sessions/%00",
        "/api/v1/executions/../../secret.js",
        "/%c0%ae%c0%ae/secret.js",
        "/api/v1/templates/%",
    ] {
        let answer = raw(
            daemon.address,
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        );
        let (status, body) = reply_of(&answer);
        assert!(matches!(status, 400 | 404), "{target}: {answer}");
        assert!(body["error"]["code"].is_string(), "{target}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("SECRET"), "{answer}");
    }
}

#[test]
fn scripts_that_take_too_much_end_and_their_neighbours_go_on() {
    let daemon = Daemon::start();
    let neighbour = daemon.any_session();
    daemon.repl(&neighbour, "var kept = 'kept'");
    let limits = json!({"cpu_ms": 100, "mem_mb": 16, "max_events": 20, "max_output_kb": 8});
    let template = daemon.template_with_limits(&limits);
    for (input, status) in [
        ("for (;;);", 201),
        ("(function f() { return f() + 1 })()", 201),
        ("let a = []; for (;;) a.push(new ArrayBuffer(1 << 20))", 201),
        ("for (;;) console.log(1)", 422),
        ("console.log('x'.repeat(100000))", 422),
        ("'x'.repeat(1 << 29)", 201),
        ("/(a+)+$/.test('a'.repeat(40) + 'b')", 201),
        ("JSON.parse('['.repeat(100000))", 201),
    ] {
        let session = daemon.session(&template);
        let reply = daemon.try_repl(&session, input);
        assert_eq!(reply.status, status, "{input}: {}", reply.body);
        assert_ne!(reply.body["status"], "ok", "{input}");
        assert_eq!(daemon.preview(&neighbour, "kept"), "'kept'");
        daemon.delete(&format!("/sessions/{session}")).is(200);
    }
}

#[test]
fn a_session_sees_nothing_of_another() {
    let daemon = Daemon::start();
    let template = daemon.template();
    let (one, other) = (daemon.session(&template), daemon.session(&template));
    daemon.repl(
        &one,
        "globalThis.secret = 1; Array.prototype.secret = 1; Object.prototype.polluted = 1",
    );
    assert_eq!(
        daemon.preview(&other, "[typeof secret, [].secret, ({}).polluted]"),
        "[ 'undefined', undefined, undefined ]"
    );
}
