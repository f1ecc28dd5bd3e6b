//! The daemon is killed, and started again on its database.

use crate::harness::Daemon;
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
    let execution = daemon.repl(&session, "console.log('kept'); 42");
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
    // Its heap is gone with the process, and it says so.
    let lost = daemon.get(&format!("/sessions/{session}")).is(200);
    assert_eq!(lost["status"], "closed");
    assert!(lost["last_error"].is_string(), "{lost}");
    daemon.try_repl(&session, "1").refused(409, "SESSION_NOT_READY");
    assert_eq!(daemon.active_sessions(), 0);
    assert_eq!(daemon.preview(&daemon.session(&template), "1 + 1"), "2");
}

#[test]
fn an_execution_that_ran_when_the_daemon_was_killed_is_found_stopped() {
    let daemon = Daemon::start();
    let limits = json!({"cpu_ms": 3_600_000, "wall_ms": 3_600_000});
    let session = daemon.session(&daemon.template_with_limits(&limits));
    let path = std::thread::scope(|scope| {
        let body =
            json!({"session_id": session, "input": "console.log('begun'); for (;;);"}).to_string();
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
