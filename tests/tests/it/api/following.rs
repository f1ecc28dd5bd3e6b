//! Executions that are followed: streamed, awaited, begun and left, queued for.

use crate::harness::Daemon;
use serde_json::{Value, json};
use std::io::BufRead;
use std::time::Duration;

/// A session whose executions may take long, and look at files.
fn session(daemon: &Daemon) -> String {
    let template = daemon.template_with_limits(&json!({"wall_ms": 60_000, "cpu_ms": 20_000}));
    daemon.post(&format!("/templates/{template}/modules"), json!({"name": "fs"})).is(201);
    daemon.session(&template)
}

/// One frame of a stream: its id, its event, its data.
fn frame(stream: &mut impl BufRead) -> Option<(Option<u64>, String, Value)> {
    let (mut id, mut event, mut data) = (None, String::new(), Value::Null);
    for line in stream.lines() {
        let line = line.ok()?;
        match line.split_once(": ") {
            Some(("id", text)) => id = Some(text.parse().unwrap()),
            Some(("event", text)) => text.clone_into(&mut event),
            Some(("data", text)) => data = serde_json::from_str(text).unwrap(),
            _ if line.is_empty() && !event.is_empty() => return Some((id, event, data)),
            _ => assert!(line.is_empty() || line == ":", "{line}"),
        }
    }
    None
}

#[test]
fn events_are_streamed_as_they_come_to_the_end() {
    let daemon = Daemon::start();
    let session = session(&daemon);
    let execution = daemon.begin(
        &session,
        "const fs = require('fs'); console.log('before');
         while (!fs.existsSync('go')) await new Promise(done => setTimeout(done, 1));
         console.log('after'); 42",
    );
    assert_eq!(execution["status"], "running");
    let id = execution["id"].as_str().unwrap();
    let (status, mut stream) = daemon.stream(id, None);
    assert_eq!(status, 200);
    let mut seen = vec![frame(&mut stream).unwrap(), frame(&mut stream).unwrap()];
    assert_eq!(seen[1].2["payload"]["text"], "before");
    // It waits for this.
    assert_eq!(daemon.get(&format!("/executions/{id}")).is(200)["status"], "running");
    daemon.folder.file("worktree/go", "");
    seen.extend(std::iter::from_fn(|| frame(&mut stream)));
    let (end_id, end, over) = seen.pop().unwrap();
    assert_eq!((end_id, end.as_str()), (None, "end"));
    assert_eq!(over, daemon.get(&format!("/executions/{id}")).is(200));
    assert_eq!(over["status"], "ok");
    let events = daemon.get(&format!("/executions/{id}/events")).is(200);
    let stored = events.as_array().unwrap();
    assert_eq!(seen.len(), stored.len());
    for ((id, kind, data), event) in seen.iter().zip(stored) {
        assert_eq!(
            (id.unwrap(), kind),
            (event["seq"].as_u64().unwrap(), &event["type"].as_str().unwrap().to_owned())
        );
        assert_eq!(data, event);
    }
    // Who comes again goes on where it was, and is told when there is no more.
    let (_, mut stream) = daemon.stream(id, Some(2));
    assert_eq!(frame(&mut stream).unwrap().0, Some(3));
    let last = stored.len() as u64;
    assert_eq!(daemon.stream(id, Some(last)).0, 204);
    let unknown = "00000000-0000-7000-8000-000000000000";
    assert_eq!(daemon.stream(unknown, None).0, 404);
}

