//! How many executions a daemon takes, and how they share its processors.

use crate::harness::Daemon;
use serde_json::{Value, json};

fn endless(daemon: &Daemon) -> String {
    daemon.template_with_limits(&json!({"cpu_ms": 3_600_000, "wall_ms": 3_600_000}))
}

#[test]
fn executions_beyond_those_that_may_wait_are_refused_with_a_time_to_try_again() {
    let daemon = Daemon::with(&["--max-executions", "1", "--max-waiting", "1"]);
    let template = endless(&daemon);
    let sessions: Vec<_> = (0..3).map(|_| daemon.session(&template)).collect();
    std::thread::scope(|scope| {
        let begin = |session: &str| {
            let (session, daemon) = (session.to_owned(), &daemon);
            let input = "console.log('ran'); for (;;);";
            scope.spawn(move || daemon.try_repl(&session, input).is(201))
        };
        let first = begin(&sessions[0]);
        let runs = daemon.wait_until_running(&sessions[0]);
        let second = begin(&sessions[1]);
        let waits = daemon.wait_until_running(&sessions[1]);
        for refused in [daemon.try_repl(&sessions[2], "1"), daemon.try_session(&template)] {
            assert_eq!(refused.headers["retry-after"], "1");
            let error = refused.refused(503, "CAPACITY_EXCEEDED");
            assert_eq!(error["details"]["limit"], 2);
        }
        // Reads and cancels go on, and the one that waited never ran.
        let cancel = |execution: &Value| {
            let id = execution["id"].as_str().unwrap();
            daemon.request("POST", &format!("/executions/{id}/cancel"), None).is(200)
        };
        assert_eq!(cancel(&waits)["metrics"]["fuel_used"], 0);
        assert_eq!(second.join().unwrap()["events"].as_array().unwrap().len(), 2);
        assert_eq!(cancel(&runs)["status"], "cancelled");
        first.join().unwrap();
    });
    assert_eq!(daemon.preview(&sessions[2], "1 + 1"), "2");
}

#[test]
fn a_neighbour_of_sessions_that_never_end_is_answered() {
    let daemon = Daemon::start();
    let template = endless(&daemon);
    let neighbour = daemon.any_session();
    let busy: Vec<_> = (0..16).map(|_| daemon.session(&template)).collect();
    std::thread::scope(|scope| {
        let running: Vec<_> = busy
            .iter()
            .enumerate()
            .map(|(index, session)| {
                let input = if index % 4 == 0 {
                    "const a = new Uint8Array(50 << 20); for (let i = 0; ; i++) a.fill(i)"
                } else {
                    "for (;;);"
                };
                let (session, daemon) = (session.clone(), &daemon);
                scope.spawn(move || daemon.try_repl(&session, input).is(201))
            })
            .collect();
        let ids: Vec<_> = busy.iter().map(|session| daemon.wait_until_running(session)).collect();
        for _ in 0..50 {
            assert_eq!(daemon.preview(&neighbour, "1 + 1"), "2");
        }
        for execution in &ids {
            let id = execution["id"].as_str().unwrap();
            let over = daemon.request("POST", &format!("/executions/{id}/cancel"), None).is(200);
            assert_eq!(over["status"], "cancelled", "it ran all the while: {over}");
        }
        for execution in running {
            execution.join().unwrap();
        }
    });
}

#[test]
fn executions_that_never_end_keep_none_from_starting() {
    const ENDLESS: usize = 300;
    let daemon = Daemon::start();
    let template = endless(&daemon);
    let neighbour = daemon.any_session();
    let busy: Vec<_> = (0..ENDLESS).map(|_| daemon.session(&template)).collect();
    std::thread::scope(|scope| {
        for session in &busy {
            scope.spawn(|| daemon.try_repl(session, "for (;;);").is(201));
        }
        for session in &busy {
            daemon.wait_until_running(session);
        }
        assert_eq!(daemon.preview(&neighbour, "1 + 1"), "2");
        for session in &busy {
            daemon.delete(&format!("/sessions/{session}")).is(200);
        }
    });
}
