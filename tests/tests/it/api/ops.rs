//! What operators ask of a daemon, and lists that come in parts.

use crate::harness::{Daemon, Folder};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Walks a list to its end by its `Link` headers; gives the ids, and how many parts there were.
fn walk(daemon: &Daemon, path: &str) -> (Vec<String>, usize) {
    let (mut ids, mut parts) = (Vec::new(), 0);
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let reply = daemon.get(&path);
        let link = reply.headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        next = link.map(|link| {
            let target = link.strip_prefix("</api/v1").unwrap();
            target.strip_suffix(">; rel=\"next\"").unwrap().to_owned()
        });
        let items = reply.is(200);
        ids.extend(items.as_array().unwrap().iter().map(|item| text(&item["id"])));
        parts += 1;
    }
    (ids, parts)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn lists_come_in_parts_with_the_next_one_in_a_link_header() {
    let daemon = Daemon::start();
    let template = daemon.template();
    let mut sessions: Vec<_> = (0..7).map(|_| daemon.session(&template)).collect();
    sessions.reverse();
    for limit in [1, 3, 7, 100] {
        let (ids, parts) = walk(&daemon, &format!("/sessions?limit={limit}"));
        assert_eq!((&ids, parts), (&sessions, 7_usize.div_ceil(limit)));
        let filtered = format!("/sessions?limit={limit}&status=ready&template_id={template}");
        assert_eq!(walk(&daemon, &filtered).0, sessions);
    }
    let mut executions: Vec<_> =
        (0..5).map(|n| text(&daemon.repl(&sessions[0], &n.to_string())["id"])).collect();
    executions.reverse();
    for limit in [1, 2, 5] {
        let path = format!("/executions?session_id={}&limit={limit}", sessions[0]);
        assert_eq!(walk(&daemon, &path), (executions.clone(), 5_usize.div_ceil(limit)));
    }
    let others: Vec<_> = (0..3).map(|_| daemon.template()).collect();
    let all = [vec![template], others].concat();
    assert_eq!(walk(&daemon, "/templates?limit=2"), (all.clone(), 2));
    assert_eq!(walk(&daemon, "/templates"), (all, 1));
}

#[test]
fn a_list_without_a_limit_is_bounded_and_says_so() {
    let daemon = Daemon::start();
    let template = daemon.template();
    let clients = 8;
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| (0..1_008 / clients).for_each(|_| drop(daemon.session(&template))));
        }
    });
    let reply = daemon.get("/sessions");
    assert!(reply.headers.contains_key("link"), "{:?}", reply.headers);
    assert_eq!(reply.is(200).as_array().unwrap().len(), 1_000);
    assert_eq!(walk(&daemon, "/sessions").0.len(), 1_008);
    assert_eq!(daemon.active_sessions(), 1_008);
}

#[test]
fn a_cursor_or_limit_that_is_none_is_refused() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    for query in [
        "/sessions?cursor=x".to_owned(),
        "/sessions?cursor=12".to_owned(),
        "/templates?cursor=-".to_owned(),
        format!("/executions?session_id={session}&cursor=-1"),
        format!("/executions?session_id={session}&cursor={session}"),
    ] {
        let error = daemon.get(&query).refused(400, "VALIDATION_ERROR");
        assert_eq!(error["details"]["field"], "cursor", "{query}");
    }
    for query in ["/sessions?limit=0", "/sessions?limit=1001", "/templates?limit=x"] {
        let error = daemon.get(query).refused(400, "VALIDATION_ERROR");
        assert_eq!(error["details"]["field"], "limit", "{query}");
    }
    // One that names nothing any more is a place in the order all the same.
    daemon
        .get(&format!("/sessions?cursor={}", "f".repeat(8) + "-0000-7000-8000-000000000000"))
        .is(200);
}

