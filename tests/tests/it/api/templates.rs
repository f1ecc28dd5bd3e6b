//! Templates and everything nested in them.

use crate::harness::Daemon;
use serde_json::{Value, json};

#[test]
fn a_template_is_created_listed_read_changed_and_deleted() {
    let daemon = Daemon::start();
    assert_eq!(daemon.get("/templates").is(200), json!([]));
    let created = daemon.post("/templates", json!({"name": "demo", "engine": "quickjs"})).is(201);
    let id = created["id"].as_str().unwrap();
    let expected = json!({
        "id": id, "name": "demo", "engine": "quickjs", "is_active": true, "exposed_modules": [],
        "libraries": [], "created_at": created["created_at"], "updated_at": created["created_at"],
    });
    assert_eq!(created, expected);
    assert_eq!(daemon.get("/templates").is(200), json!([created]));

    let path = format!("/templates/{id}");
    let detail = daemon.get(&path).is(200);
    let expected = json!({
        "template": created, "capabilities": [], "startup_files": [],
        "settings": {
            "vm_id": id,
            "limits": {
                "cpu_ms": 2000, "wall_ms": 5000, "mem_mb": 128, "max_events": 50000,
                "max_output_kb": 256,
            },
            "resolver": {
                "roots": ["."], "extensions": [".js", ".mjs"],
                "allow_absolute_repo_imports": true,
            },
            "runtime": {"esm": true, "strict": false, "console": true},
        },
    });
    assert_eq!(detail, expected);

    let change =
        json!({"name": "new", "settings": {"limits": {"cpu_ms": 7}, "runtime": {"strict": true}}});
    let changed = daemon.patch(&path, change).is(200);
    let mut expected = detail;
    expected["template"]["name"] = "new".into();
    expected["template"]["updated_at"] = changed["template"]["updated_at"].clone();
    expected["settings"]["limits"]["cpu_ms"] = 7.into();
    expected["settings"]["runtime"]["strict"] = true.into();
    assert_eq!(changed, expected);
    assert_eq!(daemon.get(&path).is(200), expected);

    let deleted = daemon.delete(&path).is(200);
    assert_eq!(deleted, json!({"status": "ok", "template_id": id}));
    for path in [path.clone(), format!("{path}/capabilities"), format!("{path}/startup-files")] {
        daemon.get(&path).refused(404, "TEMPLATE_NOT_FOUND");
    }
    daemon.delete(&path).refused(404, "TEMPLATE_NOT_FOUND");
    assert_eq!(daemon.get("/templates").is(200), json!([]));
}

#[test]
fn the_engine_is_javy_and_has_other_names() {
    let daemon = Daemon::start();
    let template = daemon.post("/templates", json!({"name": "a"})).is(201);
    assert_eq!(template["engine"], "javy");
    for engine in ["javy", "quickjs", "goja"] {
        let body = json!({"name": "a", "engine": engine});
        assert_eq!(daemon.post("/templates", body).is(201)["engine"], engine);
    }
    let refused = daemon.post("/templates", json!({"name": "a", "engine": "v8"}));
    refused.refused(422, "ENGINE_UNSUPPORTED");
}

