//! SIGTERM and SIGINT: the daemon ends in order.

use crate::harness::Daemon;
use rustix::process::Signal;
use serde_json::json;
use std::net::TcpStream;

const LONG: &str = r#"{"cpu_ms": 3600000, "wall_ms": 3600000}"#;

fn long_template(daemon: &Daemon) -> String {
    daemon.template_with_limits(&serde_json::from_str(LONG).unwrap())
}

#[test]
fn an_idle_daemon_ends_at_once_with_status_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Daemon::start();
        let session = daemon.any_session();
        let idle = TcpStream::connect(daemon.address).unwrap();
        let (folder, address) = (daemon.folder.clone(), daemon.address);
        daemon.signal(signal);
        let (status, log) = daemon.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(TcpStream::connect(address).is_err());
        drop(idle);
        // It left nothing for the next one to put right.
        let daemon = Daemon::in_folder(folder, &[]);
        assert_eq!(daemon.get(&format!("/sessions/{session}")).is(200)["status"], "ready");
        assert_eq!(daemon.preview(&session, "1 + 1"), "2");
        assert!(!daemon.log().contains("did not end in order"), "{}", daemon.log());
    }
}

#[test]
fn an_execution_may_end_and_its_client_gets_the_answer() {
    let daemon = Daemon::start();
    let session = daemon.session(&long_template(&daemon));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            daemon.try_repl(
                &session,
                "const end = Date.now() + 400; while (Date.now() < end); 'done'",
            )
        });
        daemon.wait_until_running(&session);
        daemon.signal(Signal::TERM);
        assert_eq!(running.join().unwrap().is(201)["result"]["json"], "done");
    });
    let (status, log) = daemon.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn an_execution_that_does_not_end_is_stopped_after_the_grace_and_its_session_goes_on() {
    for (grace, second_signal) in [("0", false), ("3600", true)] {
        let daemon = Daemon::with(&["--shutdown-grace-s", grace]);
        let session = daemon.session(&long_template(&daemon));
        daemon.repl(&session, "var n = 1");
        let id = std::thread::scope(|scope| {
            let running = scope.spawn(|| daemon.try_repl(&session, "n = 2; for (;;);"));
            let listed = daemon.wait_until_running(&session);
            daemon.signal(Signal::TERM);
            if second_signal {
                // Signals of a kind that are pending are one; the daemon must have seen the first.
                while !daemon.log().contains("stopping") {
                    std::thread::yield_now();
                }
                daemon.signal(Signal::TERM);
            }
            let execution = running.join().unwrap().is(201);
            assert_eq!(
                (&execution["status"], &execution["error"]["code"]),
                (&json!("error"), &json!("HOST_STOPPED"))
            );
            assert_eq!(execution["id"], listed["id"]);
            execution["id"].as_str().unwrap().to_owned()
        });
        let folder = daemon.folder.clone();
        let (status, log) = daemon.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        let daemon = Daemon::in_folder(folder, &[]);
        let execution = daemon.get(&format!("/executions/{id}")).is(200);
        assert_eq!(execution["error"]["code"], "HOST_STOPPED");
        assert_eq!(daemon.preview(&session, "n"), "1");
    }
}

#[test]
fn a_session_that_is_starting_does_not_hold_the_daemon_up() {
    let daemon = Daemon::with(&["--shutdown-grace-s", "0"]);
    daemon.folder.file("libraries/slow-1.0.0.js", "for (;;);");
    let template = long_template(&daemon);
    daemon.post(&format!("/templates/{template}/libraries"), json!({"name": "slow-1.0.0"})).is(201);
    std::thread::scope(|scope| {
        scope.spawn(|| daemon.try_session(&template).refused(422, "STARTUP_FAILED"));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while daemon.active_sessions() == 0 {
            assert!(std::time::Instant::now() < deadline, "nothing starts");
            std::thread::yield_now();
        }
        daemon.signal(Signal::TERM);
    });
    let folder = daemon.folder.clone();
    let (status, log) = daemon.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    let daemon = Daemon::in_folder(folder, &[]);
    let crashed = &daemon.get("/sessions").is(200)[0];
    assert_eq!(crashed["status"], "crashed");
    assert!(crashed["last_error"].as_str().unwrap().contains("the host stopped"), "{crashed}");
    assert!(!daemon.log().contains("did not end in order"), "{}", daemon.log());
}