#[test]
fn a_purged_session_is_gone_with_its_executions_and_events() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    let execution = text(&daemon.repl(&session, "console.log('secret')")["id"]);
    daemon.delete(&format!("/sessions/{session}?purge=yes")).refused(400, "VALIDATION_ERROR");
    let closed = daemon.delete(&format!("/sessions/{session}?purge=false")).is(200);
    assert_eq!(closed["status"], "closed");
    let purged = daemon.delete(&format!("/sessions/{session}?purge=true")).is(200);
    assert_eq!((text(&purged["id"]), &purged["status"]), (session.clone(), &json!("closed")));
    let gone = [
        format!("/sessions/{session}"),
        format!("/executions?session_id={session}"),
        format!("/sessions/{session}?purge=true"),
    ];
    daemon.get(&gone[0]).refused(404, "SESSION_NOT_FOUND");
    daemon.get(&gone[1]).refused(404, "SESSION_NOT_FOUND");
    daemon.delete(&gone[2]).refused(404, "SESSION_NOT_FOUND");
    daemon.try_repl(&session, "1").refused(404, "SESSION_NOT_FOUND");
    daemon.get(&format!("/executions/{execution}")).refused(404, "EXECUTION_NOT_FOUND");
    daemon.get(&format!("/executions/{execution}/events")).refused(404, "EXECUTION_NOT_FOUND");
    assert_eq!(daemon.get("/sessions").is(200), json!([]));
    until("nothing of it is left", || {
        let storage = daemon.get("/ops/stats").is(200)["storage"].clone();
        storage["executions"] == 0 && storage["events"] == 0 && storage["heap_bytes"] == 0
    });
}

#[test]
fn events_that_are_not_kept_are_gone_and_say_from_where_on_there_are_some() {
    let daemon = Daemon::with(&["--retain-events", "5"]);
    let session = daemon.any_session();
    let script = "for (let i = 1; i <= 8; i++) console.log(i); 'done'";
    let execution = text(&daemon.repl(&session, script)["id"]);
    let path = format!("/executions/{execution}/events");
    until("some are removed", || daemon.get(&path).status == 410);
    let error = daemon.get(&path).refused(410, "CURSOR_EXPIRED");
    let oldest = error["details"]["oldest_seq"].as_u64().unwrap();
    assert_eq!(oldest, 6, "{error}");
    let events = daemon.get(&format!("{path}?after_seq={}", oldest - 1)).is(200);
    let seqs: Vec<_> = events.as_array().unwrap().iter().map(|event| &event["seq"]).collect();
    assert_eq!(seqs, [6, 7, 8, 9, 10]);
    daemon.get(&format!("{path}?after_seq={}", oldest - 2)).refused(410, "CURSOR_EXPIRED");
    // The execution itself is kept.
    assert_eq!(daemon.get(&format!("/executions/{execution}")).is(200)["result"]["json"], "done");
}

#[test]
fn executions_that_are_not_kept_go_and_the_session_goes_on() {
    let daemon = Daemon::with(&["--retain-executions", "3"]);
    let session = daemon.any_session();
    daemon.repl(&session, "var n = 0");
    for _ in 0..9 {
        daemon.repl(&session, "++n");
    }
    let path = format!("/executions?session_id={session}");
    until("three are left", || daemon.get(&path).is(200).as_array().unwrap().len() == 3);
    let daemon = Daemon::in_folder(daemon.kill(), &[]);
    assert_eq!(daemon.preview(&session, "n"), "9");
    assert_eq!(daemon.get(&path).is(200).as_array().unwrap().len(), 4);
}