#[test]
fn a_change_out_of_range_changes_nothing() {
    let daemon = Daemon::with(&["--max-mem-mb", "64", "--max-cpu-ms", "1000"]);
    let path = format!("/templates/{}", daemon.template());
    let before = daemon.get(&path).is(200);
    assert_eq!(before["settings"]["limits"]["mem_mb"], 64, "the default is lowered to the ceiling");
    for limits in [
        json!({"cpu_ms": 0}),
        json!({"cpu_ms": -1}),
        json!({"cpu_ms": 1001}),
        json!({"mem_mb": 65}),
        json!({"wall_ms": 3_600_001}),
        json!({"max_events": 1_000_001}),
        json!({"max_output_kb": 65_537}),
        json!({"max_output_kb": 1e300}),
        json!({"cpu_ms": 5, "mem_mb": 18_446_744_073_709_551_615_u64}),
    ] {
        let body = json!({"name": "changed", "settings": {"limits": limits}});
        let error = daemon.patch(&path, body).refused(400, "VALIDATION_ERROR");
        assert!(error["details"]["field"].as_str().unwrap().starts_with("limits."), "{error}");
    }
    for resolver in [
        json!({"roots": ["../up"]}),
        json!({"roots": ["/etc"]}),
        json!({"roots": [""]}),
        json!({"extensions": ["js"]}),
        json!({"extensions": vec![".js"; 33]}),
    ] {
        let body = json!({"settings": {"resolver": resolver}});
        daemon.patch(&path, body).refused(400, "VALIDATION_ERROR");
    }
    for body in [
        json!({"settings": {"limits": {"cpu_ms": "5"}}}),
        json!({"settings": {"limits": {"cpu_ms": 1.5}}}),
        json!({"settings": {"limit": {}}}),
        json!({"settings": {"runtime": {"esm": 1}}}),
        json!({"settings": []}),
        json!({"engine": "javy"}),
    ] {
        daemon.patch(&path, body).refused(400, "INVALID_REQUEST");
    }
    assert_eq!(daemon.get(&path).is(200), before);
}

#[test]
fn capabilities_are_added_and_listed() {
    let daemon = Daemon::start();
    let id = daemon.template();
    let path = format!("/templates/{id}/capabilities");
    assert_eq!(daemon.get(&path).is(200), json!([]));
    // A name that no module knows is kept, and grants nothing.
    let first = daemon.post(&path, json!({"kind": "module", "name": "console"})).is(201);
    let expected = json!({
        "id": first["id"], "vm_id": id, "kind": "module", "name": "console", "enabled": false,
        "config": {},
    });
    assert_eq!(first, expected);
    let config = json!({"write": true, "allow": ["data"], "deny": [], "quota_bytes": 1});
    let body = json!({"kind": "fs", "name": "fs", "enabled": true, "config": config});
    let second = daemon.post(&path, body).is(201);
    assert_eq!((&second["config"], &second["enabled"]), (&config, &json!(true)));
    assert_eq!(daemon.get(&path).is(200), json!([first, second]));
    assert_eq!(
        daemon.get(&format!("/templates/{id}")).is(200)["capabilities"],
        json!([first, second])
    );
    for kind in ["global", "net", "env"] {
        daemon.post(&path, json!({"kind": kind, "name": "x"})).is(201);
    }
    // What a module would not understand is refused when it is added, whether enabled or not.
    for (config, field) in [
        (json!({"write": 1}), "config.write"),
        (json!({"deep": [{"a": null}]}), "config.deep"),
        (json!({"allow": ["a", "../b"]}), "config.allow[1]"),
        (json!({"allow": ["a", {}]}), "config.allow[1]"),
    ] {
        let body = json!({"kind": "module", "name": "fs", "config": config});
        let error = daemon.post(&path, body).refused(400, "VALIDATION_ERROR");
        assert_eq!(error["details"]["field"], field, "{error}");
    }
    for wrong in [json!({"kind": "disk", "name": "x"}), json!({"kind": "fs"}), json!({"name": "x"})]
    {
        daemon.post(&path, wrong).refused(400, "VALIDATION_ERROR");
    }
}

#[test]
fn startup_files_are_listed_in_the_order_they_run() {
    let daemon = Daemon::start();
    let id = daemon.template();
    let path = format!("/templates/{id}/startup-files");
    let add = |file: &str, order: Value| {
        let body = json!({"path": file, "order_index": order, "mode": "eval"});
        daemon.post(&path, body).is(201)
    };
    let last = add("runtime/last.js", json!(20));
    let expected = json!({
        "id": last["id"], "vm_id": id, "path": "runtime/last.js", "order_index": 20, "mode": "eval",
    });
    assert_eq!(last, expected);
    let (first, second, third) =
        (add("a.js", json!(-1)), add("z.js", json!(10)), add("b.js", json!(10)));
    assert_eq!(daemon.get(&path).is(200), json!([first, second, third, last]));
    let plain = daemon.post(&path, json!({"path": "c.js"})).is(201);
    assert_eq!((&plain["order_index"], &plain["mode"]), (&json!(0), &json!("eval")));
    daemon.post(&path, json!({"mode": "eval"})).refused(400, "VALIDATION_ERROR");
    let too_far = json!({"path": "c.js", "order_index": 1e17});
    daemon.post(&path, too_far).refused(400, "VALIDATION_ERROR");
    let module = json!({"path": "c.js", "mode": "import"});
    daemon.post(&path, module).refused(422, "STARTUP_MODE_UNSUPPORTED");
}

