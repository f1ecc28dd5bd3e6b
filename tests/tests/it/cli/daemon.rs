//! The commands that talk to a daemon: what each prints, and how it ends.

use crate::harness::{Daemon, Ended};
use serde_json::Value;
use std::io::{BufRead, BufReader};

/// Runs a command against a daemon, in the daemon's folder.
fn cli(daemon: &Daemon, args: &[&str]) -> Ended {
    cli_with_input(daemon, args, "")
}

fn cli_with_input(daemon: &Daemon, args: &[&str], input: &str) -> Ended {
    // As old scripts give them: before the command.
    let url = daemon.url("");
    daemon
        .folder
        .run_with_input(&[&["--server-url", &url, "--db", "unused.redb"], args].concat(), input)
}

#[track_caller]
fn ok(daemon: &Daemon, args: &[&str]) -> String {
    let ended = cli(daemon, args);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{args:?}: {}", ended.stdout);
    ended.stdout
}

#[track_caller]
fn json(daemon: &Daemon, args: &[&str]) -> Value {
    let text = ok(daemon, &[args, &["--output", "json"]].concat());
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The id in `… (ID: …)`.
fn id_of(created: &str) -> String {
    created.trim_end().strip_suffix(')').unwrap().rsplit("(ID: ").next().unwrap().to_owned()
}

fn session(daemon: &Daemon, template: &str) -> String {
    let created = ok(
        daemon,
        &[
            "session",
            "create",
            "--template-id",
            template,
            "--workspace-id",
            "ws",
            "--base-commit",
            "deadbeef",
            "--worktree-path",
            "worktree",
        ],
    );
    let line = created.lines().next().unwrap();
    line.strip_prefix("Created session: ").unwrap().to_owned()
}

#[test]
fn templates_are_managed_from_the_command_line() {
    let daemon = Daemon::start();
    assert_eq!(ok(&daemon, &["template", "list"]), "No templates\n");
    let created = ok(&daemon, &["template", "create", "--name", "demo", "--engine", "javy"]);
    let id = id_of(&created);
    assert_eq!(created, format!("Created template: demo (ID: {id})\n"));
    let list = ok(&daemon, &["template", "list"]);
    assert!(list.lines().nth(1).unwrap().contains(&id) && list.contains("javy"), "{list}");
    assert_eq!(json(&daemon, &["template", "list"])[0]["id"], id);

    for (args, printed) in [
        (
            &["add-startup", &id, "--path", "runtime/init.js", "--order", "10", "--mode", "eval"][..],
            format!("Added startup file: runtime/init.js (order: 10) to template {id}\n"),
        ),
        (
            &["add-capability", &id, "--kind", "module", "--name", "console"],
            format!("Added capability: module:console to template {id}\n"),
        ),
        (
            &[
                "add-capability",
                &id,
                "--kind",
                "fs",
                "--name",
                "fs",
                "--enabled=false",
                "--config",
                r#"{"write":true}"#,
            ],
            format!("Added capability: fs:fs to template {id}\n"),
        ),
        (&["add-module", &id, "--name", "fs"], format!("Added module: fs to template {id}\n")),
        (
            &["add-library", &id, "--name", "lodash-4.17.21"],
            format!("Added library: lodash-4.17.21 to template {id}\n"),
        ),
        (&["list-modules", &id], "fs\n".to_owned()),
        (&["list-libraries", &id], "lodash-4.17.21\n".to_owned()),
        (
            &["remove-module", &id, "--name", "fs"],
            format!("Removed module: fs from template {id}\n"),
        ),
        (
            &["remove-library", &id, "--name", "lodash-4.17.21"],
            format!("Removed library: lodash-4.17.21 from template {id}\n"),
        ),
        (&["list-modules", &id], "No modules\n".to_owned()),
        (&["list-libraries", &id], "No libraries\n".to_owned()),
    ] {
        assert_eq!(ok(&daemon, &[&["template"], args].concat()), printed);
    }
    let startup = ok(&daemon, &["template", "list-startup", &id]);
    assert!(startup.contains("runtime/init.js") && startup.contains("eval"), "{startup}");
    let capabilities = json(&daemon, &["template", "list-capabilities", &id]);
    assert_eq!(
        (&capabilities[0]["enabled"], &capabilities[1]["enabled"]),
        (&true.into(), &false.into())
    );
    let table = ok(&daemon, &["template", "list-capabilities", &id]);
    assert!(table.contains(r#"{"write":true}"#), "{table}");

    let updated = ok(
        &daemon,
        &[
            "template", "update", &id, "--name", "new", "--cpu-ms", "77", "--strict", "true",
            "--roots", "src,lib",
        ],
    );
    assert!(updated.starts_with(&format!("Updated template: {id}\nTemplate: new\n")), "{updated}");
    let detail = json(&daemon, &["template", "get", &id]);
    assert_eq!(detail["settings"]["limits"]["cpu_ms"], 77);
    assert_eq!(detail["settings"]["resolver"]["roots"], serde_json::json!(["src", "lib"]));
    let shown = ok(&daemon, &["template", "get", &id]);
    for part in [
        "Template: new",
        "Engine: javy",
        "\"cpu_ms\":77",
        "Capabilities:",
        "Startup files:",
        "runtime/init.js",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(ok(&daemon, &["template", "list-available-modules"]).contains("readFileSync"));
    assert!(ok(&daemon, &["template", "list-available-libraries"]).contains("zustand"));
    assert_eq!(ok(&daemon, &["template", "delete", &id]), format!("Deleted template: {id}\n"));
    assert_eq!(json(&daemon, &["template", "list"]), serde_json::json!([]));
}

#[test]
fn sessions_are_managed_from_the_command_line() {
    let daemon = Daemon::start();
    let template = daemon.template();
    assert_eq!(ok(&daemon, &["session", "list"]), "No sessions\n");
    let id = session(&daemon, &template);
    assert!(ok(&daemon, &["session", "list"]).contains(&id));
    assert!(
        ok(&daemon, &["session", "list", "--status", "ready,crashed", "--template-id", &template])
            .contains(&id)
    );
    assert_eq!(ok(&daemon, &["session", "list", "--status", "closed"]), "No sessions\n");
    let shown = ok(&daemon, &["session", "get", &id]);
    let worktree = daemon.folder.path("worktree");
    for line in [
        format!("Session ID: {id}"),
        "Status: ready".to_owned(),
        format!("Worktree path: {}", worktree.display()),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
    }
    assert_eq!(ok(&daemon, &["ops", "runtime-summary"]), format!("Active sessions: 1\n  {id}\n"));
    let closed = ok(&daemon, &["session", "close", &id]);
    assert!(closed.starts_with(&format!("Closed session: {id}\nStatus: closed\n")), "{closed}");
    assert_eq!(json(&daemon, &["session", "get", &id])["status"], "closed");
    assert_eq!(ok(&daemon, &["ops", "runtime-summary"]), "Active sessions: 0\n");
    assert_eq!(ok(&daemon, &["ops", "health"]), "Status: ok\n");
}

#[test]
fn executions_print_what_old_scripts_read() {
    let daemon = Daemon::start();
    daemon
        .folder
        .file("worktree/app.js", "console.log('hi', __ENV__.A, process.env.B); __ARGS__.n + 1");
    let session = session(&daemon, &daemon.template());
    let printed = ok(&daemon, &["exec", "repl", &session, "var x = 40; x + 2"]);
    let lines: Vec<_> = printed.lines().collect();
    let id = lines[0].strip_prefix("Execution ID: ").unwrap();
    assert_eq!(lines[1], "Status: ok");
    assert_eq!(lines[2], r#"Result: {"type":"number","preview":"42","json":42}"#);
    assert_eq!(
        lines[3..],
        [
            "",
            "Events:",
            r#"[1] input_echo: {"text":"var x = 40; x + 2"}"#,
            r#"[2] value: {"type":"number","preview":"42","json":42}"#
        ]
    );

    let printed = ok(
        &daemon,
        &[
            "exec",
            "run-file",
            &session,
            "app.js",
            "--args",
            r#"{"n":41}"#,
            "--env",
            "A=a=1",
            "--env",
            r#"{"B":"b"}"#,
        ],
    );
    assert!(
        printed.contains("[2] console: {\"level\":\"log\",\"text\":\"hi a=1 b\"}"),
        "{printed}"
    );
    assert!(printed.contains("\"preview\":\"42\""), "{printed}");

    let list = ok(&daemon, &["exec", "list", &session]);
    assert!(list.contains(id) && list.contains("run_file"), "{list}");
    let part = daemon.folder.run(&[
        "--server-url",
        &daemon.url(""),
        "exec",
        "list",
        &session,
        "--limit",
        "1",
        "--output",
        "json",
    ]);
    assert_eq!(serde_json::from_str::<Value>(&part.stdout).unwrap().as_array().unwrap().len(), 1);
    let cursor = part.stderr.trim_end().strip_prefix("there are more: --cursor ").unwrap();
    let rest = json(&daemon, &["exec", "list", &session, "--cursor", cursor]);
    assert_eq!(rest.as_array().unwrap().len(), 1);
    let shown = ok(&daemon, &["exec", "get", id]);
    for part in
        [&format!("Execution ID: {id}"), "Kind: repl", "Input: var x = 40; x + 2", "\"fuel_used\":"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(
        json(&daemon, &["exec", "events", id, "--after-seq", "0"]).as_array().unwrap().len(),
        2
    );
    assert_eq!(
        json(&daemon, &["exec", "events", id, "--after-seq", "1"]).as_array().unwrap().len(),
        1
    );
    assert!(ok(&daemon, &["exec", "events", id]).contains("input_echo"));
    let execution = json(&daemon, &["exec", "repl", &session, "-x"]);
    assert_eq!(execution["result"]["json"], -40);
}

#[test]
fn an_execution_that_fails_says_so_by_its_exit_status() {
    let daemon = Daemon::start();
    let session = session(
        &daemon,
        &daemon.template_with_limits(&serde_json::json!({"cpu_ms": 20, "max_events": 5})),
    );
    let thrown = cli(&daemon, &["exec", "repl", &session, "throw new Error('no')"]);
    assert_eq!(thrown.code, 1);
    assert!(
        thrown.stdout.contains("Status: error\nError: {\"message\":\"Error: no\""),
        "{}",
        thrown.stdout
    );
    let many = cli(&daemon, &["exec", "repl", &session, "for (;;) console.log(1)"]);
    assert_eq!(many.code, 124);
    assert!(many.stderr.contains("OUTPUT_LIMIT_EXCEEDED"), "{}", many.stderr);
    let session =
        self::session(&daemon, &daemon.template_with_limits(&serde_json::json!({"cpu_ms": 20})));
    let long = cli(&daemon, &["exec", "repl", &session, "for (;;);"]);
    assert_eq!(long.code, 124);
    assert!(long.stdout.contains("Status: timeout"), "{}", long.stdout);
}

#[test]
fn an_execution_is_cancelled_from_the_command_line() {
    let daemon = Daemon::start();
    let limits = serde_json::json!({"cpu_ms": 3_600_000, "wall_ms": 3_600_000});
    let session = session(&daemon, &daemon.template_with_limits(&limits));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| cli(&daemon, &["exec", "repl", &session, "for (;;);"]));
        let execution = daemon.wait_until_running(&session);
        let id = execution["id"].as_str().unwrap();
        let shown = ok(&daemon, &["exec", "cancel", id]);
        assert!(shown.contains("Status: cancelled"), "{shown}");
        let ended = running.join().unwrap();
        assert_eq!(ended.code, 130, "{}", ended.stdout);
        assert!(ended.stdout.contains("\"code\":\"CANCELLED\""), "{}", ended.stdout);
        // One that is over stays as it is.
        assert_eq!(json(&daemon, &["exec", "cancel", id])["status"], "cancelled");
    });
    let unknown = cli(&daemon, &["exec", "cancel", "0198c0de-0000-7000-8000-000000000000"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("EXECUTION_NOT_FOUND"), "{}", unknown.stderr);
    assert_eq!(daemon.preview(&session, "1 + 1"), "2");
}

#[test]
fn what_a_file_does_is_shown_while_it_does_it() {
    let daemon = Daemon::start();
    let template = daemon.template();
    daemon
        .post(&format!("/templates/{template}/modules"), serde_json::json!({"name": "fs"}))
        .is(201);
    let session = session(&daemon, &template);
    daemon.folder.file(
        "worktree/job.js",
        "var fs = require('fs'); console.log('first');\
         new Promise((done) => {\
           const look = () => (fs.existsSync('go') ? done('done') : setTimeout(look, 5));\
           look();\
         })",
    );
    let url = daemon.url("");
    let start = |args: &[&str]| {
        let mut child =
            daemon.folder.command(&[&["--server-url", &url], args].concat()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    };
    let (mut running, mut shown) = start(&["exec", "run-file", &session, "job.js", "--follow"]);
    let mut until = |text: &str| shown.by_ref().find(|line| line.as_ref().unwrap().contains(text));
    assert!(until("first").is_some());
    // It runs, and is followed from the second event on by somebody else.
    let execution = daemon.wait_until_running(&session);
    let id = execution["id"].as_str().unwrap();
    let events = ["exec", "events", id, "--follow", "--after-seq", "1"];
    let (mut following, mut followed) = start(&events);
    assert_eq!(
        followed.next().unwrap().unwrap(),
        "[2] console: {\"level\":\"log\",\"text\":\"first\"}"
    );
    daemon.folder.file("worktree/go", "");
    let rest: Vec<_> = shown.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.contains("\"preview\":\"'done'\"")), "{rest:?}");
    assert!(rest.iter().any(|line| line == "Status: ok"), "{rest:?}");
    assert_eq!(running.wait().unwrap().code(), Some(0));
    let rest: Vec<_> = followed.map(Result::unwrap).collect();
    assert!(rest.len() == 1 && rest[0].starts_with("[3] value: "), "{rest:?}");
    assert_eq!(following.wait().unwrap().code(), Some(0));
    // As programs read it: an event a line, and then the execution.
    let args = ["exec", "run-file", &session, "job.js", "--follow", "--output", "json"];
    let printed = ok(&daemon, &args);
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<_> = lines.iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert_eq!((seqs, &lines[3]["status"]), (vec![1, 2, 3], &Value::from("ok")));
}

#[test]
fn a_bare_repl_evaluates_standard_input_in_the_session() {
    let daemon = Daemon::start();
    let session = session(&daemon, &daemon.template());
    let input = "var n = 40\nfunction f() {\n  return n + 2\n}\nf()\nconsole.log('out'); console.warn('err')\nmissing\n";
    let ended = cli_with_input(&daemon, &["exec", "repl", &session], input);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "42\nout\n"));
    assert!(
        ended.stderr.starts_with("err\nUncaught ReferenceError: missing is not defined"),
        "{}",
        ended.stderr
    );
    let unknown = cli(&daemon, &["exec", "repl", "0198c0de-0000-7000-8000-000000000000"]);
    assert_eq!(unknown.code, 1);
}

#[test]
fn errors_say_what_to_do() {
    let daemon = Daemon::start();
    let unknown = "0198c0de-0000-7000-8000-000000000000";
    for (args, code, hint) in [
        (&["template", "get", unknown][..], "TEMPLATE_NOT_FOUND", "vm-system template list"),
        (&["session", "get", unknown], "SESSION_NOT_FOUND", "vm-system session list"),
        (&["exec", "get", unknown], "EXECUTION_NOT_FOUND", "vm-system exec list"),
        (&["template", "create", "--name", "a", "--engine", "v8"], "ENGINE_UNSUPPORTED", "v8"),
        (&["template", "create", "--name", ""], "VALIDATION_ERROR", "name is required"),
    ] {
        let ended = cli(&daemon, args);
        assert_eq!(ended.code, 1, "{args:?}");
        assert!(
            ended.stderr.starts_with("vm-system: ")
                && ended.stderr.contains(code)
                && ended.stderr.contains(hint),
            "{}",
            ended.stderr
        );
        assert_eq!(ended.stdout, "");
    }
    for args in [
        &["template", "get", "1"][..],
        &["session", "list", "--status", "open"],
        &["exec", "repl"],
        &["exec", "events", unknown, "--after-seq", "-1"],
        &["template", "update", unknown, "--cpu-ms", "x"],
    ] {
        assert_eq!(cli(&daemon, args).code, 2, "{args:?}");
    }
    let address = daemon.url("");
    let folder = daemon.kill();
    let ended = folder.run(&["--server-url", &address, "ops", "health"]);
    assert_eq!(ended.code, 69);
    assert!(
        ended.stderr.contains("no daemon answers") && ended.stderr.contains("vm-system serve"),
        "{}",
        ended.stderr
    );
    for url in ["nonsense", "https://localhost", "http://localhost/api"] {
        assert_eq!(folder.run(&["--server-url", url, "ops", "health"]).code, 2, "{url}");
    }
}

#[test]
fn hostile_names_do_not_reach_the_terminal() {
    let daemon = Daemon::start();
    let hostile = "a\u{1b}[31m\nforged\u{202e}";
    let created = ok(&daemon, &["template", "create", "--name", hostile]);
    let id = id_of(&created);
    let session = session(&daemon, &id);
    for args in [
        &["template", "list"][..],
        &["template", "get", &id],
        &["exec", "repl", &session, "'\\u202e\\x1b[31m'"],
    ] {
        let printed = ok(&daemon, args);
        assert!(!printed.contains(['\u{1b}', '\u{202e}']), "{printed:?}");
        assert!(!printed.lines().any(|line| line.starts_with("forged")), "{printed:?}");
    }
    assert_eq!(created.lines().count(), 1);
}

#[test]
fn output_that_cannot_be_written_is_a_failure_and_a_reader_that_left_is_none() {
    let folder = crate::harness::Folder::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = folder.command(&["libs", "list"]);
    assert_eq!(command.stdout(full).status().unwrap().code(), Some(70));
    let mut command = folder.command(&["completions", "bash"]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn there_are_completions_for_shells() {
    let folder = crate::harness::Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let ended = folder.run(&["completions", shell]);
        assert_eq!(ended.code, 0);
        assert!(ended.stdout.contains("list-available-libraries"), "{shell}");
    }
}