#[test]
fn a_stream_loses_and_repeats_nothing_when_it_or_the_daemon_is_cut_off() {
    let mut daemon = Daemon::start();
    let one = session(&daemon);
    for (round, cut) in [1, 7, 20, 45, 80].into_iter().enumerate() {
        let script = "for (let i = 0; ; i++) {
            console.log(i);
            if (i % 2) await new Promise(done => setTimeout(done, 1));
        }";
        let id = daemon.begin(&one, script)["id"].as_str().unwrap().to_owned();
        let mut seen: Vec<Value> = Vec::new();
        // Cut off by the client, again and again, and then with the daemon.
        while seen.len() < 3 * cut {
            let after = seen.last().map(|event| event["seq"].as_u64().unwrap());
            let (_, mut stream) = daemon.stream(&id, after);
            for _ in 0..cut {
                seen.push(frame(&mut stream).unwrap().2);
            }
        }
        let after = seen.last().map(|event| event["seq"].as_u64().unwrap());
        let (_, mut stream) = daemon.stream(&id, after);
        daemon.signal(rustix::process::Signal::KILL);
        while let Some((_, _, event)) = frame(&mut stream) {
            seen.push(event);
        }
        daemon = Daemon::in_folder(daemon.kill(), &["--verify"]);
        let after = seen.last().map(|event| event["seq"].as_u64().unwrap());
        let (status, mut stream) = daemon.stream(&id, after);
        // All that is durable may have been seen.
        if status == 200 {
            while let Some((id, _, event)) = frame(&mut stream) {
                match id {
                    Some(_) => seen.push(event),
                    None => assert_eq!(event["error"]["code"], "HOST_STOPPED", "{event}"),
                }
            }
        }
        let stored = daemon.get(&format!("/executions/{id}/events")).is(200);
        assert_eq!(json!(seen), stored, "round {round}");
        for (event, seq) in seen.iter().zip(1..) {
            assert_eq!(event["seq"], seq);
        }
    }
}

#[test]
fn answers_wait_for_events_and_for_the_end() {
    let daemon = Daemon::start();
    let session = session(&daemon);
    let script = "const fs = require('fs');
        while (!fs.existsSync('go')) await new Promise(done => setTimeout(done, 1)); console.log(1)";
    let id = daemon.begin(&session, script)["id"].as_str().unwrap().to_owned();
    let path = format!("/executions/{id}");
    assert_eq!(daemon.get(&format!("{path}/events?after_seq=1&wait=50ms")).is(200), json!([]));
    assert_eq!(daemon.get(&format!("{path}?wait=50ms")).is(200)["status"], "running");
    std::thread::scope(|scope| {
        let events =
            scope.spawn(|| daemon.get(&format!("{path}/events?after_seq=1&wait=60s")).is(200));
        let ended = scope.spawn(|| daemon.get(&format!("{path}?wait=1m")).is(200));
        std::thread::sleep(Duration::from_millis(50));
        daemon.folder.file("worktree/go", "");
        assert_eq!(events.join().unwrap()[0]["payload"]["text"], "1");
        assert_eq!(ended.join().unwrap()["status"], "ok");
    });
    // What is over is answered at once.
    assert_eq!(daemon.get(&format!("{path}/events?after_seq=9&wait=60s")).is(200), json!([]));
    for wait in ["61s", "-1s", "soon", "5", "1e9s"] {
        let refused = daemon.get(&format!("{path}?wait={wait}")).refused(400, "VALIDATION_ERROR");
        assert_eq!(refused["details"]["field"], "wait", "{wait}");
    }
}

#[test]
fn an_execution_queues_where_it_is_to() {
    let daemon = Daemon::start();
    let session = session(&daemon);
    daemon.repl(&session, "var order = []");
    let script = "const fs = require('fs');
        while (!fs.existsSync('go')) await new Promise(done => setTimeout(done, 1))";
    daemon.begin(&session, script);
    let queued = |input: &str| {
        let body = json!({"session_id": session, "input": input, "on_busy": "queue"});
        daemon.post("/executions/repl", body).is(201)
    };
    daemon.try_repl(&session, "1").refused(409, "SESSION_BUSY");
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || queued(&format!("order.push({number})"))))
            .collect();
        std::thread::sleep(Duration::from_millis(50));
        assert!(waiting.iter().all(|waits| !waits.is_finished()));
        daemon.folder.file("worktree/go", "");
        for waits in waiting {
            assert_eq!(waits.join().unwrap()["status"], "ok");
        }
    });
    assert_eq!(daemon.preview(&session, "order.sort().join()"), "'0,1,2,3,4,5,6,7'");
    let body = json!({"session_id": session, "input": "1", "on_busy": "hurry"});
    daemon.post("/executions/repl", body).refused(400, "VALIDATION_ERROR");
}
