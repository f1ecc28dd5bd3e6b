//! What operators and readers run: the scripts, and the examples of docs/api.md.

use crate::harness::{Daemon, Folder, project};
use std::process::{Command, Output};

#[track_caller]
fn succeeded(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

fn script(name: &str, folder: &Folder) -> Command {
    let mut command = Command::new("bash");
    command
        .arg(project().join("scripts").join(name))
        .arg(env!("CARGO_BIN_EXE_vm-system-under-test"));
    folder.prepare(&mut command);
    command
}

#[test]
fn the_scripts_for_operators_pass_side_by_side() {
    let folder = Folder::new();
    let run = |name: &str| script(name, &folder).output().unwrap();
    let outputs = std::thread::scope(|scope| {
        let run = &run;
        let runs: Vec<_> = ["smoke.sh", "e2e.sh", "smoke.sh", "e2e.sh"]
            .map(|name| scope.spawn(move || run(name)))
            .into();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    for output in &outputs {
        assert!(succeeded(output).ends_with("passed\n"));
    }
}

#[test]
fn a_script_fails_when_the_daemon_does_not_start() {
    let folder = Folder::new();
    let mut command = Command::new("bash");
    command.arg(project().join("scripts/smoke.sh")).arg("/bin/false");
    folder.prepare(&mut command);
    assert!(!command.output().unwrap().status.success());
}

/// The shell blocks of a document.
fn examples(document: &str) -> Vec<&str> {
    let blocks = document.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn the_examples_of_the_api_documentation_work() {
    let daemon = Daemon::start();
    daemon.folder.file("worktree/app.js", "console.log('hello', __ARGS__.name); 40 + 2");
    let document = std::fs::read_to_string(project().join("docs/api.md")).unwrap();
    let examples = examples(&document);
    assert!(examples.len() >= 10, "{} examples", examples.len());
    let text = examples
        .join("\n")
        .replace("http://127.0.0.1:3210", &daemon.url(""))
        .replace("/srv/app", daemon.folder.path("worktree").to_str().unwrap());
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &text]);
    daemon.folder.prepare(&mut command);
    let printed = succeeded(&command.output().unwrap());
    for expected in [
        "\"status\":\"ok\"",
        "\"preview\":\"42\"",
        "hello docs",
        "SESSION_NOT_READY",
        "\"active_sessions\":1",
    ] {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }
}
