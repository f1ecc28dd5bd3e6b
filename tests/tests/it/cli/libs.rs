//! `vm-system libs`. Packages come from the user's npm, which `.ci/libraries` tries with the real
//! registry; here it packs a folder.

use crate::harness::{Daemon, Folder};
use serde_json::{Value, json};

#[test]
fn a_file_is_installed_with_its_hash_and_found_changed_later() {
    let folder = Folder::new();
    assert!(folder.run(&["libs", "list"]).stdout.contains("libs download"));
    folder.file("mine.js", "var mine = 42");
    let ended = folder.run(&["libs", "add", "mine-1.0.0", "--file", "mine.js", "--output", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let installed: Value = serde_json::from_str(&ended.stdout).unwrap();
    // As `sha256sum` says it.
    let sha256 = "04d56f3519161409a082b414acfcfd9e2ac5cbdf514a2b267195ba8ed26ae915";
    assert_eq!((&installed["name"], &installed["bytes"]), (&json!("mine-1.0.0"), &json!(13)));
    assert_eq!(installed["sha256"], sha256);
    let list = folder.run(&["libs", "list"]).stdout;
    assert!(
        list.contains("mine-1.0.0") && list.contains(sha256) && list.contains(" ok "),
        "{list}"
    );
    folder.file(".vm-cache/libraries/mine-1.0.0.js", "var mine = 43");
    folder.file(".vm-cache/libraries/other-1.0.0.js", "");
    let list: Value =
        serde_json::from_str(&folder.run(&["libs", "list", "--output", "json"]).stdout).unwrap();
    assert_eq!((&list[0]["state"], &list[1]["state"]), (&json!("changed"), &json!("no record")));
}

#[test]
fn what_is_no_library_is_not_installed() {
    let folder = Folder::new();
    folder.file("mine.js", "var mine = 42");
    std::fs::write(folder.path("binary.js"), b"\xff\xfe").unwrap();
    std::fs::write(folder.path("large.js"), vec![b' '; (16 << 20) + 1]).unwrap();
    for (args, reason) in [
        (&["add", "mine", "--file", "mine.js"][..], "not the name of a library"),
        (&["add", "../mine-1.0.0", "--file", "mine.js"], "not the name of a library"),
        (&["add", "mine-1.0.0", "--file", "missing.js"], "cannot read"),
        (&["add", "mine-1.0.0", "--file", "binary.js"], "not UTF-8"),
        (&["add", "mine-1.0.0", "--file", "large.js"], "larger than"),
        (&["download", "jquery"], "no usual library 'jquery'"),
    ] {
        let ended = folder.run(&[&["libs"], args].concat());
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(reason), "{}", ended.stderr);
    }
    assert!(!folder.path(".vm-cache/libraries").exists());
}

#[test]
fn a_machine_without_npm_is_told_what_to_do() {
    let folder = Folder::new();
    let mut command = folder.command(&["libs", "add", "lodash"]);
    let output = command.env("PATH", folder.path("nothing")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot run npm") && stderr.contains("--file"), "{stderr}");
}

#[test]
fn an_installed_library_is_there_in_a_session() {
    let daemon = Daemon::start();
    daemon.folder.file("mine.js", "var mine = { answer: 42 }");
    let add = ["libs", "add", "mine-1.0.0", "--file", "mine.js", "--library-dir", "libraries"];
    assert_eq!(daemon.folder.run(&add).code, 0);
    let template = daemon.template();
    daemon.post(&format!("/templates/{template}/libraries"), json!({"name": "mine-1.0.0"})).is(201);
    assert_eq!(daemon.preview(&daemon.session(&template), "mine.answer"), "42");
}
