//! The daemon on a disk that takes no more, and one that takes nothing at all.

use crate::harness::Daemon;
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Lets the daemon write files of so many bytes and no longer.
fn limit_files(daemon: &Daemon, bytes: Option<u64>) -> Rlimit {
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Some(daemon.pid()), Resource::Fsize, limit).unwrap()
}

/// Waits until the daemon takes work again.
fn until_ready(daemon: &Daemon) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while daemon.get("/ready").status != 200 {
        assert!(Instant::now() < deadline, "{}", daemon.log());
        std::thread::yield_now();
    }
}

/// What the session counts, and how many executions it has.
fn state(daemon: &Daemon, session: &str) -> (String, usize) {
    let executions = daemon.get(&format!("/executions?session_id={session}&limit=1000")).is(200);
    (daemon.preview(session, "n"), executions.as_array().unwrap().len())
}

#[test]
fn a_daemon_that_cannot_write_says_so_and_recovers_by_itself() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    daemon.repl(&session, "var n = 1");
    daemon.get("/ready").is(200);
    limit_files(&daemon, Some(0));
    for _ in 0..3 {
        let reply = daemon.try_repl(&session, "n = 2");
        assert!(reply.headers.contains_key("retry-after"));
        reply.refused(503, "STORAGE_UNAVAILABLE");
    }
    let error = daemon.get("/ready").refused(503, "STORAGE_UNAVAILABLE");
    assert_eq!(error["details"]["reason"], "failed");
    assert_eq!(daemon.get("/health").is(200), json!({"status": "ok"}));
    limit_files(&daemon, None);
    until_ready(&daemon);
    assert_eq!(state(&daemon, &session), ("1".to_owned(), 1));
    assert_eq!(daemon.preview(&session, "++n"), "2");
    let daemon = Daemon::in_folder(daemon.kill(), &[]);
    assert_eq!(daemon.preview(&session, "n"), "2");
}

#[test]
fn a_full_disk_keeps_reads_and_cancels_going_and_loses_nothing_acknowledged() {
    let daemon = Daemon::start();
    let limits = json!({"cpu_ms": 600_000, "wall_ms": 600_000});
    let template = daemon.template_with_limits(&limits);
    let (session, other) = (daemon.session(&template), daemon.session(&template));
    daemon.repl(&session, "var n = 0, waste = []");
    let running = std::thread::scope(|scope| {
        let running = scope.spawn(|| daemon.try_repl(&other, "for (;;);"));
        let id = daemon.wait_until_running(&other)["id"].as_str().unwrap().to_owned();
        // The file may not grow any more, as on a disk that is full.
        let bytes = std::fs::metadata(daemon.folder.path("vm-system.redb")).unwrap().len();
        limit_files(&daemon, Some(bytes));
        let grow = "n++; waste.push(Math.random().toString(36).repeat(2000)); n";
        let mut counted = 0;
        let refused = loop {
            let reply = daemon.try_repl(&session, grow);
            if reply.status != 201 {
                break reply;
            }
            counted += 1;
            assert_eq!(reply.body["result"]["json"], counted);
        };
        refused.refused(503, "STORAGE_UNAVAILABLE");
        let deadline = Instant::now() + Duration::from_secs(30);
        let read = |path: &str| -> Value {
            loop {
                let reply = daemon.get(path);
                if reply.status == 200 {
                    return reply.body;
                }
                // The moment of a reopen.
                assert_eq!(reply.body["error"]["code"], "STORAGE_UNAVAILABLE");
                assert!(Instant::now() < deadline, "{}", daemon.log());
            }
        };
        let listed = read(&format!("/executions?session_id={session}&limit=1000"));
        assert_eq!(listed.as_array().unwrap().len(), counted + 1);
        assert_eq!(read(&format!("/sessions/{session}"))["status"], "ready");
        assert_eq!(daemon.get("/health").status, 200);
        // It ends, though nobody could be told that it did.
        let cancelled = daemon.request("POST", &format!("/executions/{id}/cancel"), None);
        assert!(matches!(cancelled.status, 200 | 404 | 503), "{}", cancelled.body);
        let reply = running.join().unwrap();
        assert!(matches!(reply.status, 201 | 503), "{}", reply.body);
        limit_files(&daemon, None);
        until_ready(&daemon);
        assert_eq!(daemon.preview(&session, "n"), counted.to_string());
        id
    });
    assert_eq!(daemon.preview(&other, "1 + 1"), "2");
    // Its end is stored once it can be.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let reply = daemon.get(&format!("/executions/{running}"));
        if reply.status == 404 || reply.body["status"] != "running" {
            break;
        }
        assert!(Instant::now() < deadline, "{}", reply.body);
    }
}
