//! Keys of workspaces, over HTTP: what clients are told of conflicts, and what is there after a kill.

use crate::harness::Daemon;
use serde_json::{Value, json};

/// A template whose sessions may use keys and look at files.
fn template(daemon: &Daemon) -> String {
    let template = daemon.template();
    for name in ["kv", "fs"] {
        daemon.post(&format!("/templates/{template}/modules"), json!({"name": name})).is(201);
    }
    template
}

fn session(daemon: &Daemon, template: &str) -> String {
    let session = daemon.session(template);
    daemon.repl(&session, "const kv = require('kv'), fs = require('fs')");
    session
}

/// Has one session read a key and wait while another writes it; gives what became of the first.
fn conflict(daemon: &Daemon, late: &str, early: &str) -> Value {
    let script = "kv.put('seen', kv.get('n') ?? 0);
        while (!fs.existsSync('go')) await new Promise(done => setTimeout(done, 1));";
    std::thread::scope(|scope| {
        let late = scope.spawn(|| daemon.repl(late, script));
        while !late.is_finished() {
            daemon.repl(early, "kv.put('n', (kv.get('n') ?? 0) + 1)");
            daemon.folder.file("worktree/go", "");
        }
        late.join().unwrap()
    })
}

#[test]
fn a_conflict_is_an_execution_with_a_code_and_can_be_tried_again() {
    let daemon = Daemon::start();
    let template = template(&daemon);
    let (late, early) = (session(&daemon, &template), session(&daemon, &template));
    // It may have read the key after the last write.
    let refused = std::iter::from_fn(|| {
        drop(std::fs::remove_file(daemon.folder.path("worktree/go")));
        Some(conflict(&daemon, &late, &early))
    });
    let mut refused = refused.skip_while(|execution| execution["status"] == "ok");
    let refused = refused.next().unwrap();
    assert_eq!(refused["status"], "error");
    assert_eq!(refused["error"]["code"], "KV_CONFLICT", "{refused}");
    assert!(refused.get("result").is_none(), "{refused}");
    let stored = daemon.get(&format!("/executions/{}", refused["id"].as_str().unwrap())).is(200);
    assert_eq!(stored["error"], refused["error"]);
    assert_eq!(
        daemon.preview(&late, "kv.put('seen', kv.get('n')); typeof kv.get('seen')"),
        "'number'"
    );
}

#[test]
fn keys_are_there_after_a_kill_as_far_as_their_executions_were_answered() {
    let mut daemon = Daemon::start();
    let template = template(&daemon);
    let one = session(&daemon, &template);
    for round in 1..=3 {
        daemon.repl(&one, "var n = (kv.get('n') ?? 0) + 1; kv.put('n', n); kv.put('n/' + n, n)");
        let stopped = "kv.put('n', 'never'); n = 'never'; for (;;);";
        daemon.begin(&one, stopped);
        daemon.signal(rustix::process::Signal::KILL);
        daemon = Daemon::in_folder(daemon.kill(), &["--verify"]);
        let seen = daemon.preview(&one, "[n, kv.get('n'), kv.list('n/').length].join()");
        assert_eq!(seen, format!("'{round},{round},{round}'"));
    }
    // Another session of the workspace has them, and those of another workspace do not.
    let two = session(&daemon, &template);
    assert_eq!(daemon.preview(&two, "kv.get('n')"), "3");
    let mut body = daemon.session_body(&template);
    body["workspace_id"] = json!("another");
    let other = daemon.post("/sessions", body).is(201)["id"].as_str().unwrap().to_owned();
    assert_eq!(daemon.preview(&other, "require('kv').list()"), "[]");
}

#[test]
fn a_config_that_does_not_fit_is_refused_with_its_path() {
    let daemon = Daemon::start();
    let path = format!("/templates/{}/capabilities", daemon.template());
    let add = |config: &Value| {
        daemon
            .post(&path, json!({"kind": "module", "name": "kv", "enabled": true, "config": config}))
    };
    for config in [json!({}), json!({"read_only": true, "prefixes": ["a/"], "quota_bytes": 0})] {
        assert_eq!(add(&config).is(201)["config"], config);
    }
    for (config, field) in [
        (json!([]), "config"),
        (json!({"readonly": true}), "config.readonly"),
        (json!({"read_only": 1}), "config.read_only"),
        (json!({"prefixes": "a"}), "config.prefixes"),
        (json!({"prefixes": ["a", ""]}), "config.prefixes[1]"),
        (json!({"prefixes": ["a\0"]}), "config.prefixes[0]"),
        (json!({"prefixes": ["a".repeat(513)]}), "config.prefixes[0]"),
        (json!({"prefixes": vec!["a"; 65]}), "config.prefixes"),
        (json!({"quota_bytes": -1}), "config.quota_bytes"),
    ] {
        let refused = add(&config).refused(400, "VALIDATION_ERROR");
        assert_eq!(refused["details"]["field"], field, "{config}");
    }
}
