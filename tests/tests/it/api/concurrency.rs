//! Requests that race for the same session or template.

use crate::harness::Daemon;
use serde_json::{Value, json};
use std::sync::Barrier;

/// Threads of a race, and how often it is run: on two cores each round meets in another order.
const THREADS: usize = 8;
const ROUNDS: usize = 20;

#[test]
fn of_executions_that_race_each_runs_whole_or_is_told_that_the_session_is_busy() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    daemon.repl(&session, "var count = 0");
    let (mut ran, mut busy) = (0, 0);
    for _ in 0..ROUNDS {
        let start = Barrier::new(THREADS);
        let replies: Vec<_> = std::thread::scope(|scope| {
            let race = |_| {
                scope.spawn(|| {
                    start.wait();
                    daemon.try_repl(&session, "for (let i = 0; i < 2e5; i++); count += 1")
                })
            };
            let racing: Vec<_> = (0..THREADS).map(race).collect();
            racing.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for reply in replies {
            if reply.status == 201 {
                ran += 1;
            } else {
                reply.refused(409, "SESSION_BUSY");
                busy += 1;
            }
        }
    }
    assert!(ran >= ROUNDS && busy > 0, "{ran} ran, {busy} were refused");
    assert_eq!(daemon.preview(&session, "count"), ran.to_string());
    let executions = daemon.get(&format!("/executions?session_id={session}&limit=1000")).is(200);
    assert_eq!(executions.as_array().unwrap().len(), ran + 2);
}

#[test]
fn a_close_that_races_with_executions_and_other_closes_ends_the_session_once() {
    let daemon = Daemon::start();
    let template = daemon.template();
    let mut cancelled = 0;
    for round in 0..ROUNDS {
        let session = daemon.session(&template);
        let start = Barrier::new(THREADS);
        let replies: Vec<(usize, crate::harness::Reply)> = std::thread::scope(|scope| {
            let race = |thread: usize| {
                let (daemon, session, start) = (&daemon, &session, &start);
                scope.spawn(move || {
                    start.wait();
                    let reply = match thread {
                        0 => daemon.delete(&format!("/sessions/{session}")),
                        1 => daemon.request("POST", &format!("/sessions/{session}/close"), None),
                        2 => daemon.get(&format!("/sessions/{session}")),
                        // Some are long, so that the close finds them running.
                        _ if (thread + round).is_multiple_of(2) => {
                            daemon.try_repl(session, "for (let i = 0; i < 3e6; i++); 1")
                        }
                        _ => daemon.try_repl(session, "1"),
                    };
                    (thread, reply)
                })
            };
            let racing: Vec<_> = (0..THREADS).map(race).collect();
            racing.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (thread, reply) in replies {
            match (thread, reply.status) {
                (0 | 1, 200) => assert_eq!(reply.body["status"], "closed"),
                (2, 200) => {
                    assert!(reply.body["status"] == "ready" || reply.body["status"] == "closed");
                }
                (_, 201) => {
                    let status = &reply.body["status"];
                    assert!(status == "ok" || status == "cancelled", "{}", reply.body);
                    cancelled += usize::from(status == "cancelled");
                    let path = format!("/executions/{}", reply.body["id"].as_str().unwrap());
                    assert_eq!(daemon.get(&path).is(200)["status"], *status);
                }
                (_, 409) => {
                    let code = &reply.body["error"]["code"];
                    assert!(code == "SESSION_BUSY" || code == "SESSION_NOT_READY", "{code}");
                }
                (_, status) => panic!("{status}: {}", reply.body),
            }
        }
        assert_eq!(daemon.get(&format!("/sessions/{session}")).is(200)["status"], "closed");
        daemon.try_repl(&session, "1").refused(409, "SESSION_NOT_READY");
    }
    assert_eq!(daemon.active_sessions(), 0);
    // Whether any was caught running depends on the machine; that none is left running does not.
    let _ = cancelled;
    for session in daemon.get("/sessions").is(200).as_array().unwrap() {
        let path = format!("/executions?session_id={}", session["id"].as_str().unwrap());
        for execution in daemon.get(&path).is(200).as_array().unwrap() {
            assert_ne!(execution["status"], "running");
        }
    }
}

#[test]
fn changes_of_a_template_that_race_are_all_kept() {
    let daemon = Daemon::start();
    let template = daemon.template();
    let path = format!("/templates/{template}/capabilities");
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (daemon, path, start) = (&daemon, &path, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..10 {
                    let name = format!("{thread}-{number}");
                    daemon.post(path, json!({"kind": "env", "name": name})).is(201);
                }
            });
        }
    });
    let kept = daemon.get(&path).is(200);
    let mut names: Vec<_> =
        kept.as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    names.sort_by_key(Value::to_string);
    names.dedup();
    assert_eq!(names.len(), THREADS * 10);
}

#[test]
fn sessions_that_race_for_the_last_places_never_pass_the_limit() {
    let daemon = Daemon::with(&["--max-sessions", "3"]);
    let template = daemon.template();
    let start = Barrier::new(THREADS);
    let replies: Vec<_> = std::thread::scope(|scope| {
        let race = |_| {
            scope.spawn(|| {
                start.wait();
                daemon.try_session(&template)
            })
        };
        let racing: Vec<_> = (0..THREADS).map(race).collect();
        racing.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let created = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(created, 3);
    for reply in replies.into_iter().filter(|reply| reply.status != 201) {
        reply.refused(503, "CAPACITY_EXCEEDED");
    }
    assert_eq!(daemon.active_sessions(), 3);
}

#[test]
fn a_client_that_goes_away_does_not_take_its_execution_along() {
    use std::io::Write;
    let daemon = Daemon::start();
    let session = daemon.session(&daemon.template_with_limits(&json!({"cpu_ms": 3_600_000})));
    let body = json!({"session_id": session, "input": "const end = Date.now() + 200; while (Date.now() < end); 'done'"}).to_string();
    let mut stream = std::net::TcpStream::connect(daemon.address).unwrap();
    let head = format!(
        "POST /api/v1/executions/repl HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let running = daemon.wait_until_running(&session);
    drop(stream);
    let path = format!("/executions/{}", running["id"].as_str().unwrap());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let ended = loop {
        let execution = daemon.get(&path).is(200);
        if execution["status"] != "running" {
            break execution;
        }
        assert!(std::time::Instant::now() < deadline, "{execution}");
        std::thread::yield_now();
    };
    assert_eq!((&ended["status"], &ended["result"]["json"]), (&json!("ok"), &json!("done")));
    assert_eq!(daemon.get(&format!("{path}/events")).is(200).as_array().unwrap().len(), 2);
}
