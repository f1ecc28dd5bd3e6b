//! The daemon is killed, and started again on its database.

use crate::harness::Daemon;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let daemon = Daemon::start();
    let template = daemon.template_with_limits(&json!({"cpu_ms": 77}));
    daemon.post(&format!("/templates/{template}/modules"), json!({"name": "fs"})).is(201);
    let (session, closed) = (daemon.session(&template), daemon.session(&template));
    daemon.delete(&format!("/sessions/{closed}")).is(200);
    let execution = daemon.repl(&session, "console.log('kept'); var n = 41; 42");
    let thrown = daemon.repl(&session, "throw new Error('kept too')");
    let of = |id: &Value| format!("/executions/{}", id.as_str().unwrap());
    let paths = [
        "/templates".to_owned(),
        format!("/templates/{template}"),
        format!("/sessions/{closed}"),
        format!("/executions?session_id={session}"),
        of(&execution["id"]),
        of(&thrown["id"]),
        format!("{}/events", of(&execution["id"])),
        format!("{}/events", of(&thrown["id"])),
    ];
    let before: Vec<_> = paths.iter().map(|path| daemon.get(path).is(200)).collect();

    let daemon = Daemon::in_folder(daemon.kill(), &[]);
    let after: Vec<_> = paths.iter().map(|path| daemon.get(path).is(200)).collect();
    assert_eq!(after, before);
    daemon.try_repl(&closed, "1").refused(409, "SESSION_NOT_READY");
    // A session that was ready is, and goes on.
    assert_eq!(daemon.get(&format!("/sessions/{session}")).is(200)["status"], "ready");
    assert_eq!(daemon.active_sessions(), 1);
    assert_eq!(daemon.preview(&session, "++n"), "42");
    assert_eq!(daemon.preview(&daemon.session(&template), "1 + 1"), "2");
}

#[test]
fn a_session_goes_on_after_every_way_that_the_daemon_can_end() {
    let mut daemon = Daemon::with(&["--idle-hibernate", "0"]);
    daemon.folder.file("worktree/app.js", "typeof count === 'function' ? count() : 'lost'");
    let session = daemon.any_session();
    let begin = "let n = 0; const count = () => ++n; const m = new Map([[count, 'key']]); n";
    assert_eq!(daemon.preview(&session, begin), "0");
    for round in 1..=6 {
        assert_eq!(daemon.preview(&session, "count()"), (2 * round - 1).to_string());
        let folder = Arc::clone(&daemon.folder);
        if round % 2 == 0 {
            daemon.signal(Signal::TERM);
            assert_eq!(daemon.wait().0.code(), Some(0));
        } else {
            daemon.kill();
        }
        daemon = Daemon::in_folder(folder, &["--max-resident", "1"]);
        let ran = daemon.try_run_file(&session, "app.js").is(201);
        assert_eq!(ran["result"]["json"], 2 * round);
        assert_eq!(daemon.preview(&session, "m.get(count)"), "'key'");
    }
}

#[test]
fn a_session_made_without_its_guest_is_a_refusal_until_the_guest_is_back() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    daemon.repl(&session, "var n = 1");
    let folder = daemon.kill();
    // As if another version had made the session, and the data folder had lost its guest.
    let guests = folder.path("vm-system.redb.guests");
    let kept: Vec<_> = std::fs::read_dir(&guests).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(kept.len(), 1, "the guest is kept by its hash");
    let name = kept[0].file_name().into_string().unwrap();
    let hash = name.strip_suffix(".wasm").unwrap().to_owned();
    let other: String = hash.chars().rev().collect();
    rebind(&folder.path("vm-system.redb"), &session, &other);
    let daemon = Daemon::in_folder(folder, &[]);
    let error = daemon.try_repl(&session, "n").refused(409, "GUEST_UNAVAILABLE");
    assert!(error["message"].as_str().unwrap().contains(&other), "{error}");
    assert_eq!(daemon.get(&format!("/sessions/{session}")).is(200)["status"], "ready");
    assert_eq!(daemon.get(&format!("/executions?session_id={session}")).is(200)[0]["status"], "ok");
    let folder = daemon.kill();
    rebind(&folder.path("vm-system.redb"), &session, &hash);
    let daemon = Daemon::in_folder(folder, &[]);
    assert_eq!(daemon.preview(&session, "n"), "1");
}