#[test]
fn modules_are_a_set_of_names_from_the_catalogue() {
    let daemon = Daemon::start();
    let id = daemon.template();
    let path = format!("/templates/{id}/modules");
    let changed = json!({"status": "ok", "template_id": id, "name": "fs"});
    for _ in 0..2 {
        assert_eq!(daemon.post(&path, json!({"name": "fs"})).is(201), changed);
        assert_eq!(daemon.get(&path).is(200), json!(["fs"]));
    }
    assert_eq!(
        daemon.get(&format!("/templates/{id}")).is(200)["template"]["exposed_modules"],
        json!(["fs"])
    );
    for name in ["JSON", "Math", "console", "json", "no-such-module", "../fs"] {
        daemon.post(&path, json!({"name": name})).refused(422, "MODULE_NOT_ALLOWED");
    }
    daemon.post(&path, json!({"name": " "})).refused(400, "VALIDATION_ERROR");
    for _ in 0..2 {
        assert_eq!(daemon.delete(&format!("{path}/fs")).is(200), changed);
        assert_eq!(daemon.get(&path).is(200), json!([]));
    }
}

#[test]
fn libraries_are_a_set_of_names_installed_or_not() {
    let daemon = Daemon::start();
    let id = daemon.template();
    let path = format!("/templates/{id}/libraries");
    for name in ["lodash-4.17.21", "@scope__pkg-1.0.0-rc.1+b", "a.b_c-0"] {
        let changed = json!({"status": "ok", "template_id": id, "name": name});
        for _ in 0..2 {
            assert_eq!(daemon.post(&path, json!({"name": name})).is(201), changed);
        }
        assert_eq!(daemon.get(&path).is(200), json!([name]));
        let encoded = name.replace('@', "%40").replace('+', "%2B");
        for _ in 0..2 {
            assert_eq!(daemon.delete(&format!("{path}/{encoded}")).is(200), changed);
        }
        assert_eq!(daemon.get(&path).is(200), json!([]));
    }
    for name in ["lodash", "../etc-1", "a/b-1", "Lodash-1", "a..b-1", "a-1\u{0}", &"a".repeat(300)]
    {
        daemon.post(&path, json!({"name": name})).refused(400, "VALIDATION_ERROR");
    }
    for name in ["lodash", "..%2Fetc-1", "%2e%2e", "%ff-1"] {
        daemon.delete(&format!("{path}/{name}")).refused(400, "VALIDATION_ERROR");
    }
}

#[test]
fn a_template_has_so_many_parts_and_no_more() {
    let daemon = Daemon::start();
    let path = format!("/templates/{}/capabilities", daemon.template());
    for number in 0..256 {
        daemon.post(&path, json!({"kind": "env", "name": format!("N{number}")})).is(201);
    }
    let one_more = daemon.post(&path, json!({"kind": "env", "name": "more"}));
    one_more.refused(400, "VALIDATION_ERROR");
    assert_eq!(daemon.get(&path).is(200).as_array().unwrap().len(), 256);
}

#[test]
fn names_are_required_and_bounded() {
    let daemon = Daemon::start();
    for body in [
        json!({}),
        json!({"name": null}),
        json!({"name": ""}),
        json!({"name": " \n"}),
        json!({"name": "x".repeat(257)}),
    ] {
        daemon.post("/templates", body).refused(400, "VALIDATION_ERROR");
    }
    daemon.post("/templates", json!({"name": "x".repeat(256)})).is(201);
    let odd = "Zoë \u{1F980} \u{202E}\n\u{0}";
    let created = daemon.post("/templates", json!({"name": odd})).is(201);
    assert_eq!(created["name"], odd);
}