#[test]
fn a_session_is_closed_when_its_templates_time_to_live_is_over() {
    let daemon = Daemon::start();
    let template = daemon.template();
    let ttl = json!({"settings": {"lifecycle": {"session_ttl_s": 1}}});
    let changed = daemon.patch(&format!("/templates/{template}"), ttl).is(200);
    assert_eq!(changed["settings"]["lifecycle"], json!({"session_ttl_s": 1}));
    let session = daemon.session(&template);
    let path = format!("/sessions/{session}");
    assert_eq!(
        daemon.get(&path).is(200)["runtime_meta"]["settings"]["lifecycle"]["session_ttl_s"],
        1
    );
    until("it is closed", || daemon.get(&path).is(200)["status"] == "closed");
    assert!(text(&daemon.get(&path).is(200)["last_error"]).contains("time to live"));
    let never = json!({"settings": {"lifecycle": {"session_ttl_s": 0}}});
    let changed = daemon.patch(&format!("/templates/{template}"), never).is(200);
    assert_eq!(changed["settings"].get("lifecycle"), None);
    for bad in [json!(-1), json!("1"), json!(400_000_000)] {
        let change = json!({"settings": {"lifecycle": {"session_ttl_s": bad}}});
        assert_eq!(daemon.patch(&format!("/templates/{template}"), change).status, 400);
    }
}

#[test]
fn a_backup_is_made_under_way_and_restored_elsewhere() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    daemon.repl(&session, "var n = 5");
    let made = daemon.post("/ops/backup", json!({"name": "monday"})).is(201);
    assert_eq!(made["name"], "monday");
    daemon.repl(&session, "n = 6");
    daemon.post("/ops/backup", json!({"name": "monday"})).refused(409, "BACKUP_EXISTS");
    for bad in ["", ".", "..", "a/b", ".hidden", "ü", &"x".repeat(129)] {
        daemon.post("/ops/backup", json!({"name": bad})).refused(400, "VALIDATION_ERROR");
    }
    assert!(text(&daemon.post("/ops/backup", json!({})).is(201)["name"]).ends_with('Z'));

    let other = Folder::new();
    let backup = text(&made["path"]);
    let restored = other.run(&["--db", "vm-system.redb", "ops", "restore", &backup]);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    let verified = other.run(&["ops", "verify"]);
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    let again = other.run(&["ops", "restore", &backup]);
    assert_eq!(again.code, 70);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    std::fs::create_dir(other.path("libraries")).unwrap();
    let second = Daemon::in_folder(Arc::new(other), &[]);
    assert_eq!(second.preview(&session, "n"), "5");
    assert_eq!(daemon.preview(&session, "n"), "6");
}

#[test]
fn the_file_is_compacted_while_the_daemon_serves() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    daemon.repl(&session, "var big = []; for (let i = 0; i < 40; i++) big.push(Math.random().toString(36).repeat(9000)); 1");
    let other = daemon.any_session();
    daemon.repl(&other, "var n = 1");
    daemon.delete(&format!("/sessions/{session}?purge=true")).is(200);
    until("it is swept", || daemon.get("/ops/stats").is(200)["storage"]["unswept_sessions"] == 0);
    let compacted = daemon.post("/ops/compact", json!({})).is(200);
    let bytes = |name: &str| compacted[name].as_u64().unwrap();
    assert!(bytes("after_bytes") < bytes("before_bytes"), "{compacted}");
    assert_eq!(daemon.preview(&other, "++n"), "2");
    assert_eq!(daemon.get("/ready").is(200), json!({"status": "ready"}));
}

#[test]
fn the_stats_tell_what_is_held_and_done() {
    let daemon = Daemon::with(&["--idle-hibernate", "0"]);
    let session = daemon.any_session();
    daemon.repl(&session, "console.log(1); 1");
    until("it hibernates", || daemon.get("/ops/stats").is(200)["sessions"]["held"] == 0);
    let stats = daemon.get("/ops/stats").is(200);
    assert_eq!(
        (&stats["sessions"]["live"], &stats["sessions"]["instances"]),
        (&json!(1), &json!(0))
    );
    assert!(stats["sessions"]["hibernations"].as_u64().unwrap() >= 1);
    for (name, count) in [("templates", 1), ("sessions", 1), ("executions", 1), ("events", 3)] {
        assert_eq!(stats["storage"][name], count, "{name}");
    }
    assert!(stats["storage"]["heap_bytes"].as_u64().unwrap() > 0);
}