/// Has a stored session be one of another guest.
pub(super) fn rebind(database: &std::path::Path, session: &str, guest: &str) {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let options = vm_storage::StorageOptions::default();
    let (storage, _) = vm_storage::Storage::open(database, options).unwrap();
    let mut stored = storage.session(session.parse().unwrap()).unwrap().unwrap();
    let engine = stored.engine.as_mut().unwrap();
    guest.clone_into(&mut engine.guest);
    tokio.block_on(storage.put_session(stored)).unwrap();
    tokio.block_on(storage.shutdown()).unwrap();
}

#[test]
fn a_worktree_that_is_gone_is_a_refusal_until_it_is_back() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    daemon.repl(&session, "var n = 1");
    let folder = daemon.kill();
    std::fs::rename(folder.path("worktree"), folder.path("moved")).unwrap();
    let daemon = Daemon::in_folder(folder, &[]);
    daemon.try_repl(&session, "n").refused(409, "WORKTREE_UNAVAILABLE");
    std::fs::create_dir(daemon.folder.path("worktree")).unwrap();
    let error = daemon.try_repl(&session, "n").refused(409, "WORKTREE_UNAVAILABLE");
    assert_eq!(error["details"]["session_id"], session.as_str());
    std::fs::remove_dir(daemon.folder.path("worktree")).unwrap();
    std::fs::rename(daemon.folder.path("moved"), daemon.folder.path("worktree")).unwrap();
    assert_eq!(daemon.preview(&session, "n"), "1");
}

#[test]
fn an_execution_that_ran_when_the_daemon_was_killed_is_found_stopped() {
    let daemon = Daemon::start();
    let limits = json!({"cpu_ms": 3_600_000, "wall_ms": 3_600_000});
    let session = daemon.session(&daemon.template_with_limits(&limits));
    let path = std::thread::scope(|scope| {
        let body =
            json!({"session_id": session, "input": "var effect; console.log('begun'); for (;;);"})
                .to_string();
        let head = format!(
            "POST /api/v1/executions/repl HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = daemon.address;
        scope.spawn(move || crate::harness::raw(address, head.as_bytes()));
        let running = daemon.wait_until_running(&session);
        let path = format!("/executions/{}", running["id"].as_str().unwrap());
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while daemon.get(&format!("{path}/events")).is(200) == json!([]) {
            assert!(std::time::Instant::now() < deadline, "it is not checkpointed");
            std::thread::yield_now();
        }
        daemon.signal(rustix::process::Signal::KILL);
        path
    });
    let daemon = Daemon::in_folder(daemon.kill(), &[]);
    let execution = daemon.get(&path).is(200);
    assert_eq!(
        (&execution["status"], &execution["error"]["code"]),
        (&json!("error"), &json!("HOST_STOPPED"))
    );
    // Its effects are gone, and its session goes on.
    assert_eq!(daemon.preview(&session, "typeof effect"), "'undefined'");
    let events = daemon.get(&format!("{path}/events")).is(200);
    assert_eq!(events[1]["payload"]["text"], "begun");
    assert_eq!(events.as_array().unwrap().last().unwrap()["type"], "system");
}

#[test]
fn nothing_acknowledged_is_gone_whenever_the_daemon_is_killed() {
    let mut daemon = Daemon::start();
    let template = daemon.template();
    for round in 1..=4_u64 {
        let session = daemon.session(&template);
        let acknowledged = std::thread::scope(|scope| {
            let body = |number: u64| {
                json!({"session_id": session, "input": format!("console.log({number}); {number}")})
                    .to_string()
            };
            let address = daemon.address;
            let client = scope.spawn(move || {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    let body = body(number);
                    let answer = crate::harness::raw(address, format!("POST /api/v1/executions/repl HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).as_bytes());
                    let (status, execution) = crate::harness::reply_of(&answer);
                    if status != 201 {
                        return acknowledged;
                    }
                    acknowledged.push(execution);
                }
                acknowledged
            });
            // Each round is killed in another moment of its writes.
            std::thread::sleep(Duration::from_millis(40 + 37 * round));
            daemon.signal(rustix::process::Signal::KILL);
            client.join().unwrap()
        });
        assert!(!acknowledged.is_empty(), "nothing was acknowledged in round {round}");
        let folder = Arc::clone(&daemon.folder);
        drop(daemon);
        daemon = Daemon::in_folder(folder, &[]);
        for mut execution in acknowledged {
            let path = format!("/executions/{}", execution["id"].as_str().unwrap());
            let events = execution.as_object_mut().unwrap().remove("events").unwrap();
            assert_eq!(daemon.get(&path).is(200), execution);
            assert_eq!(daemon.get(&format!("{path}/events")).is(200), events);
        }
    }
}
