//! Health and the catalogues. (The summary is in `sessions`.)

use crate::harness::Daemon;
use serde_json::json;

#[test]
fn a_daemon_is_well() {
    assert_eq!(Daemon::start().get("/health").is(200), json!({"status": "ok"}));
}

#[test]
fn the_catalogues_say_what_templates_may_name() {
    let daemon = Daemon::start();
    let engines = daemon.get("/metadata/engines").is(200);
    for engine in engines.as_array().unwrap() {
        assert_eq!(engine["kind"], "engine");
        let body = json!({"name": "a", "engine": engine["id"]});
        daemon.post("/templates", body).is(201);
    }
    let template = daemon.template();
    let modules = daemon.get("/metadata/modules").is(200);
    let kinds = |entry: &serde_json::Value| [entry["kind"].clone(), entry["id"].clone()];
    let others = modules.as_array().unwrap().iter().filter(|entry| entry["kind"] != "module");
    assert_eq!(others.map(kinds).collect::<Vec<_>>(), [["env", "env"], ["net", "fetch"]]);
    for module in modules.as_array().unwrap().iter().filter(|entry| entry["kind"] == "module") {
        daemon
            .post(&format!("/templates/{template}/modules"), json!({"name": module["id"]}))
            .is(201);
        let session = daemon.session(&template);
        let name = module["name"].as_str().unwrap();
        for function in module["functions"].as_array().unwrap() {
            let input = format!("typeof require('{name}').{}", function.as_str().unwrap());
            assert_eq!(daemon.preview(&session, &input), "'function'", "{input}");
        }
    }
    let fs = modules.as_array().unwrap().iter().find(|module| module["id"] == "fs").unwrap();
    assert_eq!(fs["config_schema"]["properties"]["quota_bytes"]["minimum"], 0, "{fs}");
    assert_eq!(fs["limits"]["calls_per_execution"], 100_000, "{fs}");
}

#[test]
fn the_catalogue_of_libraries_says_which_are_installed() {
    let daemon = Daemon::start();
    daemon.folder.file("libraries/lodash-4.17.20.js", "");
    daemon.folder.file("libraries/@scope__own-1.0.0.js", "");
    daemon.folder.file("libraries/not a library.js", "");
    let libraries = daemon.get("/metadata/libraries").is(200);
    let by_id = |id: &str| {
        let found = libraries.as_array().unwrap().iter().find(|library| library["id"] == id);
        let found = found.unwrap_or_else(|| panic!("{libraries}"));
        (found["versions"].clone(), found["installed"].clone())
    };
    assert_eq!(by_id("lodash"), (json!(["4.17.20", "4.17.21"]), json!(["4.17.20"])));
    assert_eq!(by_id("@scope__own"), (json!(["1.0.0"]), json!(["1.0.0"])));
    for usual in ["axios", "dayjs", "moment", "ramda", "zustand"] {
        assert_eq!(by_id(usual).1, json!([]));
    }
    assert_eq!(libraries.as_array().unwrap().len(), 7);
}
